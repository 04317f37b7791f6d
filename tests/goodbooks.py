"""Ten thousand real books for tests, if available.

The data set (goodbooks-10k, CC BY-SA 4.0) is not part of the project because of its license. It is
read from the folder in the variable GOODBOOKS, or from `shared/data` beside the project. It has no
prices and no stock, so these are generated with a fixed seed.
"""

import csv
import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

FILE = (
    Path(os.environ.get("GOODBOOKS", Path(__file__).parents[2] / "shared" / "data"))
    / "goodbooks.csv.gz"
)
COLUMNS = ("isbn", "title", "authors", "price", "currency", "stock", "year", "language", "category")


def rows(seed: int = 1) -> Iterator[dict[str, str]]:
    """The books as rows of an import file. Skips the test if the file is missing."""
    if not FILE.exists():
        pytest.skip(f"{FILE.name} is missing")
    random = Random(seed)
    with gzip.open(FILE, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            cents = random.randrange(399, 4999)
            yield {
                "isbn": row["isbn13"] or row["isbn"],
                "title": row["title"],
                "authors": row["authors"].replace(", ", "|"),
                "price": f"{cents // 100}.{cents % 100:02}",
                "currency": "EUR",
                "stock": str(random.randrange(0, 60)),
                "year": row["original_publication_year"],
                "language": row["language_code"],
                "category": row["genres"],
            }


def text(seed: int = 1) -> str:
    """All rows as a CSV file."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerows(rows(seed))
    return file.getvalue()
