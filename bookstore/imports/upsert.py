"""Many books at once: what a file says about them is compared with what the store has.

First a plan is made, which only reads and has all that takes long to reckon; then it is
carried out by a constant number of statements, each for all rows.  No lock is taken before it
is needed: where a book was changed or sold between the look and the write, the whole is
`Overtaken`.
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
from bookstore.catalogue.stock import Reason
from bookstore.catalogue.validation import Contribution
from bookstore.database.statements import Bulk
from bookstore.imports.entries import Action, Entry

#: The columns of `COLUMNS`, in their order, and the title to sort by.
_RECORD = (
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
    _RECORD,
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
    f"id BIGINT, version INT, {_RECORD}",
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
_MOVE = Bulk(
    "book_id BIGINT, delta INT, reason VARCHAR(20)",
    """
    INSERT INTO stock_movements (book_id, delta, reason, user_id, created_at)
    SELECT v.book_id, v.delta, v.reason, :user_id, :now FROM {rows} AS v
    """,
)
_SET_STOCK = Bulk(
    "book_id BIGINT, seen INT, stock INT",
    """
    UPDATE {rows} AS v
    STRAIGHT_JOIN book_stock AS s {by_key} ON s.book_id = v.book_id AND s.stock = v.seen
    SET s.stock = v.stock
    """,
    sqlite="""
    UPDATE book_stock SET stock = v.stock FROM {rows} AS v
    WHERE book_stock.book_id = v.book_id AND book_stock.stock = v.seen
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
#: The role of whom a file just names.
_PLAIN = "author"


class Overtaken(Exception):
    """Somebody changed or sold one of the books meanwhile: roll back and do it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A book as a file has it, checked.  What the file does not say is not there, or None."""

    entry: Entry
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
    """A book that a row adds."""

    row: Row
    #: What it can be found by.
    words: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A book that a row changes."""

    row: Row
    id: int
    version: int
    #: The whole record as it will be.
    columns: dict[str, Any]
    #: `{field: [before, after]}`; empty when only the stock differs.
    told: dict[str, list[Any]]
    #: None leaves them as they are.
    authors: list[Contribution] | None
    categories: list[str] | None
    #: What it can be found by.
    words: list[str]
    stock_before: int
    stock: int


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A book that a row takes out of the sale."""

    row: Row
    id: int
    version: int


@dataclass(slots=True)
class Plan:
    """What is to be done about rows."""

    new: list[Addition] = field(default_factory=list)
    changed: list[Change] = field(default_factory=list)
    withdrawn: list[Withdrawal] = field(default_factory=list)
    unchanged: list[Row] = field(default_factory=list)
    #: Rows that the store does not take: which field is in the way, and why.
    refused: list[tuple[Row, str, str]] = field(default_factory=list)


async def plan(conn: AsyncConnection, rows: Sequence[Row], *, may_change_prices: bool) -> Plan:
    """Compare the rows, each with an ISBN of its own, with what the store has."""
    found = {book.isbn13: book for book in await _FIND(conn, sorted((row.isbn13,) for row in rows))}
    ids = [book.id for book in found.values()]
    contributors = await models.contributors(conn, ids)
    refs = await models.category_refs(conn, ids)
    made = Plan()
    for row in rows:
        book = found.get(row.isbn13)
        if book is None:
            _plan_new(made, row)
        elif row.entry.action is Action.WITHDRAW:
            if book.withdrawn:
                made.unchanged.append(row)
            else:
                made.withdrawn.append(Withdrawal(row, book.id, book.version))
        elif book.withdrawn:
            reason = "This book was withdrawn from the store. Restore it first."
            made.refused.append((row, "isbn13", reason))
        else:
            change = _compared(row, book, contributors.get(book.id, []), refs.get(book.id, []))
            if "price_cents" in change.told and not may_change_prices:
                reason = "Your account may add books, but not change their prices."
                made.refused.append((row, "price_cents", reason))
            elif change.told or change.stock != change.stock_before:
                made.changed.append(change)
            else:
                made.unchanged.append(row)
    return made


