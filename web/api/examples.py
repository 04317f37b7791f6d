"""An example request and response for every operation, recorded by tests/web/story.py."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def examples() -> Mapping[str, Mapping[str, Any]]:
    """The examples by the name of the operation.

    Of the request `path`, `query`, `headers` and `body`; of the response `status`, `location` and
    `answer` (JSON or other text).
    """
    text = files("web.api").joinpath("static/examples.json").read_text("utf-8")
    recorded: Mapping[str, Mapping[str, Any]] = json.loads(text)
    return recorded
