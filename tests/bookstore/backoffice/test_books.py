"""How many books are low, sold out and withdrawn, as staff see it above their list."""

from itertools import product

from sqlalchemy import update

from bookstore.backoffice import books as desk
from bookstore.backoffice.books import LOW_STOCK, Shelf, Stock
from bookstore.catalogue import books
from bookstore.catalogue.listing import Query
from bookstore.database.tables import books as table
from tests.factories import NOON, create_book


async def test_the_numbers_are_those_of_the_lists(conn):
    assert await desk.stock(conn) == Stock(all=0, low=0, sold_out=0, withdrawn=0)

    for copies, low, gone in product(
        (0, 1, LOW_STOCK, LOW_STOCK + 1, 9), (None, 0, 2, 9), (False, True)
    ):
        book = await create_book(conn, stock=copies)
        await conn.execute(update(table).where(table.c.id == book.id).values(low_stock=low))
        if gone:
            await books.withdraw(conn, book.id, book.version, user_id=None, now=NOON)

    counted = {
        name: await desk.count(conn, Query(), view)
        for name, view in {
            "all": None,
            "low": Shelf.LOW,
            "sold_out": Shelf.SOLD_OUT,
            "withdrawn": Shelf.WITHDRAWN,
        }.items()
    }
    assert await desk.stock(conn) == Stock(**counted)
    assert counted == {"all": 20, "low": 7, "sold_out": 4, "withdrawn": 20}
