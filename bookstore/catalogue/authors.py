"""Authors and other contributors.  Different spellings of a name are stored as one author."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import names, search
from bookstore.database.pagination import LARGEST_ID, Page, SortOrder, select_page
from bookstore.database.statements import Bulk
from bookstore.database.tables import authors, book_authors, books
from bookstore.errors import NotFound

_KEY_LENGTH = 255

_ADD = Bulk(
    "identity_key VARCHAR(255), name VARCHAR(255), name_key VARCHAR(255)",
    """
    INSERT INTO authors (name, name_key, identity_key)
    SELECT v.name, v.name_key, v.identity_key FROM {rows} AS v
    ON DUPLICATE KEY UPDATE name = authors.name
    """,
    sqlite="""
    INSERT INTO authors (name, name_key, identity_key)
    SELECT v.name, v.name_key, v.identity_key FROM {rows} AS v WHERE true
    ON CONFLICT DO NOTHING
    """,
)
_FIND = Bulk(
    "identity_key VARCHAR(255)",
    "SELECT a.identity_key, a.id FROM {rows} AS v"
    " {join} authors AS a ON a.identity_key = v.identity_key",
)


@dataclass(frozen=True, slots=True)
class Author:
    """`book_count` is the number of books on sale that name this author, in any role."""

    id: int
    name: str
    book_count: int


def key(name: str) -> str:
    """The key of an author, equal for spellings of one name: `J.K. Rowling` and `J. K. ROWLING`."""
    return names.identity(name)[:_KEY_LENGTH]


def sort_key(name: str) -> str:
    """The words by which lists find and sort an author; not unique."""
    return (search.normalize(name) or name.casefold())[:_KEY_LENGTH]


async def similar(conn: AsyncConnection, author: "Author", limit: int = 10) -> list["Author"]:
    """Other authors whose names differ only in accents, marks or punctuation.

    They may be the same person; staff decide (`author_merge`).
    """
    query = (
        select(authors.c.id, authors.c.name)
        .where(authors.c.name_key == sort_key(author.name), authors.c.id != author.id)
        .order_by(authors.c.id)
        .limit(limit)
    )
    rows = (await conn.execute(query)).all()
    counts = await _book_counts(conn, [row.id for row in rows])
    return [Author(row.id, row.name, counts.get(row.id, 0)) for row in rows]


async def get_or_create(conn: AsyncConnection, wanted: Iterable[str]) -> dict[str, int]:
    """The ids of these authors by `key`.  Authors that do not exist are created."""
    name_by_key = {key(name): name for name in reversed(list(wanted))}
    ids = await _ids(conn, name_by_key)
    new = sorted((key, name, sort_key(name)) for key, name in name_by_key.items() if key not in ids)
    if new:
        await _ADD(conn, new)
        ids |= await _ids(conn, [key for key, *_ in new])
    return ids


async def find(
    conn: AsyncConnection, q: str = "", *, cursor: str | None = None, limit: int = 20
) -> Page[Author]:
    """A page of authors, sorted by name.  Each word of `q` must begin a word of the name."""
    query = select(authors.c.id, authors.c.name)
    words = search.normalize(q).split()
    if q.strip() and not words:
        return Page([])
    for word in words:
        query = query.where((" " + authors.c.name_key).contains(f" {word}"))
    by_name = SortOrder((authors.c.name_key, authors.c.id))
    page = await select_page(conn, query, by_name, cursor=cursor, limit=limit)
    counts = await _book_counts(conn, [row.id for row in page.items])
    return page.with_items([Author(it.id, it.name, counts.get(it.id, 0)) for it in page.items])


async def get(conn: AsyncConnection, author_id: int) -> Author:
    """One author.

    Raises:
        NotFound: there is no such author.
    """
    query = select(authors.c.name).where(authors.c.id == author_id)
    name = await conn.scalar(query) if 0 < author_id <= LARGEST_ID else None
    if name is None:
        raise NotFound("This author")
    counts = await _book_counts(conn, [author_id])
    return Author(author_id, name, counts.get(author_id, 0))


async def _book_counts(conn: AsyncConnection, author_ids: Collection[int]) -> dict[int, int]:
    found = await conn.execute(
        select(book_authors.c.author_id, func.count(book_authors.c.book_id.distinct()))
        .join(books, books.c.id == book_authors.c.book_id)
        .where(book_authors.c.author_id.in_(author_ids), books.c.withdrawn_at.is_(None))
        .group_by(book_authors.c.author_id)
    )
    return {row[0]: row[1] for row in found}


async def _ids(conn: AsyncConnection, keys: Collection[str]) -> dict[str, int]:
    if not keys:
        return {}
    found = await _FIND(conn, [(key,) for key in sorted(keys)])
    return {row.identity_key: row.id for row in found}
