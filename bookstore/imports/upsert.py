"""Insert or update many books at once.

`plan` compares the rows of a file with the store.  It only reads and does all slow computation.
`apply` then writes the plan with a constant number of statements, each for all rows.  Locking is
optimistic: if a book was changed or sold between the read and the write, `apply` raises
`StalePlan` for the whole batch.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import authors, books, categories, category_index, models, search
from bookstore.catalogue.models import COLUMNS, CategoryRef, Contributor
from bookstore.catalogue.names import identity
from bookstore.catalogue.stock import StockReason
from bookstore.catalogue.validation import Contribution
from bookstore.database.statements import Bulk
from bookstore.database.tables import books as table
from bookstore.imports.entries import BookEntry, EntryAction

#: The columns of a book that a file sets: `COLUMNS`, in their order, and the sort title.
_NAMES = (*COLUMNS, "sort_title")
_BOOK_COLUMNS = ", ".join(f"{name} {table.c[name].type.compile()}" for name in _NAMES)

_FIND = Bulk(
    "isbn13 VARCHAR(13)",
    f"""
    SELECT b.id, b.version, b.withdrawn_at IS NOT NULL AS withdrawn, s.stock,
           {", ".join(f"b.{name}" for name in COLUMNS)}
    FROM {{rows}} AS v {{join}} books AS b ON b.isbn13 = v.isbn13
    {{join}} book_stock AS s ON s.book_id = b.id
    """,  # noqa: S608 - names of ours
)
_FIND_IDS = Bulk(
    "isbn13 VARCHAR(13)",
    "SELECT b.isbn13, b.id FROM {rows} AS v {join} books AS b ON b.isbn13 = v.isbn13",
)
_LOCK = Bulk(
    "isbn13 VARCHAR(13)",
    """
    SELECT b.id FROM {rows} AS v {join} books AS b ON b.isbn13 = v.isbn13
    {join} book_stock AS s ON s.book_id = b.id ORDER BY b.id {for_update}
    """,
)
_ADD = Bulk(
    _BOOK_COLUMNS,
    f"""
    INSERT INTO books ({", ".join(_NAMES)}, version, created_at, updated_at)
    SELECT {", ".join(f"v.{name}" for name in _NAMES)}, 1, :now, :now FROM {{rows}} AS v
    """,  # noqa: S608 - names of ours
)
_ADD_STOCK = Bulk(
    "book_id BIGINT, stock INT",
    "INSERT INTO book_stock (book_id, stock) SELECT v.book_id, v.stock FROM {rows} AS v",
)
_SAME_VERSION = "t.id = v.id AND t.version = v.version"
_NEXT_VERSION = {"version": "v.version + 1", "updated_at": ":now"}
_CHANGE = Bulk.update(
    f"id BIGINT, version INT, {_BOOK_COLUMNS}",
    "books",
    _SAME_VERSION,
    {name: f"v.{name}" for name in _NAMES} | _NEXT_VERSION,
)
_WITHDRAW = Bulk.update(
    "id BIGINT, version INT", "books", _SAME_VERSION, {"withdrawn_at": ":now"} | _NEXT_VERSION
)
_SET_STOCK = Bulk.update(
    "book_id BIGINT, stock_before INT, stock INT",
    "book_stock",
    "t.book_id = v.book_id AND t.stock = v.stock_before",
    {"stock": "v.stock"},
)
_DROP_AUTHORS = Bulk(
    "book_id BIGINT",
    "DELETE a FROM {rows} AS v STRAIGHT_JOIN book_authors AS a ON a.book_id = v.book_id",
    sqlite="DELETE FROM book_authors WHERE book_id IN (SELECT book_id FROM {rows})",
)
_ADD_AUTHORS = Bulk(
    "book_id BIGINT, position INT, author_id BIGINT, role VARCHAR(20)",
    """
    INSERT INTO book_authors (book_id, position, author_id, role)
    SELECT v.book_id, v.position, v.author_id, v.role FROM {rows} AS v
    """,
)
_AUDIT = Bulk(
    "action VARCHAR(40), object_id VARCHAR(64), changes LONGTEXT",
    """
    INSERT INTO audit_log (at, user_id, action, object_type, object_id, changes)
    SELECT :now, :user_id, v.action, 'book', v.object_id, v.changes FROM {rows} AS v
    """,
)
_ADD_MOVEMENTS = Bulk(
    "book_id BIGINT, delta INT, reason VARCHAR(20)",
    """
    INSERT INTO stock_movements (book_id, delta, reason, user_id, created_at)
    SELECT v.book_id, v.delta, v.reason, :user_id, :now FROM {rows} AS v
    """,
)
#: The role of a person for whom a file gives no role.
_DEFAULT_ROLE = "author"


class StalePlan(Exception):
    """Another transaction changed or sold one of the books: roll back and plan again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpsertRow:
    """A validated row of a file.  A field that the file does not set is missing or None."""

    entry: BookEntry
    columns: dict[str, Any]
    authors: list[Contribution] | None = None
    categories: list[str] | None = None
    stock: int | None = None

    @property
    def isbn13(self) -> str:
        isbn13: str = self.columns["isbn13"]
        return isbn13


