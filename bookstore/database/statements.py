"""Bulk statements: constant SQL text, with all rows in one JSON parameter.

The server unpacks the rows.  So no SQL is assembled per call, each statement is compiled once,
and fifty rows cost one round trip.  In our measurements this was the cheapest form that binds
every value.  Results come back as JSON too, because a row costs the driver more than the server.

The remaining cost is the round trip, so statements that do not need each other's results are sent
together:

    found, others = await run_queries(conn, _FIND.of(rows), _OTHERS.of(rows))
    ids = await run_statements(conn, _WRITE.of(rows), _WRITE_MORE.of(rows), answer=_IDS.of(rows))
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Self

from sqlalchemy import CursorResult, Executable, TextClause, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database import failpoints
from bookstore.database.tables import UtcDateTime


class Bulk:
    """One statement over rows with these `columns`, for MariaDB, MySQL and SQLite.

    `columns` is written as for MariaDB: `"order_id BIGINT, reason VARCHAR(500)"`.  Placeholders
    in `sql`:

    - `{rows}`: the rows; give them an alias.
    - `{join}`: a join that keeps the order of the rows, and so the order in which locks are taken.
    - `{for_update}`: the row lock.
    - `{by_key}`, after a table name: look its rows up by primary key.  MariaDB would scan a small
      table, and wait for a lock on any of its rows.

    `sqlite` is the SQL for SQLite where it differs: SQLite locks only the whole database, and has
    another syntax for UPDATE and DELETE with a join.  `types` gives the types of result columns
    that the driver does not convert itself.
    """

    def __init__(self, columns: str, sql: str, *, sqlite: str | None = None, **types: Any) -> None:
        names = [column.split() for column in columns.split(", ")]
        paths = ", ".join(
            f"{name} {_as_text(kind)} PATH '$[{index}]'" for index, (name, kind) in enumerate(names)
        )
        values = ", ".join(
            f"json_extract(value, '$[{index}]') AS {name}" for index, (name, _) in enumerate(names)
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

    @classmethod
    def update(cls, columns: str, table: str, on: str, changes: Mapping[str, str]) -> Self:
        """An UPDATE of the rows `t` of a table that match the rows `v` by the condition `on`.

        `on` begins with the table's primary key; `changes` has the new value of each column.
        """
        on_mysql = ", ".join(f"t.{name} = {value}" for name, value in changes.items())
        on_sqlite = ", ".join(f"{name} = {value}" for name, value in changes.items())
        mysql = f"UPDATE {{rows}} AS v STRAIGHT_JOIN {table} AS t {{by_key}} ON {on} SET {on_mysql}"  # noqa: S608 - all constant
        sqlite = f"UPDATE {table} AS t SET {on_sqlite} FROM {{rows}} AS v WHERE {on}"  # noqa: S608 - all constant
        return cls(columns, mysql, sqlite=sqlite)

    def of(self, rows: Iterable[Sequence[Any]], **parameters: Any) -> "Statement":
        """The statement with its rows; a row has one value for each column, in their order."""
        payload = json.dumps(
            list(rows), default=_json_value, ensure_ascii=False, separators=(",", ":")
        )
        return Statement(self, {"rows": payload, **parameters})

    async def __call__(
        self, conn: AsyncConnection, rows: Iterable[Sequence[Any]], **parameters: Any
    ) -> CursorResult[Any]:
        """Run the statement over these rows."""
        return await self.of(rows, **parameters).run(conn)

    @staticmethod
    def _compiled(sql: str, types: dict[str, Any]) -> Executable:
        statement = _typed(sql)
        return statement.columns(**types) if types else statement


class BulkQuery:
    """A query over rows with these `columns` whose result is one JSON value.

    `values` are the result columns and `source` is the rest of the SELECT, both written as for
    `Bulk`.  Numbers, text and NULL keep their type; datetimes come back as text (`parse_utc`).
    """

    def __init__(self, columns: str, values: str, source: str) -> None:
        self._bulk = Bulk(
            columns,
            f"SELECT JSON_ARRAYAGG(JSON_ARRAY({values})) {source}",
            sqlite=f"SELECT json_group_array(json_array({values})) {source}",
        )

    def of(self, rows: Iterable[Sequence[Any]], **parameters: Any) -> "Statement":
        """The query with its rows; a row has one value for each column, in their order."""
        return self._bulk.of(rows, **parameters)

    async def __call__(
        self, conn: AsyncConnection, rows: Iterable[Sequence[Any]], **parameters: Any
    ) -> list[list[Any]]:
        """The rows found, in no particular order."""
        return _rows((await self._bulk(conn, rows, **parameters)).scalar_one())


@dataclass(frozen=True, slots=True)
class Statement:
    """A `Bulk` or `BulkQuery` with its rows, ready to be sent alone or with others."""

    bulk: Bulk
    parameters: Mapping[str, Any]
    #: The failpoint that is reached once the statement is done, and the rows in progress.
    failpoint: str = ""
    ref_ids: Collection[int] = ()

    def with_failpoint(self, failpoint: str, ref_ids: Collection[int] = ()) -> "Statement":
        """The same statement, followed by this failpoint."""
        return replace(self, failpoint=failpoint, ref_ids=ref_ids)

    async def run(self, conn: AsyncConnection) -> CursorResult[Any]:
        """Send the statement alone."""
        sqlite = conn.dialect.name == "sqlite"
        statement = self.bulk.on_sqlite if sqlite else self.bulk.on_mysql
        return await conn.execute(statement, self.parameters)


async def run_queries(conn: AsyncConnection, *queries: Statement) -> list[list[list[Any]]]:
    """The rows of each of these `BulkQuery`s, in one round trip.  They must not take locks."""
    sqlite = conn.dialect.name == "sqlite"
    statement = _combined_query(tuple(query.bulk for query in queries), sqlite=sqlite)
    results = (await conn.execute(statement, _unique_parameters(queries))).one()
    return [_rows(result) for result in results]


async def run_statements(
    conn: AsyncConnection, *changes: Statement, answer: Statement | None = None
) -> list[list[Any]]:
    """Run the changes in order, then the `BulkQuery` `answer`; returns its rows, if given.

    On MariaDB this is one round trip (a compound statement).  The first change that fails raises
    its error, and the following ones are not run.  Other databases get one statement after the
    other, and so does MariaDB when a failpoint between them is armed.
    """
    steps = [*changes] if answer is None else [*changes, answer]
    interrupted = any(failpoints.armed(step.failpoint) for step in steps)
    if len(steps) > 1 and getattr(conn.dialect, "is_mariadb", False) and not interrupted:
        statement = _compound_statement(tuple(step.bulk for step in steps))
        result = await conn.execute(statement, _unique_parameters(steps))
    else:
        for step in steps:
            result = await step.run(conn)
            failpoints.failpoint(step.failpoint, step.ref_ids)
    return [] if answer is None else _rows(result.scalar_one())


@lru_cache(maxsize=64)
def _combined_query(queries: tuple[Bulk, ...], *, sqlite: bool) -> TextClause:
    texts = _with_unique_parameters([query.sqlite if sqlite else query.mysql for query in queries])
    return _typed("SELECT " + ", ".join(f"({query})" for query in texts))


@lru_cache(maxsize=64)
def _compound_statement(steps: tuple[Bulk, ...]) -> TextClause:
    return _typed(
        f"BEGIN NOT ATOMIC {'; '.join(_with_unique_parameters([it.mysql for it in steps]))}; END"
    )


def _with_unique_parameters(texts: Iterable[str]) -> list[str]:
    """The texts with unique parameter names: `:now` of the third becomes `:s2_now`."""
    return [re.sub(r"(?<!:):(\w+)", rf":s{index}_\1", sql) for index, sql in enumerate(texts)]


def _unique_parameters(steps: Iterable[Statement]) -> dict[str, Any]:
    return {
        f"s{index}_{name}": value
        for index, step in enumerate(steps)
        for name, value in step.parameters.items()
    }


def _as_text(kind: str) -> str:
    """The type, for texts with our character set: a database may have another by default."""
    is_text = kind.startswith(("VARCHAR", "CHAR", "TEXT", "MEDIUMTEXT", "LONGTEXT"))
    return f"{kind} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci" if is_text else kind


def _typed(sql: str) -> TextClause:
    statement = text(sql)
    datetimes = [
        bindparam(name, type_=UtcDateTime)
        for name in statement._bindparams
        if name == "now" or name.endswith(("_now", "_at"))
    ]
    return statement.bindparams(*datetimes)


def _rows(result: str | None) -> list[list[Any]]:
    # The result of MariaDB's JSON_ARRAYAGG over no rows is NULL.
    found: list[list[Any]] = json.loads(result) if result else []
    return found


def _json_value(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    raise TypeError(f"no JSON value: {value!r}")
