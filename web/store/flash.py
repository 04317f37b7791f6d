"""Notices for the next page after a redirect, stored in the session until then."""

from typing import NamedTuple

from aiohttp import web
from aiohttp_session import Session, get_session

_NOTICES = "notices"
#: Only the latest notices are stored; a page with more would not be read.
_MAX_NOTICES = 20


class Notice(NamedTuple):
    """`kind` is `ok`, `info`, `warn` or `bad`."""

    kind: str
    text: str


async def add(request: web.Request, kind: str, text: str) -> None:
    """Show this notice on the next page of the visitor."""
    session = await get_session(request)
    session[_NOTICES] = [*session.get(_NOTICES, []), [kind, text]][-_MAX_NOTICES:]


async def redirect(request: web.Request, address: str, kind: str, text: str) -> web.HTTPSeeOther:
    """The redirect to a page, which shows this notice; the caller raises it."""
    await add(request, kind, text)
    return web.HTTPSeeOther(address)


def pop_notices(session: Session) -> list[Notice]:
    """Remove and return the stored notices."""
    if _NOTICES not in session:
        return []
    return [Notice(*notice) for notice in session.pop(_NOTICES)]
