"""Lists of made-up books, as long as wanted, with dirt in them."""

import csv
import io
import random

from tests.factories import isbn13_of

HEADER = ["isbn", "title", "authors", "price", "stock", "year", "category", "description"]


def catalogue(rows: int, seed: int = 1) -> bytes:
    """A list as CSV, one row in thirty with something wrong, one book in forty there twice.

    The seed decides about all but the ISBNs.
    """
    made = random.Random(seed)
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(HEADER)
    for number in range(rows):
        isbn = isbn13_of(number if number % 40 else max(number - 399, 0))
        price = "1.234" if number % 30 == 7 else f"{made.randrange(300, 9000) / 100:.2f}"
        writer.writerow(
            [
                isbn,
                f"Book {number}\nof {made.randrange(1000)}",
                ";".join(f"Author {made.randrange(300)}" for _ in range(made.randrange(1, 4))),
                price,
                made.randrange(40),
                made.randrange(-300, 2026),
                "|".join(f"Shelf {made.randrange(12)}" for _ in range(2)),
                "What it is about. " * made.randrange(1, 60),
            ]
        )
    return file.getvalue().encode()
