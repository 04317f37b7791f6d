"""Shared by all commands: database access, error messages, and output as a table or JSON."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
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
from bookstore.regional import shop_time
from config.settings import InvalidSettings, read_settings

P = ParamSpec("P")
T = TypeVar("T")

#: The database timeout of a command, in seconds: longer than that of a customer's request.
TIMEOUT_S = 600.0
FAILED, WRONG_USE, PARTLY = 1, 2, 3

messages = Console(stderr=True, highlight=False)


class CommandGroup(click.Group):
    """A command group that prints errors as one line on stderr instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InvalidSettings as error:
            click.echo(error, err=True)
            ctx.exit(WRONG_USE)
        except (BookstoreError, NotReady) as error:
            click.echo(error, err=True)
            ctx.exit(FAILED)
        except (DBAPIError, OSError, smtp.TryLater, smtp.Refused, smtp.InDoubt) as error:
            click.echo(_error_line(error), err=True)
            ctx.exit(FAILED)


def _error_line(error: Exception) -> str:
    if not isinstance(error, DBAPIError):
        return f"{type(error).__name__}: {error}"
    if db.is_outdated(error):
        problem = f"The tables are missing or outdated ({error.orig})"
        return f"{problem}: run `bookstore db upgrade` first."
    return f"{type(error).__name__}: {error.orig}"


def asynchronous(command: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Turn a coroutine function into a command that runs in its own event loop."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return asyncio.run(command(*args, **kwargs))

    return run


@asynccontextmanager
async def database() -> AsyncIterator[AsyncEngine]:
    """An engine for one command, disposed of at the end."""
    settings = read_settings()
    shop_time.set_zone(settings.time_zone)
    engine = db.make_engine(settings.database_url, connections=6, timeout_s=TIMEOUT_S)
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


def print_facts(facts: Mapping[str, object], *, as_json: bool) -> None:
    """Print names and values as a JSON object or as a table."""
    if as_json:
        print_json(facts)
    else:
        print_table(("", ""), facts.items())


as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object, for programs."
)
