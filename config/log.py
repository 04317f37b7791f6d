"""Logging: lines for people on a terminal, JSON for machines elsewhere."""

import logging
import re
import sys

import structlog

#: They write a traceback for each reconnect; our own line says the same.
NOISY = ("aiormq", "aio_pika", "pika")
#: What they say at INFO interests nobody but their authors.
CHATTY = ("alembic", "dramatiq")
#: What a line of ours has beside its text, for those who count and join.  Nothing else that a
#: record carries is written: libraries add what they like.
FIELDS = (
    "attempt",
    "count",
    "ids",
    "method",
    "route",
    "seconds",
    "smtp_code",
    "status",
    "task",
    "user_id",
)


def set_up() -> None:
    """Have everything that this process logs written to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(pretty=sys.stderr.isatty()))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    quieten()


def formatter(*, pretty: bool) -> logging.Formatter:
    """What makes a line of a record: for people, or JSON."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(FIELDS),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _without_values,
    ]
    # The renderer's own tracebacks show what was in the variables.
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if pretty
        else structlog.processors.JSONRenderer()
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )


#: MariaDB quotes the value that it complains about, SQLite never does; and an address is one
#: wherever it is quoted.
_VALUES = re.compile(
    r"(?<=entry ').*?(?=' for key)|(?<=value: ').*?(?=' for column)"
    r"|(?<![^\s'\"<>])[^\s'\"<>@]+@[^\s'\"<>]+"
)


def _without_values(
    logger: logging.Logger, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """A traceback says what went wrong and where, not whose name or address it was about."""
    if "exception" in event:
        event["exception"] = _VALUES.sub("***", event["exception"])
    return event


def quieten() -> None:
    """Keep what libraries say at length to what our own lines do not say better."""
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
