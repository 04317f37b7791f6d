"""Imports: what a file says about books is taken into the catalogue, as a job.

Each row is taken whole or refused whole.  One whose ISBN the store knows changes that book;
what the file does not say, the book keeps.  A dry run does all but the change, and so says
exactly what the real one would do.

What a batch of rows does and how far the job is are committed together, so an import that is
killed goes on behind the last batch: the file is read again from its start, and what was done
is passed over.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, BinaryIO, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore import orders
from bookstore.catalogue import isbn, validation
from bookstore.catalogue.categories import NAME_LENGTH
from bookstore.database import file_store
from bookstore.database.engine import TRIES, reading, retry_transaction, transaction
from bookstore.errors import Invalid
from bookstore.imports import upsert
from bookstore.imports.entries import Action, Entry, Refusal, Source, Superseded, shown
from bookstore.imports.formats import Options, open_source
from bookstore.imports.upsert import Overtaken, Plan, Row
from bookstore.tasks import jobs, outbox
from bookstore.tasks.job_runner import Runner, Watch
from bookstore.tasks.jobs import Job, Kind, Line, Outcome
from bookstore.tasks.outbox import Task

T = TypeVar("T")

#: So many rows are committed at once: a shopper waits for no more than these.
BATCH = 200
#: SQLite has one writer at a time, for whom all others wait: it is to be short.
SQLITE_BATCH = 40
#: So many times as long as a batch took is the pause after it, and so many while customers order.
SQLITE_PAUSES = (1, 8)
PAUSES = (0, 2)
_LONGEST_PAUSE_S = 0.5
#: Whoever orders next comes within so long.
_AMONG_CUSTOMERS = timedelta(seconds=5)
#: A batch is worth waiting for, when nobody looks at a page meanwhile.
_TIMEOUT_S = 60.0
#: Rows passed over at once when a job goes on, so that a sign of life can be given between.
_PASSED = 2000
_SIGN_OF_LIFE_S = 10.0
_PREVIEWED = 10

#: A row or record that was read: checked, or not to be taken.
Read = Row | Refusal | Superseded


@dataclass(frozen=True, slots=True)
class Preview:
    """A file before it is imported: `findings` as a job has them, with the columns that were
    recognised and those missing; the sheet's own `header` and its first `rows`.

    `error` says why none of it can be imported as it is.
    """

    findings: dict[str, Any]
    header: Sequence[str]
    rows: list[Sequence[str]]
    error: str | None


async def start(
    conn: AsyncConnection,
    file_id: int,
    *,
    user_id: int | None,
    dry_run: bool = False,
    options: Options = Options(),  # noqa: B008 - it cannot be changed
    may_change_prices: bool = True,
    now: datetime,
    request_id: str | None = None,
) -> Job:
    """Have the books of a stored file taken in by the actors.

    Raises:
        NotFound: there is no such file.
        Invalid: an option is none.
    """
    await file_store.get(conn, file_id)
    options.check()
    return await jobs.add(
        conn,
        Kind.IMPORT_BOOKS,
        user_id=user_id,
        file_id=file_id,
        options={
            "dry_run": dry_run,
            "may_change_prices": may_change_prices,
            **options.to_json(),
        },
        now=now,
        request_id=request_id,
    )


async def preview(
    engine: AsyncEngine, file_id: int, *, currency: str, options: Options, now: datetime
) -> Preview:
    """What a stored file looks like, and how its columns would be understood.

    Raises:
        NotFound: there is no such file.
    """
    with tempfile.TemporaryFile() as file:
        await file_store.fetch(engine, file_id, file)
        return await asyncio.to_thread(_previewed, file, options, currency, now)


async def take_in(
    engine: AsyncEngine,
    file: BinaryIO,
    *,
    name: str,
    currency: str,
    user_id: int | None = None,
    dry_run: bool = False,
    options: Options = Options(),  # noqa: B008 - it cannot be changed
    clock: Callable[[], datetime],
    watch: Watch | None = None,
) -> Job:
    """Store a file and import it here and now, while somebody waits; gives the ended job.

    When this process is killed, a worker finishes the job.

    Raises:
        TooLarge: the file is.
        Invalid: an option is none.
    """
    stored = await file_store.store(
        engine,
        file_store.pieces(file),
        name=name,
        media_type="application/octet-stream",
        kind="import",
        owner_id=user_id,
        now=clock(),
        expires_at=clock() + jobs.RETENTION,
    )
    async with transaction(engine) as conn:
        job = await start(
            conn, stored.id, user_id=user_id, dry_run=dry_run, options=options, now=clock()
        )
    importer = Importer(engine, currency=currency, clock=clock)
    runner = Runner(engine, {Kind.IMPORT_BOOKS: importer}, clock=clock)
    while await runner.run(job.id, watch=watch):
        pass
    async with reading(engine) as conn:
        return await jobs.get(conn, job.id)


class Importer:
    """Works on jobs that import books (see `runner.Work`)."""

    def __init__(
        self, engine: AsyncEngine, *, currency: str, clock: Callable[[], datetime]
    ) -> None:
        self._engine = engine.execution_options(timeout_s=_TIMEOUT_S)
        one_writer = engine.dialect.name == "sqlite"
        self._batch, self._pauses = (SQLITE_BATCH, SQLITE_PAUSES) if one_writer else (BATCH, PAUSES)
        self._currency = currency
        self._clock = clock

    async def __call__(self, job: Job, /, *, slice_s: float, watch: Watch | None) -> bool:
        if job.file_id is None:
            raise Invalid("file", "The file of this import is not kept any more.")
        with tempfile.TemporaryFile() as file:
            await file_store.fetch(self._engine, job.file_id, file)
            async with _reading(file, job, self._currency) as reader:
                return await self._go_on(job, reader, slice_s, watch)

    async def _go_on(self, job: Job, reader: "_Desk", slice_s: float, watch: Watch | None) -> bool:
        await self._pass_over(job, reader)
        ends = time.monotonic() + slice_s
        batch = await reader.take(self._batch)
        while batch:
            began = time.monotonic()
            job = await self._take(job, batch, reader.source)
            took = time.monotonic() - began
            if watch:
                await watch(job)
            if time.monotonic() >= ends:
                return True
            batch, _ = await asyncio.gather(reader.take(self._batch), self._give_way(took))
        await self._end(job, reader.source)
        return False

    async def _give_way(self, took: float) -> None:
        """Let others have the database: on SQLite, whoever waits looks again now and then."""
        async with reading(self._engine) as conn:
            customers = await orders.any_since(conn, self._clock() - _AMONG_CUSTOMERS)
        pause = took * self._pauses[customers]
        await asyncio.sleep(min(pause, _LONGEST_PAUSE_S))

    async def _pass_over(self, job: Job, reader: "_Desk") -> None:
        """Read again what was done already: which books have been named has to be known."""
        if not job.read:
            return
        async with reading(self._engine) as conn:
            unchecked = await jobs.unchecked(conn, job.id)
        told_at = time.monotonic()
        for position in range(0, job.read, _PASSED):
            until = min(position + _PASSED, job.read)
            await reader.pass_over(range(position, until), unchecked)
            if time.monotonic() >= told_at + _SIGN_OF_LIFE_S:
                async with transaction(self._engine) as conn:
                    silent_until = self._clock() + timedelta(seconds=6 * _SIGN_OF_LIFE_S)
                    await outbox.lease(conn, Task.RUN_JOBS, [job.id], silent_until)
                told_at = time.monotonic()

    async def _take(self, job: Job, batch: Sequence[Read], source: Source) -> Job:
        """Do what a batch asks for and write down how far the job is, in one transaction."""
        rows = [row for row in batch if isinstance(row, Row)]
        plan = partial(upsert.plan, rows=rows, may_change_prices=job.options["may_change_prices"])

        async def write(conn: AsyncConnection, planned: Plan) -> Job:
            after = await self._advance(conn, job, _lines(batch, planned, job.read), source)
            if not job.options["dry_run"]:
                now = self._clock()
                await upsert.carry_out(conn, planned, user_id=job.user_id, now=now)
            return after

        async def work() -> Job:
            # SQLite's one writer is not kept waiting for a plan.
            async with reading(self._engine) as conn:
                planned = await plan(conn)
            async with transaction(self._engine) as conn:
                return await write(conn, planned)

        async def work_locked() -> Job:
            async with transaction(self._engine) as conn:
                await upsert.lock(conn, rows)
                return await write(conn, await plan(conn))

        for _ in range(TRIES):
            try:
                return await retry_transaction(work)
            except Overtaken:
                continue
        return await retry_transaction(work_locked)

    async def _advance(
        self, conn: AsyncConnection, job: Job, lines: Sequence[Line], source: Source
    ) -> Job:
        counts = {outcome.value: getattr(job, outcome) for outcome in Outcome}
        for line in lines:
            counts[line.outcome] += 1
        kept = lines if source.reported else [x for x in lines if x.outcome is Outcome.REFUSED]
        return await jobs.advance(
            conn,
            job,
            lines=kept,
            findings=_findings(source),
            read=job.read + len(lines),
            done=source.done,
            total=source.total,
            **counts,
            now=self._clock(),
        )

    async def _end(self, job: Job, source: Source) -> None:
        async def work() -> None:
            async with transaction(self._engine) as conn:
                after = await jobs.advance(
                    conn,
                    job,
                    findings=_findings(source),
                    done=source.total,
                    total=source.total,
                    now=self._clock(),
                )
                await jobs.finish(conn, after, now=self._clock())

        await retry_transaction(work)


class _Desk:
    """A reader at work in a thread of its own, because reading and checking are too slow for
    the event loop of a server; always the same one, because libxml2 aborts the process when
    a parser is used in another thread than it was made in.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="import")
        self._reader: _Reader

    @property
    def source(self) -> Source:
        return self._reader.source

    async def open(self, file: BinaryIO, options: Options, currency: str, now: datetime) -> None:
        def work() -> None:
            source = open_source(file, options, currency=currency, today=now.date())
            self._reader = _Reader(source, now)

        await self._do(work)

    async def take(self, count: int) -> list[Read]:
        return await self._do(lambda: self._reader.take(count))

    async def pass_over(self, positions: Iterable[int], unchecked: Collection[int]) -> None:
        await self._do(lambda: self._reader.pass_over(positions, unchecked))

    async def close(self) -> None:
        def work() -> None:
            if hasattr(self, "_reader"):
                self._reader.close()
                del self._reader

        await self._do(work)
        self._thread.shutdown(wait=False)

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


