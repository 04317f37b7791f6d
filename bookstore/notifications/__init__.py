"""Notifications, and the e-mails that carry them."""

from bookstore.notifications import emails, guest_tokens, link_tokens, mime, preferences, smtp
from bookstore.notifications.delivery import DeliveryWorker, End
from bookstore.notifications.notifications import (
    Notification,
    Status,
    by_ids,
    find,
    get,
    letter,
    mark_read,
    of_user,
    queue,
    queue_for_orders,
    resend,
    resend_many,
    write,
)
