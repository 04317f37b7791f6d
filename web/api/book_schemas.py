"""What a book looks like in JSON."""

from typing import Any

from marshmallow import Schema, fields, validate

from bookstore.catalogue.listing import Sort
from bookstore.catalogue.models import Book
from bookstore.catalogue.stock import MOST
from bookstore.catalogue.validation import HIGHEST_PRICE_CENTS, MOST_PAGES, ROLES
from bookstore.database.pagination import LARGEST_ID
from web.api.field_types import Count, Moment, QueryCount, QueryFlag
from web.api.schemas import PageQuery

_FIELDS = [name for name in Book.__slots__ if name != "cover"]
#: The longest that `drafts` lets pass is shorter; this only bounds the work.
_LONGEST = validate.Length(max=20_000)


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
        required=True, allow_none=True, metadata={"description": "Harmless HTML."}
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
    currency = fields.String(required=True)
    stock = fields.Integer(required=True)
    available = fields.Boolean(required=True)
    cover_url = fields.String(required=True, metadata={"format": "uri-reference"})
    version = fields.Integer(required=True)
    created_at = Moment(required=True)
    updated_at = Moment(required=True)


class AuthorEntry(fields.Field[Any]):
    """A name, or a name and a role; the store itself looks at it closely."""


def _authors(**options: Any) -> fields.List[Any]:
    entry = AuthorEntry(
        metadata={
            "oneOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "object",
                    "required": ["name"],
                    "additionalProperties": False,
                    "properties": {
                        "name": {"type": "string", "minLength": 1},
                        "role": {"type": "string", "enum": list(ROLES), "default": "author"},
                    },
                },
            ]
        }
    )
    return fields.List(entry, metadata={"minItems": 1}, **options)


class _Details(Schema):
    """What a book may do without."""

    subtitle = fields.String(allow_none=True, validate=_LONGEST)
    description = fields.String(
        allow_none=True, validate=_LONGEST, metadata={"description": "HTML; it is sanitised."}
    )
    categories = fields.List(fields.String(), metadata={"description": "Slugs."})
    publisher = fields.String(allow_none=True, validate=_LONGEST)
    year = Count(-3000, 9999, allow_none=True)
    language = fields.String(
        allow_none=True,
        validate=_LONGEST,
        metadata={"description": "A BCP 47 tag, or the name of a language."},
    )
    format = fields.String(allow_none=True, validate=_LONGEST)
    pages = Count(1, MOST_PAGES, allow_none=True)


class BookIn(_Details):
    isbn13 = fields.String(
        required=True,
        metadata={
            "description": "ISBN-13 or ISBN-10, hyphens are understood.",
            "example": "978-0-14-143951-8",
        },
    )
    title = fields.String(
        required=True, validate=_LONGEST, metadata={"example": "Pride and Prejudice"}
    )
    authors = _authors(required=True)
    price_cents = Count(0, HIGHEST_PRICE_CENTS, required=True, metadata={"example": 899})
    stock = Count(0, MOST)


class BookChangesIn(_Details):
    isbn13 = fields.String()
    title = fields.String(validate=_LONGEST)
    authors = _authors()
    price_cents = Count(0, HIGHEST_PRICE_CENTS)


class BookQuery(PageQuery):
    q = fields.String(
        load_default=None,
        validate=validate.Length(max=500),
        metadata={"description": "Words of title, author or publisher, or an ISBN."},
    )
    category = fields.String(
        load_default=None, metadata={"description": "A slug; subcategories are included."}
    )
    author = QueryCount(1, LARGEST_ID, load_default=None)
    language = fields.String(load_default=None)
    min_price_cents = QueryCount(0, LARGEST_ID, load_default=None)
    max_price_cents = QueryCount(0, LARGEST_ID, load_default=None)
    in_stock = QueryFlag(load_default=None)
    sort = fields.Enum(Sort, by_value=True, load_default=None)


def shown(book: Book, currency: str) -> dict[str, Any]:
    """The book as `BookOut` has it."""
    return {name: getattr(book, name) for name in _FIELDS} | {
        "currency": currency,
        "cover_url": cover_url(book),
    }


def cover_url(book: Book) -> str:
    """Where the cover of a book is to be had."""
    return f"/api/v1/covers/{book.cover or f'{book.isbn13}.svg'}"
