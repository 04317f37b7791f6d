"""Group commit for cart changes: concurrent changes share a transaction."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.carts import carts
from bookstore.carts.carts import CartItem, CartWrite
from bookstore.database.engine import request_deadline, retry_batch, transaction
from bookstore.database.group_commit import GroupCommit
from bookstore.errors import BookstoreError

#: Changes in a transaction.  With more, the transaction itself takes too long.
MAX_BATCH = 50


class SharedWrites:
    """Writes the cart changes of one process in batches."""

    def __init__(self, engine: AsyncEngine, *, limit: int = carts.MAX_QUANTITY) -> None:
        self._engine = engine
        self._limit = limit
        self._group_commit = GroupCommit(self._put, limit=MAX_BATCH)

    async def put(self, write: CartWrite, *, waited_s: float = 0.0) -> list[CartItem]:
        """Change the quantity of a book in a cart and return the items of the cart.

        `waited_s` is the time that the request has already waited for the database.

        Raises:
            NotFound, OutOfStock, TooManyCopies, CartFull, Invalid: as in `carts.put`.
            TimeoutError: the database did not answer in time.
        """
        # The limit of a transaction is not enough, because other batches may run before this one.
        async with request_deadline(self._engine, waited_s=waited_s):
            return await self._group_commit(write)

    async def _put(self, writes: list[CartWrite]) -> Sequence[list[CartItem] | Exception]:
        async def work() -> list[list[CartItem] | BookstoreError]:
            async with transaction(self._engine) as conn:
                return await carts.put(conn, writes, limit=self._limit, now=datetime.now(UTC))

        return await retry_batch(work, len(writes))
