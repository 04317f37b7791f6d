"""Forms about books and categories that are refused: what was typed is still in them."""

import pytest
from sqlalchemy import select

from bookstore import categories
from bookstore.permissions import Role
from bookstore.tables import categories as category_rows
from tests.admin.conftest import read, send
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


async def names(database):
    async with database() as conn:
        return sorted((await conn.execute(select(category_rows.c.name))).scalars())
