"""Logging: lines for people on a terminal, JSON for machines elsewhere."""

import logging
import sys

import structlog

#: They write a traceback for each reconnect; our own line says the same.
NOISY = ("aiormq", "aio_pika", "pika")
#: What they say at INFO interests nobody but their authors.
CHATTY = ("alembic", "dramatiq")


def set_up() -> None:
    """Have everything that this process logs written to stderr."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    pretty = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared[:-1] if pretty else shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    quieten()


def quieten() -> None:
    """Keep what libraries say at length to what our own lines do not say better."""
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
