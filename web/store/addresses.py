"""The address book: saved shipping addresses."""

from collections.abc import Mapping

from aiohttp import web

from bookstore.errors import AddressBookFull, Invalid
from bookstore.i18n import _
from bookstore.users import addresses
from bookstore.users.addresses import COUNTRIES, FIELDS, Address
from web.auth.sessions import current_user
from web.server.request_context import now
from web.server.transactions import read, write
from web.store import flash, formatting, forms
from web.store.rendering import form_page

PATH = "/account/addresses"
_EMPTY = dict.fromkeys(FIELDS, "")


async def show_all(request: web.Request) -> web.Response:
    """GET /account/addresses."""
    return await _list(request, _EMPTY | {"name": current_user(request).name})


async def add(request: web.Request) -> web.Response:
    """POST /account/addresses."""
    form, user = await forms.read(request), current_user(request)
    typed, is_default = _typed(form), "is_default" in form
    try:
        address = await write(
            request, addresses.add, user.id, typed, is_default=is_default, now=now()
        )
    except Invalid as error:
        return await _list(request, typed, error)
    except AddressBookFull as error:
        raise await flash.redirect(request, PATH, "bad", error.translated()) from None
    facts = {"line": address.line1, "city": address.city}
    text = _("The address %(line)s, %(city)s was added.") % facts
    raise await flash.redirect(request, PATH, "ok", text)


async def show(request: web.Request) -> web.Response:
    """GET /account/addresses/{address_id}: the form to edit it."""
    address = await _mine(request)
    typed = {name: text or "" for name, text in address.as_shipping_address().items()}
    return await _one(request, address, typed)


async def change(request: web.Request) -> web.Response:
    """POST /account/addresses/{address_id}: edit it, make it the default, or remove it."""
    form, user_id = await forms.read(request), current_user(request).id
    typed = _typed(form)
    address_id = int(request.match_info["address_id"])
    if "remove" in form:
        await write(request, addresses.remove, user_id, address_id)
        text = _("The address was removed. Existing orders keep it.")
        raise await flash.redirect(request, PATH, "ok", text)
    changed, prefer = ({}, True) if "prefer" in form else (typed, None)
    try:
        address = await write(
            request, addresses.change, user_id, address_id, changed, is_default=prefer, now=now()
        )
    except Invalid as error:
        return await _one(request, await _mine(request), typed, error)
    facts = {"line": address.line1, "city": address.city}
    text = _("Saved: %(line)s, %(city)s.") % facts
    raise await flash.redirect(request, PATH, "ok", text)


async def _mine(request: web.Request) -> Address:
    address_id = int(request.match_info["address_id"])
    return await read(request, addresses.get, current_user(request).id, address_id)


def _typed(form: Mapping[str, str]) -> dict[str, str]:
    return {name: form.get(name, "").strip() for name in FIELDS}


async def _list(
    request: web.Request, typed: Mapping[str, str], error: Invalid | None = None
) -> web.Response:
    return await form_page(
        request,
        "account_addresses.html",
        error,
        addresses=await read(request, addresses.of_user, current_user(request).id),
        countries=formatting.countries(COUNTRIES),
        most=addresses.MAX_ADDRESSES,
        typed=typed,
    )


async def _one(
    request: web.Request, address: Address, typed: Mapping[str, str], error: Invalid | None = None
) -> web.Response:
    countries = formatting.countries(COUNTRIES)
    return await form_page(
        request, "account_address.html", error, address=address, countries=countries, typed=typed
    )
