"""Imports: a job that creates and updates books from a file.

Each row is applied or refused as a whole.  A row whose ISBN the store has updates that book;
fields that the file does not set keep their values.  A dry run does everything except the
writes, so it reports exactly what the real import would do.

A batch of rows and the progress of the job are committed in one transaction, so an import that
is killed resumes after the last committed batch: it reads the file again from the start and
skips the rows that are already processed.
"""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, BinaryIO, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore import orders
from bookstore.catalogue import isbn, validation
from bookstore.catalogue.categories import NAME_LENGTH
from bookstore.database import file_store
from bookstore.database.engine import MAX_ATTEMPTS, reading, retry_transaction, transaction
from bookstore.errors import Invalid
from bookstore.imports import entries, upsert
from bookstore.imports.entries import BookEntry, EntryAction, ImportSource, Refusal, Superseded
from bookstore.imports.formats import Options, open_source
from bookstore.imports.upsert import StalePlan, UpsertPlan, UpsertRow
from bookstore.regional import shop_time
from bookstore.tasks import jobs, outbox
from bookstore.tasks.job_runner import JobRunner, ProgressCallback
from bookstore.tasks.jobs import Job, JobKind, JobLine, LineOutcome
from bookstore.tasks.outbox import Task

T = TypeVar("T")

#: Rows in a transaction.  The limit bounds how long an order waits for locks of an import.
BATCH = 200
#: Smaller, because SQLite has one writer at a time and every other write waits for it.
SQLITE_BATCH = 40
#: The pause after a batch as a multiple of the batch's duration: when no customer has ordered
#: recently, and when one has.
SQLITE_PAUSE_FACTORS = (1, 8)
PAUSE_FACTORS = (0, 2)
_LONGEST_PAUSE_S = 0.5
#: An order within this time counts as recent.
_RECENT_ORDER = timedelta(seconds=5)
#: Longer than the limit of a page, because no visitor waits for a batch.
_TIMEOUT_S = 60.0
#: Rows skipped in one step when a job resumes; the lease of the job is renewed between steps.
_SKIP_ROWS = 2000
_LEASE_RENEWAL_S = 10.0
_PREVIEW_ROWS = 10

#: What was read for one row or record: a validated row, or why it is not applied.
RowResult = UpsertRow | Refusal | Superseded


@dataclass(frozen=True, slots=True)
class Preview:
    """A file before it is imported.

    `findings` has the form of a job's findings, with the recognised and the missing columns;
    `header` and `rows` are the sheet's own header and its first rows.  `error` says why the file
    cannot be imported as it is, None when it can.
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
    options: Options = Options(),  # noqa: B008 - immutable
    may_change_prices: bool = True,
    now: datetime,
    request_id: str | None = None,
) -> Job:
    """Queue a job in which the workers import the books of a stored file.

    Raises:
        NotFound: there is no such file.
        Invalid: an option has an unknown value.
    """
    await file_store.get(conn, file_id)
    options.check()
    stored = {"dry_run": dry_run, "may_change_prices": may_change_prices, **options.to_json()}
    return await jobs.add(
        conn,
        JobKind.IMPORT_BOOKS,
        user_id=user_id,
        file_id=file_id,
        options=stored,
        now=now,
        request_id=request_id,
    )


async def preview(
    engine: AsyncEngine,
    file_id: int,
    *,
    currency: str,
    country: str,
    options: Options,
    now: datetime,
) -> Preview:
    """The first rows of a stored file and how its columns would be interpreted.

    Raises:
        NotFound: there is no such file.
    """
    with tempfile.TemporaryFile() as file:
        await file_store.fetch(engine, file_id, file)
        return await asyncio.to_thread(_build_preview, file, options, currency, country, now)


async def import_file(
    engine: AsyncEngine,
    file: BinaryIO,
    *,
    name: str,
    currency: str,
    country: str,
    user_id: int | None = None,
    dry_run: bool = False,
    options: Options = Options(),  # noqa: B008 - immutable
    clock: Callable[[], datetime],
    on_progress: ProgressCallback | None = None,
) -> Job:
    """Store a file and import it in this process; return the finished job.

    When this process is killed, a worker finishes the job.

    Raises:
        TooLarge: the file exceeds the size limit.
        Invalid: an option has an unknown value.
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
    importer = Importer(engine, currency=currency, country=country, clock=clock)
    runner = JobRunner(engine, {JobKind.IMPORT_BOOKS: importer}, clock=clock)
    while await runner.run(job.id, on_progress=on_progress):
        pass
    async with reading(engine) as conn:
        return await jobs.get(conn, job.id)


