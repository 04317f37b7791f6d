"""From when a book may be sold."""

from datetime import datetime

import pytest

from bookstore.catalogue import release


@pytest.mark.parametrize(
    ("on_sale_from", "now", "released"),
    [
        (None, (2026, 12, 1, 0, 0), True),
        ("2027-03-10", (2027, 3, 9, 23, 59), False),
        ("2027-03-10", (2027, 3, 10, 0, 0), True),
        ("2027-03", (2027, 2, 28, 23, 59), False),
        ("2027-03", (2027, 3, 1, 0, 0), True),
        ("2027", (2026, 12, 31, 23, 59), False),
        ("2027", (2027, 1, 1, 0, 0), True),
    ],
)
def test_a_book_is_released_at_the_start_of_its_day(on_sale_from, now, released):
    # A naive time is in the time zone of the store.
    moment = datetime(*now).astimezone()

    assert release.is_released(on_sale_from, moment) is released
