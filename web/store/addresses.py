"""The address book: where parcels go."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import AddressBookFull, Invalid
from bookstore.i18n import _
from bookstore.users import addresses
from bookstore.users.addresses import COUNTRIES, FIELDS, Address
from web.auth.sessions import me
from web.server.keys import ENGINE
from web.server.request_context import now
from web.store import flash, formatting, forms
from web.store.rendering import page

PATH = "/account/addresses"
_EMPTY = dict.fromkeys(FIELDS, "")

T = TypeVar("T")


async def show_all(request: web.Request) -> web.Response:
    """GET /account/addresses."""
    return await _list(request, _EMPTY | {"name": me(request).name})


async def add(request: web.Request) -> web.Response:
    """POST /account/addresses."""
    form = await forms.read(request)
    typed = _typed(form)

    async def work(conn: AsyncConnection) -> Address:
        return await addresses.add(
            conn, me(request).id, typed, is_default="is_default" in form, now=now()
        )

    try:
        address = await _changed(request, work)
    except Invalid as error:
        return await _list(request, typed, faults={error.field: error.said()}, status=422)
    except AddressBookFull as error:
        await flash.leave(request, "bad", error.said())
    else:
        facts = {"line": address.line1, "city": address.city}
        text = _("%(line)s, %(city)s is in the book.") % facts
        await flash.leave(request, "ok", text)
    raise web.HTTPSeeOther(PATH)


async def show(request: web.Request) -> web.Response:
    """GET /account/addresses/{address_id}: to be changed."""
    address = await _mine(request)
    typed = {name: text or "" for name, text in address.for_parcel().items()}
    return await _one(request, address, typed)


async def change(request: web.Request) -> web.Response:
    """POST /account/addresses/{address_id}: other lines, the default one, or removed."""
    form = await forms.read(request)
    typed = _typed(form)
    address_id = int(request.match_info["address_id"])

    async def work(conn: AsyncConnection) -> str:
        if "remove" in form:
            await addresses.remove(conn, me(request).id, address_id)
            return _("That address is gone. Orders that went there keep it.")
        changed = {} if "prefer" in form else typed
        prefer = True if "prefer" in form else None
        address = await addresses.change(
            conn, me(request).id, address_id, changed, is_default=prefer, now=now()
        )
        facts = {"line": address.line1, "city": address.city}
        return _("Saved: %(line)s, %(city)s.") % facts

    try:
        said = await _changed(request, work)
    except Invalid as error:
        faults = {error.field: error.said()}
        return await _one(request, await _mine(request), typed, faults=faults, status=422)
    await flash.leave(request, "ok", said)
    raise web.HTTPSeeOther(PATH)


async def _changed(request: web.Request, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    async def run() -> T:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await work(conn)

    return await retry_transaction(run)


async def _mine(request: web.Request) -> Address:
    async with reading(request.config_dict[ENGINE]) as conn:
        return await addresses.get(conn, me(request).id, int(request.match_info["address_id"]))


def _typed(form: Mapping[str, str]) -> dict[str, str]:
    return {name: form.get(name, "").strip() for name in FIELDS}


async def _list(
    request: web.Request,
    typed: Mapping[str, str],
    *,
    faults: Mapping[str, str] | None = None,
    status: int = 200,
) -> web.Response:
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await addresses.of_user(conn, me(request).id)
    return await page(
        request,
        "account_addresses.html",
        status=status,
        addresses=found,
        countries=_countries(),
        faults=faults or {},
        most=addresses.MOST,
        typed=typed,
    )


async def _one(
    request: web.Request,
    address: Address,
    typed: Mapping[str, str],
    *,
    faults: Mapping[str, str] | None = None,
    status: int = 200,
) -> web.Response:
    return await page(
        request,
        "account_address.html",
        status=status,
        address=address,
        countries=_countries(),
        faults=faults or {},
        typed=typed,
    )


def _countries() -> list[tuple[str, str]]:
    return formatting.countries(COUNTRIES)
