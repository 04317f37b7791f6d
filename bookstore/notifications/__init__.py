"""Notifications to customers, and the e-mails that deliver them."""

from bookstore.notifications import emails, guest_tokens, link_tokens, mime, preferences, smtp
from bookstore.notifications.delivery import DeliveryOutcome, DeliveryWorker
from bookstore.notifications.notifications import (
    EmailStatus,
    Notification,
    by_ids,
    find,
    get,
    get_email,
    give_up,
    mark_read,
    of_user,
    queue,
    queue_for_orders,
    resend,
    resend_many,
    write,
)
