"""What an order looks like in JSON."""

from marshmallow import Schema, fields, validate

from bookstore.database.pagination import LARGEST_ID
from bookstore.orders import State
from bookstore.payments import Payment
from bookstore.users.addresses import LENGTHS
from web.api.field_types import LARGEST_CENTS, Count, Lines, Moment
from web.api.schemas import PageQuery, page_of

_NOTE = 1000


class AddressIn(Schema):
    """The store looks at it closely; here is only its shape."""

    name = fields.String(required=True, metadata={"maxLength": LENGTHS["name"]})
    line1 = fields.String(required=True, metadata={"maxLength": LENGTHS["line1"]})
    line2 = fields.String(allow_none=True, metadata={"maxLength": LENGTHS["line2"]})
    city = fields.String(required=True, metadata={"maxLength": LENGTHS["city"]})
    postcode = fields.String(
        allow_none=True,
        metadata={
            "maxLength": LENGTHS["postcode"],
            "description": "Required in countries that have postcodes.",
        },
    )
    country = fields.String(
        required=True, metadata={"description": "ISO 3166-1 alpha-2.", "example": "DE"}
    )
    phone = fields.String(allow_none=True, metadata={"maxLength": LENGTHS["phone"]})


class AddressOut(Schema):
    name = fields.String(required=True)
    line1 = fields.String(required=True)
    line2 = fields.String(required=True, allow_none=True)
    city = fields.String(required=True)
    postcode = fields.String(required=True, allow_none=True)
    country = fields.String(required=True)
    phone = fields.String(required=True, allow_none=True)


class OrderIn(Schema):
    shipping_address = fields.Nested(AddressIn)
    address_id = Count(
        1,
        LARGEST_ID,
        metadata={"description": "An address of the caller's address book, instead."},
    )
    email = fields.String(
        validate=validate.Length(max=254),
        metadata={"format": "email", "description": "Required from guests."},
    )
    expected_total_cents = Count(
        0,
        LARGEST_CENTS * 100,
        allow_none=True,
        metadata={"description": "What the customer agreed to; another total is refused."},
    )
    note = Lines(_NOTE, allow_none=True)


class LineOut(Schema):
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
    placed_at = Moment(required=True)
    updated_at = Moment(required=True)
    email = fields.String(required=True)
    items = fields.List(fields.Nested(LineOut), required=True)
    subtotal_cents = fields.Integer(required=True)
    discount_cents = fields.Integer(required=True)
    shipping_cents = fields.Integer(required=True)
    tax_cents = fields.Integer(
        required=True, metadata={"description": "Contained in the total, not added to it."}
    )
    total_cents = fields.Integer(
        required=True,
        allow_none=True,
        metadata={
            "description": "Books less discount plus shipping, the tax contained.  Null until the"
            " order service has worked it out."
        },
    )
    currency = fields.String(required=True)
    shipping_address = fields.Nested(AddressOut, required=True)
    reason = fields.String(required=True, allow_none=True)
    tracking = fields.String(required=True, allow_none=True)


class PlacedOrderOut(OrderOut):
    access_token = fields.String(
        metadata={"description": "For guests: opens this order without an account."}
    )


class EventOut(Schema):
    id = fields.Integer(
        required=True, metadata={"description": "Counts 1, 2, 3 ... within the order."}
    )
    kind = fields.String(required=True)
    at = Moment(required=True)
    actor = fields.String(required=True)
    detail = fields.String(required=True, allow_none=True)


class EventsOut(Schema):
    items = fields.List(fields.Nested(EventOut), required=True)


class TokenQuery(Schema):
    access_token = fields.String(
        load_default=None,
        validate=validate.Length(max=100),
        metadata={"description": "A guest's, as it came with the order."},
    )


class OrderQuery(PageQuery):
    status = fields.Enum(State, by_value=True, load_default=None)


class AllOrdersQuery(OrderQuery):
    q = fields.String(
        load_default=None,
        validate=validate.Length(max=200),
        metadata={"description": "Beginning of a number or address, part of a title, an ISBN."},
    )


class CancellationIn(Schema):
    reason = Lines(_NOTE, allow_none=True)


class TransitionIn(Schema):
    to = fields.Enum(State, by_value=True, required=True)
    reason = Lines(_NOTE, allow_none=True)
    tracking = Lines(200, allow_none=True)


class PaymentIn(Schema):
    to = fields.Enum(Payment, by_value=True, required=True)


OrderPage = page_of(OrderOut)
