"""Lists: their state stands in the address, and what they show is had as a file."""

import csv
import io
import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select, update
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


def asked(link):
    return {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}


async def add_orders(database, number=3, **columns):
    async with database() as conn:
        dune = await add_book(conn, title="Dune", stock=5)
        for place in range(number):
            facts = {"total_cents": 100 * place, "status": "confirmed", **columns}
            await add_order(conn, {dune: 1}, number=f"{place:04}-TEST", **facts)


def numbers(page):
    return [it[1] for link in page.links if (it := re.fullmatch(r"/admin/orders/(\d+-TEST)", link))]


async def test_columns_sort_up_and_down(visitor, database):
    await add_orders(database)
    clerk = await visitor(Role.CLERK)

    first = await read(clerk, "/admin/orders")
    down = next(link for link in first.links if "sort=-total" in link)
    dearest = await read(clerk, down)
    up = next(link for link in dearest.links if asked(link).get("sort") == "total")
    cheapest = await read(clerk, up)

    assert numbers(dearest) == ["0002-TEST", "0001-TEST", "0000-TEST"]
    assert numbers(cheapest) == ["0000-TEST", "0001-TEST", "0002-TEST"]
    sorted_by = [facts["aria-sort"] for name, facts in cheapest.elements if "aria-sort" in facts]
    assert sorted_by == ["ascending"]


async def test_filters_stand_in_the_address_and_can_be_taken_away(visitor, database):
    await add_orders(database)
    await add_orders(database, number=0)
    clerk = await visitor(Role.CLERK)
    address = "/admin/orders?status=confirmed&payment=unpaid&since=2026-03-20&size=50"

    page = await read(clerk, address)
    later = await read(clerk, "/admin/orders?since=2026-03-22")
    broken = await read(clerk, "/admin/orders?since=2026-02-31&status=confirmed")

    assert "Payment: Unpaid" in page.text
    without = next(
        link
        for link in page.links
        if asked(link) == {"status": "confirmed", "since": "2026-03-20", "size": "50"}
    )
    assert numbers(await read(clerk, without)) == numbers(page) != []
    assert "No order fits" in later.text
    assert "Type a day such as 2026-03-21." in broken.text
    assert len(numbers(broken)) == 3


async def test_pages_lead_there_and_back(visitor, database):
    await add_orders(database, number=60)
    clerk = await visitor(Role.CLERK)

    def go(page, rel):
        return next(facts["href"] for name, facts in page.elements if facts.get("rel") == rel)

    first = await read(clerk, "/admin/orders?size=25")
    second = await read(clerk, go(first, "next"))
    third = await read(clerk, go(second, "next"))
    back = await read(clerk, go(third, "prev"))

    assert len(numbers(third)) == 10
    assert numbers(back) == numbers(second)
    assert len({*numbers(first), *numbers(second), *numbers(third)}) == 60
    fifty = await read(clerk, "/admin/orders?size=50")
    assert len(numbers(fifty)) == 50


@pytest.mark.parametrize("path", ["orders", "books", "authors", "users", "notifications", "audit"])
async def test_s25_what_a_list_shows_is_had_as_a_file_without_formulas(visitor, database, path):
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
        latest = (await audit_report.audit(conn)).items[0]
    assert (latest.action, latest.object_id) == ("export", "list")


async def test_slips_are_printed_for_the_orders_that_are_ticked(visitor, database):
    await add_orders(database)
    clerk = await visitor(Role.CLERK)

    page = await read(clerk, "/admin/orders/slips?number=0002-TEST&number=0000-TEST&number=none")
    none = await read(clerk, "/admin/orders/slips?number=none")

    assert "Packing slips 2" in page.text
    assert page.text.index("0002-TEST") < page.text.index("0000-TEST")
    assert "Quay 9" in page.text
    assert none.status == 404


async def test_staff_tell_each_other_about_an_order(visitor, database):
    await add_orders(database, number=1)
    clerk = await visitor(Role.CLERK)

    silent = await send(clerk, "/admin/orders/0000-TEST/notes", body="  ")
    page = await send(clerk, "/admin/orders/0000-TEST/notes", body="Gift <b>paper</b>.")
    listed = await read(clerk, "/admin/orders?notes=yes")

    assert silent.status == 422
    assert "A note needs words." in silent.text
    assert "Note: Gift <b>paper</b>." in page.text
    assert numbers(listed) == ["0000-TEST"]
    async with database() as conn:
        (change,) = (await audit_report.audit(conn)).items
    assert change.changes == {"note": None}


async def test_the_timeline_has_failed_tries_and_what_staff_did_about_them(visitor, database):
    await add_orders(database, number=1, status="placed")
    async with database() as conn:
        order_id = (await orders.get(conn, "0000-TEST")).id
        await outbox.add(conn, Task.PROCESS_ORDERS, [order_id], now=NOON)
        for number in range(outbox.MAX_ATTEMPTS):
            await outbox.start(conn, Task.PROCESS_ORDERS, [order_id])
            await outbox.fail(conn, Task.PROCESS_ORDERS, order_id, f"fault {number}", now=NOON)
        (row,) = await outbox.find(conn, dead=True)
    manager = await visitor(Role.MANAGER)

    before = await read(manager, "/admin/orders/0000-TEST")
    opened = await read(manager, f"/admin/queues?task={row.id}")
    back = "/admin/orders/0000-TEST"
    after = await send(manager, f"/admin/queues/{row.id}/replay", back=back)

    assert "process_orders was given up after 5 tries" in before.text
    assert all(f"fault {number}" in before.text for number in range(5))
    assert "Try 1 of process_orders failed" in before.text
    assert "fault 0" in opened.text
    assert after.path == back
    assert "Replay: work that was given up" in after.text