@dataclass(frozen=True, slots=True, kw_only=True)
class BookChange:
    """A book that a row updates."""

    row: UpsertRow
    #: The stored book, a row of `_FIND`.
    book: Any
    #: All columns with their new values.
    columns: dict[str, Any]
    #: `{field: [before, after]}`; empty when only the stock differs.
    changes: dict[str, list[Any]]
    #: None keeps the current ones.
    authors: list[Contribution] | None
    categories: list[str] | None
    #: The words for the search index.
    words: list[str]
    stock: int


@dataclass(slots=True)
class UpsertPlan:
    """What each row does.  A row that is in no list changes nothing."""

    #: Rows that create a book, each with its words for the search index.
    new: list[tuple[UpsertRow, list[str]]] = field(default_factory=list)
    changed: list[BookChange] = field(default_factory=list)
    #: Rows that withdraw a book from sale, each with the stored book, a row of `_FIND`.
    withdrawn: list[tuple[UpsertRow, Any]] = field(default_factory=list)
    #: Refused rows, each with the field at fault and the reason.
    refused: list[tuple[UpsertRow, str, str]] = field(default_factory=list)


async def plan(
    conn: AsyncConnection, rows: Sequence[UpsertRow], *, may_change_prices: bool
) -> UpsertPlan:
    """Compare the rows with the store.  No two rows have the same ISBN."""
    found = {book.isbn13: book for book in await _FIND(conn, sorted((row.isbn13,) for row in rows))}
    ids = [book.id for book in found.values()]
    contributors = await models.contributors(conn, ids)
    refs = await models.category_refs(conn, ids)
    result = UpsertPlan()
    for row in rows:
        book = found.get(row.isbn13)
        if row.entry.action is EntryAction.WITHDRAW:
            if book is not None and not book.withdrawn:
                result.withdrawn.append((row, book))
        elif book is None:
            _plan_new(result, row)
        elif book.withdrawn:
            reason = "This book has been withdrawn. Restore it first."
            result.refused.append((row, "isbn13", reason))
        else:
            change = _compare(row, book, contributors.get(book.id, []), refs.get(book.id, []))
            if "price_cents" in change.changes and not may_change_prices:
                reason = "Your account may add books but not change prices."
                result.refused.append((row, "price_cents", reason))
            elif change.changes or change.stock != book.stock:
                result.changed.append(change)
    return result


def _plan_new(result: UpsertPlan, row: UpsertRow) -> None:
    missing = [name for name in ("title", "price_cents") if row.columns.get(name) is None]
    if not row.authors:
        missing.append("authors")
    if row.entry.action is EntryAction.CHANGE:
        reason = "The store does not have this book, and this record only changes an existing one."
        result.refused.append((row, "isbn13", reason))
    elif missing:
        reason = "This is required, because the store does not have the book yet."
        result.refused.append((row, missing[0], " ".join([reason, *row.entry.remarks])))
    else:
        result.new.append((row, _words(row.columns, _names(row.authors or []))))


async def lock_books(conn: AsyncConnection, rows: Iterable[UpsertRow]) -> None:
    """Lock these books and their stock until this transaction ends."""
    await _LOCK(conn, sorted((row.isbn13,) for row in rows))


