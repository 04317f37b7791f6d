import pytest

from bookstore.users.permissions import Role
from tests.web.conftest import PASSWORD

ANNA = "anna@example.com"


async def signed_in(client):
    return (await client.get("/api/v1/users/me")).status == 200


async def user_id(client):
    return (await (await client.get("/api/v1/users/me")).json())["id"]


async def sign_in(client, password=PASSWORD):
    return await client.post("/api/v1/session", json={"email": ANNA, "password": password})


async def test_a_new_password_ends_all_other_sessions(visitor):
    here, elsewhere = await visitor(Role.CUSTOMER, ANNA), await visitor()
    await sign_in(elsewhere)

    answer = await here.put(
        "/api/v1/users/me/password",
        json={"current_password": PASSWORD, "new_password": "eight wells deep"},
    )

    assert answer.status == 204
    assert await signed_in(here)
    assert not await signed_in(elsewhere)
    assert (await sign_in(elsewhere)).status == 401
    assert (await sign_in(elsewhere, "eight wells deep")).status == 200


@pytest.mark.parametrize(
    ("current", "new", "status"), [("a guess", "eight wells", 401), (PASSWORD, "short", 422)]
)
async def test_an_invalid_password_change_is_refused(visitor, current, new, status):
    anna = await visitor(Role.CUSTOMER, ANNA)

    answer = await anna.put(
        "/api/v1/users/me/password", json={"current_password": current, "new_password": new}
    )

    assert answer.status == status
    if status == 422:
        assert (await answer.json())["errors"][0]["pointer"] == "#/new_password"


async def test_a_user_can_end_the_session_of_a_lost_device(visitor):
    here, lost, boris = (
        await visitor(Role.CUSTOMER, ANNA),
        await visitor(),
        await visitor(Role.CUSTOMER),
    )
    await sign_in(lost)

    devices = (await (await here.get("/api/v1/users/me/sessions")).json())["items"]
    [device] = [device for device in devices if not device["current"]]
    path = f"/api/v1/users/me/sessions/{device['id']}"

    assert len(devices) == 2
    assert (await boris.delete(path)).status == 404
    assert (await here.delete(path)).status == 204
    assert (await here.delete(path)).status == 404
    assert (await here.delete("/api/v1/users/me/sessions/xyz")).status == 404
    assert not await signed_in(lost)
    assert await signed_in(here)


async def test_a_new_role_takes_effect_on_the_next_request(visitor):
    admin, anna = await visitor(Role.ADMIN), await visitor(Role.CUSTOMER)
    path = f"/api/v1/users/{await user_id(anna)}"
    assert (await anna.get("/api/v1/admin/orders")).status == 403

    changed = await admin.patch(path, json={"role": "clerk"})

    assert (await changed.json())["role"] == "clerk"
    assert (await anna.get("/api/v1/admin/orders")).status == 200


async def test_a_disabled_user_loses_access_immediately(visitor):
    admin, anna = await visitor(Role.ADMIN), await visitor(Role.CUSTOMER, ANNA)
    path = f"/api/v1/users/{await user_id(anna)}"

    disabled = await admin.patch(path, json={"disabled": True})

    assert (await disabled.json())["disabled"] is True
    assert not await signed_in(anna)
    assert (await sign_in(anna)).status == 401
    await admin.patch(path, json={"disabled": False})
    assert (await sign_in(anna)).status == 200


@pytest.mark.parametrize("change", [{"role": "clerk"}, {"disabled": True}])
async def test_administrators_cannot_change_their_own_account(visitor, change):
    admin = await visitor(Role.ADMIN)

    answer = await admin.patch(f"/api/v1/users/{await user_id(admin)}", json=change)

    assert answer.status == 422


@pytest.mark.parametrize(
    "change", [{"role": "king"}, {"disabled": "yes"}, {"disabled": 1}, {"name": "X"}]
)
async def test_an_invalid_change_is_refused(visitor, change):
    admin, anna = await visitor(Role.ADMIN), await visitor(Role.CUSTOMER)

    answer = await admin.patch(f"/api/v1/users/{await user_id(anna)}", json=change)

    assert answer.status == 422


async def test_staff_find_users(visitor):
    clerk = await visitor(Role.CLERK)
    await visitor(Role.CUSTOMER, ANNA)

    found = await (await clerk.get("/api/v1/users?q=anna@")).json()

    assert [user["email"] for user in found["items"]] == [ANNA]
