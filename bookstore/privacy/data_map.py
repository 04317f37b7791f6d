"""The data map: the kind of data in every column, the user it belongs to, and its erasure.

Export (`data_export.py`) and erasure (`erasure.py`) follow the data map and nothing else; a test
fails for a column that is missing here.  After an erasure only anonymous facts remain: orders
with their lines, amounts, dates and the beginning of the postcode, and the account's row, which
has nothing personal but its id.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Select,
    String,
    Table,
    and_,
    case,
    cast,
    func,
    null,
    or_,
    select,
    type_coerce,
)

from bookstore.database import tables as t
from bookstore.i18n import DEFAULT

#: Replaces an erased name.
ERASED = "Erased"
#: Characters of a postcode that are kept: they show which tax was due, but not the house.
POSTCODE_KEPT = 2


class DataKind(StrEnum):
    """The kind of data in a column."""

    #: Identity of a person, or something that the person wrote or chose.
    PERSON = "person"
    #: E-mail address, phone number or network address.
    CONTACT = "contact"
    #: Postal address.
    ADDRESS = "address"
    #: Grants access; never shown, not even to its owner.
    CREDENTIAL = "credential"
    #: What was ordered, and the history of the order.
    ORDER = "order fact"
    #: Ids, states and times.
    TECHNICAL = "technical"
    #: Books and other data that is not about a user.
    IMPERSONAL = "impersonal"


#: The kinds that an erasure has to delete or replace.
PERSONAL = frozenset({DataKind.PERSON, DataKind.CONTACT, DataKind.ADDRESS, DataKind.CREDENTIAL})

RowFilter = Callable[[int], ColumnElement[bool]]


class Placeholder(StrEnum):
    """A replacement whose value is determined at the time of the erasure."""

    #: A unique address that cannot receive e-mail.
    EMAIL = "email"
    #: The time of the erasure.
    NOW = "now"


@dataclass(frozen=True, slots=True)
class TableData:
    """The data in a table and what erasure does with it.

    `rows_of` selects the rows about a user; None when no row is about a user.  With `delete_rows`
    erasure deletes these rows, otherwise it sets the columns in `replacements`.  When personal
    columns are kept, `retention_reason` says why.
    """

    kinds: Mapping[DataKind, str]
    rows_of: RowFilter | None = None
    delete_rows: bool = False
    replacements: Mapping[str, Any] = field(default_factory=dict)
    retention_reason: str = ""

    def kind_by_column(self) -> dict[str, DataKind]:
        """The kind of each column."""
        return {name: kind for kind, names in self.kinds.items() for name in names.split()}


def orders_of(user_id: int) -> Select[Any]:
    """The ids of a user's orders."""
    return select(t.orders.c.id).where(t.orders.c.user_id == user_id)


def notifications_of(user_id: int) -> Select[Any]:
    """The ids of the notifications of a user."""
    return select(t.notifications.c.id).where(_notification_rows(user_id))


def _notification_rows(user_id: int) -> ColumnElement[bool]:
    own = t.notifications.c.user_id == user_id
    return or_(own, t.notifications.c.order_id.in_(orders_of(user_id)))


def _by(table: Table, column: str = "user_id") -> RowFilter:
    return lambda user_id: table.c[column] == user_id


def _of_orders(table: Table) -> RowFilter:
    return lambda user_id: table.c.order_id.in_(orders_of(user_id))


def _session_rows(user_id: int) -> ColumnElement[bool]:
    """Also the guest sessions in which an order was placed that is the user's by now."""
    data = t.sessions.c.data
    readable = case((func.json_valid(data) == 1, data), else_="{}")
    guests_cart = cast(func.json_extract(readable, "$.cart_id"), BigInteger)
    ordered = select(t.orders.c.cart_id).where(t.orders.c.user_id == user_id)
    return or_(
        t.sessions.c.user_id == user_id,
        and_(t.sessions.c.user_id.is_(None), guests_cart.in_(ordered)),
    )


