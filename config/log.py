"""Logging: readable lines on a terminal, JSON otherwise."""

import logging
import re
import sys
import threading
from types import TracebackType
from typing import TextIO

import structlog

log = logging.getLogger(__name__)

#: These write a traceback for each reconnect; our own log line says the same.
NOISY = ("aiormq", "aio_pika", "pika")
#: Their messages at INFO are useful only to their developers.
CHATTY = ("alembic", "dramatiq")
#: The extra fields that a log line may have, for search and statistics.  All other fields of a
#: record are dropped, because libraries add arbitrary ones.
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
    """Write all logs of this process to stderr."""
    handler = _StderrHandler()
    handler.setFormatter(formatter(pretty=sys.stderr.isatty()))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda args: _log_uncaught(
        args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback
    )
    silence_libraries()


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is at the moment: dramatiq and tests replace it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Log an error that ends the process or a thread: one line, like all others."""
    if not issubclass(kind, (KeyboardInterrupt, SystemExit)):
        log.critical("uncaught error", exc_info=(kind, error, trace))


def formatter(*, pretty: bool) -> logging.Formatter:
    """The formatter for log records: readable if `pretty`, else JSON."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(FIELDS),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redact_values,
    ]
    # The renderer's own tracebacks would show the values of local variables.
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if pretty
        else structlog.processors.JSONRenderer()
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )


#: Values in MariaDB's error messages (SQLite's have none), and e-mail addresses anywhere.
_VALUES = re.compile(
    r"(?<=entry ').*?(?=' for key)|(?<=value: ').*?(?=' for column)"
    r"|(?<![^\s'\"<>])[^\s'\"<>@]+@[^\s'\"<>]+"
)


def _redact_values(
    logger: logging.Logger, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Remove personal data, such as names and addresses, from a traceback."""
    if "exception" in event:
        event["exception"] = _VALUES.sub("***", event["exception"])
    return event


def silence_libraries() -> None:
    """Suppress log messages of libraries that our own messages replace."""
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
