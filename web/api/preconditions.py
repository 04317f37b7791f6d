"""`If-Match`: nobody writes over a change that they have not seen (RFC 9110, section 13.1.1)."""

import re

from aiohttp import web

from bookstore.errors import Stale
from web.api.operations import Header
from web.server.errors import IfMatchRequired

#: What follows the version changes by itself (a book's stock, how many books a category has),
#: and does not make a writer stale.
_TAG = re.compile(r'"([0-9]{1,10})(?:\.[0-9a-f]+)?"')
IF_MATCH = {
    "If-Match": Header('The record\'s `ETag`, or `*` for "whatever it is now".', required=True)
}


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
