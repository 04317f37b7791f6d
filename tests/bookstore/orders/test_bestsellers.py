from bookstore.catalogue import books
from bookstore.orders import bestsellers
from tests.factories import NOON, create_book


async def test_books_come_by_their_ids_withdrawn_ones_too(conn):
    dune = await create_book(conn, title="Dune")
    emma = await create_book(conn, title="Emma", authors=["Jane Austen"])
    await books.withdraw(conn, emma.id, emma.version, user_id=None, now=NOON)

    found = await bestsellers.by_ids(conn, [emma.id, dune.id, 999_999])

    assert {book_id: book.title for book_id, book in found.items()} == {
        dune.id: "Dune",
        emma.id: "Emma",
    }
    assert found[emma.id].authors[0].name == "Jane Austen"
    assert await bestsellers.by_ids(conn, []) == {}


async def test_languages_are_counted_over_what_is_sold(conn):
    for language in ("de", "en", "en", None):
        await create_book(conn, language=language)
    gone = await create_book(conn, language="fr")
    await books.withdraw(conn, gone.id, gone.version, user_id=None, now=NOON)

    assert await bestsellers.languages(conn) == [("en", 2), ("de", 1)]
