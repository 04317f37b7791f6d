"""Keyset pagination: every row appears once, forwards and backwards, in every order."""

import pytest
from sqlalchemy import select

from bookstore.backoffice.orders import ORDERS
from bookstore.database import pagination
from bookstore.database.pagination import encode
from bookstore.database.tables import orders
from bookstore.errors import Invalid
from tests.factories import add_book, add_order

TOTALS = [None, 700, 700, None, 100, 700, 900, 100, None, 500, 300]


@pytest.fixture
async def ids(conn):
    dune = await add_book(conn)
    return [
        await add_order(conn, {dune: 1}, total_cents=total, number=f"{index:02}XX-TEST")
        for index, total in enumerate(TOTALS)
    ]


async def walk(conn, sort, limit):
    """The ids on each page, going forwards, then going back from the last page."""
    by = pagination.order(sort, ORDERS.sorts, orders.c.id, ORDERS.default_sort)
    forwards, cursor = [], None
    while True:
        found = await pagination.select_page(
            conn, select(orders.c.id), by, cursor=cursor, limit=limit
        )
        forwards.append([row.id for row in found.items])
        assert (found.previous is None) == (cursor is None)
        if found.next is None:
            break
        cursor = found.next
    backwards = []
    while found.previous is not None:
        found = await pagination.select_page(
            conn, select(orders.c.id), by, cursor=found.previous, limit=limit
        )
        backwards.append([row.id for row in found.items])
    return forwards, backwards


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 10, 11, 20])
@pytest.mark.parametrize("sort", ["placed", "-placed", "total", "-total", "number", "-number"])
async def test_every_row_appears_once_forwards_and_backwards(conn, ids, sort, limit):
    forwards, backwards = await walk(conn, sort, limit)

    there = [each for page in forwards for each in page]
    assert sorted(there) == ids
    keys = {
        "placed": lambda each: each,
        "total": lambda each: (
            TOTALS[ids.index(each)] is not None,
            TOTALS[ids.index(each)] or 0,
            each,
        ),
        "number": lambda each: each,
    }
    down = sort.startswith("-")
    assert there == sorted(ids, key=keys[sort.removeprefix("-")], reverse=down)
    back = [each for page in reversed(backwards) for each in page]
    assert back == there[: len(back)]
    assert len(back) == len(there) - len(forwards[-1])


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "~",
        encode(1),
        encode("seven", 1),
        encode(1, "seven"),
        encode(1, 2, 3),
        encode(2**70, 1),
        "~~" + encode(1, 2),
    ],
)
async def test_an_invalid_cursor_is_refused(conn, ids, cursor):
    by = pagination.order("-total", ORDERS.sorts, orders.c.id, ORDERS.default_sort)

    with pytest.raises(Invalid):
        await pagination.select_page(conn, select(orders.c.id), by, cursor=cursor, limit=3)


async def test_rows_are_counted(conn, ids):
    assert await pagination.count(conn, select(orders.c.id)) == len(ids)
    assert await pagination.count(conn, select(orders.c.id).where(orders.c.id < 0)) == 0
