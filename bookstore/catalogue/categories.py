"""Categories: the tree that shoppers browse."""

import hashlib
import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any

from sqlalchemy import case, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore import audit
from bookstore.catalogue import category_index, names, search
from bookstore.catalogue.validation import single_line
from bookstore.database.tables import book_categories, categories
from bookstore.errors import CategoryInUse, Invalid, NotFound, SlugTaken, Stale

NAME_LENGTH = 200
SLUG_LENGTH = 100
_SLUG = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
#: Symbols that are spelled out in slugs, so that names such as C, C++ and C# get different slugs.
_SYMBOL_NAMES = str.maketrans({"&": " and ", "+": " plus ", "#": " sharp ", "@": " at "})
_MAX_POSITION = 1_000_000


@dataclass(frozen=True, slots=True)
class Category:
    """A node of the tree.  `parent` is a slug; None and a `depth` of 0 mean the top level.

    `book_count` is the number of books on sale in the category and its subcategories, each counted
    once; 0 if the tree was read without counting.
    `version` increases with each change of the category itself.
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
    """The slug for a name: `Children's Books` becomes `childrens-books`, 科幻 stays 科幻.

    Names that differ only in case, accents or punctuation give the same slug; `_free_slug` tells
    them apart.  A name without letters gives a slug made of a hash.
    """
    slug = search.normalize(name.translate(_SYMBOL_NAMES)).replace(" ", "-")
    digest = hashlib.sha256(names.identity(name).encode(errors="replace")).hexdigest()
    return slug[:SLUG_LENGTH].strip("-") or f"category-{digest[:8]}"


def _free_slug(name: str, taken: Container[str]) -> str:
    """The slug of a new category, with a number if another category has the same slug."""
    slug = slug_of(name)
    if slug not in taken:
        return slug
    numbered = (f"{slug[: SLUG_LENGTH - 5].rstrip('-')}-{number}" for number in count(2))
    return next(each for each in numbered if each not in taken)


def _default_slug(name: str, others: Sequence["Category"]) -> str:
    """The slug of a new category.

    Raises:
        SlugTaken: a category with this name exists.
    """
    same = next((it for it in others if names.identity(it.name) == names.identity(name)), None)
    if same is not None:
        raise SlugTaken(same.slug)
    return _free_slug(name, {it.slug for it in others})


async def tree(conn: AsyncConnection, *, counted: bool = True) -> list[Category]:
    """All categories, each before its subcategories, by position and name.

    Use `counted=False` if `book_count` is not needed: counting a million books takes noticeable
    time.
    """
    order = (categories.c.position, categories.c.name, categories.c.id)
    rows = (await conn.execute(select(categories).order_by(*order))).all()
    counts = await _book_counts(conn, rows) if counted else Counter[int]()
    slugs = {row.id: row.slug for row in rows}
    children: dict[int | None, list[Any]] = {}
    for row in rows:
        children.setdefault(row.parent_id, []).append(row)
    result: list[Category] = []
    stack = [(row, 0) for row in reversed(children.get(None, []))]
    while stack:
        row, depth = stack.pop()
        columns = dict(row._mapping)
        parent = slugs.get(columns.pop("parent_id"))
        result.append(Category(**columns, parent=parent, depth=depth, book_count=counts[row.id]))
        stack += [(child, depth + 1) for child in reversed(children.get(row.id, []))]
    return result


async def get(conn: AsyncConnection, slug: str) -> Category:
    """One category.

    Raises:
        NotFound: there is no such category.
    """
    return _only(it for it in await tree(conn) if it.slug == slug)


async def by_id(conn: AsyncConnection, category_id: int) -> Category:
    """One category by its id, which stays the same if the slug changes.

    Raises:
        NotFound: there is no such category, or it was deleted.
    """
    return _only(it for it in await tree(conn) if it.id == category_id)


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
    """Create a category, at the top level or below `parent`.  The default slug is made of the name.

    Raises:
        Invalid: a value breaks a rule, or there is no such parent.
        SlugTaken: a category with this slug exists; it may have the same name.
    """
    ids = await _lock(conn)
    row: dict[str, Any] = {
        "name": single_line("name", name, NAME_LENGTH),
        "slug": _default_slug(name, await tree(conn, counted=False))
        if slug is None
        else _validated_slug(slug),
        "parent_id": _parent_id(ids, parent),
        "position": _validated_position(position),
    }
    if row["slug"] in ids:
        raise SlugTaken(row["slug"])
    await conn.execute(insert(categories).values(row))
    created = {"slug": row["slug"], "name": row["name"], "parent": parent, "position": position}
    audited = {field: [None, value] for field, value in created.items()}
    await audit.record(conn, "create", "category", row["slug"], audited, user_id=user_id, now=now)
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
    """Change a category's `name`, `slug`, `parent` (None is the top level) or `position`.

    Raises:
        NotFound: there is no such category.
        Stale: the category is no longer at `version`; not checked if `version` is None.
        Invalid: a value breaks a rule, or the category would be its own ancestor.
        SlugTaken: another category has the new slug.
    """
    ids = await _lock(conn)
    before = await get(conn, slug)
    if version not in (None, before.version):
        raise Stale(before.version)
    rules: dict[str, Any] = {
        "name": lambda value: single_line("name", value, NAME_LENGTH),
        "slug": _validated_slug,
        "parent": lambda value: value,
        "position": _validated_position,
    }
    after: dict[str, Any] = {}
    for field, value in changes.items():
        if field not in rules:
            raise Invalid(field, "A category has no such field.")
        validated = rules[field](value)
        if validated != getattr(before, field):
            after[field] = validated
    if not after:
        return before
    if "slug" in after and after["slug"] in ids:
        raise SlugTaken(after["slug"])
    columns: dict[str, Any] = {**after, "version": before.version + 1}
    if "parent" in after:
        columns["parent_id"] = _parent_id(ids, columns.pop("parent"))
        await _check_no_cycle(conn, before.id, columns["parent_id"])
    await conn.execute(update(categories).where(categories.c.id == before.id).values(columns))
    audited = {field: [getattr(before, field), value] for field, value in after.items()}
    await audit.record(conn, "change", "category", slug, audited, user_id=user_id, now=now)
    return await get(conn, after.get("slug", slug))


async def move_by(
    conn: AsyncConnection, slug: str, places: int, *, user_id: int | None, now: datetime
) -> tuple[int, int]:
    """Move a category up (negative `places`) or down among its siblings.

    Returns its new place among them, counted from 1, and the number of siblings including itself.

    Raises:
        NotFound: there is no such category.
    """
    ids = await _lock(conn)
    if slug not in ids:
        raise NotFound("This category")
    all_ = await tree(conn)
    parent = next(it.parent for it in all_ if it.slug == slug)
    siblings = [it for it in all_ if it.parent == parent]
    before = [it.slug for it in siblings].index(slug)
    after = max(0, min(before + places, len(siblings) - 1))
    siblings.insert(after, siblings.pop(before))
    moved = {it.id: position for position, it in enumerate(siblings) if it.position != position}
    if moved:
        position = case(moved, value=categories.c.id)
        await conn.execute(
            update(categories).where(categories.c.id.in_([*moved])).values(position=position)
        )
    if after != before:
        changes = {"place": [before + 1, after + 1]}
        await audit.record(conn, "change", "category", slug, changes, user_id=user_id, now=now)
    return after + 1, len(siblings)


async def remove(
    conn: AsyncConnection,
    slug: str,
    *,
    version: int | None = None,
    user_id: int | None,
    now: datetime,
) -> None:
    """Delete an empty category.  A category that has only withdrawn books counts as empty.

    Raises:
        NotFound: there is no such category.
        Stale: the category is no longer at `version`; not checked if `version` is None.
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
    changes = {field: [getattr(category, field), None] for field in ("slug", "name", "parent")}
    await audit.record(conn, "delete", "category", slug, changes, user_id=user_id, now=now)


