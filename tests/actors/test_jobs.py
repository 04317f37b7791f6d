"""Imports and exports through real workers in this process."""

import csv
import io
from datetime import UTC, datetime

from sqlalchemy import select

from bookstore.backoffice import bulk_changes, bulk_jobs, list_exports, users
from bookstore.catalogue import books
from bookstore.database import engine as db
from bookstore.database import file_store
from bookstore.database.tables import books as book_table
from bookstore.exports import exporter
from bookstore.exports.exporter import Format
from bookstore.imports import importer
from bookstore.tasks import jobs, outbox
from bookstore.tasks.jobs import JobKind, JobState
from tests.actors.conftest import all_tasks_done
from tests.factories import add_user, create_book

HEADER = "isbn,title,authors,price,stock\n"


def moment():
    # The workers delete expired data by the real clock.
    return datetime.now(UTC)


async def chunks(text):
    yield text.encode()


async def start_import(engine, text, *, through, **options):
    file = await file_store.store(
        engine, chunks(text), name="books.csv", media_type="text/csv", kind="import", now=moment()
    )
    async with db.transaction(through) as conn:
        return await importer.start(conn, file.id, user_id=None, now=moment(), **options)


async def now(engine, job):
    async with db.reading(engine) as conn:
        return await jobs.get(conn, job.id)


async def test_the_workers_run_an_import(engine, publisher):
    text = HEADER + "0441172717,Dune,Frank Herbert,12.90,3\n1,2,3,4,5\n"

    job = await start_import(engine, text, through=db.announcing(engine, publisher.publish))
    await all_tasks_done(engine)

    job = await now(engine, job)
    assert (job.state, job.read, job.created, job.refused) == (JobState.DONE, 2, 1, 1)
    async with db.reading(engine) as conn:
        assert (await books.by_isbn(conn, "0441172717")).title == "Dune"


async def test_the_workers_write_an_export_that_can_be_imported_again(engine, publisher):
    announcing = db.announcing(engine, publisher.publish)
    text = HEADER + "0441172717,=Dune,Frank Herbert,12.90,3\n"
    await start_import(engine, text, through=announcing)
    await all_tasks_done(engine)

    async with db.transaction(announcing) as conn:
        job = await exporter.start(
            conn, JobKind.EXPORT_BOOKS, Format.CSV, user_id=None, now=moment()
        )
    await all_tasks_done(engine)

    job = await now(engine, job)
    assert (job.state, job.done, job.total) == (JobState.DONE, 1, 1)
    async with db.reading(engine) as conn:
        content = (await file_store.content(conn, job.result_id)).decode()
    (row,) = csv.DictReader(io.StringIO(content))
    assert (row["title"], row["price"]) == ("'=Dune", "12.90")
    second = await start_import(engine, content, through=announcing)
    await all_tasks_done(engine)
    assert (await now(engine, second)).unchanged == 1


async def test_the_relay_finds_a_job_without_a_message(engine, publisher):
    job = await start_import(engine, HEADER + "1,2,3,4,5\n", through=engine)
    async with db.transaction(engine) as conn:
        await outbox.lease(conn, outbox.Task.RUN_JOBS, [job.id], moment())

    await all_tasks_done(engine)

    assert (await now(engine, job)).state is JobState.DONE


async def test_the_workers_export_a_list_of_the_dashboard(engine, publisher):
    announcing = db.announcing(engine, publisher.publish)
    async with db.transaction(announcing) as conn:
        user_id = await add_user(conn, name="Mira")
        query = users.UserQuery(q="mira")
        job = await list_exports.start(
            conn, users.USERS, query, "name", Format.CSV, user_id=user_id, now=moment()
        )
    await all_tasks_done(engine)

    job = await now(engine, job)
    assert (job.state, job.done) == (JobState.DONE, 1)
    async with db.reading(engine) as conn:
        content = (await file_store.content(conn, job.result_id)).decode("utf-8-sig")
    assert [row["name"] for row in csv.DictReader(io.StringIO(content))] == ["Mira"]


async def test_the_workers_apply_a_bulk_change(engine, publisher):
    announcing = db.announcing(engine, publisher.publish)
    async with db.transaction(announcing) as conn:
        user_id = await add_user(conn)
        for _ in range(3):
            await create_book(conn, price_cents=1000)
        plan_id = await bulk_changes.plan_prices(
            conn, select(book_table.c.id), "+10%", user_id=user_id, now=moment()
        )
        plan = await bulk_changes.get(conn, plan_id)
        job = await bulk_jobs.start(conn, plan, user_id=user_id, now=moment())
    await all_tasks_done(engine)

    job = await now(engine, job)
    assert (job.state, job.done, job.total) == (JobState.DONE, 3, 3)
    async with db.reading(engine) as conn:
        assert {*await conn.scalars(select(book_table.c.price_cents))} == {1100}
