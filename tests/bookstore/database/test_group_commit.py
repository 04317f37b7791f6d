import asyncio

import pytest

from bookstore.database import group_commit
from bookstore.database.group_commit import GroupCommit


class RecordedWork:
    """A `run_batch` that records its batches and waits while `may_finish` is cleared."""

    def __init__(self):
        self.batches = []
        self.may_finish = asyncio.Event()
        self.may_finish.set()

    async def __call__(self, requests):
        self.batches.append(list(requests))
        await self.may_finish.wait()
        if "bug" in requests:
            raise RuntimeError("a bug")
        return [ValueError(each) if each == "no" else each.upper() for each in requests]


@pytest.fixture
def work():
    return RecordedWork()


async def run_while_first_runs(group, work, *requests):
    """The results of these requests; all but the first arrive while the first one runs."""
    work.may_finish.clear()
    running = [asyncio.create_task(group(each)) for each in requests[:1]]
    await asyncio.sleep(0.01)
    running += [asyncio.create_task(group(each)) for each in requests[1:]]
    await asyncio.sleep(0.01)
    work.may_finish.set()
    return await asyncio.gather(*running, return_exceptions=True)


async def test_a_first_request_runs_alone_and_those_that_arrive_meanwhile_form_a_batch(work):
    results = await run_while_first_runs(GroupCommit(work, limit=10), work, "a", "b", "c")

    assert work.batches == [["a"], ["b", "c"]]
    assert results == ["A", "B", "C"]


async def test_a_batch_is_not_larger_than_its_limit(work):
    await run_while_first_runs(GroupCommit(work, limit=2), work, *"abcdef")

    assert work.batches == [["a"], ["b", "c"], ["d", "e"], ["f"]]


async def test_a_request_larger_than_the_limit_runs_alone(work):
    await run_while_first_runs(GroupCommit(work, limit=2, size=len), work, "a", "bbbb", "c", "d")

    assert work.batches == [["a"], ["bbbb"], ["c", "d"]]


async def test_a_refusal_is_raised_only_for_its_own_request(work):
    results = await run_while_first_runs(GroupCommit(work, limit=10), work, "a", "no", "c")

    assert (results[0], results[2]) == ("A", "C")
    assert isinstance(results[1], ValueError)


async def test_a_batch_that_fails_as_a_whole_is_retried_request_by_request(work):
    results = await run_while_first_runs(GroupCommit(work, limit=10), work, "a", "b", "bug", "c")

    assert work.batches == [["a"], ["b", "bug", "c"], ["b"], ["bug"], ["c"]]
    assert (results[1], results[3]) == ("B", "C")
    assert isinstance(results[2], RuntimeError)


async def test_a_cancelled_caller_does_not_stop_the_others(work):
    group = GroupCommit(work, limit=10)
    work.may_finish.clear()
    cancelled = asyncio.create_task(group("a"))
    await asyncio.sleep(0.01)
    waiting = asyncio.create_task(group("b"))
    cancelled.cancel()
    await asyncio.sleep(0.01)
    work.may_finish.set()

    assert await waiting == "B"
    assert await group("c") == "C"


async def test_requests_that_arrive_in_the_delay_after_a_batch_share_the_next_one(
    work, monkeypatch
):
    monkeypatch.setattr(group_commit, "MAX_DELAY_S", 0.5)
    group = GroupCommit(work, limit=10, delay_factor=1e9)
    await run_while_first_runs(group, work, "a", "b", "c")

    async def arrive(request, after_s):
        await asyncio.sleep(after_s)
        return await group(request)

    await asyncio.gather(arrive("d", 0), arrive("e", 0.02), arrive("f", 0.04))

    assert work.batches == [["a"], ["b", "c"], ["d", "e", "f"]]


async def test_there_is_no_delay_after_a_single_request(work, monkeypatch):
    monkeypatch.setattr(group_commit, "MAX_DELAY_S", 60.0)
    group = GroupCommit(work, limit=10, delay_factor=1e9)

    async with asyncio.timeout(10):
        for request in "abc":
            await group(request)

    assert work.batches == [["a"], ["b"], ["c"]]


async def test_the_delay_is_short_however_long_the_batch_took(work):
    group = GroupCommit(work, limit=10, delay_factor=1e9)
    await run_while_first_runs(group, work, "a", "b", "c")

    async with asyncio.timeout(5):
        assert await group("d") == "D"


async def test_a_full_batch_starts_without_delay(work, monkeypatch):
    monkeypatch.setattr(group_commit, "MAX_DELAY_S", 60.0)
    group = GroupCommit(work, limit=2, delay_factor=1e9)

    async with asyncio.timeout(10):
        await run_while_first_runs(group, work, "a", "b", "c", "d", "e")

    assert work.batches == [["a"], ["b", "c"], ["d", "e"]]
