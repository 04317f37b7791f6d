"""Statements for many rows at once: constant text, the rows as one JSON parameter.

The server unpacks the rows, so nothing is assembled per call, the statement is compiled
once, and fifty rows cost one trip.  Measured against the other forms, this is the
cheapest that binds every value.  Answers come the same way, because a row costs the driver
more than the server.

What then costs most is the way there and back, so statements that do not wait for each other's
answers go together:

    found, others = await ask(conn, _FIND.of(rows), _OTHERS.of(rows))
    ids = await in_one_trip(conn, _WRITE.of(rows), _WRITE_MORE.of(rows), answer=_IDS.of(rows))
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import CursorResult, Executable, TextClause, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database import failpoints
from bookstore.database.tables import UtcDateTime


class Bulk:
    """One statement over the rows of `columns`, ready for MariaDB, MySQL and SQLite.

    `columns` is written as for MariaDB: `"order_id BIGINT, reason VARCHAR(500)"`.  In `sql`,
    `{rows}` stands for the rows, to be named by an alias; `{join}` for a join that keeps the
    order of the rows, and so the order in which locks are taken; `{for_update}` for the lock;
    `{by_key}`, after a table, for its rows one by one by their primary key: of a small table
    MariaDB would read them all, and wait for whoever has locked any.
    SQLite knows no lock but the one on the whole database, and writes UPDATE and DELETE
    another way: `sqlite` is its form where it differs.  `types` names the columns of the
    answer that are not plain.
    """

    def __init__(self, columns: str, sql: str, *, sqlite: str | None = None, **types: Any) -> None:
        names = [column.split() for column in columns.split(", ")]
        paths = ", ".join(
            f"{name} {kind} PATH '$[{place}]'" for place, (name, kind) in enumerate(names)
        )
        values = ", ".join(
            f"json_extract(value, '$[{place}]') AS {name}" for place, (name, _) in enumerate(names)
        )
        self.mysql = sql.format(
            rows=f"JSON_TABLE(:rows, '$[*]' COLUMNS ({paths}))",
            join="STRAIGHT_JOIN",
            for_update="FOR UPDATE",
            by_key="FORCE INDEX (PRIMARY)",
        )
        self.sqlite = (sqlite or sql).format(
            rows=f"(SELECT {values} FROM json_each(:rows))",  # noqa: S608 - all constant
            join="CROSS JOIN",
            for_update="",
            by_key="",
        )
        self.on_mysql = self._compiled(self.mysql, types)
        self.on_sqlite = self._compiled(self.sqlite, types)

    def of(self, rows: Iterable[Sequence[Any]], **parameters: Any) -> "Statement":
        """It over these rows, each with one value for each column, in their order."""
        payload = json.dumps(
            list(rows), default=_json_value, ensure_ascii=False, separators=(",", ":")
        )
        return Statement(self, {"rows": payload, **parameters})

    async def __call__(
        self, conn: AsyncConnection, rows: Iterable[Sequence[Any]], **parameters: Any
    ) -> CursorResult[Any]:
        """Run it over these rows."""
        return await self.of(rows, **parameters).run(conn)

    @staticmethod
    def _compiled(sql: str, types: dict[str, Any]) -> Executable:
        statement = _typed(sql)
        return statement.columns(**types) if types else statement


class BulkQuery:
    """A query over the rows of `columns`, answered in one piece.

    `values` are the columns of the answer, `source` is what follows them, both written as for
    `Bulk`.  Numbers, text and NULL come as they are, moments as text.
    """

    def __init__(self, columns: str, values: str, source: str) -> None:
        self._bulk = Bulk(
            columns,
            f"SELECT JSON_ARRAYAGG(JSON_ARRAY({values})) {source}",
            sqlite=f"SELECT json_group_array(json_array({values})) {source}",
        )

    def of(self, rows: Iterable[Sequence[Any]], **parameters: Any) -> "Statement":
        """It over these rows, each with one value for each column."""
        return self._bulk.of(rows, **parameters)

    async def __call__(
        self, conn: AsyncConnection, rows: Iterable[Sequence[Any]], **parameters: Any
    ) -> list[list[Any]]:
        """The rows found, in no order that could be relied on."""
        return _rows((await self._bulk(conn, rows, **parameters)).scalar_one())


@dataclass(frozen=True, slots=True)
class Statement:
    """A `Bulk` or `BulkQuery` with its rows, to be sent beside others."""

    bulk: Bulk
    parameters: Mapping[str, Any]
    #: Where a test may kill the process once it is done (`failpoints`), and the rows worked on.
    place: str = ""
    ref_ids: Collection[int] = ()

    def passing(self, place: str, ref_ids: Collection[int] = ()) -> "Statement":
        """The same; what comes after it passes this place first."""
        return replace(self, place=place, ref_ids=ref_ids)

    async def run(self, conn: AsyncConnection) -> CursorResult[Any]:
        """Send it by itself."""
        sqlite = conn.dialect.name == "sqlite"
        statement = self.bulk.on_sqlite if sqlite else self.bulk.on_mysql
        return await conn.execute(statement, self.parameters)


async def ask(conn: AsyncConnection, *queries: Statement) -> list[list[list[Any]]]:
    """What each of these `BulkQuery`s finds, none of which takes locks."""
    sqlite = conn.dialect.name == "sqlite"
    statement = _beside(tuple(query.bulk for query in queries), sqlite=sqlite)
    answers = (await conn.execute(statement, _numbered(queries))).one()
    return [_rows(answer) for answer in answers]


async def in_one_trip(
    conn: AsyncConnection, *changes: Statement, answer: Statement | None = None
) -> list[list[Any]]:
    """Make the changes, one after the other, and tell what the `BulkQuery`, if any, then finds.

    MariaDB takes them as one (a compound statement); an error is that of the first change that
    fails, and the next ones are not made.  Other databases get one after the other, and so does
    MariaDB when a test stops between them.
    """
    steps = [*changes] if answer is None else [*changes, answer]
    stops = any(failpoints.armed(step.place) for step in steps)
    if len(steps) > 1 and getattr(conn.dialect, "is_mariadb", False) and not stops:
        statement = _compound(tuple(step.bulk for step in steps))
        result = await conn.execute(statement, _numbered(steps))
    else:
        for step in steps:
            result = await step.run(conn)
            failpoints.failpoint(step.place, step.ref_ids)
    return [] if answer is None else _rows(result.scalar_one())


@lru_cache(maxsize=64)
def _beside(queries: tuple[Bulk, ...], *, sqlite: bool) -> TextClause:
    texts = _renamed([query.sqlite if sqlite else query.mysql for query in queries])
    return _typed("SELECT " + ", ".join(f"({query})" for query in texts))


@lru_cache(maxsize=64)
def _compound(steps: tuple[Bulk, ...]) -> TextClause:
    return _typed(f"BEGIN NOT ATOMIC {'; '.join(_renamed([it.mysql for it in steps]))}; END")


def _renamed(texts: Iterable[str]) -> list[str]:
    """The texts, each with parameters of its own: `:now` of the third becomes `:s2_now`."""
    return [re.sub(r"(?<!:):(\w+)", rf":s{place}_\1", sql) for place, sql in enumerate(texts)]


def _numbered(steps: Iterable[Statement]) -> dict[str, Any]:
    return {
        f"s{place}_{name}": value
        for place, step in enumerate(steps)
        for name, value in step.parameters.items()
    }


def _typed(sql: str) -> TextClause:
    statement = text(sql)
    moments = [
        bindparam(name, type_=UtcDateTime)
        for name in statement._bindparams
        if name == "now" or name.endswith(("_now", "_at"))
    ]
    return statement.bindparams(*moments)


def _rows(answer: str | None) -> list[list[Any]]:
    # Without any row MariaDB answers NULL.
    found: list[list[Any]] = json.loads(answer) if answer else []
    return found


def _json_value(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    raise TypeError(f"no JSON value: {value!r}")
