"""Fields: what a value in JSON or in a query may look like."""

import re
from datetime import UTC, datetime
from typing import Any

from marshmallow import fields, validate

#: Far above any price, far below where cents times copies leave an integer column.
LARGEST_CENTS = 99_999_999

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")


class Line(fields.String):
    """Text on one line: trimmed, not blank, no control characters."""

    default_error_messages: dict[str, Any] = {  # noqa: RUF012 - as marshmallow has it
        "blank": "This must not be blank.",
        "control": "This contains control characters or line breaks.",
    }
    lines = False

    def __init__(self, longest: int, **options: Any) -> None:
        if not options.get("allow_none"):
            options["metadata"] = {"minLength": 1, **options.get("metadata", {})}
        super().__init__(validate=validate.Length(max=longest), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if _CONTROL.search(text) or (not self.lines and re.search(r"[\t\r\n]", text)):
            raise self.make_error("control")
        text = text.strip()
        if not text and not self.allow_none:
            raise self.make_error("blank")
        return text


class Lines(Line):
    """Text that may have several lines."""

    lines = True


class Count(fields.Integer):
    """A JSON integer: no text, no fraction, no boolean."""

    def __init__(self, least: int, most: int, **options: Any) -> None:
        super().__init__(strict=True, validate=validate.Range(least, most), **options)

    def _validated(self, value: Any) -> int:
        # 3.0 would pass as 3, and "3" as well.
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class QueryCount(fields.Integer):
    """An integer in a query, in plain digits."""

    def __init__(self, least: int, most: int, **options: Any) -> None:
        super().__init__(validate=validate.Range(least, most), **options)

    def _validated(self, value: Any) -> int:
        if not isinstance(value, str) or not re.fullmatch(r"-?[0-9]{1,19}", value):
            raise self.make_error("invalid", input=value)
        return int(value)


class Flag(fields.Boolean):
    """A JSON boolean: 1 and "yes" are none."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class QueryFlag(fields.Boolean):
    """`true` or `false` in a query, and nothing else."""

    truthy = {"true"}  # noqa: RUF012 - marshmallow declares it so
    falsy = {"false"}  # noqa: RUF012


class Moment(fields.DateTime):
    """A moment in UTC (RFC 3339) with `Z`."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        if value is None:
            return None
        assert isinstance(value, datetime)
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
