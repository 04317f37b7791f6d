"""Exports: write books and orders as CSV or XLSX, page by page.

Exports round-trip: importing an exported list of books into the same store changes nothing.  A
text that a spreadsheet would interpret as a formula gets a leading apostrophe, which the import
removes again (`imports/columns.py`).
"""

import asyncio
import codecs
import csv
import io
import re
import tempfile
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby
from operator import attrgetter
from typing import Any, BinaryIO, NamedTuple, Protocol

import xlsxwriter
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore import audit, pricing
from bookstore.catalogue import models
from bookstore.catalogue.models import Book
from bookstore.catalogue.validation import ROLES
from bookstore.database import file_store
from bookstore.database.documents import is_damaged
from bookstore.database.engine import reading, transaction
from bookstore.database.tables import books, order_lines, orders
from bookstore.errors import Invalid
from bookstore.imports.columns import FORMULA
from bookstore.regional import money
from bookstore.tasks import jobs
from bookstore.tasks.job_runner import ProgressCallback
from bookstore.tasks.jobs import Job, JobKind

#: How long an export can be downloaded.  Short, because orders are personal data.
RETENTION = timedelta(days=7)
#: Rows read and written at a time; progress is reported after each page.
_PAGE = 500
#: What stands in the cells of a stored document that cannot be read.
_DAMAGED = "damaged"
_TIMEOUT_S = 60.0
_MAX_XLSX_ROWS = 1_048_575
#: Upper limit of an export file, because its size grows with the store.
_MAX_BYTES = 4 * 1024**3

BOOK_COLUMNS = (
    "isbn",
    "title",
    "subtitle",
    "authors",
    "price",
    "currency",
    "stock",
    "year",
    "language",
    "category",
    "description",
    "publisher",
    "pages",
    "format",
    "on_sale_from",
)
#: The cells of an order's row, in the groups of `_order_rows`.
_BEFORE_LINE = ("number", "placed_at", "status", "payment_status", "payment_provider", "email")
_ADDRESS = ("name", "line1", "line2", "postcode", "city", "country")
_LINE = ("isbn", "title", "quantity", "unit_price", "line_total")
_AFTER_LINE = ("shipping", "tax", "order_total", "currency", "tracking")
ORDER_COLUMNS = (*_BEFORE_LINE, *_ADDRESS, *_LINE, *_AFTER_LINE)
#: The end of a name that an import would interpret as a role.
_ROLE_SUFFIX = re.compile(rf"\s\((?:{'|'.join(ROLES)})\)$")


class Format(StrEnum):
    """The file format of an export."""

    CSV = "csv"
    XLSX = "xlsx"


MEDIA_TYPES: Mapping[Format, str] = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


class Money(NamedTuple):
    """A cell with an amount."""

    cents: int
    currency: str


Cell = str | int | Money | None
Pages = AsyncIterator[Sequence[Sequence[Cell]]]
Progress = Callable[[int, int], Awaitable[None]]


async def start(
    conn: AsyncConnection,
    kind: JobKind,
    format: Format,  # noqa: A002 - the name in the API
    *,
    user_id: int | None,
    now: datetime,
    request_id: str | None = None,
) -> Job:
    """Queue a job in which the workers write an export; the audit log records the request."""
    options = {"format": format.value}
    job = await jobs.add(
        conn, kind, user_id=user_id, options=options, now=now, request_id=request_id
    )
    changes: dict[str, list[Any]] = {"kind": [None, kind.value], "format": [None, format.value]}
    await audit.record(conn, "export", "job", job.id, changes, user_id=user_id, now=now)
    return job


@dataclass(frozen=True, slots=True)
class ExportSource:
    """A list that can be exported: the name of its file, its columns and its rows."""

    name: str
    columns: Sequence[str]
    count: Callable[[AsyncConnection], Awaitable[int]]
    pages: Callable[[AsyncEngine, str], Pages]
    #: Start a CSV file with a byte order mark, so that Excel reads it as UTF-8.
    byte_order_mark: bool = False


def source_of(job: Job) -> ExportSource:
    """The list that an export job writes."""
    return SOURCES[job.kind]


