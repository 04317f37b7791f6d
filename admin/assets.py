"""The dashboard's own style sheet and icons; all else it shares with the store's pages."""

from functools import cache
from importlib.resources import files

from aiohttp import web

from web.store.assets import File, held, sent


@cache
def all_files() -> dict[str, File]:
    """Every file by its name below `/admin/static/`."""
    folder = files("admin") / "static"
    return {file.name: held(file.name, file.read_bytes()) for file in folder.iterdir()}


def url(name: str) -> str:
    """The address of a file, for templates."""
    return f"/admin/static/{name}?v={all_files()[name].version}"


async def show(request: web.Request) -> web.Response:
    """GET /admin/static/{name}."""
    return sent(request, all_files().get(request.match_info["name"]))