class Importer:
    """Processes jobs that import books (see `job_runner.JobHandler`)."""

    def __init__(
        self, engine: AsyncEngine, *, currency: str, country: str, clock: Callable[[], datetime]
    ) -> None:
        """`country` is the country of the store (ISO 3166-1 alpha-2)."""
        self._engine = engine.execution_options(timeout_s=_TIMEOUT_S)
        one_writer = engine.dialect.name == "sqlite"
        self._batch, self._pauses = (
            (SQLITE_BATCH, SQLITE_PAUSE_FACTORS) if one_writer else (BATCH, PAUSE_FACTORS)
        )
        self._currency = currency
        self._country = country
        self._clock = clock

    async def __call__(
        self, job: Job, /, *, time_limit_s: float, on_progress: ProgressCallback | None
    ) -> bool:
        if job.file_id is None:
            raise Invalid("file", "The file of this import has been deleted.")
        with tempfile.TemporaryFile() as file:
            await file_store.fetch(self._engine, job.file_id, file)
            async with _open_reader(file, job, self._currency, self._country) as reader:
                return await self._resume(job, reader, time_limit_s, on_progress)

    async def _resume(
        self, job: Job, reader: "_Reader", time_limit_s: float, on_progress: ProgressCallback | None
    ) -> bool:
        await self._skip_processed(job, reader)
        ends = time.monotonic() + time_limit_s
        batch = await reader.read(self._batch)
        while batch:
            began = time.monotonic()
            job = await self._apply(job, batch, reader.source)
            took = time.monotonic() - began
            if on_progress:
                await on_progress(job)
            if time.monotonic() >= ends:
                return True
            batch, _ = await asyncio.gather(reader.read(self._batch), self._pause(took))
        await self._end(job, reader.source)
        return False

    async def _pause(self, took: float) -> None:
        """Leave the database to other writers; on SQLite a waiting writer polls for the lock."""
        async with reading(self._engine) as conn:
            customers = await orders.any_since(conn, self._clock() - _RECENT_ORDER)
        pause = took * self._pauses[customers]
        await asyncio.sleep(min(pause, _LONGEST_PAUSE_S))

    async def _skip_processed(self, job: Job, reader: "_Reader") -> None:
        """Read the processed rows again: the reader has to know which ISBNs they contain."""
        if not job.read:
            return
        async with reading(self._engine) as conn:
            unchecked = await jobs.positions_without_isbn(conn, job.id)
        renewed_at = time.monotonic()
        for position in range(0, job.read, _SKIP_ROWS):
            until = min(position + _SKIP_ROWS, job.read)
            await reader.skip(range(position, until), unchecked)
            if time.monotonic() >= renewed_at + _LEASE_RENEWAL_S:
                async with transaction(self._engine) as conn:
                    silent_until = self._clock() + timedelta(seconds=6 * _LEASE_RENEWAL_S)
                    await outbox.lease(conn, Task.RUN_JOBS, [job.id], silent_until)
                renewed_at = time.monotonic()

    async def _apply(self, job: Job, batch: Sequence[RowResult], source: ImportSource) -> Job:
        """Apply a batch and record the progress of the job, in one transaction."""
        rows = [row for row in batch if isinstance(row, UpsertRow)]
        plan = partial(upsert.plan, rows=rows, may_change_prices=job.options["may_change_prices"])

        async def write(conn: AsyncConnection, planned: UpsertPlan) -> Job:
            after = await self._advance(conn, job, _job_lines(batch, planned, job.read), source)
            if not job.options["dry_run"]:
                now = self._clock()
                await upsert.apply(conn, planned, user_id=job.user_id, now=now)
            return after

        async def work() -> Job:
            # The plan is made outside of the transaction, so it does not block SQLite's writer.
            async with reading(self._engine) as conn:
                planned = await plan(conn)
            async with transaction(self._engine) as conn:
                return await write(conn, planned)

        async def work_locked() -> Job:
            async with transaction(self._engine) as conn:
                await upsert.lock_books(conn, rows)
                return await write(conn, await plan(conn))

        for _ in range(MAX_ATTEMPTS):
            try:
                return await retry_transaction(work)
            except StalePlan:
                continue
        return await retry_transaction(work_locked)

    async def _advance(
        self, conn: AsyncConnection, job: Job, lines: Sequence[JobLine], source: ImportSource
    ) -> Job:
        numbers = {"read": job.read + len(lines), "done": source.done, "total": source.total}
        for outcome, count in Counter(line.outcome for line in lines).items():
            numbers[outcome.value] = getattr(job, outcome) + count
        if not source.reports_all_rows:
            lines = [line for line in lines if line.outcome is LineOutcome.REFUSED]
        now, findings = self._clock(), _findings(source)
        return await jobs.advance(conn, job, now=now, lines=lines, findings=findings, **numbers)

    async def _end(self, job: Job, source: ImportSource) -> None:
        async def work() -> None:
            now, findings, total = self._clock(), _findings(source), source.total
            async with transaction(self._engine) as conn:
                after = await jobs.advance(
                    conn, job, now=now, findings=findings, done=total, total=total
                )
                await jobs.finish(conn, after, now=now)

        await retry_transaction(work)


