"""The dashboard's own style sheet and icons; all else it shares with the store's pages."""

import gzip
import hashlib
from functools import cache
from importlib.resources import files

from aiohttp import web

from bookstore.errors import NotFound
from web.store.files import File

_TYPES = {"css": "text/css", "svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"


@cache
def all_files() -> dict[str, File]:
    """Every file by its name below `/admin/static/`."""
    found = {}
    for file in (files("admin") / "static").iterdir():
        body = file.read_bytes()
        found[file.name] = File(
            content_type=_TYPES[file.name.rpartition(".")[2]],
            body=body,
            # Without a time in it, so that two processes send the same.
            gzipped=gzip.compress(body, mtime=0),
            version=hashlib.sha256(body).hexdigest()[:12],
        )
    return found


def url(name: str) -> str:
    """The address of a file, for templates."""
    return f"/admin/static/{name}?v={all_files()[name].version}"


async def show(request: web.Request) -> web.Response:
    """GET /admin/static/{name}."""
    file = all_files().get(request.match_info["name"])
    if file is None:
        raise NotFound("This file")
    current = request.query.get("v") == file.version
    headers = {
        "Cache-Control": _FOR_EVER if current else "public, no-cache",
        "ETag": f'"{file.version}"',
        "Vary": "Accept-Encoding",
    }
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    body = file.body
    if file.gzipped is not None and "gzip" in request.headers.get("Accept-Encoding", ""):
        body = file.gzipped
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=body, content_type=file.content_type, headers=headers)
