"""Authors: searched by the beginnings of the words of their names."""

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import authors, books
from bookstore.errors import Invalid, NotFound
from tests.factories import NOON, create_book


async def test_authors_are_found_by_prefixes_of_the_words_of_their_names(
    conn: AsyncConnection,
) -> None:
    await create_book(conn, authors=["Stephen King", "Mary GrandPré"])
    await create_book(conn, authors=["Martin Luther King", "Tabitha King"])

    async def names(q: str) -> list[str]:
        return [author.name for author in (await authors.find(conn, q)).items]

    assert await names("king") == ["Martin Luther King", "Stephen King", "Tabitha King"]
    assert await names("kin steph") == ["Stephen King"]
    assert await names("GRANDPRE") == ["Mary GrandPré"]
    assert await names("ing") == []
    assert await names("%") == []
    assert len(await names("")) == 4


async def test_authors_are_paginated_in_the_order_of_their_names(conn: AsyncConnection) -> None:
    await create_book(conn, authors=["C", "A", "E", "D", "B"])

    first = await authors.find(conn, limit=2)
    second = await authors.find(conn, cursor=first.next, limit=2)
    third = await authors.find(conn, cursor=second.next, limit=2)

    assert [a.name for page in (first, second, third) for a in page.items] == list("ABCDE")
    assert third.next is None
    with pytest.raises(Invalid):
        await authors.find(conn, cursor="nonsense")


async def test_an_authors_books_are_counted_once_each(conn: AsyncConnection) -> None:
    book = await create_book(conn, authors=["Ann", {"name": "Ann", "role": "illustrator"}, "Ben"])
    withdrawn = await create_book(conn, authors=["Ann"])
    await books.withdraw(conn, withdrawn.id, 1, user_id=None, now=NOON)

    ann = await authors.get(conn, book.authors[0].id)

    assert (ann.name, ann.book_count) == ("Ann", 1)


async def test_an_unknown_author_is_not_found(conn: AsyncConnection) -> None:
    with pytest.raises(NotFound):
        await authors.get(conn, 4711)
    with pytest.raises(NotFound):
        await authors.get(conn, 2**70)