class _Reader:
    """Turns the entries of a file into validated rows; a repeated ISBN is refused.

    Reading and validating would block the event loop of a server, so they run in one dedicated
    thread.  The thread is always the same one, because libxml2 aborts the process when a parser is
    used in another thread than the one that created it.
    """

    source: ImportSource

    def __init__(self, now: datetime) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="import")
        self._entries: Iterator[BookEntry | Refusal | Superseded] = iter(())
        self._now = now
        #: The line of each accepted ISBN.  About 100 bytes a row, and the only thing that grows.
        self._line_of: dict[int, int] = {}

    async def open(self, file: BinaryIO, options: Options, currency: str, country: str) -> None:
        def work() -> None:
            self.source = open_source(
                file,
                options,
                currency=currency,
                country=country,
                today=shop_time.day_of(self._now),
            )
            self._entries = iter(self.source)

        await self._in_thread(work)

    async def read(self, count: int) -> list[RowResult]:
        """The next rows of the file; empty at its end."""
        return await self._in_thread(lambda: list(islice(self._rows(), count)))

    async def skip(self, positions: Iterable[int], unchecked: Collection[int]) -> None:
        """Read processed rows and remember their ISBNs, except at the positions `unchecked`.

        Raises:
            Invalid: the file is shorter than when the import started.
        """

        def work() -> None:
            for position in positions:
                entry = next(self._entries, None)
                if entry is None:
                    raise Invalid("file", "The file has changed since this import started.")
                if isinstance(entry, BookEntry) and position not in unchecked:
                    self._line_of.setdefault(int(isbn.parse(entry.facts["isbn13"])), entry.line)

        await self._in_thread(work)

    async def close(self) -> None:
        """Release the file."""

        def work() -> None:
            self._entries = iter(())
            if hasattr(self, "source"):
                self.source.close()

        await self._in_thread(work)
        self._thread.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _rows(self) -> Iterator[RowResult]:
        for entry in self._entries:
            if not isinstance(entry, BookEntry):
                yield entry
                continue
            try:
                row = _validated_row(entry, self._now)
                earlier = self._line_of.setdefault(int(row.isbn13), entry.line)
                if earlier != entry.line:
                    raise Invalid("isbn13", f"The same book is already in line {earlier}.")
                yield row
            except Invalid as error:
                yield _refusal(entry, error.field, str(error))


