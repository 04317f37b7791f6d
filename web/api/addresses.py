"""The caller's address book."""

from aiohttp import web
from marshmallow import Schema, fields
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database import pagination
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import AddressBookFull, Invalid
from bookstore.users import addresses
from bookstore.users.addresses import LENGTHS, Address
from web.api.field_types import Flag
from web.api.idempotency import made_once
from web.api.operations import Fields, answer, operation, page_answer
from web.api.order_schemas import AddressIn, AddressOut
from web.api.schemas import PageQuery, page_of
from web.auth.sessions import me
from web.server.keys import ENGINE
from web.server.request_context import now

TAGS = ["users"]
_DEFAULT = {"description": "Filled in at the checkout; only one address is."}


class KnownAddressOut(AddressOut):
    id = fields.Integer(required=True)
    is_default = fields.Boolean(required=True, metadata=_DEFAULT)


class NewAddressIn(AddressIn):
    is_default = Flag(load_default=False, metadata=_DEFAULT)


class AddressChangeIn(Schema):
    """What is not sent stays as it is."""

    name = fields.String(metadata={"maxLength": LENGTHS["name"]})
    line1 = fields.String(metadata={"maxLength": LENGTHS["line1"]})
    line2 = fields.String(allow_none=True, metadata={"maxLength": LENGTHS["line2"]})
    city = fields.String(metadata={"maxLength": LENGTHS["city"]})
    postcode = fields.String(allow_none=True, metadata={"maxLength": LENGTHS["postcode"]})
    country = fields.String(metadata={"description": "ISO 3166-1 alpha-2.", "example": "DE"})
    phone = fields.String(allow_none=True, metadata={"maxLength": LENGTHS["phone"]})
    is_default = Flag(metadata=_DEFAULT)


AddressPage = page_of(KnownAddressOut)


@operation(query=PageQuery, returns=(200, AddressPage), tags=TAGS, refusals=[Invalid])
async def list_addresses(request: web.Request, query: Fields) -> web.Response:
    """Show the caller's addresses, the default one first."""
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await addresses.of_user(conn, me(request).id)
    page = pagination.of_whole(
        found, lambda it: (int(not it.is_default), -it.id), (int, int), **query
    )
    return page_answer(AddressPage, request, page)


@operation(
    body=NewAddressIn,
    returns=(201, KnownAddressOut),
    tags=TAGS,
    refusals=[Invalid, AddressBookFull],
    once=True,
)
async def add_address(request: web.Request, body: Fields) -> web.Response:
    """Add an address to the caller's address book; the first one becomes the default."""

    async def make(conn: AsyncConnection) -> Address:
        facts = {name: value for name, value in body.items() if name != "is_default"}
        return await addresses.add(
            conn, me(request).id, facts, is_default=body["is_default"], now=now()
        )

    async def again(conn: AsyncConnection, address_id: int) -> Address:
        return await addresses.get(conn, me(request).id, address_id)

    address, headers = await made_once(request, body, make, again)
    headers["Location"] = f"/api/v1/users/me/addresses/{address.id}"
    return answer(KnownAddressOut, address, status=201, headers=headers)


@operation(body=AddressChangeIn, returns=(200, KnownAddressOut), tags=TAGS, refusals=[Invalid])
async def change_address(request: web.Request, body: Fields) -> web.Response:
    """Change an address; orders that went there keep what they had."""
    is_default = body.pop("is_default", None)

    async def work() -> Address:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await addresses.change(
                conn, me(request).id, _id(request), body, is_default=is_default, now=now()
            )

    return answer(KnownAddressOut, await retry_transaction(work))


@operation(returns=(204, None), tags=TAGS)
async def remove_address(request: web.Request) -> web.Response:
    """Remove an address; when it was the default one, the newest of the others becomes it."""

    async def work() -> None:
        async with transaction(request.config_dict[ENGINE]) as conn:
            await addresses.remove(conn, me(request).id, _id(request))

    await retry_transaction(work)
    return web.Response(status=204)


def _id(request: web.Request) -> int:
    return int(request.match_info["address_id"])
