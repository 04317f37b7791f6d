"""Which letters the caller wants."""

from aiohttp import web
from marshmallow import Schema, fields

from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.notifications import preferences
from bookstore.notifications.preferences import Preferences
from web.api.field_types import Flag
from web.api.operations import Fields, answer, operation
from web.auth.sessions import me
from web.server.keys import ENGINE
from web.server.request_context import now

TAGS = ["users"]
_DELIVERED = {"description": "A letter when a parcel has arrived."}
_MESSAGES = {"description": "What the store's people write, as a letter too."}


class PreferencesOut(Schema):
    email_when_delivered = fields.Boolean(required=True, metadata=_DELIVERED)
    email_messages = fields.Boolean(required=True, metadata=_MESSAGES)


class PreferencesIn(Schema):
    """What is not sent stays as it is."""

    email_when_delivered = Flag(metadata=_DELIVERED)
    email_messages = Flag(metadata=_MESSAGES)


@operation(returns=(200, PreferencesOut), tags=TAGS)
async def show_preferences(request: web.Request) -> web.Response:
    """Show which letters the caller wants."""
    async with reading(request.config_dict[ENGINE]) as conn:
        return answer(PreferencesOut, await preferences.of_user(conn, me(request).id))


@operation(body=PreferencesIn, returns=(200, PreferencesOut), tags=TAGS)
async def change_preferences(request: web.Request, body: Fields) -> web.Response:
    """Choose which letters to get.

    What is essential to an order or to the account is always mailed.  What is not mailed
    stands in `/notifications` all the same.
    """

    async def work() -> Preferences:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await preferences.change(conn, me(request).id, body, now=now())

    return answer(PreferencesOut, await retry_transaction(work))
