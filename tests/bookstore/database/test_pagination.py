import base64

import pytest

from bookstore.database import pagination
from bookstore.errors import Invalid


def test_a_cursor_gives_back_what_it_was_made_of():
    assert pagination.decode(pagination.encode("Émile", 3), [str, int]) == ["Émile", 3]


def raw(text):
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "?",
        "é",
        raw("{}"),
        raw("[1"),
        raw("[1]"),
        raw('["a", true]'),
        raw('["a", 9223372036854775808]'),
        raw('["a", -9223372036854775809]'),
        raw(r'["\ud800", 1]'),
        raw('["a", 1, 2]'),
        raw("[" * 100_000),
    ],
)
def test_what_is_no_cursor_of_the_list_is_refused(cursor):
    with pytest.raises(Invalid):
        pagination.decode(cursor, [str, int])