def _plan_new(made: Plan, row: Row) -> None:
    there = {name for name, value in row.columns.items() if value is not None}
    missing = [name for name in ("title", "price_cents") if name not in there]
    if not row.authors:
        missing.append("authors")
    if row.entry.action is Action.WITHDRAW:
        made.unchanged.append(row)
    elif row.entry.action is Action.CHANGE:
        reason = "The store does not have this book, and this only changes one."
        made.refused.append((row, "isbn13", reason))
    elif missing:
        reason = "This is missing, and the store does not have the book yet."
        made.refused.append((row, missing[0], " ".join([reason, *row.entry.notes])))
    else:
        made.new.append(Addition(row, _words(row.columns, _names(row.authors or []))))


async def lock(conn: AsyncConnection, rows: Iterable[Row]) -> None:
    """Keep everybody else from these books until this transaction ends."""
    await _LOCK(conn, sorted((row.isbn13,) for row in rows))


async def carry_out(
    conn: AsyncConnection, made: Plan, *, user_id: int | None, now: datetime
) -> None:
    """Do what was planned; stock comes last, because sales wait for it.

    Raises:
        Overtaken: a book is not as it was when the plan was made, or a new one is there now.
    """
    recorded = [change for change in made.changed if change.told]
    by_isbn = await _add(conn, [new.row for new in made.new], now=now)
    added = [(by_isbn[new.row.isbn13], new.row) for new in made.new]
    if recorded:
        values = sorted(
            (change.id, change.version, *_values(change.columns)) for change in recorded
        )
        if (await _CHANGE(conn, values, now=now)).rowcount != len(recorded):
            raise Overtaken
    if made.withdrawn:
        gone = sorted((book.id, book.version) for book in made.withdrawn)
        if (await _WITHDRAW(conn, gone, now=now)).rowcount != len(gone):
            raise Overtaken
    # Those that are put into other categories stand there by what they say now.
    stays = [change.id for change in recorded if change.categories is None and _is_moved(change)]
    await category_index.follow(conn, stays + [book.id for book in made.withdrawn])
    await _write_authors(
        conn,
        {book_id: row.authors for book_id, row in added if row.authors},
        {change.id: change.authors for change in recorded if change.authors is not None},
    )
    await _write_categories(
        conn,
        {book_id: row.categories for book_id, row in added if row.categories},
        {change.id: change.categories for change in recorded if change.categories is not None},
    )
    await search.index(
        conn,
        {by_isbn[new.row.isbn13]: new.words for new in made.new}
        | {change.id: change.words for change in recorded},
    )
    audited = [("create", str(book_id), _json(_told_of(row))) for book_id, row in added]
    audited += [("change", str(change.id), _json(change.told)) for change in recorded]
    withdrawn = _json({"withdrawn_at": [None, now.isoformat()]})
    audited += [("withdraw", str(book.id), withdrawn) for book in made.withdrawn]
    if audited:
        await _AUDIT(conn, audited, user_id=user_id, now=now)
    await _move(conn, added, made.changed, user_id=user_id, now=now)


def _compared(
    row: Row, book: Any, people: Sequence[Contributor], refs: Sequence[CategoryRef]
) -> Change:
    before = {name: getattr(book, name) for name in COLUMNS}
    columns = before | row.columns
    told = {name: [before[name], value] for name, value in columns.items() if value != before[name]}
    persons = _people(row, people)
    if persons is not None:
        told["authors"] = [_names(people), _names(persons)]
    same_categories = row.categories is None or _same(row.categories, refs)
    if not same_categories:
        told["categories"] = [[ref.name for ref in refs], row.categories]
    return Change(
        row=row,
        id=book.id,
        version=book.version,
        columns=columns,
        told=told,
        authors=persons,
        categories=None if same_categories else row.categories,
        words=_words(columns, _names(people if persons is None else persons)) if told else [],
        stock_before=book.stock,
        stock=book.stock if row.stock is None else row.stock,
    )


def _people(row: Row, people: Sequence[Contributor]) -> list[Contribution] | None:
    """The authors as they will be, or None when they stay as they are.

    Who is named is the same person in any spelling.  Where a row does not say the roles, those
    that staff gave are kept.
    """
    if row.authors is None:
        return None
    before = [(authors.key(person.name), person.role) for person in people]
    known: dict[str, list[str]] = {}
    for key, role in before:
        known.setdefault(key, []).append(role)
    unsaid = not row.entry.roles and all(person.role == _PLAIN for person in row.authors)
    if unsaid and [_key(person) for person in row.authors] == list(known):
        return None
    persons = [
        replace(person, role=role)
        for person in row.authors
        for role in _roles(person, known, row.entry.roles, unsaid)
    ]
    return None if [(_key(person), person.role) for person in persons] == before else persons


