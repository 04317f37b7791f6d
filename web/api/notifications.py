"""Notifications to customers, and the e-mails sent for them."""

from functools import partial

from aiohttp import web
from marshmallow import Schema, fields

from bookstore import notifications
from bookstore.database.pagination import LARGEST_ID, Page
from bookstore.errors import NotFound
from bookstore.notifications import EmailStatus, Notification
from bookstore.notifications.emails import EmailKind
from web.api import field_types
from web.api.field_types import QueryBoolean, UtcDateTime, described
from web.api.idempotency import create_once
from web.api.operations import Answer, Fields, operation
from web.api.schemas import PageQuery, Text, page_of
from web.auth.sessions import current_user
from web.server.request_context import now
from web.server.transactions import read, write


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
    in_doubt = described(
        "An attempt to send ended without a response from the mail server.  The e-mail may arrive"
        " twice.",
        fields.Boolean(required=True),
    )
    answer = described("The last response of the mail server.", Text(allow_none=True))
    sent_at = UtcDateTime(required=True, allow_none=True)


class NotificationQuery(PageQuery):
    unread = QueryBoolean(load_default=None)


class EmailQuery(PageQuery):
    status = fields.Enum(EmailStatus, by_value=True, load_default=None)
    in_doubt = QueryBoolean(load_default=None)


class MessageIn(Schema):
    user_id = field_types.JsonInteger(1, LARGEST_ID, required=True)
    subject = field_types.SingleLine(200, required=True)
    body = field_types.MultiLine(10_000, required=True)


NotificationPage = page_of(NotificationOut)
EmailPage = page_of(EmailOut)


@operation(query=NotificationQuery, returns=(200, NotificationPage))
async def list_notifications(request: web.Request, query: Fields) -> Page[Notification]:
    """List the caller's notifications, the newest first."""
    return await read(request, notifications.of_user, current_user(request).id, **query)


@operation(returns=(200, NotificationOut), repeatable=True)
async def read_notification(request: web.Request, notification_id: int) -> Notification:
    """Mark a notification of the caller as read."""
    user_id = current_user(request).id
    return await write(
        request, notifications.mark_read, notification_id, user_id=user_id, now=now()
    )


@operation(body=MessageIn, returns=(202, EmailOut), refusals=[NotFound], idempotent=True)
async def send_message(request: web.Request, body: Fields) -> Answer:
    """Send a message to a customer.

    It becomes a notification, and the worker sends it by e-mail unless the customer has opted out.
    """
    create = partial(notifications.write, **body, by=current_user(request).id, now=now())
    return await create_once(request, body, create, notifications.get)


@operation(query=EmailQuery, returns=(200, EmailPage))
async def list_emails(request: web.Request, query: Fields) -> Page[Notification]:
    """List the e-mails to all customers with their delivery status, the newest first."""
    return await read(request, notifications.find, **query)


@operation(returns=(202, EmailOut), idempotent=True)
async def resend_email(request: web.Request, notification_id: int) -> Answer:
    """Send an e-mail again.

    An e-mail that is being sent at this moment is not queued again.
    """
    by = current_user(request).id
    resend = partial(notifications.resend, notification_id=notification_id, user_id=by, now=now())
    return await create_once(request, {}, resend, notifications.get)
