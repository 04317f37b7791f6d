import pytest

from bookstore.users.permissions import Role

PATH = "/api/v1/users/me/preferences"
ALL = {"email_when_delivered": True, "email_messages": True}


async def test_a_customer_chooses_optional_emails(visitor):
    anna, boris = await visitor(Role.CUSTOMER), await visitor(Role.CUSTOMER)

    before = await (await anna.get(PATH)).json()
    changed = await anna.patch(PATH, json={"email_messages": False})

    assert before == ALL
    assert (changed.status, await changed.json()) == (200, ALL | {"email_messages": False})
    assert await (await anna.get(PATH)).json() == ALL | {"email_messages": False}
    assert await (await boris.get(PATH)).json() == ALL


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"email_messages": "no"}, "#/email_messages"),
        ({"email_messages": None}, "#/email_messages"),
        ({"email_order_placed": False}, "#/email_order_placed"),
        ({"user_id": 1}, "#/user_id"),
    ],
)
async def test_the_error_points_to_an_invalid_preference(visitor, change, pointer):
    anna = await visitor(Role.CUSTOMER)

    answer = await anna.patch(PATH, json=change)

    assert answer.status == 422
    assert [fault["pointer"] for fault in (await answer.json())["errors"]] == [pointer]
