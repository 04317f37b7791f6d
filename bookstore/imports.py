"""Imports: rows of a file become books.

The file has the columns of `COLUMNS`, named in its first line in any case and order; what
else it has is ignored and told.  Each row is taken whole or refused whole.  A row whose ISBN
the store knows changes that book; an empty cell says nothing, so the book keeps what it has.
A second row with the same ISBN is refused: nobody could say which of the two is right.
"""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore import drafts, intake
from bookstore.categories import NAME_LENGTH
from bookstore.db import TRIES, reading, retrying, transaction
from bookstore.errors import Invalid
from bookstore.intake import Overtaken, Plan, Row
from bookstore.sheets import Line, Refusal, Sheet, open_text, shown

REQUIRED = ("isbn", "title", "authors", "price")
COLUMNS = (
    *REQUIRED,
    "currency",
    "stock",
    "year",
    "language",
    "category",
    "description",
    "publisher",
    "pages",
    "format",
    "subtitle",
)
#: So many rows are committed at once: a shopper waits for no more than these.
BATCH = 200
#: A batch is worth waiting for, when nobody looks at a page meanwhile.
_TIMEOUT_S = 60.0
#: A report keeps so many refusals; `on_refusal` gets all.
KEPT_REFUSALS = 1000

#: What the rules of a book call a column.
_COLUMN_OF = {"isbn13": "isbn", "price_cents": "price", "categories": "category"}
_PRICE = re.compile(r"([0-9]{1,9})(?:[.,]([0-9]{1,2}))?")
#: Spreadsheets like to write 1965.0.
_WHOLE = re.compile(r"(-?[0-9]{1,9})(?:\.0+)?")


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the rows: `read` is the sum of the four after it.

    `refusals` are the first of them, in the order of the file.
    """

    read: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    ignored_columns: list[str] = field(default_factory=list)


Progress = Callable[[Report, float], Awaitable[None]]


class _Unfit(Exception):
    """A cell that cannot be taken."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column


async def books(
    engine: AsyncEngine,
    source: TextIO | Path,
    *,
    currency: str,
    user_id: int | None = None,
    now: datetime,
    dry_run: bool = False,
    on_progress: Progress | None = None,
    on_refusal: Callable[[Refusal], None] | None = None,
) -> Report:
    """Take the books of a file into the catalogue, `BATCH` rows at a time.

    May be repeated, also after a crash: what is there already is `unchanged`.  A stream is
    opened with `newline=""`.  `on_progress` is awaited after each batch, with the report so
    far and how much of the file is read (0 to 1; of a stream nobody knows: 0).  A dry run
    reports the same and writes nothing.

    Raises:
        Invalid: the file is no CSV in UTF-8, or lacks a column; nothing was taken, or where a
            stream turns out not to be UTF-8 later, the rows before.
    """
    engine = engine.execution_options(timeout_s=_TIMEOUT_S)
    stream = await asyncio.to_thread(open_text, source) if isinstance(source, Path) else source
    try:
        size = os.fstat(stream.fileno()).st_size if isinstance(source, Path) else 0
        sheet = await asyncio.to_thread(Sheet, stream, known=COLUMNS, required=REQUIRED)
        reader = _Reader(sheet, currency, now)
        report = Report(ignored_columns=sheet.ignored)
        # In a thread: reading and checking are too slow for the event loop of a web server.
        while batch := await asyncio.to_thread(reader.take, BATCH):
            rows = [row for row in batch if isinstance(row, Row)]
            refusals = [row for row in batch if isinstance(row, Refusal)]
            plan = await _work_off(engine, rows, user_id=user_id, now=now, dry_run=dry_run)
            refusals += [_withdrawn(row) for row in plan.withdrawn]
            refusals.sort(key=lambda refusal: refusal.line)
            report = _added_up(report, plan, refusals)
            if on_refusal:
                for refusal in refusals:
                    on_refusal(refusal)
            if on_progress:
                await on_progress(report, stream.buffer.tell() / size if size else 0.0)
    finally:
        if isinstance(source, Path):
            stream.close()
    return report


async def _work_off(
    engine: AsyncEngine, rows: list[Row], *, user_id: int | None, now: datetime, dry_run: bool
) -> Plan:
    if not rows:
        return Plan()
    if dry_run:
        async with reading(engine) as conn:
            return await intake.plan(conn, rows)

    async def write(*, locked: bool) -> Plan:
        async with transaction(engine) as conn:
            if locked:
                await intake.lock(conn, rows)
            plan = await intake.plan(conn, rows)
            await intake.carry_out(conn, plan, user_id=user_id, now=now)
            return plan

    for _ in range(TRIES):
        try:
            return await retrying(lambda: write(locked=False))
        except Overtaken:
            continue
    return await retrying(lambda: write(locked=True))


