"""Orders in the dashboard, from the order list to delivery."""

import re
from datetime import timedelta

import pytest
from markupsafe import escape
from sqlalchemy import insert, update

from admin.formatting import log_time
from bookstore import orders
from bookstore.catalogue import stock
from bookstore.database.tables import books, notifications, order_events
from bookstore.notifications.notifications import EmailStatus
from bookstore.users.permissions import Role
from tests.admin.conftest import read, send
from tests.factories import NOON, add_book, add_order, create_book
from web.server.request_context import now


async def add_confirmed(database, **columns):
    """The number of a new confirmed order, which is ready to be packed."""
    async with database() as conn:
        dune = (await create_book(conn, title="Dune", price_cents=1290, stock=5)).id
        values = {"status": "confirmed", "number": "7Q4M-XK2P", "total_cents": 2870} | columns
        await add_order(conn, {dune: 2}, **values)
    return values["number"]


async def status_of(database, number):
    async with database() as conn:
        return (await orders.get(conn, number)).status


async def test_an_order_is_packed_shipped_and_delivered(visitor, database):
    number = await add_confirmed(database)
    clerk = await visitor(Role.CLERK)
    address = f"/admin/orders/{number}/transitions"

    listed = await read(clerk, "/admin/orders?status=confirmed")
    packed = await send(clerk, address, to="packed")
    shipped = await send(clerk, address, to="shipped", tracking=" 0034  0434 ")
    delivered = await send(clerk, address, to="delivered")

    assert f"/admin/orders/{number}" in listed.links
    assert "is packed and ready to ship." in packed.text
    assert packed.path == f"/admin/orders/{number}"
    assert "is shipped" in shipped.text
    assert "0034 0434" in shipped.text
    assert "is delivered" in delivered.text
    assert await status_of(database, number) is orders.State.DELIVERED
    async with database() as conn:
        order = await orders.get(conn, number)
        actors = {event.actor.partition(":")[0] for event in await orders.events(conn, order.id)}
    assert actors == {"staff"}


async def test_the_page_of_an_order_offers_only_the_next_steps(visitor, database):
    number = await add_confirmed(database)
    clerk = await visitor(Role.CLERK)

    page = await read(clerk, f"/admin/orders/{number}")

    buttons = [attributes.get("value") for name, attributes in page.elements if name == "button"]
    assert "packed" in buttons
    assert not {"shipped", "delivered", "confirmed", "rejected"} & set(buttons)
    assert f"/admin/orders/{number}/payment" not in page.forms  # Clerks may not change payments.


async def test_an_invalid_step_is_rejected_with_a_message(visitor, database):
    number = await add_confirmed(database)
    clerk = await visitor(Role.CLERK)

    shipped = await send(clerk, f"/admin/orders/{number}/transitions", to="shipped")
    confirmed = await send(clerk, f"/admin/orders/{number}/transitions", to="confirmed")
    nonsense = await send(clerk, f"/admin/orders/{number}/transitions", to="eaten")

    assert {shipped.status, confirmed.status, nonsense.status} == {422}
    assert "An order that is confirmed cannot become shipped." in shipped.text
    # The page of a confirmed order has no field for a tracking number.
    assert "#field-tracking" not in shipped.links
    assert "cannot become confirmed" in confirmed.text
    assert "This status does not exist." in nonsense.text
    assert await status_of(database, number) is orders.State.CONFIRMED


async def test_an_order_is_not_shipped_before_the_day_of_its_book(visitor, database):
    number = await add_confirmed(database, status="packed")
    async with database() as conn:
        await conn.execute(update(books).values(on_sale_from="2099"))
    clerk = await visitor(Role.CLERK)

    page = await send(clerk, f"/admin/orders/{number}/transitions", to="shipped")
    answer = await clerk.post(f"/api/v1/admin/orders/{number}/transitions", json={"to": "shipped"})

    assert (page.status, answer.status) == (422, 409)
    assert "Not on sale yet: Dune." in page.text
    assert (await answer.json())["code"] == "not-yet-on-sale"
    assert await status_of(database, number) is orders.State.PACKED


@pytest.mark.parametrize(
    ("state", "step", "fields", "key"),
    [
        ("confirmed", "transitions", {"to": "cancelled", "reason": "<b>é</b>" * 100}, "reason"),
        ("confirmed", "transitions", {"to": "packed", "reason": "<b>é</b>" * 100}, "remark"),
        ("packed", "transitions", {"to": "shipped", "tracking": '"0034" ' * 40}, "tracking"),
        ("confirmed", "notes", {"body": "\n<b>Gift</b> " * 1000}, "note"),
    ],
)
async def test_a_refused_form_keeps_the_entered_values(visitor, database, state, step, fields, key):
    number = await add_confirmed(database, status=state)
    clerk = await visitor(Role.CLERK)

    page = await send(clerk, f"/admin/orders/{number}/{step}", **fields)

    (field,) = (
        attributes for _, attributes in page.elements if attributes.get("id") == f"field-{key}"
    )
    typed = [*fields.values()][-1]
    assert page.status == 422
    assert f"#field-{key}" in page.links
    assert field["aria-invalid"] == "true"
    assert f"fault-{key}" in field["aria-describedby"].split()
    assert any(attributes.get("id") == f"fault-{key}" for _, attributes in page.elements)
    markup = f">\n{escape(typed)}</textarea>" if key == "note" else f'value="{escape(typed)}"'
    assert markup in page.html
    open_details = sum(
        name == "details" and "open" in attributes for name, attributes in page.elements
    )
    assert open_details == (key in {"reason", "remark"})
    assert await status_of(database, number) == state


