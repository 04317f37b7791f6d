"""Exports of the back office's lists as files: small ones directly, large ones by the actors."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, get_args, get_type_hints

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore import audit
from bookstore.backoffice import (
    audit_report,
    authors,
    books,
    categories,
    emails,
    imports,
    orders,
    stock_ledger,
    tasks,
    users,
)
from bookstore.backoffice.audit_report import AuditEntry
from bookstore.catalogue import listing
from bookstore.catalogue.authors import Author
from bookstore.catalogue.categories import Category
from bookstore.catalogue.models import Book
from bookstore.database.engine import reading
from bookstore.database.list_pagination import ListPage
from bookstore.errors import NotFound
from bookstore.exports import Cell, ExportSource, Format, Money
from bookstore.notifications import Notification
from bookstore.orders import Order
from bookstore.tasks import jobs
from bookstore.tasks.jobs import Job, JobKind
from bookstore.tasks.outbox import TaskRow
from bookstore.users.accounts import User

#: Rows read in one query.
PAGE_SIZE = 500
#: Exports with more rows are written by the actors, so that the request does not wait.
MAX_DIRECT_ROWS = 5000
_MAX_VALUE_LENGTH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BookExportQuery:
    """Filters for books, with a stock view; None means no filter."""

    q: str | None = None
    category: str | None = None
    min_price_cents: int | None = None
    max_price_cents: int | None = None
    in_stock: bool | None = None
    view: books.StockFilter | None = None

    @classmethod
    def of(cls, query: listing.BookQuery, view: books.StockFilter | None) -> "BookExportQuery":
        """The filters of the books list."""
        filters = {
            each.name: getattr(query, each.name) for each in fields(cls) if each.name != "view"
        }
        return cls(**filters, view=view)

    @property
    def query(self) -> listing.BookQuery:
        return listing.BookQuery(
            q=self.q,
            category=self.category,
            min_price_cents=self.min_price_cents,
            max_price_cents=self.max_price_cents,
            in_stock=self.in_stock,
        )


@dataclass(frozen=True, slots=True)
class ListExport:
    """A list that can be exported: its columns, the class of its filters, and its rows.

    `find` takes the connection and a query, then `sort`, `cursor` and `limit` by name.  `count`
    takes the connection, a query and the number at which to stop counting.  `row` takes an item
    and the store's currency.
    """

    name: str
    columns: Sequence[str]
    query: Callable[..., Any]
    find: Callable[..., Awaitable[ListPage[Any]]]
    count: Callable[[AsyncConnection, Any, int], Awaitable[int]]
    row: Callable[[Any, str], Sequence[Cell]]

    def pages(
        self, query: object, sort: str
    ) -> Callable[[AsyncEngine, str], AsyncIterator[Sequence[Sequence[Cell]]]]:
        """A function that yields all rows that match the query, page by page."""

        async def pages(
            engine: AsyncEngine, currency: str
        ) -> AsyncIterator[Sequence[Sequence[Cell]]]:
            cursor: str | None = None
            while True:
                async with reading(engine) as conn:
                    found = await self.find(conn, query, sort=sort, cursor=cursor, limit=PAGE_SIZE)
                yield [self.row(item, currency) for item in found.items]
                if found.next is None:
                    return
                cursor = found.next

        return pages

    def source(self, query: object, sort: str) -> ExportSource:
        """The export of all rows that match the query."""

        async def count(conn: AsyncConnection) -> int:
            return await self.count(conn, query, 10_000_000)

        return ExportSource(
            self.name, self.columns, count, self.pages(query, sort), byte_order_mark=True
        )


async def start(
    conn: AsyncConnection,
    export: ListExport,
    query: object,
    sort: str,
    format: Format,  # noqa: A002 - the word of the API
    *,
    user_id: int,
    now: datetime,
    request_id: str | None = None,
) -> Job:
    """Queue a job that exports all rows that match the query."""
    options = {
        "list": export.name,
        "format": format.value,
        "sort": sort,
        "query": _query_as_json(query),
    }
    return await jobs.add(
        conn, JobKind.EXPORT_LIST, user_id=user_id, options=options, now=now, request_id=request_id
    )


async def record_export(
    conn: AsyncConnection, export: ListExport, query: object, *, user_id: int, now: datetime
) -> None:
    """Write to the audit log who exports a list, and with which filters.

    The search text is left out, because it may be personal data.
    """
    filters: dict[str, Any] = {
        name: None if name == "q" else [None, value]
        for name, value in _query_as_json(query).items()
    }
    await audit.record(conn, "export", export.name, "list", filters, user_id=user_id, now=now)


def source_of(job: Job) -> ExportSource:
    """The export for a job.

    Raises:
        NotFound: the job's options were erased, because they may have been personal data.
    """
    export = LIST_EXPORTS.get(job.options.get("list", ""))
    if export is None:
        raise NotFound("This list")
    return export.source(_query_from_json(export.query, job.options["query"]), job.options["sort"])


def _query_as_json(query: Any) -> dict[str, Any]:
    """The filters of a query that differ from their defaults, as JSON values."""
    filters = {
        each.name: value
        for each in fields(query)
        if (value := getattr(query, each.name)) != each.default
    }
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in filters.items()
    }


def _query_from_json(query_class: Any, filters: Mapping[str, Any]) -> Any:
    hints = get_type_hints(query_class)
    return query_class(
        **{
            name: datetime.fromisoformat(value) if datetime in get_args(hints[name]) else value
            for name, value in filters.items()
        }
    )


def _moment(at: datetime | None) -> str | None:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else None


def _yes(value: bool) -> str:
    return "yes" if value else "no"


async def _find_orders(
    conn: AsyncConnection, query: orders.OrderQuery, **how: Any
) -> ListPage[Order]:
    return await orders.find(conn, await orders.select_ids(conn, query), **how)


async def _count_orders(conn: AsyncConnection, query: orders.OrderQuery, up_to: int) -> int:
    return await orders.count(conn, await orders.select_ids(conn, query), up_to)


def _order_row(order: Order, currency: str) -> Sequence[Cell]:
    return (
        order.number,
        _moment(order.placed_at),
        str(order.status),
        str(order.payment_status),
        order.shipping_address.get("name") or "",
        order.email,
        order.shipping_address.get("country") or "",
        sum(line.quantity for line in order.items),
        Money(order.total_cents) if order.total_cents is not None else None,
        order.currency,
        order.tracking,
    )


async def _find_books(conn: AsyncConnection, query: BookExportQuery, **how: Any) -> ListPage[Book]:
    return await books.find(conn, query.query, query.view, **how)


async def _count_books(conn: AsyncConnection, query: BookExportQuery, up_to: int) -> int:
    return await books.count(conn, query.query, query.view, up_to)


def _book_row(book: Book, currency: str) -> Sequence[Cell]:
    return (
        book.isbn13,
        book.title,
        "|".join(person.name for person in book.authors),
        Money(book.price_cents),
        currency,
        book.stock,
        book.year,
        book.language,
        "|".join(category.name for category in book.categories),
    )


def _category_row(category: Category, currency: str) -> Sequence[Cell]:
    return category.slug, category.name, category.parent, category.depth, category.book_count


def _author_row(author: Author, currency: str) -> Sequence[Cell]:
    return author.id, author.name, author.book_count


def _import_row(found: imports.Import, currency: str) -> Sequence[Cell]:
    job = found.job
    return (
        job.id,
        _moment(job.created_at),
        found.file_name,
        found.user_name or "command line",
        _yes(bool(job.options.get("dry_run"))),
        str(job.state),
        job.created,
        job.updated,
        job.unchanged,
        job.refused,
        job.error,
    )


def _user_row(person: User, currency: str) -> Sequence[Cell]:
    return (
        person.id,
        person.name,
        person.email,
        str(person.role),
        _yes(person.email_verified),
        _yes(person.disabled),
        _moment(person.created_at),
    )


async def _find_emails(
    conn: AsyncConnection, query: emails.EmailListQuery, **how: Any
) -> ListPage[Notification]:
    return await emails.find(conn, await emails.select_ids(conn, query), **how)


async def _count_emails(conn: AsyncConnection, query: emails.EmailListQuery, up_to: int) -> int:
    return await emails.count(conn, await emails.select_ids(conn, query), up_to)


def _email_row(email: Notification, currency: str) -> Sequence[Cell]:
    return (
        email.id,
        str(email.kind),
        email.subject,
        email.recipient,
        email.order_number,
        str(email.email_status),
        _yes(email.in_doubt),
        email.attempts,
        email.answer,
        _moment(email.created_at),
        _moment(email.sent_at),
    )


def _task_row(task: TaskRow, currency: str) -> Sequence[Cell]:
    return (
        task.id,
        str(task.task),
        task.ref_id,
        _moment(task.created_at),
        task.attempts,
        task.error,
        _moment(task.dead_at),
        _moment(task.due_at),
    )


def _ledger_row(entry: stock_ledger.LedgerEntry, currency: str) -> Sequence[Cell]:
    return (
        _moment(entry.at),
        str(entry.reason),
        entry.delta,
        entry.order_number,
        entry.user_name,
        entry.note,
    )


def _audit_row(change: AuditEntry, currency: str) -> Sequence[Cell]:
    rows = [
        (field, *(map(value, pair) if pair else ("", "")))
        for field, pair in (change.changes or {"": None}).items()
    ]
    names, before, after = zip(*rows, strict=True)
    return (
        _moment(change.at),
        change.user_name or "command line",
        change.address,
        change.action,
        change.object_type,
        change.object_id,
        "; ".join(names),
        "; ".join(before),
        "; ".join(after),
    )


def value(of: Any) -> str:
    """A value of the audit log as one line, truncated; the log has the full value."""
    if of is None or of == "":
        return "nothing"
    text = of if isinstance(of, str) else json.dumps(of, ensure_ascii=False)
    return text if len(text) <= _MAX_VALUE_LENGTH else f"{text[:_MAX_VALUE_LENGTH]}…"


ORDERS = ListExport(
    "orders",
    (
        "number", "placed_at", "status", "payment_status", "name", "email", "country",
        "quantity", "total", "currency", "tracking",
    ),
    orders.OrderQuery,
    _find_orders,
    _count_orders,
    _order_row,
)  # fmt: skip
#: The columns of an import, so that the file can be edited and imported again.
BOOKS = ListExport(
    "books",
    (
        "isbn", "title", "authors", "price", "currency", "stock", "year", "language", "category",
    ),
    BookExportQuery,
    _find_books,
    _count_books,
    _book_row,
)  # fmt: skip
CATEGORIES = ListExport(
    "categories",
    ("slug", "name", "parent", "depth", "books"),
    categories.CategoryQuery,
    categories.find,
    categories.count,
    _category_row,
)
AUTHORS = ListExport(
    "authors",
    ("id", "name", "books"),
    authors.AuthorQuery,
    authors.find,
    authors.count,
    _author_row,
)
IMPORTS = ListExport(
    "imports",
    (
        "id", "sent_at", "file", "who", "dry_run", "state", "created", "updated", "unchanged",
        "refused", "error",
    ),
    imports.ImportQuery,
    imports.find,
    imports.count,
    _import_row,
)  # fmt: skip
USERS = ListExport(
    "users",
    ("id", "name", "email", "role", "confirmed", "disabled", "since"),
    users.UserQuery,
    users.find,
    users.count,
    _user_row,
)
EMAILS = ListExport(
    "emails",
    (
        "id", "kind", "subject", "recipient", "order", "status", "in_doubt", "attempts", "answer",
        "created_at", "sent_at",
    ),
    emails.EmailListQuery,
    _find_emails,
    _count_emails,
    _email_row,
)  # fmt: skip
TASKS = ListExport(
    "tasks",
    ("id", "task", "ref_id", "created_at", "attempts", "error", "dead_at", "due_at"),
    tasks.TaskQuery,
    tasks.find,
    tasks.count,
    _task_row,
)
LEDGER = ListExport(
    "stock",
    ("at", "reason", "quantity", "order", "who", "note"),
    stock_ledger.LedgerQuery,
    stock_ledger.find,
    stock_ledger.count,
    _ledger_row,
)
AUDIT = ListExport(
    "changes",
    ("at", "who", "address", "action", "object", "id", "field", "before", "after"),
    audit_report.AuditQuery,
    audit_report.audit,
    audit_report.count_audit,
    _audit_row,
)
LIST_EXPORTS: Mapping[str, ListExport] = {
    export.name: export
    for export in (
        ORDERS, BOOKS, CATEGORIES, AUTHORS, IMPORTS, USERS, EMAILS, TASKS, LEDGER, AUDIT,
    )
}  # fmt: skip