class _Reader:
    """Lines become rows, each ISBN once."""

    def __init__(self, sheet: Sheet, currency: str, now: datetime) -> None:
        self._lines = iter(sheet)
        self._currency = currency
        self._now = now
        #: The line of each ISBN that was taken: about 100 bytes a row, all that grows.
        self._seen: dict[int, int] = {}

    def take(self, count: int) -> list[Row | Refusal]:
        """The next rows of the file; none at its end."""
        return list(islice(self._rows(), count))

    def _rows(self) -> Iterator[Row | Refusal]:
        for line in self._lines:
            if isinstance(line, Refusal):
                yield line
                continue
            try:
                row = _row(line, self._currency, self._now)
                earlier = self._seen.setdefault(int(row.isbn13), line.number)
                if earlier != line.number:
                    raise _Unfit("isbn", f"The book is in line {earlier} already.")
                yield row
            except _Unfit as error:
                value = shown(line.cells.get(error.column, ""))
                yield Refusal(line.number, error.column, value, str(error))


def _row(line: Line, currency: str, now: datetime) -> Row:
    cells = {name: cell for name, cell in line.cells.items() if cell}
    for column in REQUIRED:
        if column not in cells:
            raise _Unfit(column, "This must not be blank.")
    if cells.get("currency", currency).upper() != currency:
        raise _Unfit("currency", f"The store sells in {currency}.")
    facts: dict[str, Any] = {"isbn13": cells["isbn"], "price_cents": _price(cells["price"])}
    facts["authors"] = _parts("authors", cells["authors"], ";|")
    for column in ("stock", "year", "pages"):
        if column in cells:
            facts[column] = _whole(column, cells[column])
    for column in ("title", "subtitle", "description", "publisher", "language", "format"):
        if column in cells:
            facts[column] = cells[column]
    names = _parts("category", cells["category"], "|") if "category" in cells else None
    try:
        facts = drafts.checked(facts, now=now)
        if names and len(names) > drafts.MOST_CATEGORIES:
            raise Invalid("categories", f"A book is in at most {drafts.MOST_CATEGORIES}.")
        names = names and [drafts.plain("categories", name, NAME_LENGTH) for name in names]
    except Invalid as error:
        raise _Unfit(_COLUMN_OF.get(error.field, error.field), str(error)) from None
    return Row(
        line=line.number,
        authors=facts.pop("authors"),
        stock=facts.pop("stock", None),
        categories=names,
        columns={name: value for name, value in facts.items() if value is not None},
    )


def _parts(column: str, cell: str, separators: str) -> list[str]:
    """The names in a cell; a comma is part of a name: `Tolkien, J.R.R.; Lee, Alan`."""
    parts = [part.strip() for part in re.split(f"[{separators}]", cell)]
    if not any(parts):
        raise _Unfit(column, "There is no name here.")
    return [part for part in parts if part]


def _price(cell: str) -> int:
    """Cents, exactly: `12`, `12.9` and `12,90`; nothing that could mean two things."""
    if not (parts := _PRICE.fullmatch(cell)):
        raise _Unfit("price", "A price is a number like 12.90 or 12,90, without a sign for money.")
    return int(parts[1]) * 100 + int((parts[2] or "").ljust(2, "0"))


def _whole(column: str, cell: str) -> int:
    if not (parts := _WHOLE.fullmatch(cell)):
        raise _Unfit(column, "This has to be a whole number.")
    return int(parts[1])


def _withdrawn(row: Row) -> Refusal:
    reason = "This book was withdrawn from the store. Restore it first."
    return Refusal(row.line, "isbn", row.isbn13, reason)


def _added_up(report: Report, plan: Plan, refusals: list[Refusal]) -> Report:
    taken = len(plan.new) + len(plan.changed) + plan.unchanged
    kept = report.refusals + refusals[: max(KEPT_REFUSALS - len(report.refusals), 0)]
    return replace(
        report,
        read=report.read + taken + len(refusals),
        created=report.created + len(plan.new),
        updated=report.updated + len(plan.changed),
        unchanged=report.unchanged + plan.unchanged,
        refused=report.refused + len(refusals),
        refusals=kept,
    )
