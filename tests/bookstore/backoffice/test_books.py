"""The numbers of low, sold-out and withdrawn books above the back office's list."""

from itertools import product

from sqlalchemy import update

from bookstore.backoffice import books as book_list
from bookstore.backoffice.books import BOOKS, LOW_STOCK, BookListQuery, Stock, StockFilter
from bookstore.catalogue import books
from bookstore.database.tables import books as table
from tests.factories import NOON, create_book


async def test_the_numbers_equal_the_sizes_of_the_lists(conn):
    assert await book_list.stock(conn) == Stock(all=0, low=0, sold_out=0, withdrawn=0)

    for stock, low, is_withdrawn in product(
        (0, 1, LOW_STOCK, LOW_STOCK + 1, 9), (None, 0, 2, 9), (False, True)
    ):
        book = await create_book(conn, stock=stock)
        await conn.execute(update(table).where(table.c.id == book.id).values(low_stock=low))
        if is_withdrawn:
            await books.withdraw(conn, book.id, book.version, user_id=None, now=NOON)

    counted = {
        name: await BOOKS.count(conn, await BOOKS.select(conn, BookListQuery(view=view)))
        for name, view in {
            "all": None,
            "low": StockFilter.LOW,
            "sold_out": StockFilter.SOLD_OUT,
            "withdrawn": StockFilter.WITHDRAWN,
        }.items()
    }
    assert await book_list.stock(conn) == Stock(**counted)
    assert counted == {"all": 20, "low": 7, "sold_out": 4, "withdrawn": 20}
