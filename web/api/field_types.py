"""marshmallow fields for values in JSON and in query strings."""

import re
from datetime import UTC, datetime
from typing import Any, TypeVar

from marshmallow import fields, validate

from bookstore.users.passwords import MAX_LENGTH, MIN_LENGTH

#: Far above any price.  Multiplied by the largest quantity, it still fits an integer column.
LARGEST_CENTS = 99_999_999

F = TypeVar("F", bound=fields.Field[Any])

#: Patterns for the description, in the syntax that Python and ECMA-262 share: they forbid control
#: characters, and `NOT_BLANK` also a text of white space.  `TEXT` allows line breaks and tabs.
LINE = r"^(?![\s\S]*[\x00-\x1f\x7f-\x9f\u2028\u2029])"
TEXT = r"^(?![\s\S]*[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029])"
NOT_BLANK = r"[\s\S]*\S"
#: For fields whose white space becomes single spaces.
SPACED = r"^(?![\s\S]*[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f])"

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")


def described(description: str, field: F) -> F:
    """The field with this description in the OpenAPI document."""
    field.metadata = {**field.metadata, "description": description}
    return field


class Password(fields.String):
    """A required password.  `bookstore.users.passwords` validates a new one."""

    def __init__(self) -> None:
        length = validate.Length(max=1000)
        super().__init__(required=True, validate=length, metadata={"format": "password"})


class NewPassword(Password):
    """A password to set.  `bookstore.users.passwords` validates it."""

    def __init__(self) -> None:
        super().__init__()
        described(
            f"{MIN_LENGTH} to {MAX_LENGTH} characters.  Common passwords, one character repeated"
            " and the caller's e-mail address are refused.",
            self,
        )
        self.metadata = {**self.metadata, "minLength": MIN_LENGTH, "maxLength": MAX_LENGTH}


class SingleLine(fields.String):
    """Text on one line: trimmed, not blank, without control characters."""

    default_error_messages: dict[str, Any] = {  # noqa: RUF012 - as marshmallow has it
        "blank": "This must not be blank.",
        "control": "This contains control characters or line breaks.",
    }
    multiline = False

    def __init__(self, max_length: int, **options: Any) -> None:
        required = not options.get("allow_none")
        pattern = (TEXT if self.multiline else LINE) + (NOT_BLANK if required else "")
        metadata = {"minLength": 1, "pattern": pattern} if required else {"pattern": pattern}
        options["metadata"] = {**metadata, **options.get("metadata", {})}
        super().__init__(validate=validate.Length(max=max_length), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if _CONTROL.search(text) or (not self.multiline and re.search(r"[\t\r\n]", text)):
            raise self.make_error("control")
        text = text.strip()
        if not text and not self.allow_none:
            raise self.make_error("blank")
        return text


class MultiLine(SingleLine):
    """Text that may contain line breaks and tabs."""

    multiline = True


class JsonInteger(fields.Integer):
    """A JSON integer.  Strings, fractions and booleans are invalid."""

    def __init__(self, minimum: int, maximum: int, **options: Any) -> None:
        super().__init__(strict=True, validate=validate.Range(minimum, maximum), **options)

    def _validated(self, value: Any) -> int:
        # marshmallow itself accepts 3.0 and "3" as 3.
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class QueryInteger(fields.Integer):
    """An integer in a query string, in decimal digits."""

    def __init__(self, minimum: int, maximum: int, **options: Any) -> None:
        super().__init__(validate=validate.Range(minimum, maximum), **options)

    def _validated(self, value: Any) -> int:
        if not isinstance(value, str) or not re.fullmatch(r"-?[0-9]{1,19}", value):
            raise self.make_error("invalid", input=value)
        return int(value)


class JsonBoolean(fields.Boolean):
    """A JSON boolean.  1 and "yes" are invalid."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class QueryBoolean(fields.Boolean):
    """`true` or `false` in a query string.  Other spellings are invalid."""

    truthy = {"true"}  # noqa: RUF012 - marshmallow declares it so
    falsy = {"false"}  # noqa: RUF012


class UtcDateTime(fields.DateTime):
    """A timestamp in UTC (RFC 3339) with `Z`."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        if value is None:
            return None
        assert isinstance(value, datetime)
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
