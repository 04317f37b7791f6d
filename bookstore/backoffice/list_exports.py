"""Exports of the back office's lists as files: small ones directly, large ones by the actors."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, get_args, get_type_hints

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bookstore import audit
from bookstore.backoffice.lists import LISTS, List
from bookstore.database.engine import reading
from bookstore.errors import NotFound
from bookstore.exports import Cell, ExportSource, Format
from bookstore.tasks import jobs
from bookstore.tasks.jobs import Job, JobKind

#: Rows read in one query.
PAGE_SIZE = 500
#: Exports with more rows are written by the actors, so that the request does not wait.
MAX_DIRECT_ROWS = 5000
_MAX_ROWS = 10_000_000


async def start(
    conn: AsyncConnection,
    exported: List[Any, Any],
    query: object,
    sort: str,
    format: Format,  # noqa: A002 - the word of the API
    *,
    user_id: int,
    now: datetime,
    request_id: str | None = None,
) -> Job:
    """Queue a job that exports all rows that match the query, and record it (`record_export`)."""
    await record_export(conn, exported, query, user_id=user_id, now=now)
    filters = _query_as_json(query)
    options = {"list": exported.name, "format": format.value, "sort": sort, "query": filters}
    return await jobs.add(
        conn, JobKind.EXPORT_LIST, user_id=user_id, options=options, now=now, request_id=request_id
    )


async def record_export(
    conn: AsyncConnection, exported: List[Any, Any], query: object, *, user_id: int, now: datetime
) -> None:
    """Write to the audit log who exports a list, and with which filters.

    The search text is left out, because it may be personal data.
    """
    filters: dict[str, Any] = {
        name: None if name == "q" else [None, value]
        for name, value in _query_as_json(query).items()
    }
    await audit.record(conn, "export", exported.name, "list", filters, user_id=user_id, now=now)


def list_of(job: Job) -> List[Any, Any]:
    """The list that a job exports.

    Raises:
        NotFound: the job's options were erased, because they may have been personal data.
    """
    if found := LISTS.get(job.options.get("list", "")):
        return found
    raise NotFound("This export")


def source_of(job: Job) -> ExportSource:
    """The export for a job.

    Raises:
        NotFound: the job's options were erased, because they may have been personal data.
    """
    exported = list_of(job)
    query = _query_from_json(exported.query, job.options["query"])
    return source(exported, query, job.options["sort"])


def source(exported: List[Any, Any], query: object, sort: str) -> ExportSource:
    """The export of all rows that match the query."""

    async def count(conn: AsyncConnection) -> int:
        return await exported.count(conn, await exported.select(conn, query), _MAX_ROWS)

    async def pages(engine: AsyncEngine, currency: str) -> AsyncIterator[Sequence[Sequence[Cell]]]:
        cursor: str | None = None
        while True:
            async with reading(engine) as conn:
                found = await exported.find(conn, query, sort=sort, cursor=cursor, limit=PAGE_SIZE)
            yield [exported.cells(item, currency) for item in found.items]
            if found.next is None:
                return
            cursor = found.next

    return ExportSource(exported.name, [*exported.columns], count, pages, byte_order_mark=True)


def _query_as_json(query: Any) -> dict[str, Any]:
    """The filters of a query that differ from their defaults, as JSON values."""
    return {
        each.name: value.isoformat() if isinstance(value, datetime) else value
        for each in fields(query)
        if (value := getattr(query, each.name)) != each.default
    }


def _query_from_json(query_class: Any, filters: Mapping[str, Any]) -> Any:
    hints = get_type_hints(query_class)
    values = {
        name: datetime.fromisoformat(value) if datetime in get_args(hints[name]) else value
        for name, value in filters.items()
    }
    return query_class(**values)
