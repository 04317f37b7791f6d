"""`If-Match`: nobody writes over a change that they have not seen (RFC 9110, section 13.1.1)."""

import re

from aiohttp import web

from bookstore.errors import Stale
from web.refusals import IfMatchRequired

#: A book's tag is `"version.stock"`: sales move the stock, and do not make a writer stale.
_TAG = re.compile(r'"([0-9]{1,10})(?:\.[0-9]+)?"')


def seen_version(request: web.Request, version: int) -> int:
    """The version that the client has seen, if it is the one that the record has.

    Raises:
        IfMatchRequired: the client does not say what it has seen.
        Stale: it has seen another version.
    """
    header = request.headers.get("If-Match")
    if header is None:
        raise IfMatchRequired
    tags = [tag.strip() for tag in header.split(",")]
    seen = [match[1] for tag in tags if (match := _TAG.fullmatch(tag))]
    if tags != ["*"] and str(version) not in seen:
        raise Stale(version)
    return version
