"""Lists keep their state in the URL and can be downloaded as files."""

import csv
import io
import json
import re
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import insert, select, update
from yarl import URL

from bookstore import orders
from bookstore.backoffice import audit_report
from bookstore.catalogue import authors, books
from bookstore.database.tables import sessions
from bookstore.notifications import notifications
from bookstore.tasks import outbox
from bookstore.tasks.outbox import Task
from bookstore.users.permissions import GRANTS, Role, is_staff
from tests.admin.conftest import read, send
from tests.factories import NOON, add_book, add_order, add_user, create_book
from web.server.request_context import now


def query_of(link):
    return {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}


async def add_orders(database, number=3, **columns):
    async with database() as conn:
        dune = await add_book(conn, title="Dune", stock=5)
        for index in range(number):
            values = {"total_cents": 100 * index, "status": "confirmed", **columns}
            await add_order(conn, {dune: 1}, number=f"{index:04}-TEST", **values)


def order_numbers(page):
    return [it[1] for link in page.links if (it := re.fullmatch(r"/admin/orders/(\d+-TEST)", link))]


async def test_columns_sort_up_and_down(visitor, database):
    await add_orders(database)
    clerk = await visitor(Role.CLERK)

    first = await read(clerk, "/admin/orders")
    descending_link = next(link for link in first.links if "sort=-total" in link)
    descending = await read(clerk, descending_link)
    ascending_link = next(
        link for link in descending.links if query_of(link).get("sort") == "total"
    )
    ascending = await read(clerk, ascending_link)

    assert order_numbers(descending) == ["0002-TEST", "0001-TEST", "0000-TEST"]
    assert order_numbers(ascending) == ["0000-TEST", "0001-TEST", "0002-TEST"]
    sorted_by = [
        attributes["aria-sort"]
        for name, attributes in ascending.elements
        if "aria-sort" in attributes
    ]
    assert sorted_by == ["ascending"]


async def test_filters_are_in_the_url_and_can_be_removed(visitor, database):
    await add_orders(database)
    await add_orders(database, number=0)
    clerk = await visitor(Role.CLERK)
    address = "/admin/orders?status=confirmed&payment=unpaid&since=2026-03-20&size=50"

    page = await read(clerk, address)
    later = await read(clerk, "/admin/orders?since=2026-03-22")
    broken = await read(clerk, "/admin/orders?since=2026-02-31&status=confirmed")

    assert "Payment: Unpaid" in page.text
    without_filter = next(
        link
        for link in page.links
        if query_of(link) == {"status": "confirmed", "since": "2026-03-20", "size": "50"}
    )
    assert order_numbers(await read(clerk, without_filter)) == order_numbers(page) != []
    assert "No order matches" in later.text
    assert "Enter a date such as 2026-03-21." in broken.text
    assert len(order_numbers(broken)) == 3


async def test_next_and_previous_lead_through_all_pages(visitor, database):
    await add_orders(database, number=60)
    clerk = await visitor(Role.CLERK)

    def link_with_rel(page, rel):
        return next(
            attributes["href"] for name, attributes in page.elements if attributes.get("rel") == rel
        )

    first = await read(clerk, "/admin/orders?size=25")
    second = await read(clerk, link_with_rel(first, "next"))
    third = await read(clerk, link_with_rel(second, "next"))
    back = await read(clerk, link_with_rel(third, "prev"))

    assert len(order_numbers(third)) == 10
    assert order_numbers(back) == order_numbers(second)
    assert len({*order_numbers(first), *order_numbers(second), *order_numbers(third)}) == 60
    fifty = await read(clerk, "/admin/orders?size=50")
    assert len(order_numbers(fifty)) == 50


@pytest.mark.parametrize("path", ["orders", "books", "authors", "users", "notifications", "audit"])
async def test_s25_an_exported_list_contains_no_formulas(visitor, database, path):
    await add_orders(database)
    async with database() as conn:
        user_id = await add_user(conn, name="=HYPERLINK(1)", email="mira@example.com")
        await create_book(conn, title="+1 Dune", authors=["@Herbert"])
        await notifications.queue(
            conn, "message", recipient="x@example.com", subject="-1", body="b",
            user_id=user_id, now=NOON,
        )  # fmt: skip
    admin = await visitor(Role.ADMIN)

    answer = await admin.get(f"/admin/{path}/export.csv")
    rows = list(csv.reader(io.StringIO((await answer.read()).decode("utf-8-sig"))))

    assert answer.content_type == "text/csv"
    assert "attachment" in answer.headers["Content-Disposition"]
    assert len(rows) > 1
    assert len({len(row) for row in rows}) == 1
    assert not [cell for row in rows for cell in row if re.match(r"[=+@\t]|-\D", cell)]
    async with database() as conn:
        latest = (await audit_report.AUDIT.find(conn)).items[0]
    assert (latest.action, latest.object_id) == ("export", "list")


