"""Categories: the tree that shoppers browse."""

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import books, categories
from bookstore.catalogue.books import BookQuery
from bookstore.errors import CategoryInUse, Invalid, NotFound, SlugTaken
from tests.factories import NOON, create_book


async def create(conn: AsyncConnection, name: str, **options: Any) -> categories.Category:
    return await categories.create(conn, name, user_id=None, now=NOON, **options)


async def change(
    conn: AsyncConnection, slug: str, changes: Mapping[str, Any]
) -> categories.Category:
    return await categories.change(conn, slug, changes, user_id=None, now=NOON)


async def test_the_tree_lists_parents_before_children_by_position_and_name(
    conn: AsyncConnection,
) -> None:
    await create(conn, "Poetry")
    await create(conn, "Fiction", position=1)
    await create(conn, "Space Opera", parent="fiction")
    await create(conn, "Crime", parent="fiction")
    await create(conn, "Noir", parent="crime")

    tree = await categories.tree(conn)

    assert [(node.slug, node.parent, node.depth) for node in tree] == [
        ("poetry", None, 0),
        ("fiction", None, 0),
        ("crime", "fiction", 1),
        ("noir", "crime", 2),
        ("space-opera", "fiction", 1),
    ]


async def test_books_of_subcategories_are_counted_once_each(conn: AsyncConnection) -> None:
    await create(conn, "Fiction")
    await create(conn, "Crime", parent="fiction")
    await create(conn, "Noir", parent="crime")
    await create_book(conn, categories=["fiction", "noir"])
    await create_book(conn, categories=["noir"])
    withdrawn = await create_book(conn, categories=["crime"])
    await books.withdraw(conn, withdrawn.id, 1, user_id=None, now=NOON)

    counts = {node.slug: node.book_count for node in await categories.tree(conn)}

    assert counts == {"fiction": 2, "crime": 2, "noir": 2}
    assert len((await books.find(conn, BookQuery(category="fiction"))).items) == 2


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Children's Books", "childrens-books"),
        ("  Science  Fiction ", "science-fiction"),
        ("Science & Nature", "science-and-nature"),
        ("Théâtre", "theatre"),
        ("科幻", "科幻"),
        ("C", "c"),
        ("C++", "c-plus-plus"),
        ("C#", "c-sharp"),
        ("???", "category-a03b221c"),
        ("x" * 150, "x" * 100),
    ],
)
def test_a_slug_is_made_of_a_name(name: str, slug: str) -> None:
    assert categories.slug_of(name) == slug


async def test_a_slug_is_unique(conn: AsyncConnection) -> None:
    await create(conn, "Science Fiction")

    with pytest.raises(SlugTaken):
        await create(conn, "SCIENCE FICTION")
    await create(conn, "SCIENCE FICTION", slug="sf")
    with pytest.raises(SlugTaken):
        await change(conn, "sf", {"slug": "science-fiction"})


async def test_a_category_is_renamed_and_moved(conn: AsyncConnection) -> None:
    await create(conn, "Fiction")
    await create(conn, "Krimi")

    changed = await change(
        conn, "krimi", {"name": "Crime", "slug": "crime", "parent": "fiction", "position": 3}
    )

    assert (changed.name, changed.slug, changed.parent) == ("Crime", "crime", "fiction")
    assert await change(conn, "crime", {"position": 3}) == changed
    assert (await change(conn, "crime", {"parent": None})).parent is None
    with pytest.raises(NotFound):
        await change(conn, "krimi", {"name": "Crime"})


async def test_a_category_cannot_be_placed_inside_itself(conn: AsyncConnection) -> None:
    await create(conn, "A")
    await create(conn, "B", parent="a")
    await create(conn, "C", parent="b")

    for parent in ("a", "b", "c"):
        with pytest.raises(Invalid) as refusal:
            await change(conn, "a", {"parent": parent})
        assert refusal.value.field == "parent"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", " "),
        ("name", None),
        ("slug", "a b"),
        ("slug", "-a"),
        ("slug", ""),
        ("slug", "x" * 101),
        ("parent", "nowhere"),
        ("parent", 7),
        ("position", -1),
        ("position", 2**70),
        ("position", "1"),
        ("id", 7),
    ],
)
async def test_an_invalid_change_of_a_category_is_rejected(
    conn: AsyncConnection, field: str, value: Any
) -> None:
    await create(conn, "Fiction")

    with pytest.raises(Invalid) as refusal:
        await change(conn, "fiction", {field: value})

    assert refusal.value.field == field


async def test_only_an_empty_category_can_be_deleted(conn: AsyncConnection) -> None:
    await create(conn, "Fiction")
    await create(conn, "Crime", parent="fiction")
    book = await create_book(conn, categories=["crime"])

    for slug in ("fiction", "crime"):
        with pytest.raises(CategoryInUse):
            await categories.remove(conn, slug, user_id=None, now=NOON)
    await books.withdraw(conn, book.id, 1, user_id=None, now=NOON)
    await categories.remove(conn, "crime", user_id=None, now=NOON)
    await categories.remove(conn, "fiction", user_id=None, now=NOON)

    assert await categories.tree(conn) == []


async def test_an_import_creates_no_duplicate_categories(conn: AsyncConnection) -> None:
    renamed = await create(conn, "Science Fiction", slug="sf")

    first = await categories.get_or_create(conn, ["Fantasy", "FANTASY", "science fiction", "sf"])
    second = await categories.get_or_create(conn, ["fantasy ", "SCIENCE  Fiction"])

    assert first["fantasy"] == second["fantasy"]
    assert first["sf"] == first["science fiction"] == second["science fiction"] == renamed.id
    assert [node.name for node in await categories.tree(conn)] == ["Fantasy", "Science Fiction"]
