"""Which request all this is about."""

import pytest

from bookstore import correlation
from bookstore.database.group_commit import GroupCommit


@pytest.mark.parametrize(
    ("request_ids", "current"),
    [([], None), ([None], None), (["a", None, "a"], "a"), (["a", "b"], None)],
)
def test_there_is_one_request_or_none(request_ids, current):
    with correlation.caused_by(request_ids):
        assert correlation.current() == current

    assert correlation.current() is None


async def test_what_works_for_a_group_is_no_work_of_whoever_came_first():
    seen = []

    async def work(wishes):
        seen.append(correlation.current())
        return wishes

    with correlation.caused_by(["first"]):
        await GroupCommit(work, limit=10)("wish")
        assert correlation.current() == "first"

    assert seen == [None]
