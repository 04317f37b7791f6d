"""What a list shows, all of it, as a file for a spreadsheet."""

import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit
from bookstore.db import reading, transaction
from bookstore.desk.slices import Slice
from web.keys import CLOSING, ENGINE
from web.requests import now
from web.sending import send_pieces
from web.sessions import me

T = TypeVar("T")

#: Rows that are asked for at once.
AT_ONCE = 500
#: Spreadsheets run what begins so as a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Fetch = Callable[[AsyncConnection, str | None, int], Awaitable[Slice[T]]]


async def send(
    request: web.Request,
    name: str,
    heads: Sequence[str],
    fetch: Fetch[T],
    row: Callable[[T], Sequence[Any]],
) -> web.StreamResponse:
    """Stream the rows of all slices as CSV; it is on record who took them along."""
    engine = request.config_dict[ENGINE]
    async with reading(engine) as conn:
        found = await fetch(conn, None, AT_ONCE)
    async with transaction(engine) as conn:
        asked = {field: [None, value] for field, value in request.query.items()}
        await audit.record(conn, "export", name, "list", asked, user_id=me(request).id, now=now())
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/csv; charset=utf-8",
            "Content-Disposition": f'attachment; filename="{name}s.csv"',
        }
    )

    async def pieces() -> AsyncIterator[bytes]:
        # With a mark in front Excel reads it as UTF-8 too.
        yield b"\xef\xbb\xbf" + _lines([heads])
        part = found
        while True:
            yield _lines([row(item) for item in part.items])
            if part.next is None or request.config_dict[CLOSING].is_set():
                return
            async with reading(engine) as conn:
                part = await fetch(conn, part.next, AT_ONCE)

    return await send_pieces(request, response, pieces())


def cell(value: Any) -> str:
    """A value as it is written: moments in UTC, nothing as nothing, no formula ever."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = str(value)
    if isinstance(value, str) and text.startswith(_FORMULA):
        return f"'{text}"
    return text


def _lines(rows: Sequence[Sequence[Any]]) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file).writerows([cell(value) for value in row] for row in rows)
    return file.getvalue().encode()
