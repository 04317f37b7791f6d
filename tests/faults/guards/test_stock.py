"""Guards against selling the last item twice."""

import asyncio
import random

from sqlalchemy import text

from bookstore.database import engine as db
from bookstore.database.statements import Bulk
from bookstore.orders import processing
from tests.faults.guards.scene import (
    batches,
    books,
    place,
)


async def test_conditional_stock(engine, guarded, monkeypatch):
    if not guarded:
        blind = Bulk(
            "book_id BIGINT, quantity INT",
            "UPDATE {rows} AS v STRAIGHT_JOIN book_stock AS s ON s.book_id = v.book_id"
            " SET s.stock = s.stock - v.quantity",
        )
        monkeypatch.setattr(processing, "_REDUCE_STOCK", blind)
    (dune,) = await books(engine, stock=1)
    take = processing._reduce_stock
    rivals = [1]

    async def overtaken(conn, confirmed):
        if (
            rivals
        ):  # Another transaction takes the last item between reading and reducing the stock.
            async with db.transaction(engine) as rival:
                await rival.execute(
                    text("UPDATE book_stock SET stock = stock - :n"), {"n": rivals.pop()}
                )
        await take(conn, confirmed)

    monkeypatch.setattr(processing, "_reduce_stock", overtaken)
    order = await place(engine, {dune: 1})

    await batches(engine).process([order.id], "m")

    # The CHECK of the table remains: nothing is oversold, but the attempt fails.
    async with db.reading(engine) as conn:
        attempt = await conn.scalar(text("SELECT MAX(attempt) FROM order_events"))
    assert (attempt == 1) == guarded


async def test_row_lock_order(engine, guarded, monkeypatch):
    deadlocks = []
    reason = db._error_code

    def counted(error):
        deadlocks.extend([1] if reason(error) == 1213 else [])
        return reason(error)

    monkeypatch.setattr(db, "_error_code", counted)
    if not guarded:

        def shuffled(rows, **_named):
            rows = list(rows)
            random.shuffle(rows)
            return rows

        monkeypatch.setattr(processing, "sorted", shuffled, raising=False)
    book_ids = await books(engine, stock=1000, number=40)
    placed = [await place(engine, dict.fromkeys(book_ids, 1)) for _ in range(24)]

    await asyncio.gather(
        *(
            batches(engine, name=f"w{number}").process([order.id], "m")
            for number, order in enumerate(placed)
        )
    )

    assert (not deadlocks) == guarded
