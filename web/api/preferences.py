"""The caller's e-mail preferences."""

from aiohttp import web
from marshmallow import Schema, fields

from bookstore.notifications import preferences
from bookstore.notifications.preferences import Preferences
from web.api.field_types import JsonBoolean
from web.api.operations import Fields, operation
from web.auth.sessions import current_user
from web.server.request_context import now
from web.server.transactions import read, write

_DELIVERED = {"description": "Whether to send an e-mail when an order is delivered."}
_MESSAGES = {"description": "Whether to send messages from staff by e-mail."}


class PreferencesOut(Schema):
    email_when_delivered = fields.Boolean(required=True, metadata=_DELIVERED)
    email_messages = fields.Boolean(required=True, metadata=_MESSAGES)


class PreferencesIn(Schema):
    """Fields that are not sent stay unchanged."""

    email_when_delivered = JsonBoolean(metadata=_DELIVERED)
    email_messages = JsonBoolean(metadata=_MESSAGES)


@operation(returns=(200, PreferencesOut))
async def show_preferences(request: web.Request) -> Preferences:
    """Show the caller's e-mail preferences."""
    return await read(request, preferences.of_user, current_user(request).id)


@operation(body=PreferencesIn, returns=(200, PreferencesOut))
async def change_preferences(request: web.Request, body: Fields) -> Preferences:
    """Change the caller's e-mail preferences.

    E-mails that are essential to an order or to the account are always sent.  Notifications that
    are not sent by e-mail are still listed at `/notifications`.
    """
    return await write(request, preferences.change, current_user(request).id, body, now=now())
