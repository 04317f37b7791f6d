"""Jobs that apply a bulk change, as a worker runs them."""

from sqlalchemy import select, update

from bookstore.backoffice import bulk_changes, bulk_jobs
from bookstore.backoffice.bulk_changes import BulkOutcome
from bookstore.database.engine import transaction
from bookstore.database.tables import books
from bookstore.database.tables import bulk_changes as plans
from bookstore.tasks import jobs, outbox
from bookstore.tasks.job_runner import JobRunner
from bookstore.tasks.jobs import JobKind, JobState
from tests.factories import NOON, add_user, create_book


async def test_a_change_of_a_newer_release_fails_with_its_reason(engine):
    """A worker of the old release gets it during a deployment; the task must not become dead."""
    async with transaction(engine) as conn:
        user_id = await add_user(conn)
        await create_book(conn)
        plan_id = await bulk_changes.plan_prices(
            conn, select(books.c.id), "5", user_id=user_id, now=NOON
        )
        job = await bulk_jobs.start(
            conn, await bulk_changes.get(conn, plan_id), user_id=user_id, now=NOON
        )
        await conn.execute(update(plans).where(plans.c.id == plan_id).values(field="set-language"))
    runner = JobRunner(
        engine,
        {JobKind.CHANGE_MANY: bulk_jobs.BulkChangeRunner(engine, clock=lambda: NOON)},
        clock=lambda: NOON,
    )

    more = await runner.run(job.id)

    async with transaction(engine) as conn:
        ended = await jobs.get(conn, job.id)
        plan = await bulk_changes.get(conn, plan_id)
        assert not await outbox.find(conn, dead=True)
    assert not more
    assert ended.state is JobState.FAILED
    assert ended.error == "This release does not know the change “set-language”."
    assert plan.number(BulkOutcome.WAITING) == 1
