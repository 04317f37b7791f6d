"""Why work was given up, in words for those who did not write the code."""

import re

from bookstore.tasks import Row

#: What an error begins with or contains, and what it means; the first that fits.
_MEANINGS = (
    (
        re.compile(r"took its worker down"),
        "Each worker that tried it ended at once. Look at the log of the workers around the times"
        " below; somebody should mend the fault before it is tried again.",
    ),
    (
        re.compile(r"^5[0-9]{2}\b"),
        "The mail server refused the letter for good. Check the address with the customer; trying"
        " again helps only when the address or the server was mended.",
    ),
    (
        re.compile(r"^4[0-9]{2}\b|Connection|Timeout|timed out", re.IGNORECASE),
        "Somebody outside did not answer. When they are well again, try it again.",
    ),
    (
        re.compile(r"IntegrityError|DataError|Duplicate|CHECK constraint"),
        "The database refuses what this work wants to write: a row breaks a rule. Run"
        " “bookstore doctor”, mend what it names, then try again.",
    ),
    (
        re.compile(r"^[A-Z]\w*(Error|Exception)\b"),
        "A fault in the program. The whole of it is in the log of the workers; nothing was"
        " changed. Try again after the fault is mended, or discard the work and say why.",
    ),
)
_NONE = "It failed, and nothing was changed. Try it again, or discard it and say why."


def explained(task: Row) -> str:
    """What the error of a piece of work means, and what to do."""
    for sign, meaning in _MEANINGS:
        if sign.search(task.error or ""):
            return meaning
    return _NONE
