"""The data map: what every column holds, whose it is, and what erasure leaves of it.

Export (`dossier.py`) and erasure (`erasure.py`) do what stands here and nothing else, and a
test finds the column that does not stand here.  What is kept of somebody who was erased are
facts that name nobody: orders with their lines, sums, dates and the beginning of a postcode,
and under a number the account that they belonged to.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Table,
    and_,
    case,
    cast,
    func,
    null,
    or_,
    select,
)

from bookstore.database import tables as t
from bookstore.i18n import DEFAULT

#: What stands where a name stood.
ERASED = "Erased"
#: As much of a postcode as shows which tax was due, and no house.
POSTCODE_KEPT = 2


class Kind(StrEnum):
    """What a column is about."""

    #: Who somebody is, or what they wrote.
    PERSON = "person"
    #: Where letters reach them, or their machine was.
    CONTACT = "contact"
    #: Where parcels reach them.
    ADDRESS = "address"
    #: What opens something; it is never shown, not even to its owner.
    CREDENTIAL = "credential"
    #: What was ordered, and what became of it.
    ORDER = "order fact"
    #: Ids, states and times.
    TECHNICAL = "technical"
    #: Books, and other things that are about nobody.
    GOODS = "goods"


#: What must not outlive an erasure.
PERSONAL = frozenset({Kind.PERSON, Kind.CONTACT, Kind.ADDRESS, Kind.CREDENTIAL})

Whose = Callable[[int], ColumnElement[bool]]


class Stand(StrEnum):
    """What takes the place of a value, and is known only when it comes to it."""

    #: An address that is nobody's and nobody else's.
    EMAIL = "email"
    MOMENT = "moment"


@dataclass(frozen=True, slots=True)
class Held:
    """What a table holds.

    `whose` finds the rows that are about a user, None where none are about anybody.  With
    `gone` erasure deletes these rows, else it sets the columns that `left` names.  Personal
    columns with neither have their reason in `kept`.
    """

    kinds: Mapping[Kind, str]
    whose: Whose | None = None
    gone: bool = False
    left: Mapping[str, Any] = field(default_factory=dict)
    kept: str = ""

    def kind_of(self) -> dict[str, Kind]:
        """The kind of each column."""
        return {name: kind for kind, names in self.kinds.items() for name in names.split()}


def orders_of(user_id: int) -> Select[Any]:
    """The ids of a user's orders."""
    return select(t.orders.c.id).where(t.orders.c.user_id == user_id)


def letters_of(user_id: int) -> Select[Any]:
    """The ids of the letters to a user."""
    return select(t.notifications.c.id).where(_letters(user_id))


def _letters(user_id: int) -> ColumnElement[bool]:
    own = t.notifications.c.user_id == user_id
    return or_(own, t.notifications.c.order_id.in_(orders_of(user_id)))


def _by(table: Table, column: str = "user_id") -> Whose:
    return lambda user_id: table.c[column] == user_id


def _of_orders(table: Table) -> Whose:
    return lambda user_id: table.c.order_id.in_(orders_of(user_id))


def _sessions(user_id: int) -> ColumnElement[bool]:
    """Also those in which a guest ordered what is the user's by now."""
    guests_cart = cast(func.json_extract(t.sessions.c.data, "$.cart_id"), BigInteger)
    ordered = select(t.orders.c.cart_id).where(t.orders.c.user_id == user_id)
    return or_(
        t.sessions.c.user_id == user_id,
        and_(t.sessions.c.user_id.is_(None), guests_cart.in_(ordered)),
    )


def _work(table: Table) -> Whose:
    """Rows about what the workers have to do, or could not do, for a user."""
    return lambda user_id: or_(
        and_(table.c.task == "send_notifications", table.c.ref_id.in_(letters_of(user_id))),
        and_(table.c.task == "process_orders", table.c.ref_id.in_(orders_of(user_id))),
    )


def _keys(user_id: int) -> ColumnElement[bool]:
    owner = t.idempotency_keys.c.owner
    return or_(
        owner == f"user:{user_id}",
        owner.startswith(f"user:{user_id} "),
        t.idempotency_keys.c.order_id.in_(orders_of(user_id)),
    )


def _audited(user_id: int) -> ColumnElement[bool]:
    about = and_(t.audit_log.c.object_type == "user", t.audit_log.c.object_id == str(user_id))
    return or_(t.audit_log.c.user_id == user_id, about)


def _cut() -> Any:
    """An order's address without all that leads to a door."""
    known = t.orders.c.shipping_address
    return func.json_object(
        *("name", ERASED, "line1", "", "line2", null(), "city", ""),
        *("postcode", func.substr(known["postcode"].as_string(), 1, POSTCODE_KEPT)),
        *("country", known["country"].as_string(), "phone", null()),
    )


