"""What forms send."""

import re
import secrets
from collections.abc import Mapping

from aiohttp import web
from multidict import MultiDictProxy

from bookstore.carts import MAX_QUANTITY

#: A path of our own: browsers read `//` and `/\` as another host, and skip tabs and line breaks.
#: Spelled with per cent signs these are harmless, but not every proxy leaves them spelled so.
_LOCAL = re.compile(r"/(?![/\\]|%(?:0.|2f|5c))[\x21-\x5b\x5d-\x7e]*", re.IGNORECASE)
_KEY = re.compile(r"[A-Za-z0-9_-]{16,64}")


#: The longest text has 16,000 characters, and a form spells some, such as Chinese ones, in nine
#: bytes each; with the other fields of its form, and enough to tell somebody that it is too long.
LONG = 256 * 1024

Sent = MultiDictProxy[str | bytes | bytearray | web.FileField]


async def read(request: web.Request) -> Mapping[str, str]:
    """The fields of a form, each once; of several with one name the first."""
    return once(await sent(request))


async def sent(request: web.Request, most: int | None = None) -> Sent:
    """All fields of a form; `most` bytes are read where the site's bound on bodies is too low."""
    if request.body_exists and request.content_type != "application/x-www-form-urlencoded":
        raise web.HTTPUnsupportedMediaType
    try:
        return await (request.clone(client_max_size=most) if most else request).post()
    except ValueError:  # Bytes that are no UTF-8.
        raise web.HTTPBadRequest from None


def once(sent: Sent) -> Mapping[str, str]:
    """The fields, each once; of several with one name the first."""
    fields: dict[str, str] = {}
    for name, value in sent.items():
        if isinstance(value, str):
            # Half a character may be spelled with per cent signs.
            fields.setdefault(name, value.encode(errors="replace").decode())
    return fields


def local(address: str | None, default: str = "/") -> str:
    """Where to go back to, if that is here and not on another site."""
    return address if address and _LOCAL.fullmatch(address) else default


def quantity(form: Mapping[str, str]) -> int:
    """How many copies a form asks for, one more or less if that was pressed; 0 removes.

    What is no number is 1.
    """
    typed = form.get("quantity", "")
    copies = int(typed) if re.fullmatch(r"[0-9]{1,4}", typed) else 1
    step = {"-1": -1, "1": 1}.get(form.get("step", ""), 0)
    return max(0, min(copies + step, MAX_QUANTITY))


def new_key() -> str:
    """What a form carries in its field `key`, so that pressing its button twice does one thing."""
    return secrets.token_urlsafe(24)


def key_of(form: Mapping[str, str]) -> str | None:
    """The key that a form was sent with; None when it has none that `new_key` could have made."""
    key = form.get("key", "")
    return key if _KEY.fullmatch(key) else None
