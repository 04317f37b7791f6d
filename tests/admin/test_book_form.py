"""Forms about books and categories that are refused: what was typed is still in them."""

import pytest
from sqlalchemy import select

from bookstore.catalogue import categories
from bookstore.database.tables import categories as category_rows
from bookstore.users.permissions import GRANTS, Role, is_staff
from tests.admin.conftest import read, send
from tests.admin.test_access import PAGES, example
from tests.admin.test_staff import add_dead_task
from tests.factories import NOON, add_book


@pytest.fixture
async def book_id(database):
    async with database() as conn:
        return await add_book(conn, title="Dune", stock=2)


@pytest.fixture
async def poetry(database):
    async with database() as conn:
        await categories.create(conn, "Essays", user_id=None, now=NOON)
        return (await categories.create(conn, "Poetry", user_id=None, now=NOON)).slug


def field(page, place):
    """The attributes of the one field with this place."""
    (found,) = (facts for _, facts in page.elements if facts.get("id") == f"field-{place}")
    return found


@pytest.mark.parametrize(
    ("form", "typed", "place"),
    [
        ("stock", {"delta": "0", "reason": "returned", "note": "<b>Wet</b>"}, "delta"),
        ("stock", {"delta": "1", "reason": "returned", "note": "<b>Wet</b>" * 60}, "note"),
        ("low-stock", {"low_stock": "-1"}, "low_stock"),
    ],
)
async def test_a_form_about_stock_keeps_what_was_typed(
    visitor, database, book_id, form, typed, place
):
    clerk = await visitor(Role.CLERK)

    page = await send(clerk, f"/admin/books/{book_id}/{form}", **typed)

    assert page.status == 422
    assert f"#field-{place}" in page.links
    assert field(page, place)["aria-invalid"] == "true"
    assert f"fault-{place}" in field(page, place)["aria-describedby"].split()
    for name in {*typed} - {"reason"}:
        assert field(page, name)["value"] == typed[name]
    chosen = [facts["value"] for name, facts in page.elements if "selected" in facts]
    assert chosen == ([typed["reason"]] if "reason" in typed else [])


async def test_copies_that_are_not_there_leave_the_form_as_it_was(visitor, book_id):
    clerk = await visitor(Role.CLERK)

    page = await send(
        clerk, f"/admin/books/{book_id}/stock", delta="-5", reason="damaged", note="Wet"
    )

    assert page.status == 422
    assert "#field-delta" in page.links
    assert (field(page, "delta")["value"], field(page, "note")["value"]) == ("-5", "Wet")


@pytest.mark.parametrize(
    ("name", "parent", "at_fault"),
    [("P" * 300, "poetry", "name"), ("Poetry", "", "name"), ("Odes", "prose", "parent")],
)
async def test_a_new_category_keeps_its_name_until_it_is_one(
    visitor, database, poetry, name, parent, at_fault
):
    editor = await visitor(Role.EDITOR)

    page = await send(editor, "/admin/categories", name=name, parent=parent)

    assert page.status == 422
    assert f"#field-new-{at_fault}" in page.links
    assert field(page, "new-name")["value"] == name
    assert await names(database) == ["Essays", "Poetry"]


async def test_a_category_keeps_its_new_name_until_it_has_it(visitor, database, poetry):
    editor = await visitor(Role.EDITOR)

    page = await send(editor, f"/admin/categories/{poetry}", name="P" * 300, parent="essays")

    assert page.status == 422
    assert "#field-name" in page.links
    assert field(page, "name")["value"] == "P" * 300
    assert field(page, "name")["aria-describedby"] == "fault-name"
    assert [facts["value"] for _, facts in page.elements if "selected" in facts] == ["essays"]
    assert await names(database) == ["Essays", "Poetry"]


async def test_a_category_that_is_gone_is_said_to_be(visitor, database, poetry):
    editor = await visitor(Role.EDITOR)
    await send(editor, f"/admin/categories/{poetry}/delete")

    page = await send(editor, f"/admin/categories/{poetry}", name="Odes", parent="")

    assert page.status == 404
    assert "Poetry" not in (await read(editor, "/admin/categories")).text


@pytest.mark.parametrize("back", ["", "/admin/orders/C3TN-88WD"])
async def test_a_reason_to_discard_is_kept_where_it_was_typed(visitor, database, back):
    task_id, _ = await add_dead_task(database)
    manager = await visitor(Role.MANAGER)
    too_long = "<b>no</b>" * 60

    page = await send(manager, f"/admin/queues/{task_id}/discard", reason=too_long, back=back)

    assert page.status == 422
    assert f"#field-reason-{task_id}" in page.links
    assert field(page, f"reason-{task_id}")["value"] == too_long
    assert ("details", {"class": "ask", "open": None}) in page.elements
    assert ("Everything that happened" in page.text) == bool(back)


async def test_a_reason_to_discard_what_is_gone_is_shown_again(visitor, database):
    task_id, _ = await add_dead_task(database)
    manager, colleague = await visitor(Role.MANAGER), await visitor(Role.MANAGER)
    await send(colleague, f"/admin/queues/{task_id}/discard", reason="Done by hand")

    page = await send(manager, f"/admin/queues/{task_id}/discard", reason="Asked for twice")

    assert page.status == 422
    assert "You had typed: Asked for twice" in page.text


@pytest.mark.parametrize("role", [role for role in Role if is_staff(role)])
async def test_the_address_of_a_form_leads_whoever_sends_it_to_its_page(visitor, role):
    client = await visitor(role)
    wrong = []

    for method, path, access in PAGES:
        if method == "POST" and access in GRANTS[role]:
            answer = await client.get(example(path), allow_redirects=False)
            if answer.status == 303:
                answer = await client.get(answer.headers["Location"], allow_redirects=False)
            if answer.status not in (200, 404):
                wrong.append((path, answer.status))

    assert wrong == []


async def names(database):
    async with database() as conn:
        return sorted((await conn.execute(select(category_rows.c.name))).scalars())