@asynccontextmanager
async def _open_reader(
    file: BinaryIO, job: Job, currency: str, country: str
) -> AsyncIterator[_Reader]:
    reader = _Reader(job.created_at)
    try:
        await reader.open(file, Options.of_json(job.options), currency, country)
        yield reader
    finally:
        await reader.close()


def _validated_row(entry: BookEntry, now: datetime) -> UpsertRow:
    """The entry as a validated row.

    Raises:
        Invalid: the entry breaks a rule for books.
    """
    if entry.action is EntryAction.WITHDRAW:
        # The book is withdrawn, whatever other fields the entry has.
        columns = validation.validate({"isbn13": entry.facts["isbn13"]}, now=now)
        return UpsertRow(entry=entry, columns=columns)
    facts = dict(entry.facts)
    names = facts.pop("categories", None)
    facts = validation.validate(facts, now=now)
    if names is not None:
        if len(names) > validation.MAX_CATEGORIES:
            reason = f"A book has at most {validation.MAX_CATEGORIES} categories."
            raise Invalid("categories", reason)
        names = [validation.single_line("categories", name, NAME_LENGTH) for name in names]
    authors, stock = facts.pop("authors", None), facts.pop("stock", None)
    return UpsertRow(entry=entry, columns=facts, authors=authors, categories=names, stock=stock)


def _refusal(entry: BookEntry, field: str, reason: str, isbn13: str | None = None) -> Refusal:
    column = entry.columns.get(field, field)
    value = entries.shorten(entry.values.get(field, ""))
    return Refusal(entry.line, column, value, reason, entry.cells, isbn13)


def _job_lines(batch: Sequence[RowResult], plan: UpsertPlan, position: int) -> list[JobLine]:
    """The outcome of each row of a batch, in the order of the file."""
    outcomes = {id(row): LineOutcome.CREATED for row, _ in plan.new}
    updated = [change.row for change in plan.changed] + [row for row, _ in plan.withdrawn]
    outcomes |= {id(row): LineOutcome.UPDATED for row in updated}
    refusals = {
        id(row): _refusal(row.entry, field, reason, row.isbn13)
        for row, field, reason in plan.refused
    }
    return [
        _job_line(place, refusals.get(id(read), read), outcomes.get(id(read)))
        for place, read in enumerate(batch, start=position)
    ]


def _job_line(position: int, read: RowResult, outcome: LineOutcome | None) -> JobLine:
    """The line for what was read; an `outcome` of None means that the row changes nothing."""
    if isinstance(read, Refusal):
        return JobLine(position=position, outcome=LineOutcome.REFUSED, **asdict(read))
    if isinstance(read, Superseded):
        reason = f"Replaced by the later record of the same book in line {read.later_line}."
        return JobLine(position, read.line, LineOutcome.UNCHANGED, read.isbn13, reason=reason)
    outcome = outcome or LineOutcome.UNCHANGED
    remarks = " ".join(read.entry.remarks)
    return JobLine(position, read.entry.line, outcome, read.isbn13, reason=remarks or None)


def _findings(source: ImportSource) -> dict[str, Any]:
    return {**source.findings, "header": None if source.header is None else list(source.header)}


def _build_preview(
    file: BinaryIO, options: Options, currency: str, country: str, now: datetime
) -> Preview:
    try:
        source = open_source(
            file, options, currency=currency, country=country, today=shop_time.day_of(now)
        )
    except Invalid as error:
        return Preview({}, [], [], str(error))
    try:
        rows = [
            row.cells or [row.value] if isinstance(row, Refusal) else row[1]
            for row in islice(source.raw(), _PREVIEW_ROWS)
        ]
        missing = source.findings.get("missing_columns")
        problem = f"These columns are missing: {', '.join(missing)}." if missing else None
        return Preview(source.findings, source.header or [], rows, problem)
    finally:
        source.close()