@asynccontextmanager
async def _reading(file: BinaryIO, job: Job, currency: str) -> AsyncIterator[_Desk]:
    desk = _Desk()
    try:
        await desk.open(file, Options.of_json(job.options), currency, job.created_at)
        yield desk
    finally:
        await desk.close()


class _Reader:
    """Entries become rows, each ISBN once."""

    def __init__(self, source: Source, now: datetime) -> None:
        self.source = source
        self._entries: Iterator[Entry | Refusal | Superseded] = iter(source)
        self._now = now
        #: The line of each ISBN that was taken: about 100 bytes a row, all that grows.
        self._seen: dict[int, int] = {}

    def take(self, count: int) -> list[Read]:
        """What is next in the file; nothing at its end."""
        return list(islice(self._rows(), count))

    def pass_over(self, positions: Iterable[int], unchecked: Collection[int]) -> None:
        """Read what was done already, and keep which books it named, those at the positions
        `unchecked` excepted.

        Raises:
            Invalid: the file is shorter than it was.
        """
        for position in positions:
            entry = next(self._entries, None)
            if entry is None:
                raise Invalid("file", "The file is not the one with which this import began.")
            if isinstance(entry, Entry) and position not in unchecked:
                self._seen.setdefault(int(isbn.parse(entry.facts["isbn13"])), entry.line)

    def close(self) -> None:
        """Let go of the file."""
        self._entries = iter(())
        self.source.close()

    def _rows(self) -> Iterator[Read]:
        for entry in self._entries:
            if not isinstance(entry, Entry):
                yield entry
                continue
            try:
                row = _row(entry, self._now)
                earlier = self._seen.setdefault(int(row.isbn13), entry.line)
                if earlier != entry.line:
                    raise Invalid("isbn13", f"The book is in line {earlier} already.")
                yield row
            except Invalid as error:
                yield _refused(entry, error.field, str(error))