async def test_a_name_that_is_refused_stays_in_its_field(visitor, database):
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


async def test_an_author_gets_the_right_name_and_two_become_one(visitor, database):
    async with database() as conn:
        wrong = await create_book(conn, title="Dune", authors=["Frank Herbrt"])
        right = await create_book(conn, title="Whipping Star", authors=["Frank Herbert"])
        both = await create_book(conn, title="Eye", authors=["Frank Herbrt", "Frank Herbert"])
    editor = await visitor(Role.EDITOR)
    address = f"/admin/authors/{wrong.authors[0].id}"

    found = await read(editor, "/admin/authors?q=herbrt")
    named = await send(editor, address, name="F. Herbrt", seen="Frank Herbrt")
    overtaken = await send(editor, address, name="X", seen="Frank Herbrt")
    joined = await send(editor, address, name="frank HERBERT", seen="F. Herbrt")

    assert address in found.links
    assert "F. Herbrt is saved." in named.text
    assert "is saved" not in overtaken.text
    assert joined.path == f"/admin/authors/{right.authors[0].id}"
    async with database() as conn:
        assert [it.name for it in (await books.get(conn, wrong.id)).authors] == ["Frank Herbert"]
        assert len((await books.get(conn, both.id)).authors) == 1
        listed = await books.find(conn, books.Query(q="herbert dune"))
        assert (await authors.get(conn, right.authors[0].id)).book_count == 3
    assert [book.id for book in listed.items] == [wrong.id]


async def test_each_book_has_its_own_threshold(visitor, database):
    async with database() as conn:
        dune = await add_book(conn, title="Dune", stock=9)
        emma = await add_book(conn, title="Emma", stock=3)
    clerk = await visitor(Role.CLERK)

    await send(clerk, f"/admin/books/{dune}/low-stock", low_stock="10")
    saved = await send(clerk, f"/admin/books/{emma}/low-stock", low_stock="2")
    refused = await send(clerk, f"/admin/books/{emma}/low-stock", low_stock="-1")
    low = await read(clerk, "/admin/books?view=low")

    assert "low with 2 copies or fewer" in saved.text
    assert "Type a number up to" in refused.text
    assert f"/admin/books/{dune}/stock" in low.links
    assert f"/admin/books/{emma}/stock" not in low.links


async def test_prices_of_all_that_match_change_after_a_look(visitor, database):
    async with database() as conn:
        for place in range(4):
            await create_book(conn, title=f"Book {place}", price_cents=1000 * (place + 1))
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
    assert "2 books are as before." in undone.text
    assert "Type a price such as 12.90" in wrong.text
    assert wrong.status == 422
    assert ("input", "dear") in [(name, facts.get("value")) for name, facts in wrong.elements]
    assert "Nothing was ticked." in none.text


async def test_editors_move_books_between_categories_and_touch_no_price(visitor, database):
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


async def test_a_user_is_signed_out_of_one_device_or_of_all(visitor, database):
    admin, clerk = await visitor(Role.ADMIN), await visitor(Role.CLERK, email="c@example.com")
    listed = await read(admin, "/admin/users?q=c@example")
    address = next(link for link in listed.links if re.fullmatch(r"/admin/users/\d+", link))

    page = await read(admin, address)
    ended = await send(admin, f"{address}/sessions")
    out = await read(clerk, "/admin")

    assert "Sign out everywhere" in page.text
    assert "is signed out everywhere" in ended.text
    assert out.path.startswith("/sign-in")


async def test_somebodys_data_are_taken_away_and_erased(visitor, database):
    async with database() as conn:
        user_id = await add_user(conn, name="Ana Petrović", email="ana@example.com")
    admin = await visitor(Role.ADMIN)
    address = f"/admin/users/{user_id}"

    held = await admin.get(f"{address}/export.json")
    slip = await send(admin, f"{address}/erase", email="anna@example.com")
    erased = await send(admin, f"{address}/erase", email="ANA@example.com")
    audited = await read(admin, f"/admin/audit?object=user&id={user_id}")

    assert "ana@example.com" in await held.text()
    assert slip.status == 422
    assert "#field-email" in slip.links
    assert 'value="anna@example.com"' in slip.html
    assert 'aria-describedby="hint-email fault-email"' in slip.html
    assert "type their e-mail address" in slip.text
    assert "What was personal is gone." in erased.text
    assert "Ana" not in (await read(admin, "/admin/users?q=ana")).text.partition("Users")[2]
    assert "Export: user" in audited.text


async def test_delicate_actions_ask_for_the_password_again(visitor, database):
    async with database() as conn:
        user_id = await add_user(conn)
    admin = await visitor(Role.ADMIN)
    async with database() as conn:
        # The password was typed long ago.
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
        asked = URL(answer.headers["Location"])
        assert asked.path == "/account/confirm"
        # From there it goes on to the page with the form.
        assert (await read(admin, asked.query["next"])).path == f"/admin/users/{user_id}"
    seen = await read(admin, f"/admin/users/{user_id}")
    assert seen.status == 200


@pytest.mark.parametrize("role", [role for role in Role if is_staff(role)])
async def test_no_page_offers_what_a_role_may_not_do(visitor, database, role):
    """Every form that a role is shown leads to where it may go; the rest is refused by hand."""
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
        for method, path, _, access in routes.PAGES
        if access in GRANTS[role]
    ]
    seen, waiting = set(), ["/admin"]

    while waiting and len(seen) < 60:
        path = waiting.pop(0)
        seen.add(path)
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
            if "export." not in link and link not in seen and link not in waiting:
                waiting.append(link)
    assert f"/admin/books/{dune.id}{'' if role is not Role.CLERK else '/stock'}" in seen
