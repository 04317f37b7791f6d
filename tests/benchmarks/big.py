"""Fills the tables of a MariaDB with a million books and a million orders.

The data is random with a fixed seed and consistent: `bookstore doctor` reports no problem. Titles
consist of invented words whose frequencies are distributed as in a natural language.
"""

import csv
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

import pymysql

from bookstore import pricing
from bookstore.catalogue.category_index import COPIED_COLUMNS
from tests.crowd import FIRST, LAST, RATES, STEPS, TOWNS, _number
from tests.servers.mariadb import PASSWORD, USER

WORDS, AUTHORS, PUBLISHERS, CATEGORIES, ROOMS = 30_000, 100_000, 2_000, 220, 20
#: The most common words are in every fifth title; the rarest in twelve titles.
COMMON, RARE = 0, 29_000
LANGUAGES = {"en": 60, "de": 20, "fr": 8, "es": 6, "en-US": 4, "cy": 2}
FORMATS = {"paperback": 60, "hardback": 25, "ebook": 14, "map": 1}
STATES = {"delivered": 90, "shipped": 4, "confirmed": 1, "rejected": 3, "cancelled": 2}
DAYS = 1200
#: Customers with an account. Guests place three of ten orders.
PEOPLE = 10  # orders each
_SYLLABLES = ["ba", "do", "fen", "gar", "hil", "jo", "kan", "lor", "mi", "nu", "pes", "qui", "ra"]
_SYLLABLES += ["sol", "tam", "vey", "wen", "xa", "yor", "zim"]


def words() -> list[str]:
    """The vocabulary, most common words first."""
    made = []
    for number in range(WORDS):
        left, word = number + len(_SYLLABLES), ""
        while left:
            left, place = divmod(left, len(_SYLLABLES))
            word += _SYLLABLES[place]
        made.append(word)
    return made


def fill(port: int, database: str, *, books: int, orders: int) -> None:
    """Fill an empty, migrated database."""
    with (
        closing(
            pymysql.connect(
                host="127.0.0.1",
                port=port,
                user=USER,
                password=PASSWORD,
                database=database,
                charset="utf8mb4",
                autocommit=True,
                local_infile=True,
            )
        ) as conn,
        tempfile.TemporaryDirectory() as folder,
        conn.cursor() as cursor,
    ):
        cursor.execute(
            "SET time_zone = '+00:00', unique_checks = 0, foreign_key_checks = 0,"
            " sql_mode = 'NO_AUTO_VALUE_ON_ZERO'"
        )
        loader = _Loader(cursor, Path(folder) / "rows")
        prices = _fill_catalogue(loader, Random(1), books)
        _fill_orders(loader, Random(2), orders, prices)
        for table in ("books", "orders", "order_lines", "order_events", "notifications"):
            cursor.execute(f"ANALYZE TABLE {table}")


class _Loader:
    """Loads rows into tables from a file."""

    def __init__(self, cursor: Any, path: Path) -> None:
        self.cursor = cursor
        self._path = path

    def __call__(self, table: str, columns: str, rows: Iterable[Iterable[Any]]) -> None:
        with self._path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, delimiter="\t", lineterminator="\n").writerows(rows)
        self.cursor.execute(
            f"LOAD DATA LOCAL INFILE '{self._path}' INTO TABLE {table} CHARACTER SET utf8mb4"
            f" FIELDS TERMINATED BY '\\t' OPTIONALLY ENCLOSED BY '\"' ESCAPED BY '' ({columns})"
        )


