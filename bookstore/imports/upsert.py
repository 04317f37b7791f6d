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
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import authors, books, categories, category_index, models, search
from bookstore.catalogue.models import COLUMNS, CategoryRef, Contributor
from bookstore.catalogue.stock import StockReason
from bookstore.catalogue.validation import Contribution
from bookstore.database.statements import Bulk
from bookstore.imports.entries import BookEntry, EntryAction

#: The columns of `COLUMNS`, in their order, and the sort title.
_BOOK_COLUMNS = (
    "isbn13 VARCHAR(13), title VARCHAR(500), subtitle VARCHAR(500), description TEXT,"
    " publisher VARCHAR(200), year SMALLINT, language VARCHAR(35), format VARCHAR(20),"
    " pages INT, price_cents INT, sort_title VARCHAR(200)"
)

_FIND = Bulk(
    "isbn13 VARCHAR(13)",
    """
    SELECT b.id, b.version, b.withdrawn_at IS NOT NULL AS withdrawn, s.stock,
           b.isbn13, b.title, b.subtitle, b.description, b.publisher, b.year, b.language,
           b.format, b.pages, b.price_cents
    FROM {rows} AS v {join} books AS b ON b.isbn13 = v.isbn13
    {join} book_stock AS s ON s.book_id = b.id
    """,
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
    """
    INSERT INTO books (
        isbn13, title, subtitle, description, publisher, year, language, format, pages,
        price_cents, sort_title, version, created_at, updated_at
    )
    SELECT v.isbn13, v.title, v.subtitle, v.description, v.publisher, v.year, v.language,
           v.format, v.pages, v.price_cents, v.sort_title, 1, :now, :now
    FROM {rows} AS v
    """,
)
_ADD_STOCK = Bulk(
    "book_id BIGINT, stock INT",
    "INSERT INTO book_stock (book_id, stock) SELECT v.book_id, v.stock FROM {rows} AS v",
)
_CHANGE = Bulk(
    f"id BIGINT, version INT, {_BOOK_COLUMNS}",
    """
    UPDATE {rows} AS v STRAIGHT_JOIN books AS b {by_key} ON b.id = v.id AND b.version = v.version
    SET b.isbn13 = v.isbn13, b.title = v.title, b.subtitle = v.subtitle,
        b.description = v.description, b.publisher = v.publisher, b.year = v.year,
        b.language = v.language, b.format = v.format, b.pages = v.pages,
        b.price_cents = v.price_cents, b.sort_title = v.sort_title,
        b.version = v.version + 1, b.updated_at = :now
    """,
    sqlite="""
    UPDATE books
    SET isbn13 = v.isbn13, title = v.title, subtitle = v.subtitle,
        description = v.description, publisher = v.publisher, year = v.year,
        language = v.language, format = v.format, pages = v.pages,
        price_cents = v.price_cents, sort_title = v.sort_title,
        version = v.version + 1, updated_at = :now
    FROM {rows} AS v WHERE books.id = v.id AND books.version = v.version
    """,
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
_SET_STOCK = Bulk(
    "book_id BIGINT, stock_before INT, stock INT",
    """
    UPDATE {rows} AS v
    STRAIGHT_JOIN book_stock AS s {by_key} ON s.book_id = v.book_id AND s.stock = v.stock_before
    SET s.stock = v.stock
    """,
    sqlite="""
    UPDATE book_stock SET stock = v.stock FROM {rows} AS v
    WHERE book_stock.book_id = v.book_id AND book_stock.stock = v.stock_before
    """,
)


_WITHDRAW = Bulk(
    "id BIGINT, version INT",
    """
    UPDATE {rows} AS v STRAIGHT_JOIN books AS b {by_key} ON b.id = v.id AND b.version = v.version
    SET b.withdrawn_at = :now, b.version = v.version + 1, b.updated_at = :now
    """,
    sqlite="""
    UPDATE books SET withdrawn_at = :now, version = v.version + 1, updated_at = :now
    FROM {rows} AS v WHERE books.id = v.id AND books.version = v.version
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


@dataclass(frozen=True, slots=True)
class Addition:
    """A book that a row creates."""

    row: UpsertRow
    #: The words for the search index.
    words: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BookChange:
    """A book that a row updates."""

    row: UpsertRow
    id: int
    version: int
    #: All columns with their new values.
    columns: dict[str, Any]
    #: `{field: [before, after]}`; empty when only the stock differs.
    changes: dict[str, list[Any]]
    #: None keeps the current ones.
    authors: list[Contribution] | None
    categories: list[str] | None
    #: The words for the search index.
    words: list[str]
    stock_before: int
    stock: int


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A book that a row withdraws from sale."""

    row: UpsertRow
    id: int
    version: int


@dataclass(slots=True)
class UpsertPlan:
    """What each row does."""

    new: list[Addition] = field(default_factory=list)
    changed: list[BookChange] = field(default_factory=list)
    withdrawn: list[Withdrawal] = field(default_factory=list)
    unchanged: list[UpsertRow] = field(default_factory=list)
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
        if book is None:
            _plan_new(result, row)
        elif row.entry.action is EntryAction.WITHDRAW:
            if book.withdrawn:
                result.unchanged.append(row)
            else:
                result.withdrawn.append(Withdrawal(row, book.id, book.version))
        elif book.withdrawn:
            reason = "This book has been withdrawn. Restore it first."
            result.refused.append((row, "isbn13", reason))
        else:
            change = _compare(row, book, contributors.get(book.id, []), refs.get(book.id, []))
            if "price_cents" in change.changes and not may_change_prices:
                reason = "Your account may add books but not change prices."
                result.refused.append((row, "price_cents", reason))
            elif change.changes or change.stock != change.stock_before:
                result.changed.append(change)
            else:
                result.unchanged.append(row)
    return result


def _plan_new(result: UpsertPlan, row: UpsertRow) -> None:
    present = {name for name, value in row.columns.items() if value is not None}
    missing = [name for name in ("title", "price_cents") if name not in present]
    if not row.authors:
        missing.append("authors")
    if row.entry.action is EntryAction.WITHDRAW:
        result.unchanged.append(row)
    elif row.entry.action is EntryAction.CHANGE:
        reason = "The store does not have this book, and this record only changes an existing one."
        result.refused.append((row, "isbn13", reason))
    elif missing:
        reason = "This is required, because the store does not have the book yet."
        result.refused.append((row, missing[0], " ".join([reason, *row.entry.remarks])))
    else:
        result.new.append(Addition(row, _words(row.columns, _names(row.authors or []))))


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
    by_isbn = await _add(conn, [new.row for new in planned.new], now=now)
    added = [(by_isbn[new.row.isbn13], new.row) for new in planned.new]
    if changed:
        values = sorted((change.id, change.version, *_values(change.columns)) for change in changed)
        if (await _CHANGE(conn, values, now=now)).rowcount != len(changed):
            raise StalePlan
    if planned.withdrawn:
        withdrawals = sorted((book.id, book.version) for book in planned.withdrawn)
        if (await _WITHDRAW(conn, withdrawals, now=now)).rowcount != len(withdrawals):
            raise StalePlan
    # A book with new categories is written to the category index below, with its new values.
    outdated = [
        change.id for change in changed if change.categories is None and _affects_listing(change)
    ]
    await category_index.refresh(conn, outdated + [book.id for book in planned.withdrawn])
    await _write_authors(
        conn,
        {book_id: row.authors for book_id, row in added if row.authors},
        {change.id: change.authors for change in changed if change.authors is not None},
    )
    await _write_categories(
        conn,
        {book_id: row.categories for book_id, row in added if row.categories},
        {change.id: change.categories for change in changed if change.categories is not None},
    )
    await search.index(
        conn,
        {by_isbn[new.row.isbn13]: new.words for new in planned.new}
        | {change.id: change.words for change in changed},
    )
    audited = [("create", str(book_id), _json(_creation_changes(row))) for book_id, row in added]
    audited += [("change", str(change.id), _json(change.changes)) for change in changed]
    withdrawn = _json({"withdrawn_at": [None, now.isoformat()]})
    audited += [("withdraw", str(book.id), withdrawn) for book in planned.withdrawn]
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
        id=book.id,
        version=book.version,
        columns=columns,
        changes=changes,
        authors=persons,
        categories=None if same_categories else row.categories,
        words=_words(columns, _names(people if persons is None else persons)) if changes else [],
        stock_before=book.stock,
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
    slugs = {categories.slug_of(name) for name in names}
    current = [{ref.slug, categories.slug_of(ref.name)} for ref in refs]
    return slugs <= set().union(*current) and all(slugs & either for either in current)


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
    conn: AsyncConnection,
    new: Mapping[int, Sequence[Contribution]],
    replaced: Mapping[int, Sequence[Contribution]],
) -> None:
    authors_of = {**new, **replaced}
    if replaced:
        await _DROP_AUTHORS(conn, [(book_id,) for book_id in sorted(replaced)])
    if authors_of:
        people = [person for persons in authors_of.values() for person in persons]
        ids = await authors.get_or_create(conn, _names(people))
        await _ADD_AUTHORS(
            conn,
            [
                (book_id, position, ids[_key(person)], person.role)
                for book_id, persons in sorted(authors_of.items())
                for position, person in enumerate(persons)
            ],
        )


async def _write_categories(
    conn: AsyncConnection,
    new: Mapping[int, Sequence[str]],
    replaced: Mapping[int, Sequence[str]],
) -> None:
    names_of = {**new, **replaced}
    await category_index.clear(conn, replaced)
    if names_of:
        ids = await categories.get_or_create(
            conn, [name for names in names_of.values() for name in names]
        )
        await category_index.add(
            conn,
            [
                (book_id, category_id, position)
                for book_id, names in names_of.items()
                for position, category_id in enumerate(
                    dict.fromkeys(ids[categories.slug_of(name)] for name in names)
                )
            ],
        )


async def _write_stock(
    conn: AsyncConnection,
    added: Sequence[tuple[int, UpsertRow]],
    changed: Sequence[BookChange],
    *,
    user_id: int | None,
    now: datetime,
) -> None:
    counted = sorted(
        (change.id, change.stock_before, change.stock)
        for change in changed
        if change.stock != change.stock_before
    )
    movements = [(book_id, row.stock, StockReason.RECEIVED) for book_id, row in added if row.stock]
    movements += [
        (book_id, after - before, StockReason.COUNT) for book_id, before, after in counted
    ]
    if movements:
        await _ADD_MOVEMENTS(conn, movements, user_id=user_id, now=now)
    if counted and (await _SET_STOCK(conn, counted)).rowcount != len(counted):
        raise StalePlan


def _affects_listing(change: BookChange) -> bool:
    """Whether the change affects how category pages sort or filter the book."""
    return not change.changes.keys().isdisjoint({"title", *category_index.COPIED_COLUMNS})


def _values(columns: Mapping[str, Any]) -> list[Any]:
    return [columns.get(name) for name in COLUMNS] + [books.sort_title(columns["title"])]


def _words(columns: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return search.SearchEntry(
        columns["isbn13"],
        columns["title"],
        columns.get("subtitle"),
        columns.get("publisher"),
        names,
    ).words()


def _creation_changes(row: UpsertRow) -> dict[str, list[Any]]:
    return {name: [None, value] for name, value in row.columns.items()}


def _names(people: Sequence[Contribution | Contributor]) -> list[str]:
    return [person.name for person in people]


def _key(person: Contribution) -> str:
    return authors.key(person.name)


def _json(changes: Mapping[str, Any]) -> str:
    return json.dumps(changes, ensure_ascii=False)