async def _ids_by_name(conn: AsyncConnection) -> dict[str, int]:
    """The ids of all categories, by their slugs and by the identities of their names.

    If one category's slug equals another's name, the name takes precedence.
    """
    query = select(categories.c.id, categories.c.slug, categories.c.name).order_by(categories.c.id)
    rows = (await conn.execute(query)).all()
    by_slug = {row.slug: row.id for row in rows}
    return by_slug | {names.identity(row.name): row.id for row in reversed(rows)}


async def get_or_create(conn: AsyncConnection, wanted: Iterable[str]) -> dict[str, int]:
    """The ids of categories by the identities of their names.  Missing ones are created at the top
    level.

    A name or a slug, in upper or lower case, matches an existing category.
    """
    name_by_key = {names.identity(name): name for name in reversed(list(wanted))}
    ids = await _ids_by_name(conn)
    if name_by_key.keys() - ids.keys():
        # Of two concurrent imports, the second waits for this lock.  It then reads again, and
        # finds the categories that the first one created.
        slugs = set(await _lock(conn))
        ids = await _ids_by_name(conn)
        for key in sorted(name_by_key.keys() - ids.keys()):
            name = single_line("categories", name_by_key[key], NAME_LENGTH)
            slug = _free_slug(name, slugs)
            slugs.add(slug)
            await conn.execute(insert(categories).values(slug=slug, name=name, position=0))
        ids = await _ids_by_name(conn)
    return {key: ids[key] for key in name_by_key}


