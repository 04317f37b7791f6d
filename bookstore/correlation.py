"""Which request led to what happens now: its id is in the log, and on the tasks that follow.

It is a fact about the moment, as the clock is, and no service decides anything by it.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from structlog.contextvars import bound_contextvars, get_contextvars, unbind_contextvars


def current() -> str | None:
    """The id of the request that all of this is about; None when there is none, or several."""
    found: str | None = get_contextvars().get("request_id")
    return found


@contextmanager
def caused_by(request_ids: Iterable[str | None]) -> Iterator[None]:
    """Have what is logged within say which requests it is about."""
    match list(dict.fromkeys(filter(None, request_ids))):
        case []:
            yield
        case [request_id]:
            with bound_contextvars(request_id=request_id):
                yield
        case several:
            with bound_contextvars(request_ids=several):
                yield


def forget() -> None:
    """From here on, the running task works for more than the request that started it."""
    unbind_contextvars("request_id")
