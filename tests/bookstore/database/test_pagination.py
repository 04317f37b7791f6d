import base64

import pytest

from bookstore.database import pagination
from bookstore.errors import Invalid


def test_a_cursor_decodes_to_its_values():
    assert pagination.decode(pagination.encode("Émile", 3), [str, int]) == ["Émile", 3]


def encoded(text):
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "?",
        "é",
        encoded("{}"),
        encoded("[1"),
        encoded("[1]"),
        encoded('["a", true]'),
        encoded('["a", 9223372036854775808]'),
        encoded('["a", -9223372036854775809]'),
        encoded(r'["\ud800", 1]'),
        encoded('["a", 1, 2]'),
        encoded("[" * 100_000),
    ],
)
def test_an_invalid_cursor_is_refused(cursor):
    with pytest.raises(Invalid):
        pagination.decode(cursor, [str, int])
