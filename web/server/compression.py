"""Compressed JSON.  A proxy may compress all other texts; `nginx/bookstore.conf` does."""

import gzip

from aiohttp import hdrs, web

#: Below this, a response fits into one packet anyway.
MIN_BYTES = 1024
#: A twelfth of the time of the highest level, for files that are a few per cent larger.
LEVEL = 4
_QUOTE = '"'
_MARK = '-gzip"'


def plain_etag(tag: str) -> str:
    """The tag of the uncompressed response."""
    return tag.removesuffix(_MARK) + _QUOTE if tag.endswith(_MARK) else tag


async def compress_json(request: web.Request, response: web.StreamResponse) -> None:
    """Compress a JSON response to a program that accepts it.

    Responses to requests with a cookie stay uncompressed: an attacker who can make a browser send
    requests, and see the length of the responses, could guess secrets in them (BREACH,
    https://breachattack.com).
    """
    if not (
        isinstance(response, web.Response)
        and response.content_type == "application/json"
        and isinstance(response.body, bytes)
        and len(response.body) >= MIN_BYTES
        and request.method == hdrs.METH_GET
        and hdrs.CONTENT_ENCODING not in response.headers
    ):
        return
    vary = response.headers.get(hdrs.VARY)
    response.headers[hdrs.VARY] = ", ".join(filter(None, (vary, hdrs.ACCEPT_ENCODING)))
    if hdrs.COOKIE in request.headers or not _accepts_gzip(request):
        return
    response.body = gzip.compress(response.body, LEVEL, mtime=0)
    response.headers[hdrs.CONTENT_ENCODING] = "gzip"
    response.headers[hdrs.CONTENT_LENGTH] = str(len(response.body))
    if etag := response.headers.get(hdrs.ETAG):
        # Other bytes need another tag (RFC 9110, section 8.8.3.3).
        response.headers[hdrs.ETAG] = f"{etag.removesuffix(_QUOTE)}{_MARK}"


def _accepts_gzip(request: web.Request) -> bool:
    for entry in request.headers.get(hdrs.ACCEPT_ENCODING, "").lower().split(","):
        coding, _, weight = entry.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