def _row(entry: Entry, now: datetime) -> Row:
    """The entry, if it keeps the rules of a book.

    Raises:
        Invalid: it does not.
    """
    if entry.action is Action.WITHDRAW:
        # Whatever else it says, the book goes.
        return Row(
            entry=entry, columns=validation.checked({"isbn13": entry.facts["isbn13"]}, now=now)
        )
    facts = dict(entry.facts)
    names = facts.pop("categories", None)
    facts = validation.checked(facts, now=now)
    if names is not None:
        if len(names) > validation.MOST_CATEGORIES:
            raise Invalid("categories", f"A book is in at most {validation.MOST_CATEGORIES}.")
        names = [validation.plain("categories", name, NAME_LENGTH) for name in names]
    return Row(
        entry=entry,
        authors=facts.pop("authors", None),
        stock=facts.pop("stock", None),
        categories=names,
        columns=facts,
    )


def _refused(entry: Entry, field: str, reason: str) -> Refusal:
    column = entry.columns.get(field, field)
    return Refusal(entry.line, column, shown(entry.values.get(field, "")), reason, entry.cells)


def _lines(batch: Sequence[Read], plan: Plan, position: int) -> list[Line]:
    """What becomes of each row of a batch, in the order of the file."""
    outcomes: dict[int, Outcome] = {}
    reasons = {id(row): _refused(row.entry, field, reason) for row, field, reason in plan.refused}
    for outcome, rows in (
        (Outcome.CREATED, [new.row for new in plan.new]),
        (Outcome.UPDATED, [change.row for change in plan.changed]),
        (Outcome.UPDATED, [withdrawal.row for withdrawal in plan.withdrawn]),
        (Outcome.UNCHANGED, plan.unchanged),
    ):
        outcomes |= {id(row): outcome for row in rows}
    lines = []
    for place, read in enumerate(batch, start=position):
        if isinstance(read, Row) and id(read) in reasons:
            line = _line(place, reasons[id(read)], None)
            lines.append(replace(line, isbn13=read.isbn13))
        else:
            lines.append(_line(place, read, outcomes.get(id(read))))
    return lines


