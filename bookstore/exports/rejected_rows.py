"""The refused rows of an import as a CSV file, to be corrected and imported again.

The file has four columns about the error, which the import ignores, followed by the columns of
the original file.  For a file without columns (ONIX) it has only the four.
"""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.database.documents import is_damaged
from bookstore.database.engine import reading
from bookstore.exports.exporter import escape_formula
from bookstore.tasks import jobs
from bookstore.tasks.jobs import Job, JobLine, LineOutcome

COLUMNS = ("refused_line", "refused_column", "refused_value", "refused_reason")
_SEPARATORS = {"semicolon": ";", "tab": "\t", "bar": "|"}
_PAGE = 500
_DAMAGED = "The stored cells of this row are damaged; see the original file."


async def as_csv(engine: AsyncEngine, job: Job) -> AsyncIterator[bytes]:
    """The file in UTF-8, in chunks, with the separator of the original file."""
    separator = _SEPARATORS.get(job.findings.get("separator") or "", ",")
    header = [name or "" for name in job.findings.get("header") or []]
    yield _rows([[*COLUMNS, *header]], separator)
    async for found in pages(engine, job):
        yield _rows((_row(line) for line in found), separator)


async def pages(engine: AsyncEngine, job: Job) -> AsyncIterator[list[JobLine]]:
    """The refused lines of the job, in file order; a page is read in one query."""
    refused, cursor = LineOutcome.REFUSED, None
    while True:
        async with reading(engine) as conn:
            page = await jobs.lines(conn, job.id, outcome=refused, cursor=cursor, limit=_PAGE)
        if page.items:
            yield page.items
        cursor = page.next
        if cursor is None:
            return


def _row(line: JobLine) -> Sequence[str]:
    reason = line.reason or ""
    if is_damaged(line.cells):
        reason = f"{reason} {_DAMAGED}".strip()
    error = (str(line.line), line.column or "", line.value or "", reason)
    return [escape_formula(cell) for cell in (*error, *(line.cells or []))]


def _rows(rows: Iterable[Sequence[str]], separator: str) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator).writerows(rows)
    return text.getvalue().encode("utf-8", errors="replace")
