"""The caller's address book."""

from aiohttp import web
from marshmallow import Schema, fields
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database import pagination
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import AddressBookFull, Invalid
from bookstore.users import addresses
from bookstore.users.addresses import LENGTHS, Address
from web.api.field_types import JsonBoolean
from web.api.idempotency import create_once
from web.api.operations import Fields, answer, operation, page_answer
from web.api.order_schemas import AddressIn, AddressOut
from web.api.schemas import PageQuery, page_of
from web.auth.sessions import current_user
from web.server.keys import ENGINE
from web.server.request_context import now

TAGS = ["users"]
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

    name = fields.String(metadata={"maxLength": LENGTHS["name"]})
    line1 = fields.String(metadata={"maxLength": LENGTHS["line1"]})
    line2 = fields.String(allow_none=True, metadata={"maxLength": LENGTHS["line2"]})
    city = fields.String(metadata={"maxLength": LENGTHS["city"]})
    postcode = fields.String(allow_none=True, metadata={"maxLength": LENGTHS["postcode"]})
    country = fields.String(metadata={"description": "ISO 3166-1 alpha-2.", "example": "DE"})
    phone = fields.String(allow_none=True, metadata={"maxLength": LENGTHS["phone"]})
    is_default = JsonBoolean(metadata=_DEFAULT)


AddressPage = page_of(SavedAddressOut)


@operation(query=PageQuery, returns=(200, AddressPage), tags=TAGS, refusals=[Invalid])
async def list_addresses(request: web.Request, query: Fields) -> web.Response:
    """List the caller's addresses, the default address first."""
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await addresses.of_user(conn, current_user(request).id)
    page = pagination.paginate(
        found, lambda address: (int(not address.is_default), -address.id), (int, int), **query
    )
    return page_answer(AddressPage, request, page)


@operation(
    body=NewAddressIn,
    returns=(201, SavedAddressOut),
    tags=TAGS,
    refusals=[Invalid, AddressBookFull],
    idempotent=True,
)
async def add_address(request: web.Request, body: Fields) -> web.Response:
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

    address, headers = await create_once(request, body, create, load)
    headers["Location"] = f"/api/v1/users/me/addresses/{address.id}"
    return answer(SavedAddressOut, address, status=201, headers=headers)


@operation(body=AddressChangeIn, returns=(200, SavedAddressOut), tags=TAGS, refusals=[Invalid])
async def change_address(request: web.Request, body: Fields) -> web.Response:
    """Change an address.

    Existing orders keep the address that they were placed with.
    """
    is_default = body.pop("is_default", None)

    async def work() -> Address:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await addresses.change(
                conn, current_user(request).id, _id(request), body, is_default=is_default, now=now()
            )

    return answer(SavedAddressOut, await retry_transaction(work))


@operation(returns=(204, None), tags=TAGS)
async def remove_address(request: web.Request) -> web.Response:
    """Remove an address.

    If it was the default address, the newest remaining address becomes the default.
    """

    async def work() -> None:
        async with transaction(request.config_dict[ENGINE]) as conn:
            await addresses.remove(conn, current_user(request).id, _id(request))

    await retry_transaction(work)
    return web.Response(status=204)


def _id(request: web.Request) -> int:
    return int(request.match_info["address_id"])
