"""Categories: the tree in which shoppers browse."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit
from bookstore.catalogue import category_index, search
from bookstore.catalogue.validation import plain
from bookstore.database.tables import book_categories, categories
from bookstore.errors import CategoryInUse, Invalid, NotFound, SlugTaken, Stale

NAME_LENGTH = 200
SLUG_LENGTH = 100
_SLUG = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
#: Signs that tell names apart when nothing else does: C, C++ and C#.
_SPOKEN = str.maketrans({"&": " and ", "+": " plus ", "#": " sharp ", "@": " at "})
_LARGEST_POSITION = 1_000_000


@dataclass(frozen=True, slots=True)
class Category:
    """A node of the tree; `parent` is a slug, `depth` is 0 at the top.

    `book_count` counts the books that are sold, those in subcategories too, each once; 0 where
    they were not counted.
    `version` counts the changes of the category itself.
    """

    id: int
    slug: str
    name: str
    parent: str | None
    position: int
    depth: int
    book_count: int
    version: int


def slug_of(name: str) -> str:
    """The slug that a name gives: `Children's Books` is `childrens-books`, 科幻 stays 科幻.

    Names that differ only in capitals, accents or punctuation give the same.
    """
    slug = search.normal(name.translate(_SPOKEN)).replace(" ", "-")
    return slug[:SLUG_LENGTH].strip("-") or "category"


async def tree(conn: AsyncConnection, *, counted: bool = True) -> list[Category]:
    """All categories, each before its subcategories, by position and name.

    Their books are not `counted` for those who only ask for names: a million take a moment.
    """
    rows = (
        await conn.execute(
            select(categories).order_by(categories.c.position, categories.c.name, categories.c.id)
        )
    ).all()
    counts = await _book_counts(conn, rows) if counted else Counter[int]()
    slugs = {row.id: row.slug for row in rows}
    below: dict[int | None, list[Any]] = {}
    for row in rows:
        below.setdefault(row.parent_id, []).append(row)
    found: list[Category] = []
    waiting = [(row, 0) for row in reversed(below.get(None, []))]
    while waiting:
        row, depth = waiting.pop()
        parent = None if row.parent_id is None else slugs[row.parent_id]
        found.append(
            Category(
                id=row.id,
                slug=row.slug,
                name=row.name,
                parent=parent,
                position=row.position,
                depth=depth,
                book_count=counts[row.id],
                version=row.version,
            )
        )
        waiting += [(child, depth + 1) for child in reversed(below.get(row.id, []))]
    return found


async def get(conn: AsyncConnection, slug: str) -> Category:
    """One category.

    Raises:
        NotFound: there is no such category.
    """
    for category in await tree(conn):
        if category.slug == slug:
            return category
    raise NotFound("This category")


async def by_id(conn: AsyncConnection, category_id: int) -> Category:
    """One category, whatever its slug is now.

    Raises:
        NotFound: there is no such category (any more).
    """
    for category in await tree(conn):
        if category.id == category_id:
            return category
    raise NotFound("This category")


async def create(
    conn: AsyncConnection,
    name: str,
    *,
    slug: str | None = None,
    parent: str | None = None,
    position: int = 0,
    user_id: int | None,
    now: datetime,
) -> Category:
    """A new category, at the top or below `parent`; without a slug its name gives one.

    Raises:
        Invalid: a value breaks a rule, or there is no such parent.
        SlugTaken: there is a category with this slug, so perhaps with this name.
    """
    ids = await _lock(conn)
    row: dict[str, Any] = {
        "name": plain("name", name, NAME_LENGTH),
        "slug": slug_of(name) if slug is None else _checked_slug(slug),
        "parent_id": _parent_id(ids, parent),
        "position": _checked_position(position),
    }
    if row["slug"] in ids:
        raise SlugTaken(row["slug"])
    await conn.execute(insert(categories).values(row))
    told: dict[str, list[Any]] = {
        "slug": [None, row["slug"]],
        "name": [None, row["name"]],
        "parent": [None, parent],
        "position": [None, position],
    }
    await audit.record(conn, "create", "category", row["slug"], told, user_id=user_id, now=now)
    return await get(conn, row["slug"])


async def change(
    conn: AsyncConnection,
    slug: str,
    changes: Mapping[str, Any],
    *,
    version: int | None = None,
    user_id: int | None,
    now: datetime,
) -> Category:
    """Rename or move a category: `name`, `slug`, `parent` (None is the top), `position`.

    Raises:
        NotFound: there is no such category.
        Stale: the category is not at `version` any more; None is whatever it is at.
        Invalid: a value breaks a rule, or the category would lie within itself.
        SlugTaken: another category has the new slug.
    """
    ids = await _lock(conn)
    before = await get(conn, slug)
    if version not in (None, before.version):
        raise Stale(before.version)
    rules: dict[str, Any] = {
        "name": lambda value: plain("name", value, NAME_LENGTH),
        "slug": _checked_slug,
        "parent": lambda value: value,
        "position": _checked_position,
    }
    after: dict[str, Any] = {}
    for field, value in changes.items():
        if field not in rules:
            raise Invalid(field, "A category has no such field.")
        kept = rules[field](value)
        if kept != getattr(before, field):
            after[field] = kept
    if not after:
        return before
    if "slug" in after and after["slug"] in ids:
        raise SlugTaken(after["slug"])
    columns: dict[str, Any] = {**after, "version": before.version + 1}
    if "parent" in after:
        columns["parent_id"] = _parent_id(ids, columns.pop("parent"))
        await _refuse_cycle(conn, before.id, columns["parent_id"])
    await conn.execute(update(categories).where(categories.c.id == before.id).values(columns))
    told = {field: [getattr(before, field), value] for field, value in after.items()}
    await audit.record(conn, "change", "category", slug, told, user_id=user_id, now=now)
    return await get(conn, after.get("slug", slug))


async def step(
    conn: AsyncConnection, slug: str, places: int, *, user_id: int | None, now: datetime
) -> tuple[int, int]:
    """Move a category up (negative) or down among its neighbours.

    The answer is which of them it is then, counted from 1, and how many there are.

    Raises:
        NotFound: there is no such category.
    """
    ids = await _lock(conn)
    if slug not in ids:
        raise NotFound("This category")
    all_ = await tree(conn)
    parent = next(it.parent for it in all_ if it.slug == slug)
    row = [it for it in all_ if it.parent == parent]
    before = [it.slug for it in row].index(slug)
    after = max(0, min(before + places, len(row) - 1))
    row.insert(after, row.pop(before))
    moved = {it.id: position for position, it in enumerate(row) if it.position != position}
    if moved:
        position = case(moved, value=categories.c.id)
        await conn.execute(
            update(categories).where(categories.c.id.in_([*moved])).values(position=position)
        )
    if after != before:
        told = {"place": [before + 1, after + 1]}
        await audit.record(conn, "change", "category", slug, told, user_id=user_id, now=now)
    return after + 1, len(row)


async def remove(
    conn: AsyncConnection,
    slug: str,
    *,
    version: int | None = None,
    user_id: int | None,
    now: datetime,
) -> None:
    """Delete a category that is empty; withdrawn books do not count.

    Raises:
        NotFound: there is no such category.
        Stale: the category is not at `version` any more; None is whatever it is at.
        CategoryInUse: it has books or subcategories.
    """
    await _lock(conn)
    category = await get(conn, slug)
    if version not in (None, category.version):
        raise Stale(category.version)
    children = await conn.scalar(select(func.count()).where(categories.c.parent_id == category.id))
    if children or category.book_count:
        raise CategoryInUse(slug)
    await conn.execute(delete(book_categories).where(book_categories.c.category_id == category.id))
    await conn.execute(delete(categories).where(categories.c.id == category.id))
    told = {"slug": [slug, None], "name": [category.name, None], "parent": [category.parent, None]}
    await audit.record(conn, "delete", "category", slug, told, user_id=user_id, now=now)


async def known(conn: AsyncConnection) -> dict[str, int]:
    """The ids of all categories, by their slugs and by what `slug_of` makes of their names."""
    rows = (
        await conn.execute(
            select(categories.c.id, categories.c.slug, categories.c.name).order_by(categories.c.id)
        )
    ).all()
    by_name = {slug_of(row.name): row.id for row in reversed(rows)}
    return by_name | {row.slug: row.id for row in rows}


async def ensure(conn: AsyncConnection, names: Iterable[str]) -> dict[str, int]:
    """The ids of categories by `slug_of` their names; what is missing is made, at the top.

    A name or a slug in any capitals finds the one that is there.
    """
    wanted = {slug_of(name): name for name in reversed(list(names))}
    ids = await known(conn)
    if missing := sorted(wanted.keys() - ids.keys()):
        # Two imports that run at once wait here for each other, and the second finds it.
        await _lock(conn)
        ids = await known(conn)
        new = [
            {"slug": slug, "name": plain("categories", wanted[slug], NAME_LENGTH), "position": 0}
            for slug in missing
            if slug not in ids
        ]
        if new:
            await conn.execute(insert(categories), new)
            ids = await known(conn)
    return {slug: ids[slug] for slug in wanted}


async def _lock(conn: AsyncConnection) -> dict[str, int]:
    """Nobody else changes the tree until this transaction ends.  Gives the ids by slug."""
    found = await conn.execute(
        select(categories.c.slug, categories.c.id).order_by(categories.c.id).with_for_update()
    )
    return {row.slug: row.id for row in found}


def _parent_id(ids: Mapping[str, int], parent: Any) -> int | None:
    if parent is None:
        return None
    if not isinstance(parent, str) or parent not in ids:
        raise Invalid("parent", f"There is no category {parent!r}.")
    return ids[parent]


async def _refuse_cycle(conn: AsyncConnection, category_id: int, parent_id: int | None) -> None:
    found = await conn.execute(select(categories.c.id, categories.c.parent_id))
    parents = {row.id: row.parent_id for row in found}
    while parent_id is not None:
        if parent_id == category_id:
            raise Invalid("parent", "A category cannot lie within itself.")
        parent_id = parents[parent_id]


def _checked_slug(slug: Any) -> str:
    if not isinstance(slug, str) or len(slug) > SLUG_LENGTH or not _SLUG.fullmatch(slug):
        raise Invalid("slug", "A slug has letters, digits and single hyphens between them.")
    return slug.casefold()


def _checked_position(position: Any) -> int:
    if (
        not isinstance(position, int)
        or isinstance(position, bool)
        or not 0 <= position <= _LARGEST_POSITION
    ):
        raise Invalid("position", f"This has to be from 0 to {_LARGEST_POSITION}.")
    return position


async def _book_counts(conn: AsyncConnection, rows: Sequence[Any]) -> Counter[int]:
    """How many books there are in each of these categories, which are the whole tree.

    Counted shelf by shelf, straight from an index.  A book that stands on several shelves counts
    once for what they all lie within: for that, books that share their shelves are counted too.
    """
    parents = {row.id: row.parent_id for row in rows}
    sold = book_categories.c.withdrawn_at.is_(None)
    each = await conn.execute(
        select(book_categories.c.category_id, func.count().label("number"))
        .where(sold)
        .group_by(book_categories.c.category_id)
    )
    counts: Counter[int] = Counter()
    for row in each:
        counts.update(dict.fromkeys(category_index.upwards(row.category_id, parents), row.number))
    several = (
        select(func.group_concat(book_categories.c.category_id).label("together"))
        .where(sold)
        .group_by(book_categories.c.book_id)
        .having(func.count() > 1)
        .subquery()
    )
    for together, number in await conn.execute(
        select(several.c.together, func.count()).group_by(several.c.together)
    ):
        times = Counter(
            it
            for shelf in together.split(",")
            for it in category_index.upwards(int(shelf), parents)
        )
        counts.subtract({it: (time - 1) * number for it, time in times.items()})
    return counts
