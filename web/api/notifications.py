"""Notifications to customers, and the e-mails sent for them."""

from aiohttp import web
from marshmallow import Schema, fields
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import notifications
from bookstore.database.engine import reading, transaction
from bookstore.database.pagination import LARGEST_ID
from bookstore.errors import Invalid, NotFound
from bookstore.notifications import EmailStatus, Notification
from bookstore.notifications.emails import EmailKind
from web.api.field_types import JsonInteger, MultiLine, QueryBoolean, SingleLine, UtcDateTime
from web.api.idempotency import create_once
from web.api.operations import Fields, answer, operation, page_answer
from web.api.schemas import PageQuery, page_of
from web.auth.sessions import current_user
from web.server.keys import ENGINE
from web.server.request_context import now

TAGS = ["notifications"]
STAFF = ["staff"]


class NotificationOut(Schema):
    id = fields.Integer(required=True)
    kind = fields.Enum(EmailKind, by_value=True, required=True)
    subject = fields.String(required=True)
    body = fields.String(required=True)
    order_number = fields.String(required=True, allow_none=True)
    created_at = UtcDateTime(required=True)
    read_at = UtcDateTime(required=True, allow_none=True)
    email_status = fields.Enum(EmailStatus, by_value=True, required=True)


class EmailOut(NotificationOut):
    user_id = fields.Integer(required=True, allow_none=True)
    recipient = fields.String(required=True)
    attempts = fields.Integer(required=True)
    in_doubt = fields.Boolean(
        required=True,
        metadata={
            "description": "An attempt to send ended without a response from the mail server.  The"
            " e-mail may arrive twice."
        },
    )
    answer = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "The last response of the mail server."},
    )
    sent_at = UtcDateTime(required=True, allow_none=True)


class NotificationQuery(PageQuery):
    unread = QueryBoolean(load_default=None)


class EmailQuery(PageQuery):
    status = fields.Enum(EmailStatus, by_value=True, load_default=None)
    in_doubt = QueryBoolean(load_default=None)


class MessageIn(Schema):
    user_id = JsonInteger(1, LARGEST_ID, required=True)
    subject = SingleLine(200, required=True)
    body = MultiLine(10_000, required=True)


NotificationPage = page_of(NotificationOut)
EmailPage = page_of(EmailOut)


@operation(query=NotificationQuery, returns=(200, NotificationPage), tags=TAGS, refusals=[Invalid])
async def list_notifications(request: web.Request, query: Fields) -> web.Response:
    """List the caller's notifications, the newest first."""
    async with reading(request.config_dict[ENGINE]) as conn:
        page = await notifications.of_user(conn, current_user(request).id, **query)
    return page_answer(NotificationPage, request, page)


@operation(returns=(200, NotificationOut), tags=TAGS)
async def read_notification(request: web.Request) -> web.Response:
    """Mark a notification of the caller as read."""
    async with transaction(request.config_dict[ENGINE]) as conn:
        read = await notifications.mark_read(
            conn, _id(request), user_id=current_user(request).id, now=now()
        )
    return answer(NotificationOut, read)


@operation(
    body=MessageIn, returns=(202, EmailOut), tags=STAFF, refusals=[NotFound], idempotent=True
)
async def send_message(request: web.Request, body: Fields) -> web.Response:
    """Send a message to a customer.

    It becomes a notification, and the worker sends it by e-mail unless the customer has opted out.
    """

    async def create(conn: AsyncConnection) -> Notification:
        return await notifications.write(conn, **body, by=current_user(request).id, now=now())

    queued, headers = await create_once(request, body, create, notifications.get)
    return answer(EmailOut, queued, status=202, headers=headers)


@operation(query=EmailQuery, returns=(200, EmailPage), tags=STAFF, refusals=[Invalid])
async def list_emails(request: web.Request, query: Fields) -> web.Response:
    """List the e-mails to all customers with their delivery status, the newest first."""
    async with reading(request.config_dict[ENGINE]) as conn:
        page = await notifications.find(conn, **query)
    return page_answer(EmailPage, request, page)


@operation(returns=(202, EmailOut), tags=STAFF)
async def resend_email(request: web.Request) -> web.Response:
    """Send an e-mail again.

    An e-mail that is being sent at this moment is not queued again.
    """
    async with transaction(request.config_dict[ENGINE]) as conn:
        queued = await notifications.resend(
            conn, _id(request), user_id=current_user(request).id, now=now()
        )
    return answer(EmailOut, queued, status=202)


def _id(request: web.Request) -> int:
    return int(request.match_info["notification_id"])
