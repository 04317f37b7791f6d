"""What the commands have in common: a database, and words for people and for programs."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import click
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.database import engine as db
from bookstore.errors import BookstoreError
from bookstore.notifications import smtp
from bookstore.operations.startup_checks import NotReady
from config.settings import WrongSettings, read_settings

P = ParamSpec("P")
T = TypeVar("T")

#: The command line waits longer than a customer would.
TIMEOUT_S = 600.0
FAILED, WRONG_USE, PARTLY = 1, 2, 3

messages = Console(stderr=True, highlight=False)


class Store(click.Group):
    """Commands whose refusals and failures are one line on stderr."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except WrongSettings as error:
            click.echo(error, err=True)
            ctx.exit(WRONG_USE)
        except (BookstoreError, NotReady) as error:
            click.echo(error, err=True)
            ctx.exit(FAILED)
        except (DBAPIError, OSError, smtp.TryLater, smtp.Refused, smtp.InDoubt) as error:
            click.echo(_told(error), err=True)
            ctx.exit(FAILED)


def _told(error: Exception) -> str:
    if not isinstance(error, DBAPIError):
        return f"{type(error).__name__}: {error}"
    if db.is_outdated(error):
        return (
            f"The tables are not there or too old ({error.orig}): run `bookstore db upgrade` first."
        )
    return f"{type(error).__name__}: {error.orig}"


def asynchronous(command: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """A command that runs on an event loop of its own."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return asyncio.run(command(*args, **kwargs))

    return run


@asynccontextmanager
async def database() -> AsyncIterator[AsyncEngine]:
    """An engine for one command."""
    engine = db.make_engine(read_settings().database_url, pool_size=4, timeout_s=TIMEOUT_S)
    try:
        yield engine
    finally:
        await engine.dispose()


def print_json(value: object) -> None:
    click.echo(json.dumps(value, default=str))


def print_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    table = Table(*titles, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    Console(highlight=False).print(table)


as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
