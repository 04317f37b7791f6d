"""Correlation ids: the request that caused the current work."""

import pytest

from bookstore import correlation
from bookstore.database.group_commit import GroupCommit


@pytest.mark.parametrize(
    ("request_ids", "current"),
    [([], None), ([None], None), (["a", None, "a"], "a"), (["a", "b"], None)],
)
def test_the_current_request_is_one_or_none(request_ids, current):
    with correlation.bind_request_ids(request_ids):
        assert correlation.current() == current

    assert correlation.current() is None


async def test_a_batch_has_no_request_id():
    seen = []

    async def work(items):
        seen.append(correlation.current())
        return items

    with correlation.bind_request_ids(["first"]):
        await GroupCommit(work, limit=10)("item")
        assert correlation.current() == "first"

    assert seen == [None]