async def apply(
    conn: AsyncConnection, planned: UpsertPlan, *, user_id: int | None, now: datetime
) -> None:
    """Write the plan.  Stock is written last, because its row locks block orders.

    Raises:
        StalePlan: a book has changed since the plan was made, or a new one exists by now.
    """
    changed = [change for change in planned.changed if change.changes]
    withdrawals = sorted((book.id, book.version) for _, book in planned.withdrawn)
    ids = await _add(conn, [row for row, _ in planned.new], now=now)
    added = [(ids[row.isbn13], row) for row, _ in planned.new]
    values = [(each.book.id, each.book.version, *_values(each.columns)) for each in changed]
    await _write_unless_stale(conn, _CHANGE, values, now=now)
    await _write_unless_stale(conn, _WITHDRAW, withdrawals, now=now)
    # A book with new categories is written to the category index below, with its new values.
    outdated = [
        each.book.id for each in changed if each.categories is None and _affects_listing(each)
    ]
    await category_index.refresh(conn, outdated + [book_id for book_id, _ in withdrawals])
    await _write_authors(conn, added, changed)
    await _write_categories(conn, added, changed)
    words = {ids[row.isbn13]: words for row, words in planned.new}
    await search.index(conn, words | {each.book.id: each.words for each in changed})
    audited = [("create", str(book_id), _json(_creation_changes(row))) for book_id, row in added]
    audited += [("change", str(each.book.id), _json(each.changes)) for each in changed]
    withdrawn = _json({"withdrawn_at": [None, now.isoformat()]})
    audited += [("withdraw", str(book_id), withdrawn) for book_id, _ in withdrawals]
    if audited:
        await _AUDIT(conn, audited, user_id=user_id, now=now)
    await _write_stock(conn, added, planned.changed, user_id=user_id, now=now)


def _compare(
    row: UpsertRow, book: Any, people: Sequence[Contributor], refs: Sequence[CategoryRef]
) -> BookChange:
    before = {name: getattr(book, name) for name in COLUMNS}
    columns = before | row.columns
    changes = {
        name: [before[name], value] for name, value in columns.items() if value != before[name]
    }
    persons = _merged_authors(row, people)
    if persons is not None:
        changes["authors"] = [_names(people), _names(persons)]
    same_categories = row.categories is None or _same_categories(row.categories, refs)
    if not same_categories:
        changes["categories"] = [[ref.name for ref in refs], row.categories]
    return BookChange(
        row=row,
        book=book,
        columns=columns,
        changes=changes,
        authors=persons,
        categories=None if same_categories else row.categories,
        words=_words(columns, _names(people if persons is None else persons)) if changes else [],
        stock=book.stock if row.stock is None else row.stock,
    )


def _merged_authors(row: UpsertRow, people: Sequence[Contributor]) -> list[Contribution] | None:
    """The new authors, or None when the current ones stay.

    Names that differ only in spelling (`authors.key`) are the same person.  A row that gives no
    roles keeps the roles that staff set.
    """
    if row.authors is None:
        return None
    before = [(authors.key(person.name), person.role) for person in people]
    known: dict[str, list[str]] = {}
    for key, role in before:
        known.setdefault(key, []).append(role)
    no_roles = not row.entry.roles and all(person.role == _DEFAULT_ROLE for person in row.authors)
    if no_roles and [_key(person) for person in row.authors] == list(known):
        return None
    persons = [
        replace(person, role=role)
        for person in row.authors
        for role in _roles(person, known, row.entry.roles, no_roles)
    ]
    return None if [(_key(person), person.role) for person in persons] == before else persons


def _roles(
    person: Contribution, known: Mapping[str, Sequence[str]], explicit: bool, no_roles: bool
) -> Sequence[str]:
    current = known.get(_key(person), [])
    if explicit or person.role != _DEFAULT_ROLE or not current:
        return [person.role]
    if no_roles:
        return current
    return [_DEFAULT_ROLE if _DEFAULT_ROLE in current else current[0]]


def _same_categories(names: Sequence[str], refs: Sequence[CategoryRef]) -> bool:
    """Whether the names are those of the categories, in any order."""
    keys = {identity(name) for name in names}
    current = [{ref.slug, identity(ref.name)} for ref in refs]
    return keys <= set().union(*current) and all(keys & either for either in current)


