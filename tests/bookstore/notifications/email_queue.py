"""The e-mail queue, with the store and the clock of the worker that delivers it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.database.engine import reading, transaction
from bookstore.database.tables import notifications as table
from bookstore.notifications import notifications
from bookstore.notifications.emails import StoreFacts
from tests.factories import NOON

STORE = StoreFacts(
    "Ampersand Books", "https://books.example", "shop@books.example", str.lower, str.upper
)


@dataclass
class Clock:
    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


async def queue(engine: AsyncEngine, recipient: str = "mira@example.com") -> int:
    async with transaction(engine) as conn:
        return await notifications.queue(conn, "welcome", recipient=recipient, now=NOON)


async def row(engine: AsyncEngine, notification_id: int) -> Row[Any]:
    async with reading(engine) as conn:
        return (await conn.execute(select(table).where(table.c.id == notification_id))).one()
