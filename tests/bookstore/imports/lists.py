"""Lists of books as CSV texts, their import and its result."""

import io
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.catalogue import books
from bookstore.database.engine import reading
from bookstore.imports import importer
from bookstore.tasks import jobs
from bookstore.tasks.jobs import Job, JobLine, LineOutcome
from tests.factories import NOON

LATER = NOON + timedelta(days=1)
HEADER = "isbn,title,authors,price,currency,stock,year,language,category\n"
DUNE = "0-441-17271-7,Dune,Frank Herbert,12.90,EUR,5,1965,eng,Science Fiction|Classics\n"
EMMA = "9780141439587,Emma,Jane Austen,7.50,EUR,2,1815,en-GB,Classics\n"


async def run(engine: AsyncEngine, text: str | bytes, **options: Any) -> Job:
    content = text.encode() if isinstance(text, str) else text
    now = options.pop("now", NOON)
    return await importer.import_file(
        engine,
        io.BytesIO(content),
        **{
            "name": "books.csv",
            "currency": "EUR",
            "country": "DE",
            "clock": lambda: now,
            **options,
        },
    )


def counts(job: Job) -> tuple[int, int, int, int, int]:
    return job.read, job.created, job.updated, job.unchanged, job.refused


async def refusals_of(engine: AsyncEngine, job: Job) -> list[JobLine]:
    async with reading(engine) as conn:
        found = await jobs.lines(conn, job.id, outcome=LineOutcome.REFUSED, limit=100_000)
        return found.items


async def book(engine: AsyncEngine, isbn: str) -> books.Book:
    async with reading(engine) as conn:
        return await books.by_isbn(conn, isbn)
