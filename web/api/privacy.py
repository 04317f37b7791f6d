"""What is held about the caller: all of it to take away, and to have erased."""

from datetime import datetime

from aiohttp import web
from marshmallow import Schema, fields, validate

from bookstore.database.engine import reading
from bookstore.errors import BadCredentials, EmailBeingSent, Invalid, NotFound, OrdersOpen
from bookstore.privacy import data_export
from web.api.field_types import Moment
from web.api.operations import Fields, answer, operation
from web.auth import erasure, sessions
from web.auth.credentials import check_password
from web.auth.sessions import me
from web.server.errors import TooManyAttempts
from web.server.keys import ENGINE
from web.server.request_context import now

TAGS = ["users"]


class DataExportOut(Schema):
    exported_at = Moment(required=True)
    held = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.Dict(keys=fields.String())),
        required=True,
        metadata={
            "description": "The rows about the caller by the tables that they lie in, such as"
            " `addresses`, `orders` and `notifications`; what opens something (hashes of"
            " passwords and tokens) is left out."
        },
    )


class GoodbyeIn(Schema):
    password = fields.String(
        required=True, validate=validate.Length(max=1000), metadata={"format": "password"}
    )


@operation(returns=(200, DataExportOut), tags=TAGS)
async def export_data(request: web.Request) -> web.Response:
    """Take away everything that is held about the caller."""
    moment: datetime = now()
    async with reading(request.config_dict[ENGINE]) as conn:
        held = await data_export.of_user(conn, me(request).id)
    response = answer(DataExportOut, {"exported_at": moment, "held": held})
    response.headers["Content-Disposition"] = 'attachment; filename="my-data.json"'
    return response


@operation(
    body=GoodbyeIn,
    returns=(204, None),
    tags=TAGS,
    refusals=[BadCredentials, TooManyAttempts, OrdersOpen, EmailBeingSent, Invalid, NotFound],
)
async def erase_account(request: web.Request, body: Fields) -> web.Response:
    """Erase the caller's personal data, for good.

    Refused as long as an order is open; `orders` names those.  Orders stay, without anything
    that leads to a person.  The address is free for a new account, which knows nothing of this.
    """
    user = me(request)
    await check_password(request, user.email, body["password"])
    await erasure.erase(request, user.id)
    await sessions.sign_out(request)
    return web.Response(status=204, headers={"Clear-Site-Data": '"cache", "storage"'})