def _fill_catalogue(load: _Loader, random: Random, number: int) -> list[int]:
    """The prices; the index is the id of the book minus one."""
    vocabulary = words()
    names = [f"{random.choice(FIRST)} {vocabulary[it % WORDS].title()}" for it in range(AUTHORS)]
    load("search_words", "word", ((word,) for word in vocabulary if len(word) > 3))
    load(
        "authors",
        "id, name, name_key, identity_key",
        ((it + 1, f"{name} {it}", *2 * (f"{name.lower()} {it}",)) for it, name in enumerate(names)),
    )
    load(
        "categories",
        "id, slug, name, position, version",
        ((it + 1, f"category-{it}", f"Category {it}", it, 1) for it in range(CATEGORIES)),
    )
    load.cursor.execute(f"UPDATE categories SET parent_id = 1 + id % {ROOMS} WHERE id > {ROOMS}")
    books = list(_books(random, vocabulary, number))
    columns = "id, isbn13, title, sort_title, description, publisher, year, language, format, pages"
    columns += ", price_cents, version, created_at, updated_at"
    load("books", columns, (book[:-1] for book in books))
    writers = [(it, random.randrange(AUTHORS)) for it in range(1, number + 1)]
    load(
        "book_authors",
        "book_id, position, author_id, role",
        ((book_id, 0, author + 1, "author") for book_id, author in writers),
    )
    places = ((it, random.randrange(ROOMS, CATEGORIES) + 1, 0) for it in range(1, number + 1))
    load("book_categories", "book_id, category_id, position", places)
    load.cursor.execute(
        "UPDATE book_categories AS c JOIN books AS b ON b.id = c.book_id SET "
        + ", ".join(f"c.{name} = b.{name}" for name in COPIED_COLUMNS)
    )
    load(
        "book_search",
        "book_id, words",
        (
            (book[0], " ".join(f"__{it}" for it in _findable(book, names[author].lower(), author)))
            for book, (_, author) in zip(books, writers, strict=True)
        ),
    )
    stocks = ((book[0], book[-1]) for book in books)
    load("book_stock", "book_id, stock", stocks)
    return [book[10] for book in books]


def _findable(book: tuple[Any, ...], name: str, author: int) -> Iterable[str]:
    return dict.fromkeys([book[1], *book[3].split(), *name.split(), str(author), *book[5].split()])


def _books(random: Random, vocabulary: list[str], number: int) -> Iterator[tuple[Any, ...]]:
    languages = random.choices([*LANGUAGES], [*LANGUAGES.values()], k=number)
    formats = random.choices([*FORMATS], [*FORMATS.values()], k=number)
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    for it in range(number):
        # Uniform over the logarithm: the n-th word is n times rarer than the first.
        title = " ".join(
            vocabulary[int(WORDS ** random.random()) - 1] for _ in range(random.choice([2, 3, 4]))
        )
        at = f"{begin + timedelta(seconds=it * 60):%F %T}"
        yield (
            it + 1,
            f"979{it:010}",
            title.title(),
            title,
            "A book of some length about what its title says, and more. " * 6,
            f"press {it % PUBLISHERS}",
            1950 + random.randrange(75),
            languages[it],
            formats[it],
            random.randrange(48, 900),
            random.randrange(399, 9999),
            1,
            at,
            at,
            random.choice([0, 0, 2, 9, 30, 60]),
        )


