"""What a list of the dashboard shows, all of it, as a table: at once, or by the actors."""

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
from bookstore.backoffice.audit_report import Change
from bookstore.catalogue import listing
from bookstore.catalogue.authors import Author
from bookstore.catalogue.categories import Category
from bookstore.catalogue.models import Book
from bookstore.database.engine import reading
from bookstore.database.list_pagination import Slice
from bookstore.errors import NotFound
from bookstore.exports import Cell, Format, Money, Source
from bookstore.notifications import Notification
from bookstore.orders import Order
from bookstore.tasks import jobs
from bookstore.tasks.jobs import Job, Kind
from bookstore.tasks.outbox import Row
from bookstore.users.accounts import User

#: Rows that are asked for at once.
AT_ONCE = 500
#: More rows than this are written by the actors: nobody waits for them.
MOST_AT_ONCE = 5000
_LONGEST_VALUE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BookQuery:
    """Which books, in a view of the stock; None is no condition."""

    q: str | None = None
    category: str | None = None
    min_price_cents: int | None = None
    max_price_cents: int | None = None
    in_stock: bool | None = None
    view: books.Shelf | None = None

    @classmethod
    def of(cls, query: listing.Query, view: books.Shelf | None) -> "BookQuery":
        """The same, of what the list of books asks."""
        asked = {
            each.name: getattr(query, each.name) for each in fields(cls) if each.name != "view"
        }
        return cls(**asked, view=view)

    @property
    def query(self) -> listing.Query:
        return listing.Query(
            q=self.q,
            category=self.category,
            min_price_cents=self.min_price_cents,
            max_price_cents=self.max_price_cents,
            in_stock=self.in_stock,
        )


@dataclass(frozen=True, slots=True)
class Sheet:
    """A list: the columns of its table, what can be asked of it, and where its rows come from.

    `find` takes the connection and a `query`, then `sort`, `cursor` and `limit` by name; `count`
    the connection, a query and how many are enough; `row` an item and the store's currency.
    """

    name: str
    columns: Sequence[str]
    query: Callable[..., Any]
    find: Callable[..., Awaitable[Slice[Any]]]
    count: Callable[[AsyncConnection, Any, int], Awaitable[int]]
    row: Callable[[Any, str], Sequence[Cell]]

    def pages(
        self, query: object, sort: str
    ) -> Callable[[AsyncEngine, str], AsyncIterator[Sequence[Sequence[Cell]]]]:
        """All rows that the query finds, some at a time."""

        async def pages(
            engine: AsyncEngine, currency: str
        ) -> AsyncIterator[Sequence[Sequence[Cell]]]:
            cursor: str | None = None
            while True:
                async with reading(engine) as conn:
                    found = await self.find(conn, query, sort=sort, cursor=cursor, limit=AT_ONCE)
                yield [self.row(item, currency) for item in found.items]
                if found.next is None:
                    return
                cursor = found.next

        return pages

    def source(self, query: object, sort: str) -> Source:
        """The table of all that the query finds."""

        async def count(conn: AsyncConnection) -> int:
            return await self.count(conn, query, 10_000_000)

        return Source(self.name, self.columns, count, self.pages(query, sort), marked=True)


async def start(
    conn: AsyncConnection,
    sheet: Sheet,
    query: object,
    sort: str,
    format: Format,  # noqa: A002 - the word of the API
    *,
    user_id: int,
    now: datetime,
    request_id: str | None = None,
) -> Job:
    """Have the actors write the table of all that the query finds."""
    options = {
        "list": sheet.name,
        "format": format.value,
        "sort": sort,
        "query": _kept(query),
    }
    return await jobs.add(
        conn, Kind.EXPORT_LIST, user_id=user_id, options=options, now=now, request_id=request_id
    )


async def record(
    conn: AsyncConnection, sheet: Sheet, query: object, *, user_id: int, now: datetime
) -> None:
    """Put on record who takes a list along, and what was asked of it.

    What was searched for may be a person, so that is not written down.
    """
    told: dict[str, Any] = {
        name: None if name == "q" else [None, wanted] for name, wanted in _kept(query).items()
    }
    await audit.record(conn, "export", sheet.name, "list", told, user_id=user_id, now=now)


def source_of(job: Job) -> Source:
    """The table that a job was asked for.

    Raises:
        NotFound: what was asked was forgotten, because it may have been about a person.
    """
    sheet = SHEETS.get(job.options.get("list", ""))
    if sheet is None:
        raise NotFound("This list")
    return sheet.source(_asked(sheet.query, job.options["query"]), job.options["sort"])


def _kept(query: Any) -> dict[str, Any]:
    """The conditions of a query as JSON has them."""
    asked = {
        each.name: wanted
        for each in fields(query)
        if (wanted := getattr(query, each.name)) != each.default
    }
    return {
        name: wanted.isoformat() if isinstance(wanted, datetime) else wanted
        for name, wanted in asked.items()
    }


def _asked(query: Any, kept: Mapping[str, Any]) -> Any:
    hints = get_type_hints(query)
    return query(
        **{
            name: datetime.fromisoformat(value) if datetime in get_args(hints[name]) else value
            for name, value in kept.items()
        }
    )


def _moment(at: datetime | None) -> str | None:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else None


def _yes(value: bool) -> str:
    return "yes" if value else "no"


async def _find_orders(conn: AsyncConnection, query: orders.Query, **how: Any) -> Slice[Order]:
    return await orders.find(conn, await orders.chosen(conn, query), **how)


