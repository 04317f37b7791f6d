"""The imports list of the back office."""

from dataclasses import dataclass
from operator import eq
from typing import Any

from sqlalchemy import Select, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.backoffice import lists
from bookstore.backoffice.lists import List
from bookstore.database.tables import files, job_lines, users
from bookstore.database.tables import jobs as table
from bookstore.tasks import jobs
from bookstore.tasks.jobs import IMPORTS, Job, JobKind, JobState, LineOutcome
from bookstore.users.permissions import Permission


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


@dataclass(frozen=True, slots=True)
class RejectedRowQuery:
    """A filter for rejected rows: those of one import."""

    job_id: int


async def _select(conn: AsyncConnection, query: ImportQuery) -> Select[Any]:
    # No list shows jobs of a kind that only a newer release knows, so this one does.
    unknown = table.c.kind.not_in([*JobKind])
    found = (
        select(table, files.c.name.label("file_name"), users.c.name.label("user_name"))
        .outerjoin_from(table, files, files.c.id == table.c.file_id)
        .outerjoin(users, users.c.id == table.c.user_id)
        .where(or_(table.c.kind.in_(IMPORTS), unknown))
    )
    return lists.where(found, (table.c.state, eq, query.state))


def _import(row: Any) -> Import:
    return Import(jobs.of_row(row), row.file_name, row.user_name)


async def _select_rejected(conn: AsyncConnection, query: RejectedRowQuery) -> Select[Any]:
    # Rows with an outcome that only a newer release knows are included.
    accepted = [LineOutcome.CREATED, LineOutcome.UPDATED, LineOutcome.UNCHANGED]
    return select(job_lines).where(
        job_lines.c.job_id == query.job_id, job_lines.c.outcome.not_in(accepted)
    )


IMPORT_LIST = List(
    name="imports",
    query=ImportQuery,
    select=_select,
    load=lists.each(_import),
    id=table.c.id,
    sorts={
        "sent": table.c.id,
        "state": table.c.state,
        "imported": table.c.created + table.c.updated,
        "refused": table.c.refused,
    },
    default_sort="-sent",
    columns={
        "id": "job.id",
        "sent_at": "job.created_at",
        "file": "file_name",
        "who": lambda found, _: found.user_name or "command line",
        "dry_run": lambda found, _: bool(found.job.options.get("dry_run")),
        "state": "job.state",
        "created": "job.created",
        "updated": "job.updated",
        "unchanged": "job.unchanged",
        "refused": "job.refused",
        "error": "job.error",
    },
    export_permission=Permission.IMPORT_BOOKS,
)
#: The import itself offers these rows as a file, to correct and import them again.
REJECTED_ROWS = List(
    name="rejected-rows",
    query=RejectedRowQuery,
    select=_select_rejected,
    load=lists.each(jobs.line_of_row),
    id=job_lines.c.position,
    sorts={"line": job_lines.c.position},
    default_sort="line",
    columns={},
    export_permission=Permission.IMPORT_BOOKS,
)
