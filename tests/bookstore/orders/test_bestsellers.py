from bookstore.orders import bestsellers
from tests.factories import add_book, add_order


async def test_the_books_sold_most_come_first(conn):
    dune, emma, solaris = [await add_book(conn) for _ in range(3)]
    await add_order(conn, {dune: 1, emma: 3}, number="0000-TEST", status="delivered")
    await add_order(conn, {dune: 1}, number="0001-TEST", status="confirmed")
    await add_order(conn, {solaris: 9}, number="0002-TEST", status="cancelled")

    found = await bestsellers.bestsellers(conn, 5)

    assert [book.id for book in found] == [emma, dune]
