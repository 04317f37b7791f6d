"""Static files (style sheet, fonts, icons, script), held in memory.

URLs contain a hash of the content (`/static/site.css?v=...`).  Browsers can therefore cache a file
forever and still load a new version immediately.
"""

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from aiohttp import web

from bookstore.errors import NotFound

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "woff2": "font/woff2"}
#: Types to compress; fonts are compressed already.
_COMPRESSIBLE = {"css", "js", "svg"}
_IMMUTABLE = "public, max-age=31536000, immutable"
_REFERENCE = re.compile(r'url\("(fonts/[^"]+)"\)')


@dataclass(frozen=True, slots=True)
class File:
    content_type: str
    body: bytes
    #: The body compressed with gzip; None for types that are compressed already.
    gzipped: bytes | None
    version: str


@cache
def all_files() -> dict[str, File]:
    """Every file by its path below `/static/`."""
    root = files("web.store") / "static"
    fonts = {
        f"fonts/{file.name}": make_file(file.name, file.read_bytes())
        for file in (root / "fonts").iterdir()
        if _suffix(file) == "woff2"
    }
    others = {
        file.name: make_file(file.name, _with_versions(file, fonts))
        for file in root.iterdir()
        if _suffix(file) in _TYPES
    }
    return fonts | others


def url(path: str) -> str:
    """The address of a file, for templates."""
    return f"/static/{path}?v={all_files()[path].version}"


async def show_file(request: web.Request) -> web.Response:
    """GET /static/{path}."""
    return file_response(request, all_files().get(request.match_info["path"]))


def file_response(request: web.Request, file: File | None) -> web.Response:
    """The response for a file.  With the current version in the URL it may be cached forever.

    Raises:
        NotFound: there is no such file.
    """
    if file is None:
        raise NotFound("This file")
    current = request.query.get("v") == file.version
    headers = {
        "Cache-Control": _IMMUTABLE if current else "public, no-cache",
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


def make_file(name: str, body: bytes) -> File:
    """A file in memory; the suffix of the name determines its type."""
    suffix = name.rpartition(".")[2]
    return File(
        content_type=_TYPES[suffix],
        body=body,
        # mtime=0: all processes must send identical bytes.
        gzipped=gzip.compress(body, mtime=0) if suffix in _COMPRESSIBLE else None,
        version=hashlib.sha256(body).hexdigest()[:12],
    )


def _with_versions(file: Traversable, fonts: dict[str, File]) -> bytes:
    """The file's content.  In a style sheet, font URLs get their versions."""
    body = file.read_bytes()
    if _suffix(file) != "css":
        return body

    def versioned(found: re.Match[str]) -> str:
        return f'url("{found[1]}?v={fonts[found[1]].version}")'

    return _REFERENCE.sub(versioned, body.decode()).encode()


def _suffix(file: Traversable) -> str:
    return file.name.rpartition(".")[2]