async def write(
    engine: AsyncEngine,
    source: ExportSource,
    format: Format,  # noqa: A002
    file: BinaryIO,
    *,
    currency: str,
    on_progress: Progress | None = None,
) -> int:
    """Write a list to a file; return the number of rows without the header.

    Raises:
        Invalid: the list has more rows than an Excel sheet can hold.
    """
    engine = engine.execution_options(timeout_s=_TIMEOUT_S)
    async with reading(engine) as conn:
        total = await source.count(conn)
    if format is Format.XLSX and total > _MAX_XLSX_ROWS:
        raise Invalid("format", f"An Excel sheet can hold {_MAX_XLSX_ROWS:,} rows; choose CSV.")
    if source.byte_order_mark and format is Format.CSV:
        file.write(codecs.BOM_UTF8)
    # In a thread, because compressing a workbook would block the event loop of a server.
    table = await asyncio.to_thread(_TABLES[format], file, source.columns)
    written = 0
    async for rows in source.pages(engine, currency):
        await asyncio.to_thread(table.write, rows)
        written += len(rows)
        if on_progress:
            await on_progress(written, max(total, written))
    await asyncio.to_thread(table.close)
    return written


class Exporter:
    """Processes export jobs (see `job_runner.JobHandler`).  After a crash a job starts over."""

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        currency: str,
        clock: Callable[[], datetime],
        source_of: Callable[[Job], ExportSource] = source_of,
    ) -> None:
        self._engine = engine
        self._currency = currency
        self._clock = clock
        self._source_of = source_of

    async def __call__(
        self, job: Job, /, *, time_limit_s: float, on_progress: ProgressCallback | None
    ) -> bool:
        current = job

        async def report_progress(written: int, total: int) -> None:
            nonlocal current
            async with transaction(self._engine) as conn:
                now = self._clock()
                current = await jobs.advance(conn, current, done=written, total=total, now=now)
            if on_progress:
                await on_progress(current)

        source = self._source_of(job)
        chosen = Format(job.options["format"])
        with tempfile.TemporaryFile() as file:
            currency = self._currency
            written = await write(
                self._engine, source, chosen, file, currency=currency, on_progress=report_progress
            )
            file.seek(0)
            now = self._clock()
            stored = await file_store.store(
                self._engine,
                file_store.pieces(file),
                name=f"{source.name}-{now:%Y-%m-%d}.{chosen}",
                media_type=MEDIA_TYPES[chosen],
                kind="export",
                owner_id=job.user_id,
                now=now,
                expires_at=now + RETENTION,
                max_bytes=_MAX_BYTES,
            )
        try:
            async with transaction(self._engine) as conn:
                await jobs.finish(
                    conn, current, result_id=stored.id, done=written, total=written, now=now
                )
        except jobs.JobConflict:
            async with transaction(self._engine) as conn:
                await file_store.remove(conn, [stored.id])
            raise
        return False


def escape_formula(text: str) -> str:
    """The text with a leading apostrophe if a spreadsheet would interpret it as a formula."""
    return f"'{text}" if FORMULA.match(text) else text


class _Table(Protocol):
    """A table that is written row by row."""

    def write(self, rows: Iterable[Sequence[Cell]]) -> None: ...

    def close(self) -> None: ...


class _Csv:
    """CSV in UTF-8 (RFC 4180)."""

    def __init__(self, file: BinaryIO, header: Sequence[str]) -> None:
        self._text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        self._writer = csv.writer(self._text)
        self._writer.writerow(header)

    def write(self, rows: Iterable[Sequence[Cell]]) -> None:
        self._writer.writerows([_text(cell) for cell in row] for row in rows)

    def close(self) -> None:
        self._text.flush()
        self._text.detach()


class _Xlsx:
    """A workbook; only the row being written is in memory."""

    def __init__(self, file: BinaryIO, header: Sequence[str]) -> None:
        texts = ("strings_to_formulas", "strings_to_urls", "strings_to_numbers")
        options = {"constant_memory": True} | dict.fromkeys(texts, False)
        self._workbook = xlsxwriter.Workbook(file, options)
        self._sheet = self._workbook.add_worksheet()
        self._formats: dict[str, Any] = {}
        bold = self._workbook.add_format({"bold": True})
        self._sheet.freeze_panes(1, 0)
        for column, name in enumerate(header):
            self._sheet.set_column(column, column, _WIDTHS.get(name, 12))
            self._sheet.write_string(0, column, name, bold)
        self._row = 1

    def _money(self, currency: str) -> Any:
        """The format of amounts in this currency."""
        if currency not in self._formats:
            places = money.plain(0, currency)  # 0.00, 0 or 0.000
            self._formats[currency] = self._workbook.add_format({"num_format": places})
        return self._formats[currency]

    def write(self, rows: Iterable[Sequence[Cell]]) -> None:
        for row in rows:
            for column, cell in enumerate(row):
                match cell:
                    case Money():
                        # Exact: a float has 15 significant digits, and no price has more than ten.
                        self._sheet.write_number(
                            self._row,
                            column,
                            float(money.amount(*cell)),
                            self._money(cell.currency),
                        )
                    case int():
                        self._sheet.write_number(self._row, column, cell)
                    case str() if cell:
                        self._sheet.write_string(self._row, column, escape_formula(cell))
            self._row += 1

    def close(self) -> None:
        self._workbook.close()


