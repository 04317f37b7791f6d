"""The sample catalogue, and the setup of an empty store on its first start."""

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
from bookstore.tasks.jobs import Job, JobState
from bookstore.users import accounts
from bookstore.users.permissions import Role
from config.settings import Settings

CATALOGUE = Path(__file__).parent / "catalogue.csv"
ADMIN_EMAIL = "admin@example.com"


async def prepare(engine: AsyncEngine, settings: Settings, *, echo: Callable[[str], None]) -> None:
    """Set up an empty database with tables, the sample catalogue and an administrator.

    Existing books and accounts stay unchanged.  `echo` is called once with the administrator's
    password, of which only the hash is stored.
    """
    await db.upgrade(engine)
    now = datetime.now(UTC)
    if await _is_empty(engine, books):
        await load(engine, settings.currency, settings.country, now=now)
    if await _is_empty(engine, user_rows):
        email = settings.admin_email or ADMIN_EMAIL
        password = settings.admin_password or secrets.token_urlsafe(12)
        name, role = "Administrator", Role.ADMIN
        await accounts.sign_up(
            engine, email=email, name=name, password=password, role=role, now=now
        )
        shown = "as set in BOOKSTORE_ADMIN_PASSWORD" if settings.admin_password else password
        echo(f"Administrator: {email}, password: {shown}")


async def load(engine: AsyncEngine, currency: str, country: str, *, now: datetime) -> Job:
    """Import the sample catalogue; existing books stay unchanged."""
    with CATALOGUE.open("rb") as file:
        job = await importer.import_file(
            engine,
            file,
            name=CATALOGUE.name,
            currency=currency,
            country=country,
            clock=lambda: now,
        )
    if job.state is not JobState.DONE:
        raise Invalid("currency", job.error or "The sample catalogue could not be loaded.")
    return job


async def _is_empty(engine: AsyncEngine, table: Table) -> bool:
    async with db.reading(engine) as conn:
        return not await conn.scalar(select(func.count()).select_from(table))
