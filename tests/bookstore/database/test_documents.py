"""JSON documents in columns: unknown parts are ignored, damage is read as an empty document."""

import json

import pytest

from bookstore.database import documents
from bookstore.pricing import Rates

TERMS = Rates("EUR", 290, 4000, 700).to_json()
HOME = {"name": "Mira", "line1": "Quay 9", "city": "Hamburg", "country": "DE"}
#: A sound document of each kind.
SOUND = {
    "TERMS": TERMS,
    "ADDRESS": HOME,
    "OPTIONS": {"dry_run": True, "mapping": None, "encoding": None, "may_change_prices": False},
    "FINDINGS": {"format": "csv", "header": ["isbn", None], "columns": {"isbn": "ISBN"}},
    "CHANGES": {"title": ["a", "b"], "email": None},
    "SESSION": {"role": "customer", "confirmed_at": 1e10, "cart_id": 2**40},
}


@pytest.mark.parametrize("name", SOUND)
def test_parts_of_a_newer_release_are_ignored(name):
    column = getattr(documents, name)
    newer = {**SOUND[name], "from_tomorrow": None if name == "CHANGES" else [{"a": 1}]}

    assert column.parse(json.dumps(newer)) == newer


def test_rates_ignore_parts_of_a_newer_release():
    assert Rates.of_json({**TERMS, "from_tomorrow": 1}) == Rates("EUR", 290, 4000, 700)


@pytest.mark.parametrize(
    "change",
    [
        {"currency": None},
        {"shipping_cents": "290"},
        {"shipping_cents": -1},
        {"shipping_cents": True},
        {"tax_basis_points": -10_000},
        {"tax_basis_points": 7.5},
        {"free_shipping_from_cents": 10**40},
    ],
)
def test_terms_with_a_part_of_another_type_are_damaged(change):
    assert documents.is_damaged(documents.TERMS.parse(json.dumps(TERMS | change)))


@pytest.mark.parametrize("part", TERMS)
def test_terms_without_a_part_are_damaged(part):
    less = {name: value for name, value in TERMS.items() if name != part}

    assert documents.is_damaged(documents.TERMS.parse(json.dumps(less)))


@pytest.mark.parametrize("text", ["", "{", "7", "[]", "null", "[" * 100_000, '"\\ud800"', "\x00"])
def test_text_that_is_no_object_is_damaged_and_kept(text):
    found = documents.ADDRESS.parse(text)

    assert (documents.is_damaged(found), found, found.stored) == (True, {}, text)


@pytest.mark.parametrize(
    ("text", "damaged"), [("null", False), ('["a", 7]', True), ('["a"]', False)]
)
def test_cells_may_be_missing(text, damaged):
    assert documents.is_damaged(documents.CELLS.parse(text)) is damaged