async def _add(
    conn: AsyncConnection, rows: Sequence[UpsertRow], *, now: datetime
) -> dict[str, int]:
    """Insert the rows of new books and of their stock; return the book ids by ISBN."""
    if not rows:
        return {}
    try:
        await _ADD(conn, [_values(row.columns) for row in rows], now=now)
    except IntegrityError:
        raise StalePlan from None
    found = await _FIND_IDS(conn, [(row.isbn13,) for row in rows])
    ids: dict[str, int] = {row.isbn13: row.id for row in found}
    await _ADD_STOCK(conn, [(ids[row.isbn13], row.stock or 0) for row in rows])
    return ids


async def _write_authors(
    conn: AsyncConnection, added: Sequence[tuple[int, UpsertRow]], changed: Sequence[BookChange]
) -> None:
    replaced = {each.book.id: each.authors for each in changed if each.authors is not None}
    authors_of = {book_id: row.authors for book_id, row in added if row.authors} | replaced
    if replaced:
        await _DROP_AUTHORS(conn, [(book_id,) for book_id in sorted(replaced)])
    if authors_of:
        people = list(chain.from_iterable(authors_of.values()))
        ids = await authors.get_or_create(conn, _names(people))
        rows = [
            (book_id, position, ids[_key(person)], person.role)
            for book_id, persons in sorted(authors_of.items())
            for position, person in enumerate(persons)
        ]
        await _ADD_AUTHORS(conn, rows)


async def _write_categories(
    conn: AsyncConnection, added: Sequence[tuple[int, UpsertRow]], changed: Sequence[BookChange]
) -> None:
    replaced = {each.book.id: each.categories for each in changed if each.categories is not None}
    names_of = {book_id: row.categories for book_id, row in added if row.categories} | replaced
    await category_index.clear(conn, replaced)
    if names_of:
        ids = await categories.get_or_create(conn, list(chain.from_iterable(names_of.values())))
        entries: list[tuple[int, int, int]] = []
        for book_id, names in names_of.items():
            of_book = dict.fromkeys(ids[identity(name)] for name in names)
            entries += [(book_id, category_id, at) for at, category_id in enumerate(of_book)]
        await category_index.add(conn, entries)


async def _write_stock(
    conn: AsyncConnection,
    added: Sequence[tuple[int, UpsertRow]],
    changed: Sequence[BookChange],
    *,
    user_id: int | None,
    now: datetime,
) -> None:
    stocks = [(each.book.id, each.book.stock, each.stock) for each in changed]
    counted = sorted(stock for stock in stocks if stock[1] != stock[2])
    movements = [(book_id, row.stock, StockReason.RECEIVED) for book_id, row in added if row.stock]
    movements += [
        (book_id, after - before, StockReason.COUNT) for book_id, before, after in counted
    ]
    if movements:
        await _ADD_MOVEMENTS(conn, movements, user_id=user_id, now=now)
    await _write_unless_stale(conn, _SET_STOCK, counted)


async def _write_unless_stale(
    conn: AsyncConnection, update: Bulk, rows: Sequence[tuple[Any, ...]], **parameters: Any
) -> None:
    """Run an update that changes one row of the database for each of these rows, by their order.

    Raises:
        StalePlan: a row of the database differs from the plan.
    """
    if rows and (await update(conn, sorted(rows), **parameters)).rowcount != len(rows):
        raise StalePlan


def _affects_listing(change: BookChange) -> bool:
    """Whether the change affects how category pages sort or filter the book."""
    return not change.changes.keys().isdisjoint({"title", *category_index.COPIED_COLUMNS})


def _values(columns: Mapping[str, Any]) -> list[Any]:
    return [columns.get(name) for name in COLUMNS] + [books.sort_title(columns["title"])]


def _words(columns: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    subtitle, publisher = columns.get("subtitle"), columns.get("publisher")
    isbn13, title = columns["isbn13"], columns["title"]
    return search.SearchEntry(isbn13, title, subtitle, publisher, names).words()


def _creation_changes(row: UpsertRow) -> dict[str, list[Any]]:
    return {name: [None, value] for name, value in row.columns.items()}


def _names(people: Sequence[Contribution | Contributor]) -> list[str]:
    return [person.name for person in people]


def _key(person: Contribution) -> str:
    return authors.key(person.name)


def _json(changes: Mapping[str, Any]) -> str:
    return json.dumps(changes, ensure_ascii=False)
