"""How often metrics are read from the database."""

import asyncio

from prometheus_client.metrics_core import Metric

from bookstore.database import engine as db
from web.monitoring.metrics import CachedQuery

FIGURE = [Metric("bookstore_example", "An example.", "gauge")]


async def count_queries(engine, cached, *, takes_s):
    """How often a query of this duration runs for three requests in a row."""
    queries = 0

    async def query(conn):
        nonlocal queries
        queries += 1
        await asyncio.sleep(takes_s)
        return FIGURE

    for _ in range(3):
        assert await cached.latest(engine, query) == FIGURE
    return queries


async def test_a_slow_query_runs_rarely(engine):
    assert await count_queries(engine, CachedQuery(0, cost_ratio=50), takes_s=0.1) == 1


async def test_a_fast_query_is_cached_for_its_ttl(engine):
    assert await count_queries(engine, CachedQuery(60), takes_s=0) == 1
    assert await count_queries(engine, CachedQuery(0), takes_s=0) == 3


async def test_there_are_no_metrics_while_the_database_is_unavailable(tmp_path):
    engine = db.make_engine("mysql+aiomysql://nobody@127.0.0.1:1/nothing")

    async def query(conn):
        return FIGURE

    assert await CachedQuery(60).latest(engine, query) == []
    await engine.dispose()
