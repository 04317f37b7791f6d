"""Imports as staff list them."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database import list_pagination
from bookstore.database.list_pagination import Slice
from bookstore.database.tables import files, job_lines, users
from bookstore.database.tables import jobs as table
from bookstore.tasks import jobs
from bookstore.tasks.jobs import IMPORTS, Job, Line, Outcome, State

SORTS: dict[str, ColumnElement[Any]] = {
    "sent": table.c.id,
    "state": table.c.state,
    "taken": table.c.created + table.c.updated,
    "refused": table.c.refused,
}
NEWEST = "-sent"
#: How the refused rows of one import are sorted.
LINE_SORTS = {"line": job_lines.c.position}
IN_ORDER = "line"


@dataclass(frozen=True, slots=True)
class Query:
    """Which imports; None is no condition."""

    state: State | None = None


@dataclass(frozen=True, slots=True)
class Import:
    """An import; its file may have gone, and the command line is nobody."""

    job: Job
    file_name: str | None
    user_name: str | None


async def find(
    conn: AsyncConnection, query: Query, *, sort: str, cursor: str | None, limit: int
) -> Slice[Import]:
    """Imports that meet the query.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    by = list_pagination.order(sort, SORTS, table.c.id, NEWEST)
    wanted = (
        _filtered(query)
        .add_columns(files.c.name.label("file_name"), users.c.name.label("user_name"))
        .outerjoin_from(table, files, files.c.id == table.c.file_id)
        .outerjoin(users, users.c.id == table.c.user_id)
    )
    found = await list_pagination.cut(conn, wanted, by, cursor=cursor, limit=limit)
    return found.of([Import(jobs.of_row(row), row.file_name, row.user_name) for row in found.items])


async def refused(
    conn: AsyncConnection, job_id: int, *, sort: str, cursor: str | None, limit: int
) -> Slice[Line]:
    """The refused rows of an import, in the order of its file or against it.

    Raises:
        Invalid: the cursor is not one of this list's.
    """
    wanted = select(job_lines).where(
        job_lines.c.job_id == job_id, job_lines.c.outcome == Outcome.REFUSED
    )
    by = list_pagination.order(sort, LINE_SORTS, job_lines.c.position, IN_ORDER)
    found = await list_pagination.cut(conn, wanted, by, cursor=cursor, limit=limit)
    return found.of([jobs.line_of_row(row) for row in found.items])


async def count(conn: AsyncConnection, query: Query, most: int = list_pagination.COUNTED) -> int:
    """How many imports meet the query, up to `most`."""
    return await list_pagination.count(conn, _filtered(query), most)


def _filtered(query: Query) -> Select[Any]:
    found = select(table).where(table.c.kind.in_(IMPORTS))
    if query.state is not None:
        found = found.where(table.c.state == query.state)
    return found
