"""Schemas shared by all operations: pages of lists, and operations without a query."""

from typing import Any

from marshmallow import Schema, fields, validate

from web.api.field_types import QueryInteger, described

#: Cursors are base64url.  The longest contain a name of 255 characters that JSON escapes.
CURSOR_LENGTH = 4200


class NoQuery(Schema):
    """No parameters."""


class PageQuery(Schema):
    """The page of a list."""

    limit = described(
        "The maximum number of items on the page.", QueryInteger(1, 100, load_default=20)
    )
    cursor = described(
        "`next` of the previous page of the same list, with the same parameters.",
        fields.String(
            load_default=None,
            validate=[validate.Length(max=CURSOR_LENGTH), validate.Regexp(r"^[A-Za-z0-9_-]*$")],
            metadata={"minLength": 1},
        ),
    )


def page_of(item: type[Schema]) -> type[Schema]:
    """The schema of a page of a list."""
    following = described(
        "The cursor of the next page; null on the last page.", Text(allow_none=True)
    )
    return Schema.from_dict(
        {"items": fields.List(fields.Nested(item), required=True), "next": following},
        name=item.__name__.removesuffix("Out") + "Page",
    )


def Text(**options: Any) -> fields.String:
    """A required string field of a response."""
    return fields.String(required=True, **options)
