"""Enumerations whose values are stored, and may have been stored by a newer release."""

from enum import StrEnum
from typing import Self


class StoredEnum(StrEnum):
    """Values that come from the database or from a message.

    A release that is rolled out beside an older one, or rolled back, leaves values that the older
    one does not know.  Those are read as an unknown member: equal to nothing but its own text,
    never in the list of members, and shown as unknown.  Input is still checked by calling the
    class, which raises `ValueError` for a value that is not a member.
    """

    @classmethod
    def stored(cls, value: str) -> Self:
        """The member with this value, or an unknown one that keeps the text."""
        try:
            return cls(value)
        except ValueError:
            unknown = str.__new__(cls, value)
            unknown._name_ = "UNKNOWN"
            unknown._value_ = value
            return unknown

    @property
    def is_known(self) -> bool:
        """Whether this release knows the value."""
        return self._value_ in type(self)._value2member_map_
