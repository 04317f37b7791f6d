"""How much, and how slowly, a client may send and take (OWASP ASVS 5.0, 5.2 and 13.1.2)."""

from dataclasses import dataclass

from aiohttp import web


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What ends a connection or a request that takes too long, and when; seconds and bytes."""

    #: Idle, or busy sending its headers.
    keepalive_s: float = 15.0
    #: A body is complete by then; aiohttp would wait for the rest of it for ever.
    body_s: float = 20.0
    #: An upload may take longer than that, as long as it comes at so many bytes a second.
    slowest_upload: int = 50_000
    #: Whoever has not taken all of an answer by then does not want it.
    unread_s: float = 20.0
    #: How often a connection is looked at for that.
    look_s: float = 5.0
    #: A body that no handler has read is waited for so long.
    linger_s: float = 2.0
    #: The longest line and field, as nginx has it, and how many fields.
    line: int = 8190
    fields: int = 100
    #: No body is larger but an upload, which is read in pieces, and a long text of the staff.
    body: int = 64 * 1024


BOUNDS = web.AppKey("bounds", Bounds)


#: What every store has.
BOUNDED = Bounds()
