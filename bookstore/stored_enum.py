"""Enumerations whose values are stored, and may have been stored by a newer release."""

from enum import StrEnum
from typing import Self


class StoredEnum(StrEnum):
    """Values that come from the database or from a message.

    During a rolling deployment or after a rollback, an older release reads values that only the
    newer release defines.  It reads them as an unknown member: equal only to its own text, not in
    the list of members, and shown as unknown.  Validate input by calling the class, which raises
    `ValueError` for a value that is not a member.
    """

    @classmethod
    def stored(cls, value: str) -> Self:
        """The member with this value, or an unknown member that keeps the text."""
        try:
            return cls(value)
        except ValueError:
            unknown = str.__new__(cls, value)
            unknown._name_ = "UNKNOWN"
            unknown._value_ = value
            return unknown

    @property
    def is_known(self) -> bool:
        """Whether this release defines the value."""
        return self._value_ in type(self)._value2member_map_