def _unsent() -> Any:
    status = t.notifications.c.status
    return case((status.in_(["queued", "sending"]), "muted"), else_=status)


def _title() -> Any:
    # Only messages have words of their own, and no letter is without a subject.
    return case((t.notifications.c.kind == "message", ERASED), else_=None)


HELD: Mapping[str, Held] = {
    "users": Held(
        {
            Kind.PERSON: "name language",
            Kind.CONTACT: "email email_key",
            Kind.CREDENTIAL: "password_hash totp_nonce",
            Kind.TECHNICAL: "id role email_verified_at totp_at totp_step disabled_at erased_at"
            " created_at updated_at",
        },
        whose=_by(t.users, "id"),
        left={
            "name": ERASED,
            "language": DEFAULT,
            "email": Stand.EMAIL,
            "email_key": Stand.EMAIL,
            "password_hash": "",
            "totp_nonce": None,
            "totp_at": None,
            "totp_step": None,
            "role": "customer",
            "email_verified_at": None,
            "disabled_at": Stand.MOMENT,
            "erased_at": Stand.MOMENT,
            "updated_at": Stand.MOMENT,
        },
    ),
    "addresses": Held(
        {
            Kind.PERSON: "name",
            Kind.CONTACT: "phone",
            Kind.ADDRESS: "line1 line2 city postcode country",
            Kind.TECHNICAL: "id user_id is_default created_at updated_at",
        },
        whose=_by(t.addresses),
        gone=True,
    ),
    "preferences": Held(
        {
            Kind.PERSON: "email_when_delivered email_messages",
            Kind.TECHNICAL: "user_id updated_at",
        },
        whose=_by(t.preferences),
        gone=True,
    ),
    "sessions": Held(
        {
            Kind.PERSON: "data",
            Kind.CONTACT: "address user_agent",
            Kind.CREDENTIAL: "id_hash",
            Kind.TECHNICAL: "user_id created_at last_seen_at expires_at",
        },
        whose=_sessions,
        gone=True,
    ),
    "recovery_codes": Held(
        {Kind.CREDENTIAL: "code_hash", Kind.TECHNICAL: "user_id"},
        whose=_by(t.recovery_codes),
        gone=True,
    ),
    "api_tokens": Held(
        {
            Kind.PERSON: "name",
            Kind.CREDENTIAL: "token_hash",
            Kind.TECHNICAL: "id user_id scopes created_at expires_at last_used_at",
        },
        whose=_by(t.api_tokens),
        gone=True,
    ),
    "link_tokens": Held(
        {
            Kind.CONTACT: "email",
            Kind.CREDENTIAL: "nonce",
            Kind.TECHNICAL: "id purpose user_id notification_id expires_at",
        },
        whose=_by(t.link_tokens),
        gone=True,
    ),
    "failed_attempts": Held(
        {
            Kind.CREDENTIAL: "name_hash",
            Kind.TECHNICAL: "failures failed_at forget_at",
        },
        kept="A hash of whose password was guessed at, without which strangers could begin anew;"
        " forgotten within the hour.",
    ),
    "carts": Held(
        {Kind.TECHNICAL: "id user_id checkout_no created_at updated_at"},
        whose=_by(t.carts),
        gone=True,
    ),
    "cart_items": Held(
        {
            Kind.PERSON: "book_id quantity",
            Kind.TECHNICAL: "cart_id unit_price_cents added_at",
        },
        whose=lambda user_id: t.cart_items.c.cart_id.in_(
            select(t.carts.c.id).where(t.carts.c.user_id == user_id)
        ),
        gone=True,
    ),
    "orders": Held(
        {
            Kind.PERSON: "note language reason tracking",
            Kind.CONTACT: "email",
            Kind.ADDRESS: "shipping_address",
            Kind.ORDER: "number status payment_status payment_provider currency terms total_cents"
            " placed_at updated_at",
            Kind.TECHNICAL: "id cart_id checkout_no user_id last_seq",
        },
        whose=_by(t.orders),
        left={
            "note": None,
            "language": DEFAULT,
            "reason": None,
            "tracking": None,
            "email": Stand.EMAIL,
            "shipping_address": _cut(),
        },
    ),
    "order_lines": Held(
        {Kind.ORDER: "order_id book_id isbn13 title quantity unit_price_cents"},
        whose=_of_orders(t.order_lines),
    ),
    "order_events": Held(
        {
            Kind.PERSON: "detail",
            Kind.ORDER: "order_id seq kind at actor",
            Kind.TECHNICAL: "id message_id attempt worker waited_ms worked_ms",
        },
        whose=_of_orders(t.order_events),
        left={"detail": None},
    ),
    "order_notes": Held(
        {Kind.PERSON: "body", Kind.TECHNICAL: "id order_id user_id created_at"},
        whose=_of_orders(t.order_notes),
        gone=True,
    ),
    "retained_invoices": Held(
        {
            Kind.CONTACT: "email",
            Kind.ADDRESS: "address",
            Kind.TECHNICAL: "order_id retained_at retain_until",
        },
        whose=_of_orders(t.retained_invoices),
        kept="The law wants invoices kept for years; no page and no list shows them.",
    ),
    "notifications": Held(
        {
            Kind.PERSON: "subject body language",
            Kind.CONTACT: "recipient smtp_answer",
            Kind.TECHNICAL: "id user_id order_id kind status in_doubt attempts lease_until"
            " created_at sent_at read_at",
        },
        whose=_letters,
        left={
            "subject": _title(),
            "body": None,
            "language": None,
            "recipient": Stand.EMAIL,
            "smtp_answer": None,
            "status": _unsent(),
            "lease_until": None,
        },
    ),
    "tasks": Held(
        {
            Kind.CONTACT: "error",
            Kind.TECHNICAL: "id task ref_id due_at publish_count attempts dead_at request_id"
            " created_at",
        },
        whose=_work(t.tasks),
        gone=True,
    ),
    "task_failures": Held(
        {Kind.CONTACT: "error", Kind.TECHNICAL: "id task ref_id attempt at"},
        whose=_work(t.task_failures),
        gone=True,
    ),
    "idempotency_keys": Held(
        {
            Kind.PERSON: "key request_hash",
            Kind.TECHNICAL: "owner order_id result_id created_at",
        },
        whose=_keys,
        gone=True,
    ),
    "audit_log": Held(
        {
            Kind.CONTACT: "address",
            Kind.TECHNICAL: "id at user_id action object_type object_id changes",
        },
        whose=_audited,
        kept="Only where staff worked from, and of personal data the names of fields: the log is"
        " sealed, and shows who did what.",
    ),
    "audit_chain": Held({Kind.TECHNICAL: "up_to_id after_id digest marked_at"}),
    "files": Held(
        {Kind.TECHNICAL: "id name media_type size sha256 kind owner_id created_at expires_at"},
        whose=_by(t.files, "owner_id"),
    ),
    "file_chunks": Held({Kind.GOODS: "file_id position content"}),
    # What a list was searched for, in `options`, goes with every erasure (`erasure.py`).
    "jobs": Held(
        {
            Kind.TECHNICAL: "id kind state user_id file_id result_id options findings read created"
            " updated unchanged refused done total error created_at started_at updated_at"
            " finished_at"
        },
        whose=_by(t.jobs),
    ),
    "job_lines": Held({Kind.GOODS: "job_id position line outcome isbn13 field value reason cells"}),
    "bulk_changes": Held(
        {Kind.TECHNICAL: "id user_id field wanted rows created_at applied_at undone_at"},
        whose=_by(t.bulk_changes),
    ),
    "stock_movements": Held(
        {Kind.GOODS: "id book_id delta reason order_id user_id note created_at"},
        whose=_by(t.stock_movements),
    ),
    "legal_texts": Held(
        {Kind.GOODS: "name language body version", Kind.TECHNICAL: "updated_at updated_by"},
        whose=_by(t.legal_texts, "updated_by"),
    ),
    "search_words": Held({Kind.GOODS: "word"}),
    "heartbeats": Held({Kind.TECHNICAL: "name beat_at"}),
    "books": Held(
        {
            Kind.GOODS: "id isbn13 title sort_title subtitle description publisher year language"
            " format pages price_cents version low_stock withdrawn_at created_at updated_at cover"
        }
    ),
    "book_stock": Held({Kind.GOODS: "book_id stock"}),
    "book_covers": Held({Kind.GOODS: "name book_id file_id"}),
    "book_search": Held({Kind.GOODS: "book_id words"}),
    "book_authors": Held({Kind.GOODS: "book_id position author_id role"}),
    "book_categories": Held(
        {
            Kind.GOODS: "book_id category_id position withdrawn_at sort_title price_cents year"
            " language format"
        }
    ),
    "editions": Held({Kind.GOODS: "book_id work_id"}),
    # Names of those who write books are printed on them.
    "authors": Held({Kind.GOODS: "id name name_key"}),
    "categories": Held({Kind.GOODS: "id slug name parent_id position version"}),
}
