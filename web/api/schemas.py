"""Schemas that the whole API shares."""

from typing import Any

from marshmallow import Schema, fields, validate

from web.api.field_types import QueryCount

#: Cursors are ours (base64url); the longest hold a name of 255 letters that JSON escapes.
CURSOR_LENGTH = 4200


class NoQuery(Schema):
    """No parameters."""


class PageQuery(Schema):
    """Which page of a list."""

    limit = QueryCount(1, 100, load_default=20, metadata={"description": "How many items."})
    cursor = fields.String(
        load_default=None,
        validate=[validate.Length(max=CURSOR_LENGTH), validate.Regexp(r"^[A-Za-z0-9_-]*$")],
        metadata={"description": "`next` of the page before."},
    )


def page_of(item: type[Schema]) -> type[Schema]:
    """The schema of a list's page."""
    return Schema.from_dict(
        {
            "items": fields.List(fields.Nested(item), required=True),
            "next": fields.String(
                required=True,
                allow_none=True,
                metadata={"description": "The cursor of the next page; null on the last."},
            ),
        },
        name=item.__name__.removesuffix("Out") + "Page",
    )


def Text(**options: Any) -> fields.String:
    """Text in an answer."""
    return fields.String(required=True, **options)
