"""The imports list of the back office."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database import list_pagination
from bookstore.database.list_pagination import ListPage
from bookstore.database.tables import files, job_lines, users
from bookstore.database.tables import jobs as table
from bookstore.tasks import jobs
from bookstore.tasks.jobs import IMPORTS, Job, JobKind, JobLine, JobState, LineOutcome

SORTS: dict[str, ColumnElement[Any]] = {
    "sent": table.c.id,
    "state": table.c.state,
    "imported": table.c.created + table.c.updated,
    "refused": table.c.refused,
}
NEWEST = "-sent"
#: The columns by which the refused rows of one import can be sorted.
LINE_SORTS = {"line": job_lines.c.position}
IN_ORDER = "line"


@dataclass(frozen=True, slots=True)
class ImportQuery:
    """A filter for imports; None means no filter."""

    state: JobState | None = None


@dataclass(frozen=True, slots=True)
class Import:
    """An import; the file name is None once the file is deleted, the user for the command line."""

    job: Job
    file_name: str | None
    user_name: str | None


async def find(
    conn: AsyncConnection, query: ImportQuery, *, sort: str, cursor: str | None, limit: int
) -> ListPage[Import]:
    """The imports that match the query.

    Raises:
        Invalid: the cursor does not belong to this list.
    """
    by = list_pagination.order(sort, SORTS, table.c.id, NEWEST)
    selected = (
        _filtered(query)
        .add_columns(files.c.name.label("file_name"), users.c.name.label("user_name"))
        .outerjoin_from(table, files, files.c.id == table.c.file_id)
        .outerjoin(users, users.c.id == table.c.user_id)
    )
    found = await list_pagination.select_page(conn, selected, by, cursor=cursor, limit=limit)
    return found.with_items(
        [Import(jobs.of_row(row), row.file_name, row.user_name) for row in found.items]
    )


async def refused(
    conn: AsyncConnection, job_id: int, *, sort: str, cursor: str | None, limit: int
) -> ListPage[JobLine]:
    """The refused rows of an import, in the order of its file or reversed.

    Rows with an outcome that only a newer release knows are included.

    Raises:
        Invalid: the cursor does not belong to this list.
    """
    accepted = [LineOutcome.CREATED, LineOutcome.UPDATED, LineOutcome.UNCHANGED]
    selected = select(job_lines).where(
        job_lines.c.job_id == job_id, job_lines.c.outcome.not_in(accepted)
    )
    by = list_pagination.order(sort, LINE_SORTS, job_lines.c.position, IN_ORDER)
    found = await list_pagination.select_page(conn, selected, by, cursor=cursor, limit=limit)
    return found.with_items([jobs.line_of_row(row) for row in found.items])


async def count(
    conn: AsyncConnection, query: ImportQuery, up_to: int = list_pagination.MAX_COUNT
) -> int:
    """How many imports match the query, at most `up_to`."""
    return await list_pagination.count(conn, _filtered(query), up_to)


def _filtered(query: ImportQuery) -> Select[Any]:
    # No list shows jobs of a kind that only a newer release knows, so this one does.
    unknown = table.c.kind.not_in([*JobKind])
    found = select(table).where(or_(table.c.kind.in_(IMPORTS), unknown))
    if query.state is not None:
        found = found.where(table.c.state == query.state)
    return found
