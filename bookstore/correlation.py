"""Correlation ids: the id of the request that caused the current work.

The id is written to the log and stored with the tasks that the work starts.  It is for tracing
only: no service makes a decision by it.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from structlog.contextvars import bound_contextvars, get_contextvars, unbind_contextvars


def current() -> str | None:
    """The id of the request that caused the current work; None if there is none or several."""
    request_id: str | None = get_contextvars().get("request_id")
    return request_id


@contextmanager
def bind_request_ids(request_ids: Iterable[str | None]) -> Iterator[None]:
    """Add these request ids to all log lines within the `with` block.

    One id is bound to `request_id`, several are bound to `request_ids`.  None and duplicates are
    ignored.
    """
    match list(dict.fromkeys(filter(None, request_ids))):
        case []:
            yield
        case [request_id]:
            with bound_contextvars(request_id=request_id):
                yield
        case several:
            with bound_contextvars(request_ids=several):
                yield


def unbind_request_id() -> None:
    """Remove the request id from the running asyncio task, because it now works for several."""
    unbind_contextvars("request_id")