def _roles(
    person: Contribution, known: Mapping[str, Sequence[str]], meant: bool, unsaid: bool
) -> Sequence[str]:
    had = known.get(_key(person), [])
    if meant or person.role != _PLAIN or not had:
        return [person.role]
    if unsaid:
        return had
    return [_PLAIN if _PLAIN in had else had[0]]


def _same(names: Sequence[str], refs: Sequence[CategoryRef]) -> bool:
    """Whether the names are those of the categories, in any order."""
    wanted = {categories.slug_of(name) for name in names}
    there = [{ref.slug, categories.slug_of(ref.name)} for ref in refs]
    return wanted <= set().union(*there) and all(wanted & either for either in there)


async def _add(conn: AsyncConnection, rows: Sequence[Row], *, now: datetime) -> dict[str, int]:
    """Insert new books, nothing around them yet.  Gives their ids by ISBN."""
    if not rows:
        return {}
    try:
        await _ADD(conn, [_values(row.columns) for row in rows], now=now)
    except IntegrityError:
        raise Overtaken from None
    found = await _FIND_IDS(conn, [(row.isbn13,) for row in rows])
    ids: dict[str, int] = {row.isbn13: row.id for row in found}
    await _ADD_STOCK(conn, [(ids[row.isbn13], row.stock or 0) for row in rows])
    return ids


async def _write_authors(
    conn: AsyncConnection,
    new: Mapping[int, Sequence[Contribution]],
    replaced: Mapping[int, Sequence[Contribution]],
) -> None:
    wanted = {**new, **replaced}
    if replaced:
        await _DROP_AUTHORS(conn, [(book_id,) for book_id in sorted(replaced)])
    if wanted:
        people = [person for persons in wanted.values() for person in persons]
        ids = await authors.ensure(conn, _names(people))
        await _ADD_AUTHORS(
            conn,
            [
                (book_id, position, ids[_key(person)], person.role)
                for book_id, persons in sorted(wanted.items())
                for position, person in enumerate(persons)
            ],
        )


async def _write_categories(
    conn: AsyncConnection,
    new: Mapping[int, Sequence[str]],
    replaced: Mapping[int, Sequence[str]],
) -> None:
    wanted = {**new, **replaced}
    await category_index.clear(conn, replaced)
    if wanted:
        ids = await categories.ensure(conn, [name for names in wanted.values() for name in names])
        await category_index.add(
            conn,
            [
                (book_id, category_id, position)
                for book_id, names in wanted.items()
                for position, category_id in enumerate(
                    dict.fromkeys(ids[categories.slug_of(name)] for name in names)
                )
            ],
        )


async def _move(
    conn: AsyncConnection,
    added: Sequence[tuple[int, Row]],
    changed: Sequence[Change],
    *,
    user_id: int | None,
    now: datetime,
) -> None:
    counted = sorted(
        (change.id, change.stock_before, change.stock)
        for change in changed
        if change.stock != change.stock_before
    )
    moved = [(book_id, row.stock, Reason.RECEIVED) for book_id, row in added if row.stock]
    moved += [(book_id, after - before, Reason.COUNT) for book_id, before, after in counted]
    if moved:
        await _MOVE(conn, moved, user_id=user_id, now=now)
    if counted and (await _SET_STOCK(conn, counted)).rowcount != len(counted):
        raise Overtaken


def _is_moved(change: Change) -> bool:
    """Whether lists have the book in another place."""
    return not change.told.keys().isdisjoint({"title", *category_index.COPIED})


def _values(columns: Mapping[str, Any]) -> list[Any]:
    return [columns.get(name) for name in COLUMNS] + [books.sort_title(columns["title"])]


def _words(columns: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    return search.Entry(
        columns["isbn13"],
        columns["title"],
        columns.get("subtitle"),
        columns.get("publisher"),
        names,
    ).words()


def _told_of(row: Row) -> dict[str, list[Any]]:
    return {name: [None, value] for name, value in row.columns.items()}


def _names(people: Sequence[Contribution | Contributor]) -> list[str]:
    return [person.name for person in people]


def _key(person: Contribution) -> str:
    return authors.key(person.name)


def _json(changes: Mapping[str, Any]) -> str:
    return json.dumps(changes, ensure_ascii=False)
