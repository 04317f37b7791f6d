"""Why work failed, in words for those who did not write the code."""

import re

from bookstore.tasks.outbox import Row, Task

_Meanings = tuple[tuple[re.Pattern[str], str], ...]

#: What an error says, and what it means; the first that fits.
_MEANINGS: _Meanings = (
    (
        re.compile(r"took its worker down"),
        "Each worker that tried it ended at once. Look at the log of the workers around the times"
        " below; somebody should mend the fault before it is tried again.",
    ),
    (
        # How SQLAlchemy names what a driver says, on each of the databases.
        re.compile(r"^(IntegrityError|DataError)\b"),
        "The database refuses what this work wants to write: a row breaks a rule. Run"
        " “bookstore doctor”, mend what it names, then try again.",
    ),
    (
        re.compile(r"^(TimeoutError|Connection\w*Error|InterfaceError|OperationalError)\b"),
        "Somebody outside did not answer. When they are well again, try it again.",
    ),
)
#: As workers write down what they did not expect: its type, then its words.
_FAULT = re.compile(r"^[A-Z]\w+:")
_PROGRAM = (
    "A fault in the program. The whole of it is in the log of the workers; nothing was"
    " changed. Try again after the fault is mended, or discard the work and say why."
)
#: All else about a letter is what the mail server said, or why it said nothing (`smtp.py`).
_MAIL: _Meanings = (
    (
        re.compile(r"^4[0-9]{2}\b"),
        "The mail server has put the letter off. It is tried again by itself, after longer and"
        " longer pauses for three days; nothing has to be done.",
    ),
    (
        re.compile(r"^5[0-9]{2}\b"),
        "The mail server lets nobody in. Check the name and the password in BOOKSTORE_SMTP_URL; the"
        " letter is tried again by itself.",
    ),
    (
        re.compile(r"^Not written:"),
        "The folder for letters takes none: it is full, gone or shut. Mend that; the letter is"
        " tried again by itself.",
    ),
    (
        re.compile(r""),
        "The mail server did not answer. The letter is tried again by itself, for three days; if"
        " others fail like this too, see whether the server is well.",
    ),
)
_NONE = "It failed, and nothing was changed. Try it again, or discard it and say why."


def explained(task: Row) -> str:
    """What the error of a piece of work means, and what to do."""
    error = task.error or ""
    meanings = _MEANINGS
    if _FAULT.search(error):
        meanings += ((_FAULT, _PROGRAM),)
    elif task.task is Task.SEND_NOTIFICATIONS and error:
        meanings += _MAIL
    return next((meaning for sign, meaning in meanings if sign.search(error)), _NONE)