async def test_cancelling_requires_a_reason_and_returns_the_stock(visitor, database):
    number = await add_confirmed(database)
    clerk = await visitor(Role.CLERK)

    without_reason = await send(
        clerk, f"/admin/orders/{number}/transitions", to="cancelled", reason=" "
    )
    cancelled = await send(
        clerk, f"/admin/orders/{number}/transitions", to="cancelled", reason="Asked on the phone"
    )

    assert "Enter a reason" in without_reason.text
    assert "is cancelled" in cancelled.text
    assert "Asked on the phone" in cancelled.text
    async with database() as conn:
        order = await orders.get(conn, number)
        assert await stock.quantity(conn, order.items[0].book_id) == 7


async def test_a_manager_records_a_payment_status(visitor, database):
    number = await add_confirmed(database)
    manager = await visitor(Role.MANAGER)

    page = await send(manager, f"/admin/orders/{number}/payment", to="paid")

    assert "Payment of order 7Q4M-XK2P recorded: paid." in page.text


async def test_orders_are_found_by_number_email_title_and_isbn(visitor, database):
    number = await add_confirmed(database, email="mira@example.com")
    clerk = await visitor(Role.CLERK)

    for q in ("7q4m", "mira@", "Dune"):
        assert f"/admin/orders/{number}" in (await read(clerk, f"/admin/orders?q={q}")).links
    nothing = await read(clerk, "/admin/orders?q=Emma")
    found = await read(clerk, f"/admin/search?q={number.lower()}")

    assert "No order matches" in nothing.text
    assert found.path == f"/admin/orders/{number}"


async def test_a_long_order_list_continues_on_the_next_page(visitor, database):
    async with database() as conn:
        dune = await add_book(conn)
        for _ in range(30):
            await add_order(conn, {dune: 1}, status="confirmed")
    clerk = await visitor(Role.CLERK)

    first = await read(clerk, "/admin/orders?status=confirmed")
    next_link = next(link for link in first.links if "cursor=" in link)
    second = await read(clerk, next_link)

    def numbers(page):
        return [link for link in page.links if re.match(r"/admin/orders/\d+-TEST", link)]

    assert len(numbers(first)) == 25
    assert len(numbers(second)) == 5
    assert not set(numbers(first)) & set(numbers(second))


async def test_the_page_of_an_order_shows_its_emails(visitor, database):
    async with database() as conn:
        dune = await add_book(conn)
        order_id = await add_order(conn, {dune: 1}, number="C3TN-88WD", status="confirmed")
        await conn.execute(
            insert(notifications).values(
                order_id=order_id,
                kind="order-confirmed",
                status=EmailStatus.FAILED,
                in_doubt=False,
                recipient="ana@example.com",
                attempts=1,
                smtp_answer="550 5.1.1 no such mailbox",
                created_at=NOON,
            )
        )
    clerk = await visitor(Role.CLERK)

    page = await read(clerk, "/admin/orders/C3TN-88WD")

    assert "E-mail failed" in page.text
    assert "550 5.1.1 no such mailbox" in page.text
    assert any(action.endswith("/resend") for action in page.forms)


async def test_an_unknown_order_is_not_found(visitor):
    clerk = await visitor(Role.CLERK)

    assert (await read(clerk, "/admin/orders/NONE")).status == 404
    assert (await send(clerk, "/admin/orders/NONE/transitions", to="packed")).status == 404


async def test_a_remark_is_kept_when_a_colleague_changed_the_status_first(visitor, database):
    async with database() as conn:
        await add_order(conn, {await add_book(conn): 1}, number="7Q4M-XK2P", status="confirmed")
    clerk, colleague = await visitor(Role.CLERK), await visitor(Role.CLERK)
    path = "/admin/orders/7Q4M-XK2P/transitions"
    await send(colleague, path, to="packed")

    refused = await send(clerk, path, to="packed", reason="In <two> boxes")

    assert refused.status == 422
    assert "An order that is packed cannot become packed." in refused.text
    assert "You entered: In <two> boxes" in refused.text


