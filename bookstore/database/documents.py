"""JSON documents in columns.  A damaged document must not stop the list that its row is in.

A document is damaged if it is not JSON, or if a part that this release reads has another type.
Parts that this release does not know are ignored: a newer release may have stored them.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import JSON, Dialect, TypeDecorator

#: Whether a value has the type that its readers expect.
Check = Callable[[Any], bool]
#: The largest amount and the largest id that our columns can hold.
_LARGEST, _LARGEST_ID = 2**31 - 1, 2**63 - 1


class DamagedObject(dict[str, Any]):
    """Stands for a damaged object: empty, so that its readers find nothing in it."""

    def __init__(self, stored: str) -> None:
        super().__init__()
        self.stored = stored


class DamagedList(list[Any]):
    """Stands for a damaged list: empty, so that its readers find nothing in it."""

    def __init__(self, stored: str) -> None:
        super().__init__()
        self.stored = stored


def is_damaged(document: object) -> bool:
    """Whether this stands for a document that could not be read."""
    return isinstance(document, DamagedObject | DamagedList)


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_number(value: Any) -> bool:
    """Whether this is an integer that is not negative and fits into a column."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST


def is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_ID


def is_time(value: Any) -> bool:
    """Whether this is a number of seconds."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def is_object(value: Any) -> bool:
    return isinstance(value, dict)


def optional(check: Check) -> Check:
    """Whether a value is None or passes the check."""
    return lambda value: value is None or check(value)


def list_of(check: Check) -> Check:
    """Whether a value is a list, and all its items pass the check."""
    return lambda value: isinstance(value, list) and all(map(check, value))


def map_of(check: Check) -> Check:
    """Whether a value is an object, and all its values pass the check."""
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def object_of(*, required: Mapping[str, Check], others: Mapping[str, Check]) -> Check:
    """Whether a value is an object with all `required` parts, and `others` only if they pass."""

    def check(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and all(name in value and check(value[name]) for name, check in required.items())
            and all(check(value[name]) for name, check in others.items() if name in value)
        )

    return check


def tuple_of(*checks: Check) -> Check:
    """Whether a value is a list that begins with items that pass these checks."""
    return lambda value: (
        isinstance(value, list)
        and len(value) >= len(checks)
        and all(check(item) for check, item in zip(checks, value, strict=False))
    )


class Document(TypeDecorator[Any]):
    """A JSON column that holds a `dict` or a `list`, as `kind` says.

    A value that is not JSON or fails the `check` is read as a `DamagedObject` or `DamagedList`,
    and written back as it was.
    """

    impl = JSON
    cache_ok = True

    def __init__(self, kind: type, check: Check, *, nullable: bool = False) -> None:
        super().__init__()
        self.kind = kind
        self.check = check
        self.nullable = nullable

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        return self.impl_instance.coerce_compared_value(op, value)

    def bind_processor(self, dialect: Dialect) -> Any:
        dump = super().bind_processor(dialect)

        def process(value: Any) -> Any:
            return value.stored if is_damaged(value) else dump(value) if dump else value

        return process

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        return self.parse

    def parse(self, text: str | bytes | None) -> Any:
        """The document in this text of the column; None if the column is NULL."""
        if text is None:
            return None
        text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if self.nullable and text == "null":
            return None
        if isinstance(found, self.kind) and self.check(found):
            return found
        return DamagedObject(text) if issubclass(self.kind, dict) else DamagedList(text)


_OPTIONAL_TEXT = optional(is_text)

#: `orders.terms`: the rates of the order (`pricing.Rates`).
TERMS = Document(
    dict,
    object_of(
        required={
            "currency": is_text,
            "shipping_cents": is_number,
            "free_shipping_from_cents": is_number,
            "tax_basis_points": is_number,
        },
        others={},
    ),
)
#: `orders.shipping_address` and `retained_invoices.address`.
ADDRESS = Document(
    dict,
    object_of(
        required={"country": is_text},
        others=dict.fromkeys(
            ("name", "line1", "line2", "city", "postcode", "phone"), _OPTIONAL_TEXT
        ),
    ),
)
#: `jobs.options`: how a job does its work.
OPTIONS = Document(
    dict,
    object_of(
        required={},
        others={
            **dict.fromkeys(("dry_run", "may_change_prices", "undo"), is_flag),
            **dict.fromkeys(("format", "list", "sort"), is_text),
            "encoding": _OPTIONAL_TEXT,
            "mapping": optional(map_of(_OPTIONAL_TEXT)),
            "plan": is_id,
            "query": is_object,
        },
    ),
)
#: `jobs.findings`: what an import detected in its file.
FINDINGS = Document(
    dict,
    object_of(
        required={},
        others={
            **dict.fromkeys(("format", "encoding", "separator"), _OPTIONAL_TEXT),
            **dict.fromkeys(
                ("header", "rules", "ignored_columns", "missing_columns"),
                optional(list_of(_OPTIONAL_TEXT)),
            ),
            "columns": optional(map_of(_OPTIONAL_TEXT)),
        },
    ),
)
#: `job_lines.cells`: a row of the file.
CELLS = Document(list, list_of(is_text), nullable=True)
#: `audit_log.changes`: `{field: [before, after]}`; for personal data `{field: null}`.
CHANGES = Document(dict, map_of(optional(tuple_of(lambda _: True, lambda _: True))))
#: `api_tokens.scopes`.  Without any, a token is good for nothing.
SCOPES = Document(list, list_of(is_text))
#: `bulk_changes.rows`: `[[id, version, before, after, outcome], ...]`.
ROWS = Document(
    list,
    list_of(tuple_of(is_id, is_number, optional(is_number), optional(is_number), is_text)),
)
#: `sessions.data`.
SESSION = Document(
    dict,
    object_of(
        required={},
        others={
            "role": is_text,
            "confirmed_at": is_time,
            "pending_code": tuple_of(is_id, is_time),
            "cart_id": is_id,
            "orders": list_of(is_id),
            "notices": list_of(tuple_of(is_text, is_text)),
        },
    ),
)
