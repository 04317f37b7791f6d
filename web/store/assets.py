"""Style sheet, typefaces, icons and script: a fixed list, held in memory.

Each is asked for with the hash of its content (`/static/site.css?v=...`), so that browsers
keep it for ever and see a new one at once.
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

_TYPES = {
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "woff2": "font/woff2",
}
#: Typefaces are compressed already.
_COMPRESSED = {"css", "js", "svg"}
_FOR_EVER = "public, max-age=31536000, immutable"
_REFERENCE = re.compile(r'url\("(fonts/[^"]+)"\)')


@dataclass(frozen=True, slots=True)
class File:
    content_type: str
    body: bytes
    #: The body once more, smaller; None where that gains nothing.
    gzipped: bytes | None
    version: str


@cache
def all_files() -> dict[str, File]:
    """Every file by its path below `/static/`."""
    root = files("web.store") / "static"
    fonts = {
        f"fonts/{file.name}": held(file.name, file.read_bytes())
        for file in (root / "fonts").iterdir()
        if _suffix(file) == "woff2"
    }
    others = {
        file.name: held(file.name, _with_versions(file, fonts))
        for file in root.iterdir()
        if _suffix(file) in _TYPES
    }
    return fonts | others


def url(path: str) -> str:
    """The address of a file, for templates."""
    return f"/static/{path}?v={all_files()[path].version}"


async def show_file(request: web.Request) -> web.Response:
    """GET /static/{path}."""
    return sent(request, all_files().get(request.match_info["path"]))


def sent(request: web.Request, file: File | None) -> web.Response:
    """The answer to a request for a file; one that is asked for by its version stays for ever.

    Raises:
        NotFound: there is no such file.
    """
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


def held(name: str, body: bytes) -> File:
    """A file to be held in memory; its type follows from its name."""
    suffix = name.rpartition(".")[2]
    return File(
        content_type=_TYPES[suffix],
        body=body,
        # Without a time in it, so that two processes send the same.
        gzipped=gzip.compress(body, mtime=0) if suffix in _COMPRESSED else None,
        version=hashlib.sha256(body).hexdigest()[:12],
    )


def _with_versions(file: Traversable, fonts: dict[str, File]) -> bytes:
    """The file's content; a style sheet asks for typefaces with their versions."""
    body = file.read_bytes()
    if _suffix(file) != "css":
        return body

    def versioned(found: re.Match[str]) -> str:
        return f'url("{found[1]}?v={fonts[found[1]].version}")'

    return _REFERENCE.sub(versioned, body.decode()).encode()


def _suffix(file: Traversable) -> str:
    return file.name.rpartition(".")[2]