async def _count_orders(conn: AsyncConnection, query: orders.Query, most: int) -> int:
    return await orders.count(conn, await orders.chosen(conn, query), most)


def _order(order: Order, currency: str) -> Sequence[Cell]:
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


async def _find_books(conn: AsyncConnection, asked: BookQuery, **how: Any) -> Slice[Book]:
    return await books.find(conn, asked.query, asked.view, **how)


async def _count_books(conn: AsyncConnection, asked: BookQuery, most: int) -> int:
    return await books.count(conn, asked.query, asked.view, most)


def _book(book: Book, currency: str) -> Sequence[Cell]:
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


def _category(category: Category, currency: str) -> Sequence[Cell]:
    return category.slug, category.name, category.parent, category.depth, category.book_count


def _author(author: Author, currency: str) -> Sequence[Cell]:
    return author.id, author.name, author.book_count


def _import(found: imports.Import, currency: str) -> Sequence[Cell]:
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


def _user(person: User, currency: str) -> Sequence[Cell]:
    return (
        person.id,
        person.name,
        person.email,
        str(person.role),
        _yes(person.email_verified),
        _yes(person.disabled),
        _moment(person.created_at),
    )


async def _find_letters(
    conn: AsyncConnection, query: emails.Query, **how: Any
) -> Slice[Notification]:
    return await emails.find(conn, await emails.chosen(conn, query), **how)


async def _count_letters(conn: AsyncConnection, query: emails.Query, most: int) -> int:
    return await emails.count(conn, await emails.chosen(conn, query), most)


def _letter(letter: Notification, currency: str) -> Sequence[Cell]:
    return (
        letter.id,
        str(letter.kind),
        letter.subject,
        letter.recipient,
        letter.order_number,
        str(letter.email_status),
        _yes(letter.in_doubt),
        letter.attempts,
        letter.answer,
        _moment(letter.created_at),
        _moment(letter.sent_at),
    )


def _task(task: Row, currency: str) -> Sequence[Cell]:
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


def _entry(entry: stock_ledger.Entry, currency: str) -> Sequence[Cell]:
    return (
        _moment(entry.at),
        str(entry.reason),
        entry.delta,
        entry.order_number,
        entry.user_name,
        entry.note,
    )


def _change(change: Change, currency: str) -> Sequence[Cell]:
    told = [
        (field, *(map(value, pair) if pair else ("", "")))
        for field, pair in (change.changes or {"": None}).items()
    ]
    first, before, after = zip(*told, strict=True)
    return (
        _moment(change.at),
        change.user_name or "command line",
        change.address,
        change.action,
        change.object_type,
        change.object_id,
        "; ".join(first),
        "; ".join(before),
        "; ".join(after),
    )


def value(of: Any) -> str:
    """A value of the audit in a line; the record has the whole of what is cut."""
    if of is None or of == "":
        return "nothing"
    text = of if isinstance(of, str) else json.dumps(of, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


ORDERS = Sheet(
    "orders",
    (
        "number", "placed_at", "status", "payment_status", "name", "email", "country",
        "copies", "total", "currency", "tracking",
    ),
    orders.Query,
    _find_orders,
    _count_orders,
    _order,
)  # fmt: skip
#: The columns of an import, so that the file can be changed and taken in again.
BOOKS = Sheet(
    "books",
    (
        "isbn", "title", "authors", "price", "currency", "stock", "year", "language", "category",
    ),
    BookQuery,
    _find_books,
    _count_books,
    _book,
)  # fmt: skip
CATEGORIES = Sheet(
    "categories",
    ("slug", "name", "parent", "depth", "books"),
    categories.Query,
    categories.find,
    categories.count,
    _category,
)
AUTHORS = Sheet(
    "authors", ("id", "name", "books"), authors.Query, authors.find, authors.count, _author
)
IMPORTS = Sheet(
    "imports",
    (
        "id", "sent_at", "file", "who", "dry_run", "state", "created", "updated", "unchanged",
        "refused", "error",
    ),
    imports.Query,
    imports.find,
    imports.count,
    _import,
)  # fmt: skip
USERS = Sheet(
    "users",
    ("id", "name", "email", "role", "confirmed", "shut_out", "since"),
    users.Query,
    users.find,
    users.count,
    _user,
)
LETTERS = Sheet(
    "letters",
    (
        "id", "kind", "subject", "recipient", "order", "status", "in_doubt", "tries", "answer",
        "created_at", "sent_at",
    ),
    emails.Query,
    _find_letters,
    _count_letters,
    _letter,
)  # fmt: skip
TASKS = Sheet(
    "tasks",
    ("id", "work", "given", "since", "tries", "error", "given_up_at", "due_at"),
    tasks.Query,
    tasks.find,
    tasks.count,
    _task,
)
LEDGER = Sheet(
    "stock",
    ("at", "why", "copies", "order", "who", "note"),
    stock_ledger.Query,
    stock_ledger.find,
    stock_ledger.count,
    _entry,
)
AUDIT = Sheet(
    "changes",
    ("at", "who", "address", "action", "object", "id", "field", "before", "after"),
    audit_report.Asked,
    audit_report.audit,
    audit_report.count_audit,
    _change,
)
SHEETS: Mapping[str, Sheet] = {
    sheet.name: sheet
    for sheet in (
        ORDERS, BOOKS, CATEGORIES, AUTHORS, IMPORTS, USERS, LETTERS, TASKS, LEDGER, AUDIT,
    )
}  # fmt: skip