async def test_a_blank_remark_does_not_change_the_status(visitor, database):
    async with database() as conn:
        await add_order(conn, {await add_book(conn): 1}, number="7Q4M-XK2P", status="confirmed")
    clerk = await visitor(Role.CLERK)

    page = await send(clerk, "/admin/orders/7Q4M-XK2P/transitions", to="packed", reason="  ")

    assert "#field-remark" in page.links
    assert await status_of(database, "7Q4M-XK2P") is orders.State.CONFIRMED


async def test_selected_orders_are_packed_together_and_failures_are_reported(visitor, database):
    async with database() as conn:
        dune = await add_book(conn)
        for number, status in (("AAAA-0001", "confirmed"), ("AAAA-0002", "confirmed")):
            await add_order(conn, {dune: 1}, number=number, status=status)
        await add_order(conn, {dune: 1}, number="AAAA-0003", status="shipped")
    clerk = await visitor(Role.CLERK)

    listed = await read(clerk, "/admin/orders?status=confirmed")
    answer = await clerk.post(
        "/admin/orders",
        data=[
            *(("number", f"AAAA-000{index}") for index in (1, 2, 3)),
            ("to", "packed"),
            ("back", listed.path),
        ],
    )
    page = await answer.text()
    none_selected = await send(clerk, "/admin/orders", to="packed")
    cancelled = await send(clerk, "/admin/orders", to="cancelled", number="AAAA-0001")

    assert "2 orders are packed." in page
    assert "AAAA-0003: An order that is shipped cannot become packed." in page
    assert "No orders to pack." in page
    assert "No orders selected." in none_selected.text
    assert "cannot be set for many orders" in cancelled.text
    assert await status_of(database, "AAAA-0001") is orders.State.PACKED
    assert await status_of(database, "AAAA-0003") is orders.State.SHIPPED


async def test_orders_are_shipped_after_a_preview_with_tracking_numbers(visitor, database):
    async with database() as conn:
        dune = await add_book(conn)
        for index, status in enumerate(("packed", "packed", "confirmed"), 1):
            await add_order(conn, {dune: 1}, number=f"AAAA-000{index}", status=status)
    clerk = await visitor(Role.CLERK)
    chosen = [("number", f"AAAA-000{index}") for index in (1, 2, 3)]

    async def post(*fields):
        answer = await clerk.post("/admin/orders", data=[*chosen, ("to", "shipped"), *fields])
        return answer.status, await answer.text()

    _, preview = await post()
    before = [await status_of(database, f"AAAA-000{index}") for index in (1, 2, 3)]
    too_long = await post(("checked", "yes"), ("tracking-AAAA-0002", "X" * 201))
    kept = [await status_of(database, f"AAAA-000{index}") for index in (1, 2, 3)]
    _, done = await post(("checked", "yes"), ("tracking-AAAA-0002", " JD 01 "))

    assert "Nothing has changed yet." in preview
    assert "Mark 2 orders as shipped" in preview
    assert "Not included" in preview
    assert before == kept == ["packed", "packed", "confirmed"]
    assert too_long[0] == 422
    assert "X" * 201 in too_long[1]
    assert "2 orders are shipped." in done
    async with database() as conn:
        found = [await orders.get(conn, f"AAAA-000{index}") for index in (1, 2, 3)]
    assert [(order.status, order.tracking) for order in found] == [
        ("shipped", None),
        ("shipped", "JD 01"),
        ("confirmed", None),
    ]


async def test_an_event_of_another_day_shows_its_date(visitor, database):
    today = now()
    first = today - timedelta(days=400)
    async with database() as conn:
        dune = await add_book(conn, title="Dune")
        order_id = await add_order(conn, {dune: 1}, number="7Q4M-XK2P", last_seq=2)
        for seq, kind, at in ((1, "placed", first), (2, "confirmed", today)):
            await conn.execute(
                insert(order_events).values(
                    order_id=order_id, seq=seq, kind=kind, at=at, actor="worker"
                )
            )
    clerk = await visitor(Role.CLERK)

    page = await read(clerk, "/admin/orders/7Q4M-XK2P")
    steps = await read(clerk, "/admin/orders/7Q4M-XK2P?show=steps")

    assert f"{first.astimezone():%b %Y, %H:%M} Placed" in page.text
    assert f"{today.astimezone():%H:%M:%S} Confirmed" in steps.text
    assert 'class="log dated"' in page.html


@pytest.mark.parametrize(
    ("at", "time_format"),
    [
        (NOON, "{0:%H:%M:%S}"),
        (NOON - timedelta(days=1), "{0.day} {0:%b, %H:%M:%S}"),
        (NOON + timedelta(days=1), "{0.day} {0:%b, %H:%M:%S}"),
        (NOON - timedelta(days=365), "{0.day} {0:%b %Y, %H:%M}"),
    ],
)
def test_only_a_time_of_today_is_shown_without_its_date(at, time_format):
    assert log_time(at, NOON) == time_format.format(at.astimezone())
