"""A field of a book is named in many places; these tests name a place that forgot one."""

from tests import book_fields


def test_no_place_forgets_a_field():
    assert book_fields.forgotten() == []


def test_a_forgotten_place_is_named(monkeypatch):
    monkeypatch.delitem(book_fields.book_form.LABELS, "pages")
    monkeypatch.setattr(book_fields.exporter, "BOOK_COLUMNS", ("isbn",))

    found = book_fields.forgotten()

    assert "admin/book_form.py: pages" in found
    assert "bookstore/exports/exporter.py: BOOK_COLUMNS: title" in found
