"""Bulk changes of prices and categories: select, preview, apply, undo."""

from collections.abc import Iterable, Mapping

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import bulk_preview, form_values
from admin.access import made_by
from admin.book_list import BULK_FIELDS, LIST
from admin.list_state import parse_query
from admin.rendering import FormError, back_to, page
from bookstore.backoffice import bulk_changes
from bookstore.backoffice.bulk_changes import BOOK_FIELDS, BulkField, BulkOutcome, BulkPlan
from bookstore.catalogue import books, categories
from bookstore.database.engine import reading
from bookstore.database.tables import books as table
from bookstore.errors import BookstoreError, Invalid, NotAllowed, NotFound
from bookstore.users.permissions import Permission, permits
from web.auth.sessions import current_user
from web.server.keys import ENGINE
from web.server.transactions import read, write
from web.store import flash, forms

#: As many rows as the longest page has.
MAX_SELECTED = 100


async def plan(request: web.Request) -> web.Response:
    """POST /admin/books/bulk: plan a change of the selected books, or with `all` of the whole list.

    Nothing is changed yet: the next page shows a preview.  If the plan fails, the list is shown
    again with its selection and the entered values.
    """
    form = await forms.read(request)
    sent = await request.post()
    back = back_to(form.get("back"), LIST.url())
    ticked = form_values.parse_ids(sent.getall("book", []), MAX_SELECTED)
    field, every = form.get("field", ""), form.get("all") == "yes"

    async def work(conn: AsyncConnection) -> int:
        if field not in BOOK_FIELDS:
            raise Invalid("field", "Choose what to change.")
        _check_permission(request, BulkField(field))
        if not ticked and not every:
            raise Invalid("book", "No books selected. Select books first.")
        chosen = select(table.c.id).where(table.c.id.in_(ticked))
        if every:
            chosen = await LIST.ids(conn, request, back)
        if field == BulkField.PRICE:
            text = form.get("price", "")
            return await bulk_changes.plan_prices(conn, chosen, text, **made_by(request))
        return await bulk_changes.plan_category(
            conn, chosen, BulkField(field), form.get("category", ""), **made_by(request)
        )

    try:
        plan_id = await write(request, work)
    except NotAllowed:
        raise
    except BookstoreError as error:
        form_error = _form_error(error, form, ticked)
        return await LIST.show(request, form_error, params=parse_query(back))
    raise web.HTTPSeeOther(f"/admin/books/bulk/{plan_id}")


async def show(request: web.Request) -> web.Response:
    """GET /admin/books/bulk/{plan_id}: the preview of a change, or its result."""
    async with reading(request.config_dict[ENGINE]) as conn:
        plan = await bulk_changes.get(conn, bulk_preview.plan_id(request))
        if plan.damaged or not plan.field.is_known:
            return await page(request, "bulk_unknown.html", plan=plan)
        _check_permission(request, plan.field)
        values = await bulk_preview.preview(conn, plan)
        by_id = await books.by_ids(conn, [change.ref_id for change in values["shown"]])
        name = plan.target
        if plan.field is not BulkField.PRICE:
            tree = await categories.tree(conn, counted=False)
            name = next((it.name for it in tree if it.slug == name), name)
    return await page(request, "bulk_books.html", books=by_id, name=name, **values)


async def apply(request: web.Request) -> web.Response:
    """POST /admin/books/bulk/{plan_id}: apply the change."""
    if found := await bulk_preview.apply_plan(request, await _get_plan(request)):
        done, skipped = found.number(BulkOutcome.DONE), found.number(BulkOutcome.SKIPPED)
        await flash.add(request, "ok", f"{_books(done)} changed.")
        if skipped:
            reason = "another user changed them in the meantime"
            await flash.add(request, "warn", f"{_books(skipped)} skipped: {reason}.")
    raise web.HTTPSeeOther(request.path)


async def undo(request: web.Request) -> web.Response:
    """POST /admin/books/bulk/{plan_id}/undo: restore the previous values."""
    if found := await bulk_preview.apply_plan(request, await _get_plan(request), undo=True):
        done, skipped = found.number(BulkOutcome.UNDONE), found.number(BulkOutcome.UNDO_SKIPPED)
        await flash.add(request, "ok", f"{_books(done)} restored.")
        if skipped:
            reason = "they changed since then"
            await flash.add(request, "warn", f"{_books(skipped)} not undone: {reason}.")
    raise web.HTTPSeeOther(request.path.removesuffix("/undo"))


async def _get_plan(request: web.Request) -> BulkPlan:
    found = await read(request, bulk_changes.get, bulk_preview.plan_id(request))
    _check_permission(request, found.field)
    return found


def _form_error(error: BookstoreError, form: Mapping[str, str], ticked: Iterable[int]) -> FormError:
    field = error.field if isinstance(error, Invalid) else ""
    shown_at = next((name for name, value in BULK_FIELDS.items() if value == field), "ticks")
    values = {name: form.get(value, "") for name, value in BULK_FIELDS.items()}
    values["ticks"] = " ".join(map(str, ticked))
    return FormError.from_error(error, shown_at, {**values, "bulk-all": form.get("all", "")})


def _check_permission(request: web.Request, field: BulkField) -> None:
    if field not in BOOK_FIELDS:
        raise NotFound("This change")
    if field is BulkField.PRICE and not permits(
        current_user(request).role, Permission.CHANGE_PRICES
    ):
        raise NotAllowed


def _books(number: int) -> str:
    return "1 book is" if number == 1 else f"{number:,} books are"
