"""JSON schemas of books."""

from typing import Any

from marshmallow import Schema, fields, validate

from bookstore.catalogue.listing import Sort
from bookstore.catalogue.models import Book
from bookstore.catalogue.stock import MAX_QUANTITY
from bookstore.catalogue.validation import (
    DESCRIPTION_LENGTH,
    MAX_AUTHORS,
    MAX_CATEGORIES,
    MAX_PAGES,
    MAX_PRICE_CENTS,
    ROLES,
    YEARS_AHEAD,
)
from bookstore.database.pagination import LARGEST_ID
from web.api.field_types import JsonInteger, QueryBoolean, QueryInteger, UtcDateTime
from web.api.schemas import PageQuery

_FIELDS = [name for name in Book.__slots__ if name != "cover"]
#: `bookstore.catalogue.validation` sets shorter limits; this one only bounds the work.
_MAX_LENGTH = validate.Length(max=20_000)
_BOOK_LINE = r"^(?![\s\S]*[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u202a-\u202e])"
_VISIBLE = r"[\s\S]*[^\s\xad\u115f\u1160\u200b-\u200f\u2060-\u206f\u2800\u3164\ufeff\uffa0]"
_DESCRIPTION = r"^(?![\s\S]*[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e])"


def _line(length: int, **options: Any) -> fields.String:
    """Text with a visible character; blank text is no value where None is allowed."""
    pattern = _VISIBLE if not options.get("allow_none") else rf"(?:\s*$|{_VISIBLE})"
    metadata = {"maxLength": length, "pattern": _BOOK_LINE + pattern}
    metadata |= options.pop("metadata", {})
    return fields.String(validate=_MAX_LENGTH, metadata=metadata, **options)


class ContributorOut(Schema):
    id = fields.Integer(required=True)
    name = fields.String(required=True)
    role = fields.String(required=True, validate=validate.OneOf(ROLES))


class CategoryRefOut(Schema):
    slug = fields.String(required=True)
    name = fields.String(required=True)


class BookOut(Schema):
    id = fields.Integer(required=True)
    isbn13 = fields.String(required=True)
    title = fields.String(required=True)
    subtitle = fields.String(required=True, allow_none=True)
    description = fields.String(
        required=True, allow_none=True, metadata={"description": "Sanitised HTML."}
    )
    authors = fields.List(fields.Nested(ContributorOut), required=True)
    categories = fields.List(fields.Nested(CategoryRefOut), required=True)
    publisher = fields.String(required=True, allow_none=True)
    year = fields.Integer(required=True, allow_none=True)
    language = fields.String(
        required=True, allow_none=True, metadata={"description": "A BCP 47 tag."}
    )
    format = fields.String(required=True, allow_none=True)
    pages = fields.Integer(required=True, allow_none=True)
    price_cents = fields.Integer(required=True)
    on_sale_from = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "The day from which it is sold: 2027-03-01, 2027-03 or 2027; null if it"
            " has none."
        },
    )
    currency = fields.String(required=True)
    stock = fields.Integer(required=True)
    available = fields.Boolean(required=True)
    cover_url = fields.String(required=True, metadata={"format": "uri-reference"})
    version = fields.Integer(required=True)
    created_at = UtcDateTime(required=True)
    updated_at = UtcDateTime(required=True)


_NAME = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": _BOOK_LINE + _VISIBLE}


class AuthorEntry(fields.Field[Any]):
    """A name, or a name and a role.  `bookstore.catalogue.validation` validates it."""


def _authors(**options: Any) -> fields.List[Any]:
    entry = AuthorEntry(
        metadata={
            "oneOf": [
                _NAME,
                {
                    "type": "object",
                    "required": ["name"],
                    "additionalProperties": False,
                    "properties": {
                        "name": _NAME,
                        "role": {"type": "string", "enum": list(ROLES), "default": "author"},
                    },
                },
            ]
        }
    )
    return fields.List(entry, metadata={"minItems": 1, "maxItems": MAX_AUTHORS}, **options)


class _OptionalFields(Schema):
    """The optional fields of a book."""

    subtitle = _line(500, allow_none=True)
    description = fields.String(
        allow_none=True,
        validate=_MAX_LENGTH,
        metadata={
            "description": "HTML; it is sanitised before it is stored.",
            "maxLength": DESCRIPTION_LENGTH,
            "pattern": _DESCRIPTION,
        },
    )
    categories = fields.List(
        fields.String(),
        metadata={
            "description": "The slugs of categories that exist.",
            "maxItems": MAX_CATEGORIES,
        },
    )
    publisher = _line(200, allow_none=True)
    year = JsonInteger(
        -3000,
        9999,
        allow_none=True,
        metadata={"description": f"At most {YEARS_AHEAD} years from now.  Negative years are BC."},
    )
    language = fields.String(
        allow_none=True,
        validate=_MAX_LENGTH,
        metadata={"description": "A BCP 47 tag, or the name of a language."},
    )
    format = _line(20, allow_none=True)
    pages = JsonInteger(1, MAX_PAGES, allow_none=True)
    on_sale_from = fields.String(
        allow_none=True,
        validate=_MAX_LENGTH,
        metadata={
            "description": "The book is not sold before this day: 2027-03-01, 2027-03 or 2027.",
            "pattern": r"^\s*([0-9]{4}(-[0-9]{2}){0,2}\s*)?$",
        },
    )


_ISBN = {
    "description": "ISBN-13 or ISBN-10 with a correct check digit, with or without hyphens.",
    "minLength": 10,
    "maxLength": 60,
}


class BookIn(_OptionalFields):
    isbn13 = fields.String(
        required=True,
        metadata={
            **_ISBN,
            "example": "978-0-14-143951-8",
        },
    )
    title = _line(500, required=True, metadata={"example": "Pride and Prejudice"})
    authors = _authors(required=True)
    price_cents = JsonInteger(0, MAX_PRICE_CENTS, required=True, metadata={"example": 899})
    stock = JsonInteger(0, MAX_QUANTITY)


class BookChangesIn(_OptionalFields):
    isbn13 = fields.String(metadata=_ISBN)
    title = _line(500)
    authors = _authors()
    price_cents = JsonInteger(0, MAX_PRICE_CENTS)


class BookQueryIn(PageQuery):
    q = fields.String(
        load_default=None,
        validate=validate.Length(max=500),
        metadata={"description": "Words of the title, author or publisher, or an ISBN."},
    )
    category = fields.String(
        load_default=None,
        metadata={"description": "The slug of a category; subcategories are included."},
    )
    author = QueryInteger(1, LARGEST_ID, load_default=None)
    language = fields.String(load_default=None)
    min_price_cents = QueryInteger(0, LARGEST_ID, load_default=None)
    max_price_cents = QueryInteger(0, LARGEST_ID, load_default=None)
    in_stock = QueryBoolean(load_default=None)
    sort = fields.Enum(Sort, by_value=True, load_default=None)


def book_content(book: Book, currency: str) -> dict[str, Any]:
    """The content of a `BookOut`."""
    return {name: getattr(book, name) for name in _FIELDS} | {
        "currency": currency,
        "cover_url": cover_url(book),
    }


def cover_url(book: Book) -> str:
    """The URL of the cover of a book."""
    return f"/api/v1/covers/{book.cover or f'{book.isbn13}.svg'}"