def _task_rows(table: Table) -> RowFilter:
    """Rows about tasks for a user's orders and notifications, and their failures."""
    return lambda user_id: or_(
        and_(table.c.task == "send_notifications", table.c.ref_id.in_(notifications_of(user_id))),
        and_(table.c.task == "process_orders", table.c.ref_id.in_(orders_of(user_id))),
    )


def _idempotency_key_rows(user_id: int) -> ColumnElement[bool]:
    owner = t.idempotency_keys.c.owner
    return or_(
        owner == f"user:{user_id}",
        owner.startswith(f"user:{user_id} "),
        t.idempotency_keys.c.order_id.in_(orders_of(user_id)),
    )


def _audit_rows(user_id: int) -> ColumnElement[bool]:
    about = and_(t.audit_log.c.object_type == "user", t.audit_log.c.object_id == str(user_id))
    return or_(t.audit_log.c.user_id == user_id, about)


def _truncated_address() -> Any:
    """The address of an order reduced to its country and the start of the postcode."""
    stored = t.orders.c.shipping_address
    readable = cast(stored, String)
    known = type_coerce(case((func.json_valid(readable) == 1, readable), else_="{}"), JSON)
    return func.json_object(
        *("name", ERASED, "line1", "", "line2", null(), "city", ""),
        *("postcode", func.substr(known["postcode"].as_string(), 1, POSTCODE_KEPT)),
        *("country", known["country"].as_string(), "phone", null()),
    )


def _status_after_erasure() -> Any:
    status = t.notifications.c.status
    return case((status.in_(["queued", "sending"]), "muted"), else_=status)


def _subject_after_erasure() -> Any:
    # Only messages store a subject, and a notification of this kind must have one.
    return case((t.notifications.c.kind == "message", ERASED), else_=None)


