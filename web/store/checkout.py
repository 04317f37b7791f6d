"""The checkout page for guests and users.  Submitting its form twice places one order."""

import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from babel import Locale, UnknownLocaleError

from bookstore import i18n, idempotency, orders
from bookstore.database.engine import reading
from bookstore.errors import (
    BookWithdrawn,
    CartEmpty,
    IdempotencyKeyReused,
    Invalid,
    InvalidFields,
    NotDelivered,
    NotYetOnSale,
    PriceChanged,
    RequestInProgress,
    TooManyCopies,
)
from bookstore.i18n import N_, _
from bookstore.orders import CheckoutRequest, Order
from bookstore.pricing import CountryTable, Rates
from bookstore.users import accounts, addresses
from bookstore.users.addresses import Address
from web.auth import guest_cart as visitors
from web.auth import order_access
from web.auth.login_throttle import limit_guest_orders, uncount_guest_order
from web.auth.sessions import current_user
from web.server import languages
from web.server.errors import TooManyAttempts
from web.server.keys import CHECKOUTS, ENGINE, REQUEST_ID, SESSION_WAIT_S, TARIFF, USER
from web.server.request_context import now
from web.server.transactions import read, write
from web.store import cart as cart_page
from web.store import flash, formatting, forms, guest_orders
from web.store.rendering import page

_FIELDS = ("email", "name", "line1", "line2", "postcode", "city", "country", "note", "keep")
_LONGEST_NOTE = 1000
_MISSING = N_("Please fill in this field.")


async def show(request: web.Request) -> web.Response:
    """GET /checkout: the form, prefilled; `address` selects one of the address book."""
    return await _form(request, await _prefilled(request))


async def place(request: web.Request) -> web.Response:
    """POST /checkout: redirect to the order, or show the form again with its input."""
    form = await forms.read(request)
    typed = {name: form.get(name, "").strip() for name in _FIELDS}
    key = forms.key_of(form) or forms.new_key()
    faults, address = _validate(request, typed)
    if faults:
        return await _form(request, typed, key, status=422, faults=faults)
    checkout_request = await _checkout_request(request, form, typed, address, key)
    if checkout_request is None:
        raise web.HTTPSeeOther("/cart")
    try:
        async with limit_guest_orders(request, checkout_request.email):
            placed = await request.config_dict[CHECKOUTS].place(
                checkout_request, waited_s=request[SESSION_WAIT_S]
            )
        if placed.replayed:
            await uncount_guest_order(request, checkout_request.email)
    except TooManyAttempts:
        faults = {"email": _("There were many orders with this address. Please try again later.")}
        return await _form(request, typed, key, status=429, faults=faults)
    except CartEmpty:
        text = _("Your cart is empty, so there is nothing to order.")
        raise await flash.redirect(request, "/cart", "info", text) from None
    except (BookWithdrawn, NotYetOnSale, TooManyCopies) as error:
        raise await flash.redirect(request, "/cart", "bad", error.translated()) from None
    except NotDelivered as error:
        faults = {"country": error.translated()}
        return await _form(request, typed, key, status=409, faults=faults)
    except PriceChanged:
        tariff = request.config_dict[TARIFF]
        before = _rates(tariff, form.get("priced_for", ""))
        moved = before != _rates(tariff, typed["country"])
        return await _form(request, typed, key, status=409, changed=True, shipping_changed=moved)
    except RequestInProgress as error:
        return await _form(request, typed, key, status=409, refusal=error)
    except IdempotencyKeyReused:
        order = await _placed_before(request, checkout_request)
        text = _("You have already placed this order, so nothing was ordered again.")
        address_of_order = guest_orders.address_of(request, order)
        raise await flash.redirect(request, address_of_order, "info", text) from None
    await guest_orders.remember(request, placed.order)
    if typed["keep"]:
        await _save_address(request, address)
    raise web.HTTPSeeOther(guest_orders.address_of(request, placed.order))


async def _form(
    request: web.Request, typed: Mapping[str, str], key: str = "", **content: Any
) -> web.Response:
    tariff = request.config_dict[TARIFF]
    rates = _rates(tariff, typed.get("country", ""))
    cart, lines = await cart_page.load(request, rates)
    if not cart.items or cart_page.is_blocked(cart):
        if cart.items:
            text = _("Please check the marked items in your cart first.")
            await flash.add(request, "warn", text)
        raise web.HTTPSeeOther("/cart")
    content = {"changed": False, "shipping_changed": False} | content
    delivered_to = (code for code in addresses.COUNTRIES if not tariff.excludes(code))
    return await page(
        request,
        "checkout.html",
        address_book=await _address_book(request),
        cart=cart,
        cart_count=cart.item_count,
        countries=formatting.countries(delivered_to),
        key=key or forms.new_key(),
        lines=lines,
        terms=rates,
        typed=typed,
        **content,
    )


