"""The caller's address book."""

from aiohttp import web
from marshmallow import Schema, fields
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database import pagination
from bookstore.database.pagination import Page
from bookstore.errors import AddressBookFull, Invalid
from bookstore.users import addresses
from bookstore.users.addresses import Address
from web.api.field_types import JsonBoolean
from web.api.idempotency import create_once
from web.api.operations import Answer, Fields, operation
from web.api.order_schemas import AddressIn, AddressOut, address_field, country_field
from web.api.schemas import PageQuery, page_of
from web.auth.sessions import current_user
from web.server.request_context import now
from web.server.transactions import read, write

_DEFAULT = {
    "description": "Whether the checkout preselects this address.  Only one address can be."
}


class SavedAddressOut(AddressOut):
    id = fields.Integer(required=True)
    is_default = fields.Boolean(required=True, metadata=_DEFAULT)


class NewAddressIn(AddressIn):
    is_default = JsonBoolean(load_default=False, metadata=_DEFAULT)


class AddressChangeIn(Schema):
    """Fields that are not sent stay unchanged."""

    name = address_field("name")
    line1 = address_field("line1")
    line2 = address_field("line2", allow_none=True)
    city = address_field("city")
    postcode = address_field("postcode", allow_none=True)
    country = country_field()
    phone = address_field("phone", allow_none=True)
    is_default = JsonBoolean(metadata=_DEFAULT)


AddressPage = page_of(SavedAddressOut)


@operation(query=PageQuery, returns=(200, AddressPage))
async def list_addresses(request: web.Request, query: Fields) -> Page[Address]:
    """List the caller's addresses, the default address first."""
    found = await read(request, addresses.of_user, current_user(request).id)
    return pagination.paginate(
        found, lambda address: (int(not address.is_default), -address.id), (int, int), **query
    )


@operation(
    body=NewAddressIn,
    returns=(201, SavedAddressOut),
    refusals=[Invalid, AddressBookFull],
    idempotent=True,
)
async def add_address(request: web.Request, body: Fields) -> Answer:
    """Add an address to the caller's address book.

    The first address becomes the default address.
    """

    async def create(conn: AsyncConnection) -> Address:
        values = {name: value for name, value in body.items() if name != "is_default"}
        return await addresses.add(
            conn, current_user(request).id, values, is_default=body["is_default"], now=now()
        )

    async def load(conn: AsyncConnection, address_id: int) -> Address:
        return await addresses.get(conn, current_user(request).id, address_id)

    return await create_once(request, body, create, load, location_by="id")


@operation(body=AddressChangeIn, returns=(200, SavedAddressOut), refusals=[Invalid])
async def change_address(request: web.Request, address_id: int, body: Fields) -> Address:
    """Change an address.

    Existing orders keep the address that they were placed with.
    """
    user_id, is_default = current_user(request).id, body.pop("is_default", None)
    return await write(
        request, addresses.change, user_id, address_id, body, is_default=is_default, now=now()
    )


@operation(returns=(204, None))
async def remove_address(request: web.Request, address_id: int) -> None:
    """Remove an address.

    If it was the default address, the newest remaining address becomes the default.
    """
    await write(request, addresses.remove, current_user(request).id, address_id)
