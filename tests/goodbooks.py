"""Ten thousand real books for tests, where they are at hand.

They lie outside of the project, because they are other people's data (goodbooks-10k, CC
BY-SA 4.0): in the folder that GOODBOOKS names, or beside the project's own.  Nobody gives
prices or stock away with them, so these are drawn by a fixed seed.
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
    """The books as rows of an import file.  Skips the test when they are not there."""
    if not FILE.exists():
        pytest.skip(f"{FILE.name} is not here")
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
