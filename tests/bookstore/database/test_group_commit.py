import asyncio

import pytest

from bookstore.database import group_commit
from bookstore.database.group_commit import GroupCommit


class Work:
    def __init__(self):
        self.groups = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self, wishes):
        self.groups.append(list(wishes))
        await self.go_on.wait()
        if "bug" in wishes:
            raise RuntimeError("a bug")
        return [ValueError(wish) if wish == "no" else wish.upper() for wish in wishes]


@pytest.fixture
def work():
    return Work()


async def gathered(grouped, work, *wishes):
    """Have the first wish worked on while the others come."""
    work.go_on.clear()
    running = [asyncio.create_task(grouped(wish)) for wish in wishes[:1]]
    await asyncio.sleep(0.01)
    running += [asyncio.create_task(grouped(wish)) for wish in wishes[1:]]
    await asyncio.sleep(0.01)
    work.go_on.set()
    return await asyncio.gather(*running, return_exceptions=True)


async def test_whoever_comes_while_nothing_runs_goes_alone_and_the_others_together(work):
    answers = await gathered(GroupCommit(work, limit=10), work, "a", "b", "c")

    assert work.groups == [["a"], ["b", "c"]]
    assert answers == ["A", "B", "C"]


async def test_a_group_takes_no_more_than_its_limit(work):
    await gathered(GroupCommit(work, limit=2), work, *"abcdef")

    assert work.groups == [["a"], ["b", "c"], ["d", "e"], ["f"]]


async def test_a_wish_larger_than_the_limit_goes_alone(work):
    await gathered(GroupCommit(work, limit=2, size=len), work, "a", "bbbb", "c", "d")

    assert work.groups == [["a"], ["bbbb"], ["c", "d"]]


async def test_a_refusal_reaches_its_own_caller_only(work):
    answers = await gathered(GroupCommit(work, limit=10), work, "a", "no", "c")

    assert (answers[0], answers[2]) == ("A", "C")
    assert isinstance(answers[1], ValueError)


async def test_a_group_that_fails_as_a_whole_is_worked_off_one_by_one(work):
    answers = await gathered(GroupCommit(work, limit=10), work, "a", "b", "bug", "c")

    assert work.groups == [["a"], ["b", "bug", "c"], ["b"], ["bug"], ["c"]]
    assert (answers[1], answers[3]) == ("B", "C")
    assert isinstance(answers[2], RuntimeError)


async def test_a_caller_who_leaves_stops_nobody(work):
    grouped = GroupCommit(work, limit=10)
    work.go_on.clear()
    leaving = asyncio.create_task(grouped("a"))
    await asyncio.sleep(0.01)
    staying = asyncio.create_task(grouped("b"))
    leaving.cancel()
    await asyncio.sleep(0.01)
    work.go_on.set()

    assert await staying == "B"
    assert await grouped("c") == "C"


async def test_a_shared_transaction_is_followed_by_a_rest_in_which_others_come(work, monkeypatch):
    monkeypatch.setattr(group_commit, "LONGEST_REST_S", 0.5)
    grouped = GroupCommit(work, limit=10, rest=1e9)
    await gathered(grouped, work, "a", "b", "c")

    async def come(wish, after_s):
        await asyncio.sleep(after_s)
        return await grouped(wish)

    await asyncio.gather(come("d", 0), come("e", 0.02), come("f", 0.04))

    assert work.groups == [["a"], ["b", "c"], ["d", "e", "f"]]


async def test_after_one_alone_nobody_rests(work, monkeypatch):
    monkeypatch.setattr(group_commit, "LONGEST_REST_S", 60.0)
    grouped = GroupCommit(work, limit=10, rest=1e9)

    async with asyncio.timeout(10):
        for wish in "abc":
            await grouped(wish)

    assert work.groups == [["a"], ["b"], ["c"]]


async def test_the_rest_is_short_however_long_the_work_took(work):
    grouped = GroupCommit(work, limit=10, rest=1e9)
    await gathered(grouped, work, "a", "b", "c")

    async with asyncio.timeout(5):
        assert await grouped("d") == "D"


async def test_who_make_a_full_group_need_not_wait_for_more(work, monkeypatch):
    monkeypatch.setattr(group_commit, "LONGEST_REST_S", 60.0)
    grouped = GroupCommit(work, limit=2, rest=1e9)

    async with asyncio.timeout(10):
        await gathered(grouped, work, "a", "b", "c", "d", "e")

    assert work.groups == [["a"], ["b", "c"], ["d", "e"]]