async def test_a_packing_slip_is_in_the_language_of_its_order(visitor, database):
    async with database() as conn:
        dune = await add_book(conn)
        await add_order(conn, {dune: 1}, number="0000-TEST", language="de")
        await add_order(conn, {dune: 2}, number="0001-TEST", language="en")
    clerk = await visitor(Role.CLERK)

    page = await read(clerk, "/admin/orders/slips?number=0000-TEST&number=0001-TEST")

    assert "Insgesamt 1 Artikel." in page.text
    assert "2 items in total." in page.text


async def test_packing_slips_are_printed_for_the_selected_orders(visitor, database):
    await add_orders(database)
    clerk = await visitor(Role.CLERK)

    page = await read(clerk, "/admin/orders/slips?number=0002-TEST&number=0000-TEST&number=none")
    none = await read(clerk, "/admin/orders/slips?number=none")

    assert "Packing slips 2" in page.text
    assert page.text.index("0002-TEST") < page.text.index("0000-TEST")
    assert "Quay 9" in page.text
    assert none.status == 404


async def test_staff_add_notes_to_an_order(visitor, database):
    await add_orders(database, number=1)
    clerk = await visitor(Role.CLERK)

    empty = await send(clerk, "/admin/orders/0000-TEST/notes", body="  ")
    page = await send(clerk, "/admin/orders/0000-TEST/notes", body="Gift <b>paper</b>.")
    listed = await read(clerk, "/admin/orders?notes=yes")

    assert empty.status == 422
    assert "A note cannot be empty." in empty.text
    assert "Note: Gift <b>paper</b>." in page.text
    assert order_numbers(listed) == ["0000-TEST"]
    async with database() as conn:
        (change,) = (await audit_report.AUDIT.find(conn)).items
    assert change.changes == {"note": None}


async def test_the_timeline_has_failed_attempts_and_actions_of_staff(visitor, database):
    await add_orders(database, number=1, status="placed")
    async with database() as conn:
        order_id = (await orders.get(conn, "0000-TEST")).id
        await outbox.add(conn, Task.PROCESS_ORDERS, [order_id], now=NOON)
        for number in range(outbox.MAX_ATTEMPTS):
            await outbox.start_attempts(conn, Task.PROCESS_ORDERS, [order_id])
            await outbox.fail(conn, Task.PROCESS_ORDERS, order_id, f"fault {number}", now=NOON)
        (row,) = await outbox.find(conn, dead=True)
    manager = await visitor(Role.MANAGER)

    before = await read(manager, "/admin/orders/0000-TEST")
    opened = await read(manager, f"/admin/queues?task={row.id}")
    back = "/admin/orders/0000-TEST"
    after = await send(manager, f"/admin/queues/{row.id}/replay", back=back)

    assert "process_orders is dead after 5 attempts" in before.text
    assert all(f"fault {number}" in before.text for number in range(5))
    assert "Attempt 1 of process_orders failed" in before.text
    assert "fault 0" in opened.text
    assert after.path == back
    assert "Replay: dead task" in after.text


async def test_a_refused_author_name_stays_in_its_field(visitor, database):
    async with database() as conn:
        author = (await create_book(conn, title="Dune", authors=["Frank Herbert"])).authors[0]
    editor = await visitor(Role.EDITOR)

    page = await send(editor, f"/admin/authors/{author.id}", name="F" * 300)

    assert page.status == 422
    assert "#field-name" in page.links
    assert f'value="{"F" * 300}"' in page.html
    assert 'aria-invalid="true" aria-describedby="hint-name fault-name"' in page.html
    async with database() as conn:
        assert (await authors.get(conn, author.id)).name == "Frank Herbert"


async def test_an_author_is_renamed_and_then_merged_with_another(visitor, database):
    async with database() as conn:
        wrong = await create_book(conn, title="Dune", authors=["Frank Herbrt"])
        right = await create_book(conn, title="Whipping Star", authors=["Frank Herbert"])
        both = await create_book(conn, title="Eye", authors=["Frank Herbrt", "Frank Herbert"])
    editor = await visitor(Role.EDITOR)
    address = f"/admin/authors/{wrong.authors[0].id}"

    found = await read(editor, "/admin/authors?q=herbrt")
    renamed = await send(editor, address, name="F. Herbrt", seen="Frank Herbrt")
    conflict = await send(editor, address, name="X", seen="Frank Herbrt")
    merged = await send(editor, address, name="frank HERBERT", seen="F. Herbrt")

    assert address in found.links
    assert "F. Herbrt is saved." in renamed.text
    assert "is saved" not in conflict.text
    assert merged.path == f"/admin/authors/{right.authors[0].id}"
    async with database() as conn:
        assert [it.name for it in (await books.get(conn, wrong.id)).authors] == ["Frank Herbert"]
        assert len((await books.get(conn, both.id)).authors) == 1
        listed = await books.find(conn, books.BookQuery(q="herbert dune"))
        assert (await authors.get(conn, right.authors[0].id)).book_count == 3
    assert [book.id for book in listed.items] == [wrong.id]


