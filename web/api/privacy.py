"""Export and erasure of the caller's personal data."""

from aiohttp import web
from marshmallow import Schema, fields

from bookstore.errors import BadCredentials, EmailBeingSent, Invalid, NotFound, OrdersOpen
from bookstore.privacy import data_export
from web.api.field_types import Password, UtcDateTime, described
from web.api.operations import Answer, Fields, operation
from web.auth import erasure, sessions
from web.auth.credentials import check_password
from web.auth.sessions import current_user
from web.server.errors import TooManyAttempts
from web.server.request_context import now
from web.server.transactions import read


class DataExportOut(Schema):
    exported_at = UtcDateTime(required=True)
    held = described(
        "The rows about the caller by the name of their table, such as `addresses`, `orders` and"
        " `notifications`.  Credentials (hashes of passwords and tokens) are omitted.",
        fields.Dict(
            keys=fields.String(),
            values=fields.List(fields.Dict(keys=fields.String())),
            required=True,
        ),
    )


class ErasureIn(Schema):
    password = Password()


@operation(returns=(200, DataExportOut))
async def export_data(request: web.Request) -> Answer:
    """Export all data about the caller."""
    exported_at = now()
    tables = await read(request, data_export.of_user, current_user(request).id)
    headers = {"Content-Disposition": 'attachment; filename="my-data.json"'}
    return Answer({"exported_at": exported_at, "held": tables}, headers)


@operation(
    body=ErasureIn,
    returns=(204, None),
    refusals=[BadCredentials, TooManyAttempts, OrdersOpen, EmailBeingSent, Invalid, NotFound],
)
async def erase_account(request: web.Request, body: Fields) -> Answer:
    """Erase the caller's personal data permanently.

    Refused while an order is open; `orders` of the error contains the open orders.  Existing orders
    are anonymised and kept.  The e-mail address can be used for a new account, which is not linked
    to the erased one.
    """
    user = current_user(request)
    await check_password(request, user.email, body["password"])
    await erasure.erase(request, user.id)
    await sessions.sign_out(request)
    return Answer(None, {"Clear-Site-Data": '"cache", "storage"'})
