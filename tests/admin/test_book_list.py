"""The catalogue in the dashboard: stock, prices and the book form."""

from bookstore.catalogue import books, categories, stock
from bookstore.users.permissions import Role
from tests.admin.conftest import read, send
from tests.factories import NOON, create_book


async def add(database, **fields):
    async with database() as conn:
        return await create_book(conn, **fields)


async def test_counted_stock_is_entered_in_the_row(visitor, database):
    dune = await add(database, stock=2)
    clerk = await visitor(Role.CLERK)
    listed = await read(clerk, "/admin/books?view=low")
    fields = listed.forms[f"/admin/books/{dune.id}/count"]

    page = await send(clerk, f"/admin/books/{dune.id}/count", **(fields | {"stock": "8"}))

    assert "Saved: Dune, 2 → 8 in stock (count)." in page.text
    assert page.path.startswith("/admin/books?view=low")
    async with database() as conn:
        assert await stock.quantity(conn, dune.id) == 8
        latest = (await stock.movements(conn, dune.id)).items[0]
    assert (latest.delta, latest.reason) == (6, stock.StockReason.COUNT)


async def test_enter_saves_a_count_and_moves_to_the_next_row(visitor, database):
    dune = await add(database, title="Dune", stock=1)
    emma = await add(database, title="Emma", stock=2)
    clerk = await visitor(Role.CLERK)
    fields = (await read(clerk, "/admin/books?view=low")).forms[f"/admin/books/{dune.id}/count"]

    page = await send(clerk, f"/admin/books/{dune.id}/count", **(fields | {"stock": "3"}))

    assert fields["next"] == str(emma.id)
    focused = [
        attributes["aria-label"] for _, attributes in page.elements if "autofocus" in attributes
    ]
    assert focused == ["Stock of Emma"]


async def test_a_count_in_conflict_with_a_sale_shows_both_numbers(visitor, database):
    dune = await add(database, stock=2)
    clerk = await visitor(Role.CLERK)
    async with database() as conn:
        await stock.move(conn, dune.id, 3, stock.StockReason.RECEIVED, now=NOON)

    page = await send(
        clerk, f"/admin/books/{dune.id}/count", stock="8", seen="2", back="/admin/books?q=Dune"
    )

    assert "now 5, before your edit 2" in page.text
    assert "keep 5" in page.text
    assert "set 8" in page.text
    fields = page.forms[f"/admin/books/{dune.id}/count"]
    assert fields == {"seen": "5", "stock": "8", "back": "/admin/books?q=Dune", "next": ""}
    async with database() as conn:
        assert await stock.quantity(conn, dune.id) == 5

    again = await send(clerk, f"/admin/books/{dune.id}/count", **fields)

    assert "5 → 8 in stock" in again.text


async def test_a_count_between_the_old_and_the_new_stock_is_a_conflict_too(visitor, database):
    dune = await add(database, stock=9)
    clerk = await visitor(Role.CLERK)
    async with database() as conn:
        await stock.move(conn, dune.id, -8, stock.StockReason.DAMAGED, now=NOON)

    page = await send(clerk, f"/admin/books/{dune.id}/count", stock="4", seen="9")

    assert "now 1, before your edit 9" in page.text


async def test_an_invalid_count_is_refused(visitor, database):
    dune = await add(database, stock=2)
    clerk = await visitor(Role.CLERK)

    for typed in ("", "many", "-1", "1e3", "9" * 30, "1000001"):
        page = await send(clerk, f"/admin/books/{dune.id}/count", stock=typed, seen="2")
        assert page.status == 422
        assert "Saved" not in page.text, typed
    async with database() as conn:
        assert await stock.quantity(conn, dune.id) == 2


async def test_a_price_changed_by_two_users_shows_both_prices(visitor, database):
    dune = await add(database, price_cents=1290)
    manager = await visitor(Role.MANAGER)
    form = (await read(manager, "/admin/books")).forms[f"/admin/books/{dune.id}/price"]
    async with database() as conn:
        changes = {"price_cents": 1350}
        await books.change(conn, dune.id, dune.version, changes, user_id=None, now=NOON)

    page = await send(manager, f"/admin/books/{dune.id}/price", **(form | {"price": "11,5"}))

    assert "now €13.50, before your edit 12.90" in page.text
    form = page.forms[f"/admin/books/{dune.id}/price"]
    again = await send(manager, f"/admin/books/{dune.id}/price", **form)
    assert "Saved: Dune, €13.50 → €11.50." in again.text


