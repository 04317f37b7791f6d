"""Imports and exports through real workers in this process."""

import csv
import io
from datetime import UTC, datetime

from bookstore import books, db, exports, files, imports, jobs, tasks
from bookstore.exports import Format
from bookstore.jobs import Kind, State
from tests.actors.conftest import nothing_left

HEADER = "isbn,title,authors,price,stock\n"


def moment():
    # The workers throw away what has expired by their own clock.
    return datetime.now(UTC)


async def pieces(text):
    yield text.encode()


async def start_import(engine, text, *, through, **options):
    file = await files.store(
        engine, pieces(text), name="books.csv", media_type="text/csv", kind="import", now=moment()
    )
    async with db.transaction(through) as conn:
        return await imports.start(conn, file.id, user_id=None, now=moment(), **options)


async def now(engine, job):
    async with db.reading(engine) as conn:
        return await jobs.get(conn, job.id)


async def test_an_import_is_done_by_the_workers(engine, publisher):
    text = HEADER + "0441172717,Dune,Frank Herbert,12.90,3\n1,2,3,4,5\n"

    job = await start_import(engine, text, through=db.announcing(engine, publisher.offer))
    await nothing_left(engine)

    job = await now(engine, job)
    assert (job.state, job.read, job.created, job.refused) == (State.DONE, 2, 1, 1)
    async with db.reading(engine) as conn:
        assert (await books.by_isbn(conn, "0441172717")).title == "Dune"


async def test_an_export_is_written_by_the_workers_and_reads_the_same(engine, publisher):
    announcing = db.announcing(engine, publisher.offer)
    text = HEADER + "0441172717,=Dune,Frank Herbert,12.90,3\n"
    await start_import(engine, text, through=announcing)
    await nothing_left(engine)

    async with db.transaction(announcing) as conn:
        job = await exports.start(conn, Kind.EXPORT_BOOKS, Format.CSV, user_id=None, now=moment())
    await nothing_left(engine)

    job = await now(engine, job)
    assert (job.state, job.done, job.total) == (State.DONE, 1, 1)
    async with db.reading(engine) as conn:
        content = (await files.content(conn, job.result_id)).decode()
    (row,) = csv.DictReader(io.StringIO(content))
    assert (row["title"], row["price"]) == ("'=Dune", "12.90")
    again = await start_import(engine, content, through=announcing)
    await nothing_left(engine)
    assert (await now(engine, again)).unchanged == 1


async def test_a_job_that_no_message_told_of_is_found_by_the_relay(engine, publisher):
    job = await start_import(engine, HEADER + "1,2,3,4,5\n", through=engine)
    async with db.transaction(engine) as conn:
        await tasks.lease(conn, tasks.Task.RUN_JOBS, [job.id], moment())

    await nothing_left(engine)

    assert (await now(engine, job)).state is State.DONE
