"""The dashboard's own style sheet, script and icons; other assets are shared with the store."""

from functools import cache
from importlib.resources import files

from aiohttp import web

from web.store.assets import File, file_response, make_file


@cache
def all_files() -> dict[str, File]:
    """Every file by its name under `/admin/static/`."""
    folder = files("admin") / "static"
    return {file.name: make_file(file.name, file.read_bytes()) for file in folder.iterdir()}


def url(name: str) -> str:
    """The URL of a file, for templates."""
    return f"/admin/static/{name}?v={all_files()[name].version}"


async def show(request: web.Request) -> web.Response:
    """GET /admin/static/{name}."""
    return file_response(request, all_files().get(request.match_info["name"]))