async def test_each_book_has_its_own_low_stock_threshold(visitor, database):
    async with database() as conn:
        dune = await add_book(conn, title="Dune", stock=9)
        emma = await add_book(conn, title="Emma", stock=3)
    clerk = await visitor(Role.CLERK)

    await send(clerk, f"/admin/books/{dune}/low-stock", low_stock="10")
    saved = await send(clerk, f"/admin/books/{emma}/low-stock", low_stock="2")
    refused = await send(clerk, f"/admin/books/{emma}/low-stock", low_stock="-1")
    low = await read(clerk, "/admin/books?view=low")

    assert "low stock at 2 or fewer" in saved.text
    assert "Enter a number from 0 to" in refused.text
    assert f"/admin/books/{dune}/stock" in low.links
    assert f"/admin/books/{emma}/stock" not in low.links


async def test_prices_of_all_matching_books_change_after_a_preview(visitor, database):
    async with database() as conn:
        for index in range(4):
            await create_book(conn, title=f"Book {index}", price_cents=1000 * (index + 1))
    manager = await visitor(Role.MANAGER)
    back = "/admin/books?price_to=25"

    plan = await send(
        manager, "/admin/books/bulk", field="price", price="+10%", all="yes", back=back
    )
    done = await send(manager, plan.path)
    undone = await send(manager, f"{plan.path}/undo")
    wrong = await send(
        manager, "/admin/books/bulk", field="price", price="dear", all="yes", back=back
    )
    none = await send(manager, "/admin/books/bulk", field="price", price="1", back=back)

    assert "2 books would change." in plan.text
    assert "2 books are changed." in done.text
    assert "2 books are restored." in undone.text
    assert "Enter a price such as 12.90" in wrong.text
    assert wrong.status == 422
    assert ("input", "dear") in [
        (name, attributes.get("value")) for name, attributes in wrong.elements
    ]
    assert "No books selected." in none.text


async def test_editors_add_books_to_categories_but_cannot_change_prices(visitor, database):
    async with database() as conn:
        dune = await create_book(conn)
    editor = await visitor(Role.EDITOR)
    await send(editor, "/admin/categories", name="Poetry")
    fields = {"back": "/admin/books", "book": str(dune.id)}

    plan = await send(
        editor, "/admin/books/bulk", field="add-category", category="poetry", **fields
    )
    done = await send(editor, plan.path)
    price = await send(editor, "/admin/books/bulk", field="price", price="1", **fields)

    assert "1 book is changed." in done.text
    assert price.status == 403


async def test_an_administrator_signs_a_user_out_everywhere(visitor, database):
    admin, clerk = await visitor(Role.ADMIN), await visitor(Role.CLERK, email="c@example.com")
    listed = await read(admin, "/admin/users?q=c@example")
    address = next(link for link in listed.links if re.fullmatch(r"/admin/users/\d+", link))

    page = await read(admin, address)
    signed_out = await send(admin, f"{address}/sessions")
    next_page = await read(clerk, "/admin")

    assert "Sign out everywhere" in page.text
    assert "is signed out everywhere" in signed_out.text
    assert next_page.path.startswith("/sign-in")


async def test_an_administrator_signs_a_user_out_on_one_device(visitor, database):
    async with database() as conn:
        user_id, other_id = await add_user(conn), await add_user(conn)
        for device in ("laptop", "phone"):
            await conn.execute(
                insert(sessions).values(
                    id_hash=device.encode().ljust(32),
                    user_id=user_id,
                    data="{}",
                    user_agent=device,
                    created_at=now(),
                    last_seen_at=now(),
                    expires_at=now() + timedelta(days=1),
                )
            )
    admin = await visitor(Role.ADMIN)
    address = f"/admin/users/{user_id}"

    page = await read(admin, address)
    devices = dict(
        re.findall(r">(laptop|phone)<small.*?name=\"device\" value=\"(\w+)\"", page.html)
    )
    signed_out = await send(admin, f"{address}/sessions", device=devices["phone"])
    unknown = await send(admin, f"{address}/sessions", device=devices["phone"])
    other = await send(admin, f"/admin/users/{other_id}/sessions", device=devices["laptop"])

    assert "is signed out there." in signed_out.text
    assert "laptop" in signed_out.text
    assert "phone" not in signed_out.text
    # The session has ended already, and the other one does not belong to this user.
    assert "This session could not be found." in unknown.text
    assert "This session could not be found." in other.text
    async with database() as conn:
        (change,) = (await audit_report.AUDIT.find(conn)).items
        agents = await conn.scalars(
            select(sessions.c.user_agent).where(sessions.c.user_id == user_id)
        )
        assert list(agents) == ["laptop"]
    assert change.changes == {"sessions": ["one", None]}


