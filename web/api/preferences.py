"""The caller's e-mail preferences."""

from aiohttp import web
from marshmallow import Schema, fields

from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.notifications import preferences
from bookstore.notifications.preferences import Preferences
from web.api.field_types import JsonBoolean
from web.api.operations import Fields, answer, operation
from web.auth.sessions import current_user
from web.server.keys import ENGINE
from web.server.request_context import now

TAGS = ["users"]
_DELIVERED = {"description": "Whether to send an e-mail when an order is delivered."}
_MESSAGES = {"description": "Whether to send messages from staff by e-mail."}


class PreferencesOut(Schema):
    email_when_delivered = fields.Boolean(required=True, metadata=_DELIVERED)
    email_messages = fields.Boolean(required=True, metadata=_MESSAGES)


class PreferencesIn(Schema):
    """Fields that are not sent stay unchanged."""

    email_when_delivered = JsonBoolean(metadata=_DELIVERED)
    email_messages = JsonBoolean(metadata=_MESSAGES)


@operation(returns=(200, PreferencesOut), tags=TAGS)
async def show_preferences(request: web.Request) -> web.Response:
    """Show the caller's e-mail preferences."""
    async with reading(request.config_dict[ENGINE]) as conn:
        return answer(PreferencesOut, await preferences.of_user(conn, current_user(request).id))


@operation(body=PreferencesIn, returns=(200, PreferencesOut), tags=TAGS)
async def change_preferences(request: web.Request, body: Fields) -> web.Response:
    """Change the caller's e-mail preferences.

    E-mails that are essential to an order or to the account are always sent.  Notifications that
    are not sent by e-mail are still listed at `/notifications`.
    """

    async def work() -> Preferences:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await preferences.change(conn, current_user(request).id, body, now=now())

    return answer(PreferencesOut, await retry_transaction(work))
