"""/api/openapi.json, and /api/docs: the same for people, one page without scripts."""

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

from aiohttp import web
from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup, escape

from bookstore.errors import BookstoreError
from web.api import openapi
from web.problems import ITS_OWN, STATUS

_DOCUMENT = web.AppKey("openapi_document", dict[str, Any])
_CODE = re.compile(r"`([^`]+)`")
_METHODS = ("get", "post", "put", "patch", "delete")

_pages = Environment(
    loader=PackageLoader("web.api"),
    autoescape=select_autoescape(default=True),
    trim_blocks=True,
    lstrip_blocks=True,
)


def prepare(app: web.Application) -> None:
    """Write the description, once all addresses are known."""
    app[_DOCUMENT] = openapi.describe(app)


async def show_document(request: web.Request) -> web.Response:
    """GET /api/openapi.json."""
    return web.json_response(
        request.config_dict[_DOCUMENT],
        headers={"Cache-Control": "no-cache"},
        dumps=lambda content: json.dumps(content, ensure_ascii=False, indent=1),
    )


async def show_reference(request: web.Request) -> web.Response:
    """GET /api/docs."""
    document = request.config_dict[_DOCUMENT]
    page = _pages.get_template("reference.html").render(
        document=document,
        tags=_by_tag(document),
        problems=_problems(),
        shape=_shape,
        codes=_codes,
    )
    return web.Response(text=page, content_type="text/html", headers={"Cache-Control": "no-cache"})


async def show_style(request: web.Request) -> web.Response:
    """GET /api/docs.css."""
    return web.Response(
        text=_style(), content_type="text/css", headers={"Cache-Control": "max-age=3600"}
    )


@cache
def _style() -> str:
    return files("web.api").joinpath("static/reference.css").read_text("utf-8")


def _by_tag(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The tags with their operations, in the order of the document."""
    found: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                operation = methods[method]
                found[operation["tags"][0]].append({"method": method, "path": path, **operation})
    return [{**tag, "operations": found[tag["name"]]} for tag in document["tags"]]


def _problems() -> list[dict[str, Any]]:
    """Every code with its status and its meaning."""
    codes: dict[str, tuple[int, type[BookstoreError]]] = {
        refusal.code: (status, refusal) for refusal, status in STATUS.items()
    }
    told = [
        {"code": code, "status": status, "meaning": openapi.meaning(refusal)}
        for code, (status, refusal) in codes.items()
    ]
    told += [
        {"code": code, "status": status, "meaning": text}
        for status, (code, text) in {**openapi.EVERYWHERE, **ITS_OWN}.items()
        if code not in codes
    ]
    return sorted(told, key=lambda problem: problem["code"])


def _codes(text: str) -> Markup:
    """The text with what stands between backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped


def _shape(schema: dict[str, Any]) -> str:
    """The type of a value in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return " or ".join(_shape(part) for part in schema[choice])
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_shape(schema.get('items', {}))}"
    name = " or ".join(kind) if isinstance(kind, list) else str(kind)
    return f"{name} ({schema['format']})" if "format" in schema else name
