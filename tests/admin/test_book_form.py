"""Refused forms about books, categories and dead tasks keep the entered values."""

import pytest
from sqlalchemy import select

from bookstore.catalogue import categories
from bookstore.database.tables import categories as categories_table
from bookstore.users.permissions import GRANTS, Role, is_staff
from tests.admin.conftest import read, send
from tests.admin.route_paths import PAGES, example_path
from tests.admin.store_data import add_dead_task
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


def field(page, key):
    """The attributes of the only field with this key."""
    (found,) = (
        attributes for _, attributes in page.elements if attributes.get("id") == f"field-{key}"
    )
    return found


@pytest.mark.parametrize(
    ("form", "typed", "key"),
    [
        ("stock", {"delta": "0", "reason": "returned", "note": "<b>Wet</b>"}, "delta"),
        ("stock", {"delta": "1", "reason": "returned", "note": "<b>Wet</b>" * 60}, "note"),
        ("low-stock", {"low_stock": "-1"}, "low_stock"),
    ],
)
async def test_a_refused_stock_form_keeps_the_entered_values(
    visitor, database, book_id, form, typed, key
):
    clerk = await visitor(Role.CLERK)

    page = await send(clerk, f"/admin/books/{book_id}/{form}", **typed)

    assert page.status == 422
    assert f"#field-{key}" in page.links
    assert field(page, key)["aria-invalid"] == "true"
    assert f"fault-{key}" in field(page, key)["aria-describedby"].split()
    for name in {*typed} - {"reason"}:
        assert field(page, name)["value"] == typed[name]
    selected = [
        attributes["value"] for name, attributes in page.elements if "selected" in attributes
    ]
    assert selected == ([typed["reason"]] if "reason" in typed else [])


async def test_removing_more_than_the_stock_keeps_the_entered_values(visitor, book_id):
    clerk = await visitor(Role.CLERK)

    page = await send(
        clerk, f"/admin/books/{book_id}/stock", delta="-5", reason="damaged", note="Wet"
    )

    assert page.status == 422
    assert "#field-delta" in page.links
    assert (field(page, "delta")["value"], field(page, "note")["value"]) == ("-5", "Wet")


@pytest.mark.parametrize(
    ("name", "parent", "invalid_field"),
    [("P" * 300, "poetry", "name"), ("Poetry", "", "name"), ("Odes", "prose", "parent")],
)
async def test_a_refused_new_category_keeps_the_entered_name(
    visitor, database, poetry, name, parent, invalid_field
):
    editor = await visitor(Role.EDITOR)

    page = await send(editor, "/admin/categories", name=name, parent=parent)

    assert page.status == 422
    assert f"#field-new-{invalid_field}" in page.links
    assert field(page, "new-name")["value"] == name
    assert await category_names(database) == ["Essays", "Poetry"]


async def test_a_refused_category_change_keeps_the_entered_name(visitor, database, poetry):
    editor = await visitor(Role.EDITOR)

    page = await send(editor, f"/admin/categories/{poetry}", name="P" * 300, parent="essays")

    assert page.status == 422
    assert "#field-name" in page.links
    assert field(page, "name")["value"] == "P" * 300
    assert field(page, "name")["aria-describedby"] == "fault-name"
    assert [attributes["value"] for _, attributes in page.elements if "selected" in attributes] == [
        "essays"
    ]
    assert await category_names(database) == ["Essays", "Poetry"]


async def test_a_deleted_category_is_not_found(visitor, database, poetry):
    editor = await visitor(Role.EDITOR)
    await send(editor, f"/admin/categories/{poetry}/delete")

    page = await send(editor, f"/admin/categories/{poetry}", name="Odes", parent="")

    assert page.status == 404
    assert "Poetry" not in (await read(editor, "/admin/categories")).text


@pytest.mark.parametrize("back", ["", "/admin/orders/C3TN-88WD"])
async def test_a_refused_reason_to_discard_stays_in_its_field(visitor, database, back):
    task_id, _ = await add_dead_task(database)
    manager = await visitor(Role.MANAGER)
    too_long = "<b>no</b>" * 60

    page = await send(manager, f"/admin/queues/{task_id}/discard", reason=too_long, back=back)

    assert page.status == 422
    assert f"#field-reason-{task_id}" in page.links
    assert field(page, f"reason-{task_id}")["value"] == too_long
    assert ("details", {"class": "ask", "open": None}) in page.elements
    assert ("Timeline" in page.text) == bool(back)


async def test_the_reason_to_discard_a_missing_task_is_shown_again(visitor, database):
    task_id, _ = await add_dead_task(database)
    manager, colleague = await visitor(Role.MANAGER), await visitor(Role.MANAGER)
    await send(colleague, f"/admin/queues/{task_id}/discard", reason="Done by hand")

    page = await send(manager, f"/admin/queues/{task_id}/discard", reason="Asked for twice")

    assert page.status == 422
    assert "You entered: Asked for twice" in page.text


@pytest.mark.parametrize("role", [role for role in Role if is_staff(role)])
async def test_opening_the_address_of_a_form_leads_to_its_page(visitor, role):
    client = await visitor(role)
    wrong = []

    for method, path, access in PAGES:
        if method == "POST" and access in GRANTS[role]:
            answer = await client.get(example_path(path), allow_redirects=False)
            if answer.status == 303:
                answer = await client.get(answer.headers["Location"], allow_redirects=False)
            if answer.status not in (200, 404):
                wrong.append((path, answer.status))

    assert wrong == []


async def category_names(database):
    async with database() as conn:
        return sorted((await conn.execute(select(categories_table.c.name))).scalars())
