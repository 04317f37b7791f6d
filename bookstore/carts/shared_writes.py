"""Carts are filled: those who put books into theirs at the same moment share a transaction."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.carts import carts
from bookstore.carts.carts import CartItem, Put
from bookstore.database.engine import request_deadline, retry_batch, transaction
from bookstore.database.group_commit import GroupCommit
from bookstore.errors import BookstoreError

#: Above this the transaction itself gets long.
GROUP = 50


class SharedWrites:
    """The carts of one process, as they are filled."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._together = GroupCommit(self._put, limit=GROUP)

    async def put(self, wish: Put, *, waited_s: float = 0.0) -> list[CartItem]:
        """Put copies of a book into a cart; what is in it afterwards.

        `waited_s` is for how long the customer has waited for the database before.

        Raises:
            NotFound, OutOfStock, CartFull, Invalid: as `carts.put` says.
            TimeoutError: the database stands still.
        """
        # A transaction's own limit is not enough: others may have their turn before this one.
        async with request_deadline(self._engine, waited_s=waited_s):
            return await self._together(wish)

    async def _put(self, puts: list[Put]) -> Sequence[list[CartItem] | Exception]:
        async def work() -> list[list[CartItem] | BookstoreError]:
            async with transaction(self._engine) as conn:
                return await carts.put(conn, puts, now=datetime.now(UTC))

        return await retry_batch(work, len(puts))
