from bookstore.permissions import Role


async def user_id(client):
    return (await (await client.get("/api/v1/users/me")).json())["id"]


async def write(clerk, user, subject="About your order"):
    body = {"user_id": user, "subject": subject, "body": "It is late.\n\nSorry."}
    return await clerk.post("/api/v1/notifications", json=body)


async def test_staff_write_to_a_customer(visitor):
    clerk, anna = await visitor(Role.CLERK), await visitor(Role.CUSTOMER)

    sent = await write(clerk, await user_id(anna))

    assert sent.status == 202
    [notification] = (await (await anna.get("/api/v1/notifications")).json())["items"]
    assert set(notification) == {
        "id", "kind", "subject", "body", "order_number", "created_at", "read_at", "email_status",
    }  # fmt: skip
    assert (notification["kind"], notification["subject"]) == ("message", "About your order")
    assert (notification["email_status"], notification["read_at"]) == ("queued", None)


async def test_nobody_writes_to_a_user_who_is_not_there(visitor):
    assert (await write(await visitor(Role.CLERK), 999_999)).status == 404


async def test_a_notification_is_read_once_and_by_its_owner(visitor):
    clerk, anna, boris = [
        await visitor(role) for role in (Role.CLERK, Role.CUSTOMER, Role.CUSTOMER)
    ]
    sent = await (await write(clerk, await user_id(anna))).json()
    path = f"/api/v1/notifications/{sent['id']}/read"

    assert (await boris.post(path)).status == 404
    assert (await (await anna.post(path)).json())["read_at"] is not None

    unread = await (await anna.get("/api/v1/notifications?unread=true")).json()
    assert unread["items"] == []


async def test_staff_see_letters_and_send_them_again(visitor):
    clerk, anna = await visitor(Role.CLERK), await visitor(Role.CUSTOMER)
    sent = await (await write(clerk, await user_id(anna))).json()

    queued = await (await clerk.get("/api/v1/admin/notifications?status=queued")).json()
    resent = await clerk.post(f"/api/v1/admin/notifications/{sent['id']}/resend")

    assert [letter["id"] for letter in queued["items"]] == [sent["id"]]
    assert queued["items"][0]["in_doubt"] is False
    assert resent.status == 202
