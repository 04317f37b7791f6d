"""Explains the errors of tasks to staff, and what to do about each."""

import re

from bookstore.tasks.outbox import Task, TaskRow

_Meanings = tuple[tuple[re.Pattern[str], str], ...]

#: A pattern of an error and its explanation; the first match is used.
_MEANINGS: _Meanings = (
    (
        re.compile(r"worker process died|took its worker down"),
        "Each worker that started this task crashed. Check the worker log at the times below. Fix"
        " the cause before you retry the task.",
    ),
    (
        # SQLAlchemy uses these names for the errors of every database driver.
        re.compile(r"^(IntegrityError|DataError)\b"),
        "The database rejected the change because a row violates a constraint. Run"
        " “bookstore doctor”, fix what it reports, then retry the task.",
    ),
    (
        re.compile(r"^(TimeoutError|Connection\w*Error|InterfaceError|OperationalError)\b"),
        "An external service did not respond. Retry the task when the service is available again.",
    ),
)
#: How workers record an unexpected exception: its type, then its message.
_EXCEPTION = re.compile(r"^[A-Z]\w+:")
_PROGRAM_ERROR = (
    "A program error. The worker log has the details. Nothing was changed. Retry the task after the"
    " error is fixed, or discard it and give a reason."
)
#: Other errors of e-mails: the reply of the mail server, or why there was none (`smtp.py`).
_EMAIL_MEANINGS: _Meanings = (
    (
        re.compile(r"^4[0-9]{2}\b"),
        "The mail server deferred the e-mail. It is retried automatically for three days, after"
        " increasing delays. No action is needed.",
    ),
    (
        re.compile(r"^5[0-9]{2}\b"),
        "The mail server rejected the login. Check the user name and password in"
        " BOOKSTORE_SMTP_URL. The e-mail is retried automatically.",
    ),
    (
        re.compile(r"^Not written:"),
        "The e-mail could not be written to its folder: the disk is full, the folder is missing or"
        " not writable. Fix that; the e-mail is retried automatically.",
    ),
    (
        re.compile(r""),
        "The mail server did not respond. The e-mail is retried automatically for three days. If"
        " other e-mails fail in the same way, check the mail server.",
    ),
)
_DEFAULT = "The task failed and nothing was changed. Retry it, or discard it and give a reason."


def explain(task: TaskRow) -> str:
    """What the error of a task means, and what to do."""
    error = task.error or ""
    meanings = _MEANINGS
    if _EXCEPTION.search(error):
        meanings += ((_EXCEPTION, _PROGRAM_ERROR),)
    elif task.task is Task.SEND_NOTIFICATIONS and error:
        meanings += _EMAIL_MEANINGS
    return next((meaning for pattern, meaning in meanings if pattern.search(error)), _DEFAULT)
