"""The address book: saved shipping addresses."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import AddressBookFull, Invalid
from bookstore.i18n import _
from bookstore.users import addresses
from bookstore.users.addresses import COUNTRIES, FIELDS, Address
from web.auth.sessions import current_user
from web.server.keys import ENGINE
from web.server.request_context import now
from web.store import flash, formatting, forms
from web.store.rendering import page

PATH = "/account/addresses"
_EMPTY = dict.fromkeys(FIELDS, "")

T = TypeVar("T")


async def show_all(request: web.Request) -> web.Response:
    """GET /account/addresses."""
    return await _list(request, _EMPTY | {"name": current_user(request).name})


async def add(request: web.Request) -> web.Response:
    """POST /account/addresses."""
    form = await forms.read(request)
    typed = _typed(form)

    async def work(conn: AsyncConnection) -> Address:
        return await addresses.add(
            conn, current_user(request).id, typed, is_default="is_default" in form, now=now()
        )

    try:
        address = await _in_transaction(request, work)
    except Invalid as error:
        return await _list(request, typed, faults={error.field: error.translated()}, status=422)
    except AddressBookFull as error:
        await flash.add(request, "bad", error.translated())
    else:
        facts = {"line": address.line1, "city": address.city}
        text = _("The address %(line)s, %(city)s was added.") % facts
        await flash.add(request, "ok", text)
    raise web.HTTPSeeOther(PATH)


async def show(request: web.Request) -> web.Response:
    """GET /account/addresses/{address_id}: the form to edit it."""
    address = await _mine(request)
    typed = {name: text or "" for name, text in address.as_shipping_address().items()}
    return await _one(request, address, typed)


async def change(request: web.Request) -> web.Response:
    """POST /account/addresses/{address_id}: edit it, make it the default, or remove it."""
    form = await forms.read(request)
    typed = _typed(form)
    address_id = int(request.match_info["address_id"])

    async def work(conn: AsyncConnection) -> str:
        if "remove" in form:
            await addresses.remove(conn, current_user(request).id, address_id)
            return _("The address was removed. Existing orders keep it.")
        changed = {} if "prefer" in form else typed
        prefer = True if "prefer" in form else None
        address = await addresses.change(
            conn, current_user(request).id, address_id, changed, is_default=prefer, now=now()
        )
        facts = {"line": address.line1, "city": address.city}
        return _("Saved: %(line)s, %(city)s.") % facts

    try:
        message = await _in_transaction(request, work)
    except Invalid as error:
        faults = {error.field: error.translated()}
        return await _one(request, await _mine(request), typed, faults=faults, status=422)
    await flash.add(request, "ok", message)
    raise web.HTTPSeeOther(PATH)


async def _in_transaction(
    request: web.Request, work: Callable[[AsyncConnection], Awaitable[T]]
) -> T:
    async def run() -> T:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await work(conn)

    return await retry_transaction(run)


async def _mine(request: web.Request) -> Address:
    async with reading(request.config_dict[ENGINE]) as conn:
        return await addresses.get(
            conn, current_user(request).id, int(request.match_info["address_id"])
        )


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
        found = await addresses.of_user(conn, current_user(request).id)
    return await page(
        request,
        "account_addresses.html",
        status=status,
        addresses=found,
        countries=_countries(),
        faults=faults or {},
        most=addresses.MAX_ADDRESSES,
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
