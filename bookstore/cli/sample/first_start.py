"""A small catalogue of our own, and what a store needs on its first day."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.database import engine as db
from bookstore.database.tables import books
from bookstore.database.tables import users as user_rows
from bookstore.errors import Invalid
from bookstore.imports import importer
from bookstore.tasks.jobs import Job, State
from bookstore.users import accounts
from bookstore.users.permissions import Role
from config.settings import Settings

CATALOGUE = Path(__file__).parent / "catalogue.csv"
ADMIN_EMAIL = "admin@example.com"


async def prepare(engine: AsyncEngine, settings: Settings, *, tell: Callable[[str], None]) -> None:
    """Make an empty database into a store that can be looked at; a store in use stays as it is.

    The administrator's password is told once and kept nowhere but as its hash.
    """
    await db.upgrade(engine)
    now = datetime.now(UTC)
    if await _is_empty(engine, books):
        await load(engine, settings.currency, now=now)
    if await _is_empty(engine, user_rows):
        email = settings.admin_email or ADMIN_EMAIL
        password = settings.admin_password or secrets.token_urlsafe(12)
        await accounts.sign_up(
            engine,
            email=email,
            name="Administrator",
            password=password,
            role=Role.ADMIN,
            now=now,
        )
        shown = "the one you have set" if settings.admin_password else password
        tell(f"Administrator: {email}, password: {shown}")


async def load(engine: AsyncEngine, currency: str, *, now: datetime) -> Job:
    """Import the sample catalogue; books that are there already stay as they are."""
    with CATALOGUE.open("rb") as file:
        job = await importer.take_in(
            engine, file, name=CATALOGUE.name, currency=currency, clock=lambda: now
        )
    if job.state is not State.DONE:
        raise Invalid("currency", job.error or "The sample catalogue could not be loaded.")
    return job


async def _is_empty(engine: AsyncEngine, table: Table) -> bool:
    async with db.reading(engine) as conn:
        return not await conn.scalar(select(func.count()).select_from(table))
