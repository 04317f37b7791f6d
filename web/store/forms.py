"""Reading HTML forms."""

import re
import secrets
from collections.abc import Mapping

from aiohttp import web
from multidict import MultiDictProxy

from bookstore.carts import MAX_QUANTITY
from web.server.request_limits import LARGEST_FORM

#: A path on this site.  Browsers treat `//` and `/\` as another host and skip tabs and line breaks.
#: Percent-encoded forms are harmless in browsers, but some proxies decode them.
_LOCAL = re.compile(r"/(?![/\\]|%(?:0.|2f|5c))[\x21-\x5b\x5d-\x7e]*", re.IGNORECASE)
_KEY = re.compile(r"[A-Za-z0-9_-]{16,64}")


#: Size limit for forms with long texts, in bytes.  The longest text has 16,000 characters, and a
#: form encodes some (such as Chinese ones) in nine bytes.  The rest is for the other fields, and
#: for texts that are slightly too long, which then get an error message.
LONG = LARGEST_FORM

Sent = MultiDictProxy[str | bytes | bytearray | web.FileField]


async def read(request: web.Request) -> Mapping[str, str]:
    """The fields of a form.  Of several fields with one name, the first."""
    return once(await sent(request))


async def sent(request: web.Request, most: int | None = None) -> Sent:
    """All fields of a form; `most` raises the site's limit on the size of a body, in bytes."""
    if request.body_exists and request.content_type != "application/x-www-form-urlencoded":
        raise web.HTTPUnsupportedMediaType
    try:
        return await (request.clone(client_max_size=most) if most else request).post()
    except ValueError:  # Not valid UTF-8.
        raise web.HTTPBadRequest from None


def once(sent: Sent) -> Mapping[str, str]:
    """The fields.  Of several with one name, the first."""
    fields: dict[str, str] = {}
    for name, value in sent.items():
        if isinstance(value, str):
            # Percent-encoding can contain a lone surrogate.
            fields.setdefault(name, value.encode(errors="replace").decode())
    return fields


def local(address: str | None, default: str = "/") -> str:
    """The address if it is a path on this site, else the default (no open redirects)."""
    return address if address and _LOCAL.fullmatch(address) else default


def quantity(form: Mapping[str, str]) -> int:
    """The quantity in a form, after its plus or minus button; 0 removes the book.

    Anything that is not a number counts as 1.
    """
    typed = form.get("quantity", "")
    value = int(typed) if re.fullmatch(r"[0-9]{1,4}", typed) else 1
    step = {"-1": -1, "1": 1}.get(form.get("step", ""), 0)
    return max(0, min(value + step, MAX_QUANTITY))


def new_key() -> str:
    """A new idempotency key for a form's field `key`; submitting the form twice has one effect."""
    return secrets.token_urlsafe(24)


def key_of(form: Mapping[str, str]) -> str | None:
    """The key of a submitted form; None if it is missing or has an invalid format."""
    key = form.get("key", "")
    return key if _KEY.fullmatch(key) else None
