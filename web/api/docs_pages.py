"""The OpenAPI document at /api/openapi.json, and its HTML pages at /api/docs without JavaScript."""

import asyncio
import inspect
import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from aiohttp import web
from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup, escape
from yarl import URL

from bookstore.errors import BookstoreError, Invalid
from web.api import openapi
from web.server.errors import InvalidInput
from web.server.problems import AIOHTTP_ERRORS, STATUS, title_of

_CODE = re.compile(r"`([^`]+)`")
_METHODS = ("get", "post", "put", "patch", "delete")

_pages = Environment(
    loader=PackageLoader("web.api"),
    autoescape=select_autoescape(default=True),
    trim_blocks=True,
    lstrip_blocks=True,
)
#: Returns the task that generates the document of the application, and starts it if necessary.
_Generate = Callable[[], "asyncio.Task[dict[str, Any]]"]
_DOCUMENT = web.AppKey[_Generate]("openapi_document")


def prepare(app: web.Application) -> None:
    """Prepare the application to serve its OpenAPI document.

    Generation takes longer than the rest of the application's start, so it runs in a thread, once,
    on the first request.
    """

    def start() -> asyncio.Task[dict[str, Any]]:
        return asyncio.create_task(asyncio.to_thread(openapi.describe, app))

    generate: _Generate = cache(start)
    app[_DOCUMENT] = generate


async def _document(request: web.Request) -> dict[str, Any]:
    return await asyncio.shield(request.config_dict[_DOCUMENT]())


async def show_document(request: web.Request) -> web.Response:
    """GET /api/openapi.json."""
    return web.json_response(
        await _document(request),
        headers={"Cache-Control": "no-cache"},
        dumps=lambda content: json.dumps(content, ensure_ascii=False, indent=1),
    )


async def show_reference(request: web.Request) -> web.Response:
    """GET /api/docs."""
    document = await _document(request)
    return _page("reference.html", document=document, tags=_by_tag(document))


async def show_errors(request: web.Request) -> web.Response:
    """GET /api/docs/errors: what each code means.  The `type` of every problem links here."""
    document = await _document(request)
    return _page("errors.html", document=document, problems=_problems(document))


async def show_style(request: web.Request) -> web.Response:
    """GET /api/docs.css."""
    style = openapi.static_file("reference.css")
    headers = {"Cache-Control": "max-age=3600"}
    return web.Response(text=style, content_type="text/css", headers=headers)


def _page(template: str, **content: Any) -> web.Response:
    page = _pages.get_template(template).render(**content)
    return web.Response(text=page, content_type="text/html", headers={"Cache-Control": "no-cache"})


def _by_tag(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The tags with their operations, in the order of the document."""
    found: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                operation = methods[method]
                found[operation["tags"][0]].append({"method": method, "path": path, **operation})
    return [{**tag, "operations": found[tag["name"]]} for tag in document["tags"]]


def _problems(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Every code with its status, its meaning and the operations that return it."""
    by_code: dict[str, dict[str, Any]] = {
        code: {"code": code, "status": status, "meaning": text, "facts": []}
        for status, (code, text) in {**openapi.COMMON_PROBLEMS, **AIOHTTP_ERRORS}.items()
    }
    for refusal, status in STATUS.items():
        by_code[refusal.code] = {
            "code": refusal.code,
            "status": status,
            "meaning": inspect.cleandoc(
                refusal.__dict__.get("__doc__") or openapi.meaning(refusal)
            ),
            "facts": _facts(refusal),
        }
    for problem in by_code.values():
        problem["title"] = title_of(problem["code"])
        problem["operations"] = []
    for methods in document["paths"].values():
        for operation in methods.values():
            for response in operation["responses"].values():
                content = response.get("content", {}).get(openapi.PROBLEM, {})
                for code in content.get("examples", {}):
                    by_code[code]["operations"].append(operation["operationId"])
    return sorted(by_code.values(), key=lambda problem: str(problem["code"]))


def _facts(refusal: type[BookstoreError]) -> list[str]:
    """The additional fields of the problem document of this error."""
    if issubclass(refusal, Invalid | InvalidInput):
        return ["errors"]
    names = refusal.__init__.__code__.co_names if "__init__" in refusal.__dict__ else ()
    parameters = inspect.signature(refusal).parameters
    return [name for name in parameters if name in names]


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def _request_line(operation: dict[str, Any]) -> str:
    """The URL of the example: the path with its parameters and the query string."""
    path, query = operation["path"], {}
    for parameter in operation["parameters"]:
        example = parameter.get("example")
        if example is not None and parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(example))
        elif example is not None and parameter["in"] == "query":
            query[parameter["name"]] = str(example)
    return str(URL.build(path=path, query=query))


def _codes(text: str) -> Markup:
    """The text as HTML, with the parts between backticks as `<code>`."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped


def _shape(schema: dict[str, Any]) -> str:
    """A short name for the type of a value."""
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


_pages.globals |= {
    "shape": _shape,
    "codes": _codes,
    "as_json": _as_json,
    "request_line": _request_line,
}