_WIDTHS = {"isbn": 15, "title": 40, "authors": 30, "placed_at": 22, "email": 26, "description": 40}
_TABLES: Mapping[Format, Callable[[BinaryIO, Sequence[str]], _Table]] = {
    Format.CSV: _Csv,
    Format.XLSX: _Xlsx,
}


def _text(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case Money():
            return money.plain(*cell)
    return escape_formula(str(cell))


async def _book_pages(engine: AsyncEngine, currency: str) -> Pages:
    after = 0
    query = models.select_books().where(books.c.withdrawn_at.is_(None)).order_by(books.c.id)
    while True:
        async with reading(engine) as conn:
            rows = (await conn.execute(query.where(books.c.id > after).limit(_PAGE))).all()
            found = await models.load(conn, rows)
        if not found:
            return
        yield [_book_row(book, currency) for book in found]
        after = found[-1].id


def _book_row(book: Book, currency: str) -> Sequence[Cell]:
    return (
        book.isbn13,
        book.title,
        book.subtitle,
        "; ".join(_author(person.name, person.role) for person in book.authors),
        Money(book.price_cents, currency),
        currency,
        book.stock,
        book.year,
        book.language,
        "|".join(_escaped(category.name) for category in book.categories),
        book.description,
        book.publisher,
        book.pages,
        book.format,
        book.on_sale_from,
    )


def _author(name: str, role: str) -> str:
    """The name, followed by the role if an import would otherwise read another role."""
    explicit = role != "author" or _ROLE_SUFFIX.search(name)
    return f"{_escaped(name)} ({role})" if explicit else _escaped(name)


def _escaped(name: str) -> str:
    return re.sub(r"[\\;|]", r"\\\g<0>", name)


async def _order_pages(engine: AsyncEngine, currency: str) -> Pages:
    after = 0
    while True:
        async with reading(engine) as conn:
            query = select(orders).where(orders.c.id > after).order_by(orders.c.id).limit(_PAGE)
            found = {row.id: row for row in await conn.execute(query)}
            lines = await conn.execute(
                select(order_lines)
                .where(order_lines.c.order_id.in_(found))
                .order_by(order_lines.c.order_id, order_lines.c.book_id)
            )
            rows: list[Sequence[Cell]] = []
            for order_id, group in groupby(lines, attrgetter("order_id")):
                rows += _order_rows(found[order_id], list(group))
        if not found:
            return
        yield rows
        after = max(found)


def _amounts(order: Any, lines: Iterable[Any]) -> Sequence[Cell]:
    """Shipping, included tax and total of the order; None until the order has a total."""
    if order.total_cents is None:
        return None, None, None
    if is_damaged(order.terms):
        return _DAMAGED, _DAMAGED, Money(order.total_cents, order.currency)
    sums = [(line.quantity, line.unit_price_cents) for line in lines]
    totals = pricing.totals(sums, pricing.Rates.of_json(order.terms))
    amounts = totals.shipping_cents, totals.tax_cents, order.total_cents
    return tuple(Money(cents, order.currency) for cents in amounts)


def _order_rows(order: Any, lines: Sequence[Any]) -> Iterator[Sequence[Cell]]:
    """The rows of an order: one for each line, between the same cells about the order."""
    address = order.shipping_address
    if is_damaged(address):
        address = dict.fromkeys(_ADDRESS, _DAMAGED)
    placed_at = order.placed_at.isoformat(timespec="seconds").replace("+00:00", "Z")
    before = (order.number, placed_at, order.status, order.payment_status, order.payment_provider)
    before += (order.email, *map(address.get, _ADDRESS))
    after = (*_amounts(order, lines), order.currency, order.tracking)
    for line in lines:
        price = line.unit_price_cents
        sums = Money(price, order.currency), Money(price * line.quantity, order.currency)
        sold = (line.isbn13, line.title, line.quantity, *sums)
        yield *before, *sold, *after


async def _count_books(conn: AsyncConnection) -> int:
    query = select(func.count()).select_from(books).where(books.c.withdrawn_at.is_(None))
    return await conn.scalar(query) or 0


async def _count_order_lines(conn: AsyncConnection) -> int:
    return await conn.scalar(select(func.count()).select_from(order_lines)) or 0


SOURCES: Mapping[JobKind, ExportSource] = {
    JobKind.EXPORT_BOOKS: ExportSource("books", BOOK_COLUMNS, _count_books, _book_pages),
    JobKind.EXPORT_ORDERS: ExportSource("orders", ORDER_COLUMNS, _count_order_lines, _order_pages),
}
