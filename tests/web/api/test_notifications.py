from sqlalchemy import select, update

from bookstore.database.engine import reading, transaction
from bookstore.database.tables import audit_log
from bookstore.database.tables import notifications as table
from bookstore.users.permissions import Role
from web.server.keys import ENGINE


async def user_id(client):
    return (await (await client.get("/api/v1/users/me")).json())["id"]


async def write(clerk, user, subject="About your order"):
    body = {"user_id": user, "subject": subject, "body": "It is late.\n\nSorry."}
    return await clerk.post("/api/v1/notifications", json=body)


async def test_staff_send_a_message_to_a_customer(visitor):
    clerk, anna = await visitor(Role.CLERK), await visitor(Role.CUSTOMER)

    sent = await write(clerk, await user_id(anna))

    assert sent.status == 202
    [notification] = (await (await anna.get("/api/v1/notifications")).json())["items"]
    assert set(notification) == {
        "id", "kind", "subject", "body", "order_number", "created_at", "read_at", "email_status",
    }  # fmt: skip
    assert (notification["kind"], notification["subject"]) == ("message", "About your order")
    assert (notification["email_status"], notification["read_at"]) == ("queued", None)


async def test_a_message_to_a_missing_user_is_refused(visitor):
    assert (await write(await visitor(Role.CLERK), 999_999)).status == 404


async def test_only_the_owner_can_mark_a_notification_as_read(visitor):
    clerk, anna, boris = [
        await visitor(role) for role in (Role.CLERK, Role.CUSTOMER, Role.CUSTOMER)
    ]
    sent = await (await write(clerk, await user_id(anna))).json()
    path = f"/api/v1/notifications/{sent['id']}/read"

    assert (await boris.post(path)).status == 404
    assert (await (await anna.post(path)).json())["read_at"] is not None

    unread = await (await anna.get("/api/v1/notifications?unread=true")).json()
    assert unread["items"] == []


async def test_staff_list_emails_and_send_them_again(visitor):
    clerk, anna = await visitor(Role.CLERK), await visitor(Role.CUSTOMER)
    sent = await (await write(clerk, await user_id(anna))).json()

    queued = await (await clerk.get("/api/v1/admin/notifications?status=queued")).json()
    resent = await clerk.post(f"/api/v1/admin/notifications/{sent['id']}/resend")

    assert [email["id"] for email in queued["items"]] == [sent["id"]]
    assert queued["items"][0]["in_doubt"] is False
    assert resent.status == 202


async def test_staff_filter_failed_and_doubtful_emails(visitor, server):
    clerk, anna = await visitor(Role.CLERK), await visitor(Role.CUSTOMER)
    failed, doubtful, _ = [
        (await (await write(clerk, await user_id(anna))).json())["id"] for _ in range(3)
    ]
    async with transaction(server.app[ENGINE]) as conn:
        for changed, values in (
            (failed, {"status": "failed", "smtp_answer": "550 nobody here"}),
            (doubtful, {"in_doubt": True}),
        ):
            await conn.execute(update(table).where(table.c.id == changed).values(**values))

    async def found(query):
        answer = await clerk.get(f"/api/v1/admin/notifications?{query}")
        return (await answer.json())["items"]

    [email] = await found("status=failed")
    assert (email["id"], email["answer"]) == (failed, "550 nobody here")
    assert [(it["id"], it["in_doubt"]) for it in await found("in_doubt=true")] == [(doubtful, True)]
    assert (await anna.get("/api/v1/admin/notifications")).status == 403
    assert len((await (await anna.get("/api/v1/notifications")).json())["items"]) == 3


async def test_messages_and_resends_are_in_the_audit_log(visitor, server):
    clerk, anna = await visitor(Role.CLERK), await visitor(Role.CUSTOMER)
    sent = await (await write(clerk, await user_id(anna))).json()

    await clerk.post(f"/api/v1/admin/notifications/{sent['id']}/resend")

    async with reading(server.app[ENGINE]) as conn:
        found = (await conn.execute(select(audit_log).order_by(audit_log.c.id))).all()
    assert [(row.action, row.object_id, row.user_id) for row in found] == [
        ("write", str(sent["id"]), await user_id(clerk)),
        ("resend", str(sent["id"]), await user_id(clerk)),
    ]
    # The audit log does not contain the text of the message.
    assert found[0].changes == {"subject": None, "body": None}