async def test_editors_see_no_price_fields_and_cannot_change_prices(visitor, database):
    dune = await add(database, price_cents=1290)
    editor = await visitor(Role.EDITOR)

    listed = await read(editor, "/admin/books")
    form = await read(editor, f"/admin/books/{dune.id}")
    fields = form.forms[f"/admin/books/{dune.id}"]
    direct_request = await send(editor, f"/admin/books/{dune.id}/price", price="1", version="1")
    changed_form = await send(
        editor,
        f"/admin/books/{dune.id}",
        **(fields | {"authors": "Frank Herbert", "price_cents": "1.00"}),
    )

    assert f"/admin/books/{dune.id}/price" not in listed.forms
    assert "price_cents" not in fields
    assert direct_request.status == 403
    assert changed_form.status == 200
    async with database() as conn:
        assert (await books.get(conn, dune.id)).price_cents == 1290


async def test_a_book_is_created_with_the_form(visitor, database):
    async with database() as conn:
        await categories.create(conn, "Far Worlds", user_id=None, now=NOON)
    editor = await visitor(Role.EDITOR)

    page = await send(
        editor,
        "/admin/books/new",
        title="Don Quixote",
        isbn13="0-06-093434-4",
        authors="Miguel de Cervantes\nEdith Grossman (translator)",
        price_cents="17.90",
        stock="4",
        categories="far-worlds",
        year="1605",
    )

    assert "Don Quixote was added to the catalogue." in page.text
    async with database() as conn:
        book = await books.by_isbn(conn, "9780060934347")
    assert [(it.name, it.role) for it in book.authors] == [
        ("Miguel de Cervantes", "author"),
        ("Edith Grossman", "translator"),
    ]
    assert (book.price_cents, book.stock, book.year) == (1790, 4, 1605)
    assert [it.slug for it in book.categories] == ["far-worlds"]


async def test_entered_values_are_kept_when_a_field_is_wrong(visitor):
    editor = await visitor(Role.EDITOR)

    page = await send(
        editor,
        "/admin/books/new",
        title="Don Quixote",
        isbn13="9780060934348",
        authors="Cervantes",
        price_cents="a lot",
        year="",
    )

    assert page.status == 422
    assert "Price: Enter an amount such as 12.90." in page.text
    assert page.forms["/admin/books/new"]["title"] == "Don Quixote"
    assert "Cervantes" in page.text


async def test_a_form_with_an_outdated_version_shows_the_current_values(visitor, database):
    dune = await add(database, title="Dune")
    editor = await visitor(Role.EDITOR)
    fields = (await read(editor, f"/admin/books/{dune.id}")).forms[f"/admin/books/{dune.id}"]
    async with database() as conn:
        changes = {"title": "Dune, annotated"}
        await books.change(conn, dune.id, dune.version, changes, user_id=None, now=NOON)

    edited = fields | {"title": "Dune Messiah", "authors": "Frank Herbert"}
    page = await send(editor, f"/admin/books/{dune.id}", **edited)

    assert page.status == 409
    assert "Now: Dune, annotated" in page.text
    fields = page.forms[f"/admin/books/{dune.id}"]
    assert fields["title"] == "Dune Messiah"
    saved = await send(editor, f"/admin/books/{dune.id}", **(edited | fields))
    assert "Dune Messiah is saved." in saved.text


async def test_a_book_is_withdrawn_and_restored(visitor, database):
    dune = await add(database)
    editor = await visitor(Role.EDITOR)
    address = f"/admin/books/{dune.id}"

    withdrawn = await send(editor, f"{address}/withdraw", version="1")
    listed = await read(editor, "/admin/books?view=withdrawn")
    restored = await send(editor, f"{address}/restore", version="2")

    assert "Dune is withdrawn" in withdrawn.text
    assert address in listed.links
    assert "Dune is on sale again." in restored.text


async def test_the_stock_of_a_book_is_adjusted(visitor, database):
    dune = await add(database, stock=2)
    clerk = await visitor(Role.CLERK)
    address = f"/admin/books/{dune.id}/stock"

    adjusted = await send(clerk, address, delta="-1", reason="damaged", note="Wet")
    refused = await send(clerk, address, delta="-5", reason="damaged")
    wrong_reason = await send(clerk, address, delta="-1", reason="sold")

    assert "1 in stock" in adjusted.text
    assert "Wet" in adjusted.text
    assert "Only 1 of this book are in stock." in refused.text
    assert "This reason does not exist." in wrong_reason.text


async def test_an_isbn_in_the_search_box_leads_to_the_book(visitor, database):
    dune = await add(database, isbn13="9780441013593")
    clerk, editor = await visitor(Role.CLERK), await visitor(Role.EDITOR)

    assert (await read(editor, "/admin/search?q=0-441-01359-7")).path == f"/admin/books/{dune.id}"
    assert (await read(clerk, "/admin/search?q=0441013597")).path == f"/admin/books/{dune.id}/stock"
