"""The places in which the fields of a book are named, and which of them lack a field."""

import inspect
import re
from collections.abc import Collection
from dataclasses import fields
from pathlib import Path

from admin import book_form
from bookstore.catalogue import models, validation
from bookstore.database.tables import books
from bookstore.exports import exporter
from bookstore.imports import columns
from bookstore.privacy.data_map import DATA_MAP
from web.api import book_schemas

#: Columns of the table that nobody edits.
TECHNICAL = {
    "id",
    "sort_title",
    "version",
    "low_stock",
    "withdrawn_at",
    "created_at",
    "updated_at",
    "cover",
}
#: Fields that are stored in other tables.
OTHER_TABLES = {"authors", "categories", "stock"}


def places() -> dict[str, Collection[str]]:
    """The fields that each place names."""
    cells = inspect.getsource(exporter._book_row)
    template = Path(book_form.__file__).parent / "templates" / "book.html"
    return {
        "bookstore/database/tables/catalogue.py": books.c.keys(),
        "bookstore/catalogue/models.py: COLUMNS": models.COLUMNS,
        "bookstore/catalogue/models.py: Book": models.Book.__slots__,
        "bookstore/catalogue/validation.py: BookInput": [
            it.name for it in fields(validation.BookInput)
        ],
        "bookstore/catalogue/validation.py: _RULES": validation._RULES.keys(),
        "bookstore/imports/columns.py": _fields(columns.COLUMNS),
        "bookstore/exports/exporter.py: BOOK_COLUMNS": _fields(exporter.BOOK_COLUMNS),
        "bookstore/exports/exporter.py: _book_row": re.findall(r"book\.(\w+)", cells),
        "web/api/book_schemas.py: BookOut": book_schemas.BookOut().fields,
        "web/api/book_schemas.py: BookIn": book_schemas.BookIn().fields,
        "web/api/book_schemas.py: BookChangesIn": book_schemas.BookChangesIn().fields,
        "admin/book_form.py": book_form.LABELS,
        "admin/templates/book.html": re.findall(r'\w+\("(\w+)"', template.read_text()),
        "bookstore/privacy/data_map.py": DATA_MAP["books"].kind_by_column(),
    }


def forgotten() -> list[str]:
    """Each field that is named in one place and missing in another, with that place."""
    found = places()
    inputs = found["bookstore/catalogue/validation.py: BookInput"]
    named = {*books.c.keys(), *models.COLUMNS, *inputs} - TECHNICAL - OTHER_TABLES
    return sorted(f"{place}: {name}" for place, names in found.items() for name in named - {*names})


def _fields(names: Collection[str]) -> list[str]:
    return [columns._FIELDS.get(name, name) for name in names]
