"""Which request all this is about."""

import pytest

from bookstore import causes
from bookstore.grouping import Grouped


@pytest.mark.parametrize(
    ("request_ids", "current"),
    [([], None), ([None], None), (["a", None, "a"], "a"), (["a", "b"], None)],
)
def test_there_is_one_request_or_none(request_ids, current):
    with causes.caused_by(request_ids):
        assert causes.current() == current

    assert causes.current() is None


async def test_what_works_for_a_group_is_no_work_of_whoever_came_first():
    seen = []

    async def work(wishes):
        seen.append(causes.current())
        return wishes

    with causes.caused_by(["first"]):
        await Grouped(work, limit=10)("wish")
        assert causes.current() == "first"

    assert seen == [None]