DATA_MAP: Mapping[str, TableData] = {
    "users": TableData(
        {
            DataKind.PERSON: "name language",
            DataKind.CONTACT: "email email_key",
            DataKind.CREDENTIAL: "password_hash totp_nonce",
            DataKind.TECHNICAL: "id role email_verified_at secured_at totp_at totp_step disabled_at"
            " erased_at created_at updated_at",
        },
        rows_of=_by(t.users, "id"),
        replacements={
            "name": ERASED,
            "language": DEFAULT,
            "email": Placeholder.EMAIL,
            "email_key": Placeholder.EMAIL,
            "password_hash": "",
            "totp_nonce": None,
            "totp_at": None,
            "totp_step": None,
            "role": "customer",
            "email_verified_at": None,
            "disabled_at": Placeholder.NOW,
            "erased_at": Placeholder.NOW,
            "updated_at": Placeholder.NOW,
        },
    ),
    "addresses": TableData(
        {
            DataKind.PERSON: "name",
            DataKind.CONTACT: "phone",
            DataKind.ADDRESS: "line1 line2 city postcode country",
            DataKind.TECHNICAL: "id user_id is_default created_at updated_at",
        },
        rows_of=_by(t.addresses),
        delete_rows=True,
    ),
    "preferences": TableData(
        {
            DataKind.PERSON: "email_when_delivered email_messages",
            DataKind.TECHNICAL: "user_id updated_at",
        },
        rows_of=_by(t.preferences),
        delete_rows=True,
    ),
    "sessions": TableData(
        {
            DataKind.PERSON: "data",
            DataKind.CONTACT: "address user_agent",
            DataKind.CREDENTIAL: "id_hash",
            DataKind.TECHNICAL: "user_id created_at last_seen_at expires_at",
        },
        rows_of=_session_rows,
        delete_rows=True,
    ),
    "recovery_codes": TableData(
        {DataKind.CREDENTIAL: "code_hash", DataKind.TECHNICAL: "user_id"},
        rows_of=_by(t.recovery_codes),
        delete_rows=True,
    ),
    "api_tokens": TableData(
        {
            DataKind.PERSON: "name",
            DataKind.CREDENTIAL: "token_hash",
            DataKind.TECHNICAL: "id user_id scopes created_at expires_at last_used_at",
        },
        rows_of=_by(t.api_tokens),
        delete_rows=True,
    ),
    "link_tokens": TableData(
        {
            DataKind.CONTACT: "email",
            DataKind.CREDENTIAL: "nonce",
            DataKind.TECHNICAL: "id purpose user_id notification_id expires_at",
        },
        rows_of=_by(t.link_tokens),
        delete_rows=True,
    ),
    "failed_attempts": TableData(
        {
            DataKind.CREDENTIAL: "name_hash",
            DataKind.TECHNICAL: "failures failed_at forget_at",
        },
        retention_reason="A hash of the account name that limits password guessing, also after an"
        " erasure; deleted within an hour.",
    ),
    "carts": TableData(
        {DataKind.TECHNICAL: "id user_id checkout_no created_at updated_at"},
        rows_of=_by(t.carts),
        delete_rows=True,
    ),
    "cart_items": TableData(
        {
            DataKind.PERSON: "book_id quantity",
            DataKind.TECHNICAL: "cart_id unit_price_cents added_at",
        },
        rows_of=lambda user_id: t.cart_items.c.cart_id.in_(
            select(t.carts.c.id).where(t.carts.c.user_id == user_id)
        ),
        delete_rows=True,
    ),
    "orders": TableData(
        {
            DataKind.PERSON: "note language reason tracking",
            DataKind.CONTACT: "email",
            DataKind.ADDRESS: "shipping_address",
            DataKind.ORDER: "number status payment_status payment_provider currency terms"
            " total_cents placed_at updated_at",
            DataKind.TECHNICAL: "id cart_id checkout_no user_id last_seq",
        },
        rows_of=_by(t.orders),
        replacements={
            "note": None,
            "language": DEFAULT,
            "reason": None,
            "tracking": None,
            "email": Placeholder.EMAIL,
            "shipping_address": _truncated_address(),
        },
    ),
    "order_lines": TableData(
        {DataKind.ORDER: "order_id book_id isbn13 title quantity unit_price_cents"},
        rows_of=_of_orders(t.order_lines),
    ),
    "order_terms": TableData(
        {DataKind.PERSON: "term", DataKind.TECHNICAL: "order_id"},
        rows_of=_of_orders(t.order_terms),
        delete_rows=True,
    ),
    "order_events": TableData(
        {
            DataKind.PERSON: "detail",
            DataKind.ORDER: "order_id seq kind at actor",
            DataKind.TECHNICAL: "id message_id attempt worker waited_ms worked_ms",
        },
        rows_of=_of_orders(t.order_events),
        replacements={"detail": None},
    ),
    "order_notes": TableData(
        {DataKind.PERSON: "body", DataKind.TECHNICAL: "id order_id user_id created_at"},
        rows_of=_of_orders(t.order_notes),
        delete_rows=True,
    ),
    "retained_invoices": TableData(
        {
            DataKind.CONTACT: "email",
            DataKind.ADDRESS: "address",
            DataKind.TECHNICAL: "order_id retained_at retain_until",
        },
        rows_of=_of_orders(t.retained_invoices),
        retention_reason="Invoices have to be kept for years by law; no page and no list shows"
        " them.",
    ),
    "notifications": TableData(
        {
            DataKind.PERSON: "subject body language",
            DataKind.CONTACT: "recipient smtp_answer",
            DataKind.TECHNICAL: "id user_id order_id kind status in_doubt attempts lease_until"
            " created_at sent_at read_at",
        },
        rows_of=_notification_rows,
        replacements={
            "subject": _subject_after_erasure(),
            "body": None,
            "language": None,
            "recipient": Placeholder.EMAIL,
            "smtp_answer": None,
            "status": _status_after_erasure(),
            "lease_until": None,
        },
    ),
    "tasks": TableData(
        {
            DataKind.CONTACT: "error",
            DataKind.TECHNICAL: "id task ref_id due_at publish_count attempts dead_at request_id"
            " created_at",
        },
        rows_of=_task_rows(t.tasks),
        delete_rows=True,
    ),
    "task_failures": TableData(
        {DataKind.CONTACT: "error", DataKind.TECHNICAL: "id task ref_id attempt at"},
        rows_of=_task_rows(t.task_failures),
        delete_rows=True,
    ),
    "idempotency_keys": TableData(
        {
            DataKind.PERSON: "key request_hash",
            DataKind.TECHNICAL: "owner order_id result_id created_at",
        },
        rows_of=_idempotency_key_rows,
        delete_rows=True,
    ),
    "audit_log": TableData(
        {
            DataKind.CONTACT: "address",
            DataKind.TECHNICAL: "id at user_id action object_type object_id changes",
        },
        rows_of=_audit_rows,
        retention_reason="The network addresses of staff, and the names of changed personal fields"
        " without values; the log is a hash chain that shows who did what.",
    ),
    "audit_chain": TableData({DataKind.TECHNICAL: "up_to_id after_id digest marked_at"}),
    "files": TableData(
        {DataKind.TECHNICAL: "id name media_type size sha256 kind owner_id created_at expires_at"},
        rows_of=_by(t.files, "owner_id"),
    ),
    "file_chunks": TableData({DataKind.IMPERSONAL: "file_id position content"}),
    # Search terms of list exports, in `options`, are deleted by every erasure (`erasure.py`).
    "jobs": TableData(
        {
            DataKind.TECHNICAL: "id kind state user_id file_id result_id options findings read"
            " created updated unchanged refused done total error created_at started_at updated_at"
            " finished_at"
        },
        rows_of=_by(t.jobs),
    ),
    "job_lines": TableData(
        {DataKind.IMPERSONAL: "job_id position line outcome isbn13 field value reason cells"}
    ),
    "bulk_changes": TableData(
        {DataKind.TECHNICAL: "id user_id field wanted rows created_at applied_at undone_at"},
        rows_of=_by(t.bulk_changes),
    ),
    "stock_movements": TableData(
        {DataKind.IMPERSONAL: "id book_id delta reason order_id user_id note created_at"},
        rows_of=_by(t.stock_movements),
    ),
    "legal_texts": TableData(
        {
            DataKind.IMPERSONAL: "name language body version",
            DataKind.TECHNICAL: "updated_at updated_by",
        },
        rows_of=_by(t.legal_texts, "updated_by"),
    ),
    "search_words": TableData({DataKind.IMPERSONAL: "word"}),
    "heartbeats": TableData({DataKind.TECHNICAL: "name beat_at"}),
    "books": TableData(
        {
            DataKind.IMPERSONAL: "id isbn13 title sort_title subtitle description publisher year"
            " on_sale_from"
            " language format pages price_cents version low_stock withdrawn_at created_at"
            " updated_at cover",
        }
    ),
    "book_stock": TableData({DataKind.IMPERSONAL: "book_id stock"}),
    "book_covers": TableData({DataKind.IMPERSONAL: "name book_id file_id"}),
    "book_search": TableData({DataKind.IMPERSONAL: "book_id words"}),
    "book_authors": TableData({DataKind.IMPERSONAL: "book_id position author_id role"}),
    "book_categories": TableData(
        {
            DataKind.IMPERSONAL: "book_id category_id position withdrawn_at sort_title price_cents"
            " year language format"
        }
    ),
    "editions": TableData({DataKind.IMPERSONAL: "book_id work_id"}),
    # Not personal data: the names of authors are printed on their books.
    "authors": TableData({DataKind.IMPERSONAL: "id name name_key identity_key"}),
    "categories": TableData({DataKind.IMPERSONAL: "id slug name parent_id position version"}),
}