async def test_personal_data_is_exported_and_erased(visitor, database):
    async with database() as conn:
        user_id = await add_user(conn, name="Ana Petrović", email="ana@example.com")
    admin = await visitor(Role.ADMIN)
    address = f"/admin/users/{user_id}"

    exported = await admin.get(f"{address}/export.json")
    mistyped = await send(admin, f"{address}/erase", email="anna@example.com")
    erased = await send(admin, f"{address}/erase", email="ANA@example.com")
    audited = await read(admin, f"/admin/audit?object=user&id={user_id}")

    assert "ana@example.com" in await exported.text()
    assert mistyped.status == 422
    assert "#field-email" in mistyped.links
    assert 'value="anna@example.com"' in mistyped.html
    assert 'aria-describedby="hint-email fault-email"' in mistyped.html
    assert "enter the e-mail address of the user" in mistyped.text
    assert "The personal data was erased." in erased.text
    assert "Ana" not in (await read(admin, "/admin/users?q=ana")).text.partition("Users")[2]
    assert "Export: user" in audited.text


async def test_sensitive_actions_require_the_password_again(visitor, database):
    async with database() as conn:
        user_id = await add_user(conn)
    admin = await visitor(Role.ADMIN)
    async with database() as conn:
        # The last confirmation of the password has expired.
        rows = (await conn.execute(select(sessions.c.id_hash, sessions.c.data))).all()
        for row in rows:
            data = {**json.loads(row.data), "confirmed_at": 0}
            await conn.execute(
                update(sessions)
                .where(sessions.c.id_hash == row.id_hash)
                .values(data=json.dumps(data))
            )

    for action in ("role", "disabled", "erase", "second-factor"):
        answer = await admin.post(
            f"/admin/users/{user_id}/{action}", data={"role": "clerk"}, allow_redirects=False
        )
        redirect = URL(answer.headers["Location"])
        assert redirect.path == "/account/confirm"
        # The confirmation page leads back to the page with the form.
        assert (await read(admin, redirect.query["next"])).path == f"/admin/users/{user_id}"
    page = await read(admin, f"/admin/users/{user_id}")
    assert page.status == 200


@pytest.mark.parametrize("role", [role for role in Role if is_staff(role)])
async def test_no_page_has_links_or_forms_that_the_role_may_not_use(visitor, database, role):
    """Direct requests to the other paths are tested in `test_permissions.py`."""
    from admin import routes

    await add_orders(database, number=2)
    async with database() as conn:
        dune = await create_book(conn, stock=2)
        user_id = await add_user(conn)
        await notifications.queue(
            conn, "message", recipient="x@example.com", subject="s", body="b",
            user_id=user_id, now=NOON,
        )  # fmt: skip
        await outbox.add(conn, Task.PROCESS_ORDERS, [1], now=NOON)
    client = await visitor(role)
    allowed = [
        (method, re.compile("/admin" + re.sub(r"\{[^{}]*(\{[^{}]*\})?[^{}]*\}", "[^/]+", path)))
        for method, path, _, access in routes.ROUTES
        if access in GRANTS[role]
    ]
    visited, queue = set(), ["/admin"]

    while queue and len(visited) < 60:
        path = queue.pop(0)
        visited.add(path)
        page = await read(client, path)
        assert page.status == 200, path
        for action in page.forms:
            if action.startswith("/admin"):
                assert any(method == "POST" and it.fullmatch(action) for method, it in allowed), (
                    path,
                    action,
                )
        links = {link.partition("#")[0] for link in page.links if link.startswith("/admin")}
        for link in sorted(links):
            assert any(
                method == "GET" and it.fullmatch(link.partition("?")[0]) for method, it in allowed
            ), (path, link)
            if "export." not in link and link not in visited and link not in queue:
                queue.append(link)
    assert f"/admin/books/{dune.id}{'' if role is not Role.CLERK else '/stock'}" in visited
