"""Service calls of handlers that need a transaction for one call only."""

from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.engine import reading, run_transaction
from web.server.keys import ENGINE

P = ParamSpec("P")
T = TypeVar("T")


async def read(
    request: web.Request,
    service: Callable[Concatenate[AsyncConnection, P], Awaitable[T]],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """The result of a service function that only reads."""
    async with reading(request.config_dict[ENGINE]) as conn:
        return await service(conn, *args, **kwargs)


async def write(
    request: web.Request,
    service: Callable[Concatenate[AsyncConnection, P], Awaitable[T]],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """The result of a service function in a transaction, which is retried after a conflict."""
    return await run_transaction(request.config_dict[ENGINE], service, *args, **kwargs)
