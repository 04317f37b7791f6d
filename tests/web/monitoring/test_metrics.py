"""How often the database is asked for what Prometheus is told."""

import asyncio

from prometheus_client.metrics_core import Metric

from bookstore.database import engine as db
from web.monitoring.metrics import Look

FIGURE = [Metric("bookstore_example", "An example.", "gauge")]


async def asked_for(engine, look, *, takes_s):
    """How often an answer that takes so long is worked out for three who ask one by one."""
    asked = 0

    async def ask(conn):
        nonlocal asked
        asked += 1
        await asyncio.sleep(takes_s)
        return FIGURE

    for _ in range(3):
        assert await look.latest(engine, ask) == FIGURE
    return asked


async def test_what_is_dear_is_asked_for_seldom(engine):
    assert await asked_for(engine, Look(0, share=50), takes_s=0.1) == 1


async def test_what_is_cheap_is_kept_for_a_while(engine):
    assert await asked_for(engine, Look(60), takes_s=0) == 1
    assert await asked_for(engine, Look(0), takes_s=0) == 3


async def test_nothing_is_told_while_the_database_is_away(tmp_path):
    engine = db.make_engine("mysql+aiomysql://nobody@127.0.0.1:1/nothing")

    async def ask(conn):
        return FIGURE

    assert await Look(60).latest(engine, ask) == []
    await engine.dispose()
