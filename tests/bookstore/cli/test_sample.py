"""The sample catalogue: facts about real books, with prices and stock of our own."""

import csv
import gzip
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from bookstore.catalogue import isbn

ROOT = Path(__file__).parents[3]

#: A public data set of books to compare with; it is outside the repository.
GOODBOOKS = ROOT.parent / "shared" / "data" / "goodbooks.csv.gz"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    path = ROOT / "bookstore" / "cli" / "sample" / "catalogue.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_isbn_is_valid_and_unique(rows: list[dict[str, str]]) -> None:
    numbers = [row["isbn"] for row in rows]

    assert len(numbers) >= 100
    assert [isbn.parse(number) for number in numbers] == numbers
    assert len(set(numbers)) == len(numbers)


def test_every_row_is_complete_and_plausible(rows: list[dict[str, str]]) -> None:
    for row in rows:
        assert re.fullmatch(r"\d{1,2}\.\d0", row["price"]), row
        assert Decimal(5) < Decimal(row["price"]) < Decimal(30), row
        assert row["currency"] == "EUR"
        assert 0 <= int(row["stock"]) < 100, row
        assert -800 <= int(row["year"]) <= 2020, row
        assert row["language"] in ("en", "es"), row
        assert 10 <= len(row["description"].split()) <= 25, row
        for name in (row["title"], *row["authors"].split(";"), *row["category"].split("|")):
            assert name
            assert name == name.strip()
            assert "#" not in name


def test_the_sample_covers_many_categories_and_stock_levels(rows: list[dict[str, str]]) -> None:
    books = Counter(category for row in rows for category in row["category"].split("|"))
    stocks = [int(row["stock"]) for row in rows]

    assert len(books) >= 14
    assert min(books.values()) >= 5
    assert 0 < stocks.count(0) <= 10
    assert sum(1 <= stock <= 3 for stock in stocks) >= 10


def test_every_isbn_belongs_to_its_title(rows: list[dict[str, str]]) -> None:
    if not GOODBOOKS.exists():
        pytest.skip("the data set to compare with is not available")
    with gzip.open(GOODBOOKS, "rt", encoding="utf-8", newline="") as file:
        titles = {book["isbn13"]: book["title"] for book in csv.DictReader(file)}

    wrong = [
        row["isbn"]
        for row in rows
        if not _plain(titles.get(row["isbn"], "")).startswith(_plain(row["title"]))
    ]

    assert wrong == []


def _plain(title: str) -> str:
    return " ".join(title.replace("’", "'").casefold().split())