async def _lock(conn: AsyncConnection) -> dict[str, int]:
    """Lock the tree until this transaction ends.  Returns the category ids by slug."""
    query = select(categories.c.slug, categories.c.id).order_by(categories.c.id)
    return {row.slug: row.id for row in await conn.execute(query.with_for_update())}


def _only(found: Iterable[Category]) -> Category:
    for category in found:
        return category
    raise NotFound("This category")


def _parent_id(ids: Mapping[str, int], parent: Any) -> int | None:
    if parent is None:
        return None
    if not isinstance(parent, str) or parent not in ids:
        raise Invalid("parent", f"There is no category {parent!r}.")
    return ids[parent]


async def _check_no_cycle(conn: AsyncConnection, category_id: int, parent_id: int | None) -> None:
    found = await conn.execute(select(categories.c.id, categories.c.parent_id))
    parents = {row.id: row.parent_id for row in found}
    while parent_id is not None:
        if parent_id == category_id:
            raise Invalid("parent", "A category cannot be placed inside itself.")
        parent_id = parents[parent_id]


def _validated_slug(slug: Any) -> str:
    if not isinstance(slug, str) or len(slug) > SLUG_LENGTH or not _SLUG.fullmatch(slug):
        raise Invalid(
            "slug", "A slug can contain only letters, digits and single hyphens between them."
        )
    return slug.casefold()


def _validated_position(position: Any) -> int:
    if (
        not isinstance(position, int)
        or isinstance(position, bool)
        or not 0 <= position <= _MAX_POSITION
    ):
        raise Invalid("position", f"This must be from 0 to {_MAX_POSITION}.")
    return position


async def _book_counts(conn: AsyncConnection, rows: Sequence[Any]) -> Counter[int]:
    """The number of books on sale in each category.  `rows` must be the whole tree.

    The books of each category are counted from an index and added to all its ancestors.  A book in
    several categories is then counted more than once in their common ancestors.  So the second
    query counts the books for each combination of categories, and the excess is subtracted.
    """
    parents = {row.id: row.parent_id for row in rows}
    on_sale = book_categories.c.withdrawn_at.is_(None)
    per_category = await conn.execute(
        select(book_categories.c.category_id, func.count().label("number"))
        .where(on_sale)
        .group_by(book_categories.c.category_id)
    )
    counts: Counter[int] = Counter()
    for row in per_category:
        counts.update(dict.fromkeys(category_index.ancestors(row.category_id, parents), row.number))
    combinations = (
        select(func.group_concat(book_categories.c.category_id).label("combination"))
        .where(on_sale)
        .group_by(book_categories.c.book_id)
        .having(func.count() > 1)
        .subquery()
    )
    for combination, number in await conn.execute(
        select(combinations.c.combination, func.count()).group_by(combinations.c.combination)
    ):
        times_counted = Counter(
            ancestor_id
            for category_id in combination.split(",")
            for ancestor_id in category_index.ancestors(int(category_id), parents)
        )
        counts.subtract({it: (times - 1) * number for it, times in times_counted.items()})
    return counts
