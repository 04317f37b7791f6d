"""The size of each test: small in `make test`, full in `make faults`."""

import os
from typing import TypeVar

T = TypeVar("T")

#: Set by `python -m tests.faults`.
VARIABLE = "FAULTS"
FULL = os.environ.get(VARIABLE) == "full"


def figure(short: T, full: T) -> T:
    """The value for the current tier."""
    return full if FULL else short
