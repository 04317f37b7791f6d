"""How much of everything: a little in `make test`, all of it in `make faults`."""

import os
from typing import TypeVar

T = TypeVar("T")

#: Set by `python -m tests.faults`.
VARIABLE = "FAULTS"
FULL = os.environ.get(VARIABLE) == "full"


def figure(short: T, full: T) -> T:
    """What the tier at hand takes."""
    return full if FULL else short
