"""The examples in the OpenAPI document are recorded responses of the store."""

import json
import os
from copy import deepcopy
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from tests.web.story import play_story
from web.api import examples, routes
from web.api.operations import operation_of

FILE = Path(examples.__file__).parent / "static" / "examples.json"
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def test_the_recorded_examples_are_current(server):
    recorded = await play_story(server)

    if "WRITE_EXAMPLES" in os.environ:
        FILE.write_text(json.dumps(recorded, ensure_ascii=False, indent=1, sort_keys=True) + "\n")
        examples.examples.cache_clear()
    written = json.loads(FILE.read_text())
    assert recorded.keys() == written.keys()
    for name, example in recorded.items():
        assert example == written[name], f"{name}: `make examples` writes it anew"


async def test_every_operation_has_an_example(server):
    names = {operation_of(route.handler).name for route in routes.OPERATIONS}

    assert names == examples.examples().keys()


def closed(schema):
    """A copy of the schema that does not permit undeclared properties."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    copied = {name: closed(part) for name, part in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        copied.setdefault("additionalProperties", False)
    return copied


async def test_s18_responses_contain_only_declared_fields(client):
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
