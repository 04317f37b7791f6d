"""Generated book lists of any length, with some invalid rows."""

import csv
import io
import random

from tests.factories import isbn13_of

HEADER = ["isbn", "title", "authors", "price", "stock", "year", "category", "description"]


def catalogue(rows: int, seed: int = 1) -> bytes:
    """A CSV list: one row in thirty is invalid, one book in forty is a duplicate.

    The seed determines everything except the ISBNs.
    """
    generator = random.Random(seed)
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(HEADER)
    for number in range(rows):
        isbn = isbn13_of(number if number % 40 else max(number - 399, 0))
        price = "1.234" if number % 30 == 7 else f"{generator.randrange(300, 9000) / 100:.2f}"
        writer.writerow(
            [
                isbn,
                f"Book {number}\nof {generator.randrange(1000)}",
                ";".join(
                    f"Author {generator.randrange(300)}" for _ in range(generator.randrange(1, 4))
                ),
                price,
                generator.randrange(40),
                generator.randrange(-300, 2026),
                "|".join(f"Category {generator.randrange(12)}" for _ in range(2)),
                "What it is about. " * generator.randrange(1, 60),
            ]
        )
    return file.getvalue().encode()