async def _prefilled(request: web.Request) -> dict[str, str]:
    """Initial values: an address of the address book, or the one of the last order."""
    user = request[USER]
    known = dict.fromkeys(_FIELDS, "") | {"country": _likely_country(request)}
    chosen = request.query.get("address", "")
    for entry in await _address_book(request):
        if str(entry.id) == chosen or (not chosen and entry.is_default):
            return known | {name: text or "" for name, text in entry.as_shipping_address().items()}
    async with reading(request.config_dict[ENGINE]) as conn:
        order = await guest_orders.last_order(request, conn)
    if order is not None:
        address = {name: text for name, text in order.shipping_address.items() if text}
        known |= {"email": order.email} | address
    elif user is not None:
        known["name"] = user.name
    return known


async def _address_book(request: web.Request) -> list[Address]:
    """The visitor's addresses; guests have none."""
    user = request[USER]
    if user is None:
        return []
    return await read(request, addresses.of_user, user.id)


async def _save_address(request: web.Request, address: Mapping[str, Any]) -> None:
    """Save the address of a placed order in the customer's address book."""
    user_id = current_user(request).id
    if not await write(request, addresses.add_if_missing, user_id, address, now=now()):
        text = _("Your address book is full, so this address was not saved.")
        await flash.add(request, "info", text)


def _validate(
    request: web.Request, typed: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, Any]]:
    """An error message for each invalid field, and the validated address."""
    user = request[USER]
    required = [] if user else ["email"]
    faults = {name: _(_MISSING) for name in _FIELDS if name in required and not typed[name]}
    if user is None and typed["email"]:
        try:
            accounts.normal_email(typed["email"])
        except Invalid as error:
            faults["email"] = error.translated()
    if len(typed["note"]) > _LONGEST_NOTE:
        faults["note"] = _("Please use at most %d characters.") % _LONGEST_NOTE
    address: dict[str, Any] = {}
    try:
        address = addresses.validated(typed, within="address")
    except InvalidFields as error:
        for field, detail in error.details.items():
            faults.setdefault(field.removeprefix("address/"), i18n.translated(detail))
    return {name: faults[name] for name in _FIELDS if name in faults}, address


async def _checkout_request(
    request: web.Request,
    form: Mapping[str, str],
    typed: Mapping[str, str],
    address: dict[str, Any],
    key: str,
) -> CheckoutRequest | None:
    """The validated checkout request; None without a cart."""
    user = request[USER]
    cart_id = await visitors.find_without_connection(request)
    if cart_id is None:
        return None
    email = user.email if user else accounts.normal_email(typed["email"])
    expected = form.get("expected_total_cents", "")
    agreed = int(expected) if re.fullmatch("[0-9]{1,10}", expected) else -1
    note = typed["note"].replace("\r\n", "\n") or None
    return CheckoutRequest(
        key=idempotency.Key(order_access.idempotency_owner(request, cart_id), key),
        request_hash=idempotency.hash_request({**address, "email": email, "note": note}),
        cart_id=cart_id,
        user_id=user.id if user else None,
        email=email,
        shipping_address=address,
        note=note,
        language=languages.email_language(request),
        expected_total_cents=agreed,
        request_id=request[REQUEST_ID],
    )


async def _placed_before(request: web.Request, checkout_request: CheckoutRequest) -> Order:
    """The order that was placed earlier with this form's key and other content."""
    async with reading(request.config_dict[ENGINE]) as conn:
        use = (await idempotency.find(conn, [checkout_request.key]))[checkout_request.key]
        return (await orders.by_ids(conn, [use.order_id]))[use.order_id]


def _rates(tariff: CountryTable, country: str) -> Rates:
    """The rates for a country; those of the home country until one is selected."""
    return tariff.home if not country or tariff.excludes(country) else tariff.rates_for(country)


def _likely_country(request: web.Request) -> str:
    """The country in the browser's first language, such as `de-AT`; empty where there is none."""
    tag = request.headers.get("Accept-Language", "").split(",")[0].split(";")[0].strip()
    try:
        country = Locale.parse(tag, sep="-").territory or ""
    except (UnknownLocaleError, ValueError):
        return ""
    return country if country in addresses.COUNTRIES else ""