def _fill_orders(load: _Loader, random: Random, number: int, prices: list[int]) -> None:
    people = max(number // PEOPLE, 20)
    now = datetime.now(UTC)
    load(
        "users",
        "id, email, email_key, password_hash, name, role, created_at, updated_at",
        (
            (it, address, address, "-", _name(it), "customer", f"{now:%F %T}", f"{now:%F %T}")
            for it in range(1, people + 1)
            for address in [f"reader-{it}@example.com"]
        ),
    )
    wanted = random.choices([1, 2, 3, 5], [45, 30, 15, 10], k=number)
    book_numbers = range(len(prices))
    lines = [random.sample(book_numbers, many) for many in wanted]
    load(
        "orders",
        "id, number, cart_id, checkout_no, user_id, email, status, payment_status, currency,"
        " shipping_address, terms, total_cents, last_seq, placed_at, updated_at",
        _orders(random, lines, prices, people, now),
    )
    # A book has one ISBN and one price, so the lines are derived from the books.
    load(
        "order_lines",
        "order_id, book_id, isbn13, title, quantity, unit_price_cents",
        (
            (it + 1, book + 1, f"979{book:010}", f"No. {book}", _quantity(it, book), prices[book])
            for it, books in enumerate(lines)
            for book in books
        ),
    )
    for statement in _FOLLOWING:
        load.cursor.execute(statement)
    # The stock before all sales: the present stock plus the copies sold.
    load.cursor.execute(
        "INSERT INTO stock_movements (book_id, delta, reason, created_at)"
        " SELECT s.book_id, s.stock - COALESCE(SUM(m.delta), 0), 'received', '2024-01-01'"
        " FROM book_stock AS s LEFT JOIN stock_movements AS m ON m.book_id = s.book_id"
        " GROUP BY s.book_id, s.stock"
    )


def _orders(
    random: Random, lines: list[list[int]], prices: list[int], people: int, now: datetime
) -> Iterator[tuple[Any, ...]]:
    states = random.choices([*STATES], [*STATES.values()], k=len(lines))
    terms = json.dumps(RATES.to_json())
    for it, books in enumerate(lines):
        placed_at = f"{now - timedelta(days=DAYS) * (1 - it / len(lines)):%F %T}"
        reader = random.randrange(people) + 1
        postcode, city, country = TOWNS[it % len(TOWNS)]
        address = {
            "name": _name(reader),
            "line1": f"Quay {it % 97}",
            "postcode": postcode,
            "city": city,
            "country": country,
        }
        total = pricing.totals([(_quantity(it, book), prices[book]) for book in books], RATES)
        yield (
            it + 1,
            _number(it + 1),
            it + 1,
            1,
            reader,
            f"reader-{reader}@example.com",
            states[it],
            "paid" if states[it] == "delivered" else "unpaid",
            "EUR",
            json.dumps(address),
            terms,
            total.total_cents,
            len(STEPS[states[it]]),
            placed_at,
            placed_at,
        )


def _name(reader: int) -> str:
    return f"{FIRST[reader % len(FIRST)]} {LAST[reader % len(LAST)]}"


def _quantity(order: int, book: int) -> int:
    return 1 + (order + book) % 5 // 4


def _steps() -> str:
    """The events of each state, as rows of SQL."""
    return " UNION ALL ".join(
        f"SELECT '{state}' AS status, {seq} AS seq, '{kind}' AS kind, {minute} AS minute"
        for state in STATES
        for seq, (kind, minute) in enumerate(
            zip(STEPS[state], accumulate([0, 1, 40, 60, 2000]), strict=False), 1
        )
    )


#: Rows that orders add to other tables.
_FOLLOWING = (
    f"""
    INSERT INTO order_events (order_id, seq, kind, at, actor, worker, waited_ms, worked_ms)
    SELECT o.id, s.seq, s.kind, o.placed_at + INTERVAL s.minute MINUTE,
        IF(s.seq = 1, 'customer', 'worker'), IF(s.seq = 2, 'host:1:7', NULL),
        IF(s.seq = 2, 14, NULL), IF(s.seq = 2, 9, NULL)
    FROM orders AS o JOIN ({_steps()}) AS s ON s.status = o.status ORDER BY o.id, s.seq
    """,
    """
    INSERT INTO notifications (user_id, order_id, kind, status, in_doubt, recipient, attempts,
        smtp_answer, created_at, sent_at)
    SELECT o.user_id, o.id, CONCAT('order-', e.kind), 'sent', 0, o.email, 1, '250 2.0.0 Ok', e.at,
        e.at FROM orders AS o JOIN order_events AS e ON e.order_id = o.id
    WHERE e.kind <> 'packed' ORDER BY e.id
    """,
    """
    INSERT INTO stock_movements (book_id, delta, reason, order_id, created_at)
    SELECT l.book_id, -l.quantity, 'sold', o.id, o.placed_at
    FROM orders AS o JOIN order_lines AS l ON l.order_id = o.id WHERE o.status <> 'rejected'
    ORDER BY o.id
    """,
    """
    INSERT INTO stock_movements (book_id, delta, reason, order_id, created_at)
    SELECT m.book_id, -m.delta, 'cancelled', o.id, o.placed_at
    FROM orders AS o JOIN stock_movements AS m ON m.order_id = o.id WHERE o.status = 'cancelled'
    ORDER BY o.id
    """,
)
