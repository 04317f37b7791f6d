"""Notifications: what we have told a customer."""

from aiohttp import web
from marshmallow import Schema, fields
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import notifications
from bookstore.database.engine import reading, transaction
from bookstore.database.pagination import LARGEST_ID
from bookstore.errors import Invalid, NotFound
from bookstore.notifications import Notification, Status
from bookstore.notifications.emails import Kind
from web.api.field_types import Count, Line, Lines, Moment, QueryFlag
from web.api.idempotency import made_once
from web.api.operations import Fields, answer, operation, page_answer
from web.api.schemas import PageQuery, page_of
from web.auth.sessions import me
from web.server.keys import ENGINE
from web.server.request_context import now

TAGS = ["notifications"]
STAFF = ["staff"]


class NotificationOut(Schema):
    id = fields.Integer(required=True)
    kind = fields.Enum(Kind, by_value=True, required=True)
    subject = fields.String(required=True)
    body = fields.String(required=True)
    order_number = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True)
    read_at = Moment(required=True, allow_none=True)
    email_status = fields.Enum(Status, by_value=True, required=True)


class LetterOut(NotificationOut):
    user_id = fields.Integer(required=True, allow_none=True)
    recipient = fields.String(required=True)
    attempts = fields.Integer(required=True)
    in_doubt = fields.Boolean(
        required=True,
        metadata={"description": "An attempt ended without an answer; it may arrive twice."},
    )
    answer = fields.String(
        required=True, allow_none=True, metadata={"description": "What the mail server said last."}
    )
    sent_at = Moment(required=True, allow_none=True)


class NotificationQuery(PageQuery):
    unread = QueryFlag(load_default=None)


class LetterQuery(PageQuery):
    status = fields.Enum(Status, by_value=True, load_default=None)
    in_doubt = QueryFlag(load_default=None)


class MessageIn(Schema):
    user_id = Count(1, LARGEST_ID, required=True)
    subject = Line(200, required=True)
    body = Lines(10_000, required=True)


NotificationPage = page_of(NotificationOut)
LetterPage = page_of(LetterOut)


@operation(query=NotificationQuery, returns=(200, NotificationPage), tags=TAGS, refusals=[Invalid])
async def list_notifications(request: web.Request, query: Fields) -> web.Response:
    """Show what we have told the caller, the newest first."""
    async with reading(request.config_dict[ENGINE]) as conn:
        page = await notifications.of_user(conn, me(request).id, **query)
    return page_answer(NotificationPage, request, page)


@operation(returns=(200, NotificationOut), tags=TAGS)
async def read_notification(request: web.Request) -> web.Response:
    """Note that the caller has read it."""
    async with transaction(request.config_dict[ENGINE]) as conn:
        read = await notifications.mark_read(conn, _id(request), user_id=me(request).id, now=now())
    return answer(NotificationOut, read)


@operation(body=MessageIn, returns=(202, LetterOut), tags=STAFF, refusals=[NotFound], once=True)
async def send_message(request: web.Request, body: Fields) -> web.Response:
    """Write to a customer; the worker mails it."""

    async def make(conn: AsyncConnection) -> Notification:
        return await notifications.write(conn, **body, by=me(request).id, now=now())

    queued, headers = await made_once(request, body, make, notifications.get)
    return answer(LetterOut, queued, status=202, headers=headers)


@operation(query=LetterQuery, returns=(200, LetterPage), tags=STAFF, refusals=[Invalid])
async def list_letters(request: web.Request, query: Fields) -> web.Response:
    """Show everybody's letters and what became of them, the newest first."""
    async with reading(request.config_dict[ENGINE]) as conn:
        page = await notifications.find(conn, **query)
    return page_answer(LetterPage, request, page)


@operation(returns=(202, LetterOut), tags=STAFF)
async def resend_letter(request: web.Request) -> web.Response:
    """Send a letter again.  One that is just being sent is left alone."""
    async with transaction(request.config_dict[ENGINE]) as conn:
        queued = await notifications.resend(conn, _id(request), user_id=me(request).id, now=now())
    return answer(LetterOut, queued, status=202)


def _id(request: web.Request) -> int:
    return int(request.match_info["notification_id"])
