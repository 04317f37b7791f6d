"""The examples in the description of the API are what the store really answers."""

import json
import os
from copy import deepcopy
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from tests.web.story import tell
from web.api import examples, routes
from web.api.operations import operation_of

FILE = Path(examples.__file__).parent / "static" / "examples.json"
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def test_the_story_is_told_as_it_was_written_down(server):
    told = await tell(server)

    if "WRITE_EXAMPLES" in os.environ:
        FILE.write_text(json.dumps(told, ensure_ascii=False, indent=1, sort_keys=True) + "\n")
        examples.examples.cache_clear()
    written = json.loads(FILE.read_text())
    assert told.keys() == written.keys()
    for name, example in told.items():
        assert example == written[name], f"{name}: `make examples` writes it anew"


async def test_every_operation_has_an_example(server):
    names = {operation_of(route.handler).name for route in routes.OPERATIONS}

    assert names == examples.examples().keys()


def closed(schema):
    """The same schema, where nothing may be that is not declared."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: closed(part) for name, part in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        kept.setdefault("additionalProperties", False)
    return kept


async def test_s18_answers_contain_what_is_declared_and_nothing_else(client):
    document = await (await client.get("/api/openapi.json")).json()
    components = closed(deepcopy(document["components"]))
    seen = 0

    for methods in document["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                content = response.get("content", {}).get("application/json")
                if content is None or int(status) >= 300:
                    continue
                schema = {**content["schema"], "components": components}
                Draft202012Validator(schema).validate(content["example"])
                seen += 1

    assert seen > 40
