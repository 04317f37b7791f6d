"""JSON schemas of orders."""

from typing import Any, ClassVar

from marshmallow import Schema, fields, validate

from bookstore.database.pagination import LARGEST_ID
from bookstore.orders import State
from bookstore.payments import Payment
from bookstore.users.addresses import COUNTRIES, COUNTRY_PATTERN, LENGTHS, needs_postcode
from web.api.field_types import (
    LARGEST_CENTS,
    NOT_BLANK,
    SPACED,
    JsonInteger,
    MultiLine,
    UtcDateTime,
    described,
)
from web.api.schemas import PageQuery, page_of

_MAX_NOTE_LENGTH = 1000


def address_field(name: str, **options: Any) -> fields.String:
    """A field of an address; it is not blank unless None is allowed."""
    pattern = SPACED if options.get("allow_none") else SPACED + NOT_BLANK
    metadata: dict[str, Any] = {"maxLength": LENGTHS[name], "pattern": pattern}
    if name == "postcode":
        metadata["description"] = (
            "A postcode of the country.  Required in countries that have postcodes."
        )
    return fields.String(metadata=metadata, **options)


def country_field(**options: Any) -> fields.String:
    """The country of an address."""
    return fields.String(
        metadata={
            "description": "ISO 3166-1 alpha-2.",
            "example": "DE",
            # Not an enumeration: clients made from the description would have to use its names.
            "pattern": COUNTRY_PATTERN,
        },
        **options,
    )


class AddressIn(Schema):
    """The shape of an address.  `bookstore.users.addresses` validates the content."""

    conditions: ClassVar[dict[str, Any]] = {
        "if": {
            "properties": {
                "country": {"enum": [code for code in sorted(COUNTRIES) if needs_postcode(code)]}
            }
        },
        "then": {
            "properties": {"postcode": {"type": "string", "pattern": NOT_BLANK}},
            "required": ["postcode"],
        },
    }

    name = address_field("name", required=True)
    line1 = address_field("line1", required=True)
    line2 = address_field("line2", allow_none=True)
    city = address_field("city", required=True)
    postcode = address_field("postcode", allow_none=True)
    country = country_field(required=True)
    phone = address_field("phone", allow_none=True)


class AddressOut(Schema):
    name = fields.String(required=True)
    line1 = fields.String(required=True)
    line2 = fields.String(required=True, allow_none=True)
    city = fields.String(required=True)
    postcode = fields.String(required=True, allow_none=True)
    country = fields.String(required=True)
    phone = fields.String(required=True, allow_none=True)


class OrderIn(Schema):
    #: One of the two addresses, never both.
    conditions: ClassVar[dict[str, Any]] = {
        "if": {"required": ["address_id"]},
        "then": {"properties": {"shipping_address": False}},
        "else": {"required": ["shipping_address"]},
    }

    shipping_address = fields.Nested(AddressIn)
    address_id = described(
        "The id of an address in the caller's address book, instead of `shipping_address`.",
        JsonInteger(1, LARGEST_ID),
    )
    email = described(
        "Required from guests.",
        fields.String(validate=validate.Length(max=254), metadata={"format": "email"}),
    )
    expected_total_cents = described(
        "The total that the customer agreed to.  The order is refused if the actual total differs."
        "  Without it, the order is refused if the price of a book has risen since it was put into"
        " the cart.",
        JsonInteger(0, LARGEST_CENTS * 100, allow_none=True),
    )
    note = MultiLine(_MAX_NOTE_LENGTH, allow_none=True)


class OrderLineOut(Schema):
    book_id = fields.Integer(required=True)
    isbn13 = fields.String(required=True)
    title = fields.String(required=True)
    quantity = fields.Integer(required=True)
    unit_price_cents = fields.Integer(required=True)
    line_total_cents = fields.Integer(required=True)


class OrderOut(Schema):
    number = fields.String(required=True)
    status = fields.Enum(State, by_value=True, required=True)
    payment_status = fields.Enum(Payment, by_value=True, required=True)
    placed_at = UtcDateTime(required=True)
    updated_at = UtcDateTime(required=True)
    email = fields.String(required=True)
    items = fields.List(fields.Nested(OrderLineOut), required=True)
    subtotal_cents = fields.Integer(required=True)
    discount_cents = fields.Integer(required=True, allow_none=True)
    shipping_cents = described(
        "Like `discount_cents` and `tax_cents`, null only if the stored terms of the order are"
        " damaged.",
        fields.Integer(required=True, allow_none=True),
    )
    tax_cents = described(
        "The tax that `total_cents` includes.", fields.Integer(required=True, allow_none=True)
    )
    total_cents = described(
        "The price of the books less discount plus shipping, including tax.  Null until the worker"
        " has processed the order.",
        fields.Integer(required=True, allow_none=True),
    )
    currency = fields.String(required=True)
    shipping_address = described(
        "Null only if the stored address is damaged.",
        fields.Nested(AddressOut, required=True, allow_none=True, attribute="readable_address"),
    )
    reason = fields.String(required=True, allow_none=True)
    tracking = fields.String(required=True, allow_none=True)


class PlacedOrderOut(OrderOut):
    access_token = described(
        "For guests: gives access to this order without an account.", fields.String()
    )


class OrderEventOut(Schema):
    id = described(
        "The position of the event within the order: 1, 2, 3 ...", fields.Integer(required=True)
    )
    kind = fields.String(required=True)
    at = UtcDateTime(required=True)
    actor = fields.String(required=True)
    detail = fields.String(required=True, allow_none=True)


class OrderEventsOut(Schema):
    items = fields.List(fields.Nested(OrderEventOut), required=True)


class GuestTokenQuery(Schema):
    access_token = described(
        "The access token from the response to a guest's order.",
        fields.String(load_default=None, validate=validate.Length(max=100)),
    )


class OrderQuery(PageQuery):
    status = fields.Enum(State, by_value=True, load_default=None)


class AllOrdersQuery(OrderQuery):
    q = described(
        "A prefix of an order number or e-mail address, a part of a book title, or an ISBN.",
        fields.String(load_default=None, validate=validate.Length(max=200)),
    )


class CancellationIn(Schema):
    reason = MultiLine(_MAX_NOTE_LENGTH, allow_none=True)


class TransitionIn(Schema):
    to = fields.Enum(State, by_value=True, required=True)
    reason = MultiLine(_MAX_NOTE_LENGTH, allow_none=True)
    tracking = MultiLine(200, allow_none=True)


class PaymentIn(Schema):
    to = fields.Enum(Payment, by_value=True, required=True)


OrderPage = page_of(OrderOut)