def _line(position: int, read: Read, outcome: Outcome | None) -> Line:
    if isinstance(read, Refusal):
        return Line(
            position,
            read.line,
            Outcome.REFUSED,
            column=read.column,
            value=read.value,
            reason=read.reason,
            cells=read.cells,
        )
    if isinstance(read, Superseded):
        reason = f"The record in line {read.later_line} is about the same book, and right."
        return Line(position, read.line, Outcome.UNCHANGED, read.isbn13, reason=reason)
    assert outcome is not None
    reason = " ".join(read.entry.notes)
    return Line(position, read.entry.line, outcome, read.isbn13, reason=reason or None)


def _findings(source: Source) -> dict[str, Any]:
    return {**source.findings, "header": None if source.header is None else list(source.header)}


def _previewed(file: BinaryIO, options: Options, currency: str, now: datetime) -> Preview:
    try:
        source = open_source(file, options, currency=currency, today=now.date())
    except Invalid as error:
        return Preview({}, [], [], str(error))
    try:
        rows = [
            row.cells or [row.value] if isinstance(row, Refusal) else row[1]
            for row in islice(source.raw(), _PREVIEWED)
        ]
        missing = source.findings.get("missing_columns")
        fault = f"These columns are missing: {', '.join(missing)}." if missing else None
        return Preview(source.findings, source.header or [], rows, fault)
    finally:
        source.close()
