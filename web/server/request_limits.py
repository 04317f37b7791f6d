"""Size and time limits of connections and requests (OWASP ASVS 5.0, 5.2 and 13.1.2)."""

from dataclasses import dataclass

from aiohttp import web

from bookstore.database import file_store


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """Limits that end a connection or request; times in seconds, sizes in bytes."""

    #: An idle connection, or one that is still sending its headers, is closed after this time.
    keepalive_s: float = 15.0
    #: The request body must be complete after this time; aiohttp itself would wait forever.
    body_timeout_s: float = 20.0
    #: An upload may take longer if it transfers at least this many bytes per second.
    min_upload_rate: int = 50_000
    #: A connection whose client does not read its response for this long is aborted.
    unread_timeout_s: float = 20.0
    #: Interval of that check.
    unread_check_s: float = 5.0
    #: Time to receive the rest of a body that no handler has read.
    linger_s: float = 2.0
    #: Length of the request line and of each header field (the default of nginx), number of fields.
    max_line: int = 8190
    max_fields: int = 100
    #: Maximum body size. Uploads, which are read in chunks, and long texts by staff are exempt.
    max_body: int = 64 * 1024


#: No body is larger: the file of an import with its form, and the longest text of staff.
LARGEST_UPLOAD = file_store.MAX_BYTES + 64 * 1024
LARGEST_FORM = 256 * 1024

REQUEST_LIMITS = web.AppKey("request_limits", RequestLimits)


#: The limits of every store.
DEFAULT_LIMITS = RequestLimits()
