"""Bulk changes of prices and categories: select, preview, apply, undo."""

from collections.abc import Iterable, Mapping

from aiohttp import web
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import bulk_preview, form_values
from admin.book_list import BULK_FIELDS, LIST, book_query_of, list_state_of, show_list
from admin.list_state import parse_query
from admin.rendering import FormError, back_to, page
from bookstore.backoffice import books as backoffice_books
from bookstore.backoffice import bulk_changes, bulk_jobs
from bookstore.backoffice.bulk_changes import BOOK_FIELDS, BulkField, BulkOutcome, BulkPlan
from bookstore.catalogue import books as catalogue_books
from bookstore.catalogue import categories
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.tables import books
from bookstore.errors import BookstoreError, Invalid, NotAllowed, NotFound
from bookstore.users.permissions import Permission, permits
from web.auth.sessions import current_user
from web.server.keys import ENGINE
from web.server.request_context import now
from web.store import flash, forms

#: As many rows as the longest page has.
MAX_SELECTED = 100
#: The preview lists at most this many books.
MAX_SHOWN = 100


async def plan(request: web.Request) -> web.Response:
    """POST /admin/books/bulk: plan a change of the selected books, or with `all` of the whole list.

    Nothing is changed yet: the next page shows a preview.  If the plan fails, the list is shown
    again with its selection and the entered values.
    """
    form = await forms.read(request)
    sent = await request.post()
    back = back_to(form.get("back"), LIST)
    ticked = form_values.parse_ids(sent.getall("book", []), MAX_SELECTED)
    field, every = form.get("field", ""), form.get("all") == "yes"

    async def work() -> int:
        if field not in BOOK_FIELDS:
            raise Invalid("field", "Choose what to change.")
        _check_permission(request, BulkField(field))
        if not ticked and not every:
            raise Invalid("book", "No books selected. Select books first.")
        async with transaction(request.config_dict[ENGINE]) as conn:
            chosen = await _all_of_list(conn, back) if every else _selected(ticked)
            if field == BulkField.PRICE:
                return await bulk_changes.plan_prices(
                    conn, chosen, form.get("price", ""), user_id=current_user(request).id, now=now()
                )
            return await bulk_changes.plan_category(
                conn,
                chosen,
                BulkField(field),
                form.get("category", ""),
                user_id=current_user(request).id,
                now=now(),
            )

    try:
        plan_id = await retry_transaction(work)
    except NotAllowed:
        raise
    except BookstoreError as error:
        return await show_list(request, parse_query(back), _form_error(error, form, ticked))
    raise web.HTTPSeeOther(f"/admin/books/bulk/{plan_id}")


async def show(request: web.Request) -> web.Response:
    """GET /admin/books/bulk/{plan_id}: the preview of a change, or its result."""
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await bulk_changes.get(conn, int(request.match_info["plan_id"]))
        if not found.field.is_known:
            return await page(request, "bulk_unknown.html", plan=found)
        _check_permission(request, found.field)
        job = await bulk_jobs.latest_of_plan(conn, found.id)
        shown = sorted(found.changes, key=lambda it: it.outcome is not BulkOutcome.SKIPPED)[
            :MAX_SHOWN
        ]
        by_id = await catalogue_books.by_ids(conn, [change.ref_id for change in shown])
        name = found.target
        if found.field is not BulkField.PRICE:
            name = next(
                (
                    it.name
                    for it in await categories.tree(conn, counted=False)
                    if it.slug == found.target
                ),
                name,
            )
    return await page(
        request,
        "bulk_books.html",
        books=by_id,
        job=job,
        name=name,
        outcome=BulkOutcome,
        plan=found,
        shown=shown,
    )


async def apply(request: web.Request) -> web.Response:
    """POST /admin/books/bulk/{plan_id}: apply the change."""
    if found := await bulk_preview.apply_plan(request, await _get_plan(request)):
        done, skipped = found.number(BulkOutcome.DONE), found.number(BulkOutcome.SKIPPED)
        await flash.add(request, "ok", f"{_books(done)} changed.")
        if skipped:
            await flash.add(
                request,
                "warn",
                f"{_books(skipped)} skipped: another user changed them in the meantime.",
            )
    raise web.HTTPSeeOther(request.path)


async def undo(request: web.Request) -> web.Response:
    """POST /admin/books/bulk/{plan_id}/undo: restore the previous values."""
    if found := await bulk_preview.apply_plan(request, await _get_plan(request), undo=True):
        done, skipped = found.number(BulkOutcome.UNDONE), found.number(BulkOutcome.UNDO_SKIPPED)
        await flash.add(request, "ok", f"{_books(done)} restored.")
        if skipped:
            await flash.add(
                request, "warn", f"{_books(skipped)} not undone: they changed since then."
            )
    raise web.HTTPSeeOther(request.path.removesuffix("/undo"))


async def _get_plan(request: web.Request) -> BulkPlan:
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await bulk_changes.get(conn, int(request.match_info["plan_id"]))
    _check_permission(request, found.field)
    return found


async def _all_of_list(conn: AsyncConnection, address: str) -> Select[tuple[int]]:
    """The ids of all books of the list with this URL."""
    list_state = list_state_of(parse_query(address), await categories.tree(conn, counted=False))
    query, view = book_query_of(list_state)
    return backoffice_books.ids(conn, query, view)


def _form_error(error: BookstoreError, form: Mapping[str, str], ticked: Iterable[int]) -> FormError:
    field = error.field if isinstance(error, Invalid) else ""
    shown_at = next((name for name, value in BULK_FIELDS.items() if value == field), "ticks")
    values = {name: form.get(value, "") for name, value in BULK_FIELDS.items()}
    values["ticks"] = " ".join(map(str, ticked))
    return FormError.from_error(error, shown_at, {**values, "bulk-all": form.get("all", "")})


def _selected(ids: list[int]) -> Select[tuple[int]]:
    return select(books.c.id).where(books.c.id.in_(ids))


def _check_permission(request: web.Request, field: BulkField) -> None:
    if field not in BOOK_FIELDS:
        raise NotFound("This change")
    if field is BulkField.PRICE and not permits(
        current_user(request).role, Permission.CHANGE_PRICES
    ):
        raise NotAllowed


def _books(number: int) -> str:
    return "1 book is" if number == 1 else f"{number:,} books are"
