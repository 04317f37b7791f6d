"""What is said on the next page, after a redirect; kept in the session until then."""

from typing import NamedTuple

from aiohttp import web
from aiohttp_session import Session, get_session

_NOTICES = "notices"
#: More than fit on a page nobody reads.
_MOST = 20


class Notice(NamedTuple):
    """`kind` is `ok`, `info`, `warn` or `bad`."""

    kind: str
    text: str


async def leave(request: web.Request, kind: str, text: str) -> None:
    """Say this on the page that the visitor sees next."""
    session = await get_session(request)
    session[_NOTICES] = [*session.get(_NOTICES, []), [kind, text]][-_MOST:]


def taken(session: Session) -> list[Notice]:
    """What there is to say; it is said once."""
    if _NOTICES not in session:
        return []
    return [Notice(*notice) for notice in session.pop(_NOTICES)]
