"""An example of every operation: what was asked and answered when the tests last told the story
of a small store (tests/web/story.py)."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def examples() -> Mapping[str, Mapping[str, Any]]:
    """By the operation's name: `path`, `query`, `headers` and `body` of the request, and of the
    answer `status`, `location` and `answer` (JSON, or text of another kind)."""
    text = files("web.api").joinpath("static/examples.json").read_text("utf-8")
    told: Mapping[str, Mapping[str, Any]] = json.loads(text)
    return told
