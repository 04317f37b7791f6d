"""The rows that an import refused, as a file to be mended and sent again.

It has the columns of the file that was sent, in front of them four that say what is wrong:
the import ignores those.  What was sent in another form than a sheet (ONIX) has only the four.
"""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.database.engine import reading
from bookstore.exports.exporter import quoted
from bookstore.tasks import jobs
from bookstore.tasks.jobs import Job, Line, Outcome

COLUMNS = ("refused_line", "refused_column", "refused_value", "refused_reason")
_SEPARATORS = {"semicolon": ";", "tab": "\t", "bar": "|"}
_PAGE = 500


async def as_csv(engine: AsyncEngine, job: Job) -> AsyncIterator[bytes]:
    """The file, piece by piece, in UTF-8; what separates its columns is as it was sent."""
    separator = _SEPARATORS.get(job.findings.get("separator", ""), ",")
    header = job.findings.get("header") or []
    yield _rows([[*COLUMNS, *header]], separator)
    after = -1
    while True:
        async with reading(engine) as conn:
            found = await jobs.lines(
                conn, job.id, outcome=Outcome.REFUSED, after=after, limit=_PAGE
            )
        if found:
            yield _rows((_row(line) for line in found), separator)
            after = found[-1].position
        if len(found) < _PAGE:
            return


def _row(line: Line) -> Sequence[str]:
    said = (str(line.line), line.column or "", line.value or "", line.reason or "")
    return [quoted(cell) for cell in (*said, *(line.cells or []))]


def _rows(rows: Iterable[Sequence[str]], separator: str) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator).writerows(rows)
    return text.getvalue().encode("utf-8", errors="replace")
