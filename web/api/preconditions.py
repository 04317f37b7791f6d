"""`If-Match`: optimistic locking for changes of a resource (RFC 9110, section 13.1.1)."""

import re

from aiohttp import web

from bookstore.errors import Stale
from web.server.compression import plain_etag
from web.server.errors import IfMatchRequired

#: The part after the version is not compared.  It changes without an edit of the resource: the
#: stock of a book, the number of books in a category.
_TAG = re.compile(r'"([0-9]{1,10})(?:\.[0-9a-f]+)?"')


def check_if_match(request: web.Request, version: int) -> int:
    """The current version, if `If-Match` of the request matches it.

    Raises:
        IfMatchRequired: the request has no `If-Match`.
        Stale: `If-Match` contains other versions only.
    """
    header = request.headers.get("If-Match")
    if header is None:
        raise IfMatchRequired
    tags = [plain_etag(tag.strip()) for tag in header.split(",")]
    versions = [match[1] for tag in tags if (match := _TAG.fullmatch(tag))]
    if tags != ["*"] and str(version) not in versions:
        raise Stale(version)
    return version
