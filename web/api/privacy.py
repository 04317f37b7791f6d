"""Export and erasure of the caller's personal data."""

from datetime import datetime

from aiohttp import web
from marshmallow import Schema, fields, validate

from bookstore.database.engine import reading
from bookstore.errors import BadCredentials, EmailBeingSent, Invalid, NotFound, OrdersOpen
from bookstore.privacy import data_export
from web.api.field_types import UtcDateTime
from web.api.operations import Fields, answer, operation
from web.auth import erasure, sessions
from web.auth.credentials import check_password
from web.auth.sessions import current_user
from web.server.errors import TooManyAttempts
from web.server.keys import ENGINE
from web.server.request_context import now

TAGS = ["users"]


class DataExportOut(Schema):
    exported_at = UtcDateTime(required=True)
    held = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.Dict(keys=fields.String())),
        required=True,
        metadata={
            "description": "The rows about the caller by the name of their table, such as"
            " `addresses`, `orders` and `notifications`.  Credentials (hashes of passwords"
            " and tokens) are omitted."
        },
    )


class ErasureIn(Schema):
    password = fields.String(
        required=True, validate=validate.Length(max=1000), metadata={"format": "password"}
    )


@operation(returns=(200, DataExportOut), tags=TAGS)
async def export_data(request: web.Request) -> web.Response:
    """Export all data about the caller."""
    exported_at: datetime = now()
    async with reading(request.config_dict[ENGINE]) as conn:
        tables = await data_export.of_user(conn, current_user(request).id)
    response = answer(DataExportOut, {"exported_at": exported_at, "held": tables})
    response.headers["Content-Disposition"] = 'attachment; filename="my-data.json"'
    return response


@operation(
    body=ErasureIn,
    returns=(204, None),
    tags=TAGS,
    refusals=[BadCredentials, TooManyAttempts, OrdersOpen, EmailBeingSent, Invalid, NotFound],
)
async def erase_account(request: web.Request, body: Fields) -> web.Response:
    """Erase the caller's personal data permanently.

    Refused while an order is open; `orders` of the error contains the open orders.  Existing orders
    are anonymised and kept.  The e-mail address can be used for a new account, which is not linked
    to the erased one.
    """
    user = current_user(request)
    await check_password(request, user.email, body["password"])
    await erasure.erase(request, user.id)
    await sessions.sign_out(request)
    return web.Response(status=204, headers={"Clear-Site-Data": '"cache", "storage"'})
