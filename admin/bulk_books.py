"""Prices and categories of many books: chosen, looked at, carried out, undone."""

from collections.abc import Iterable, Mapping

from aiohttp import web
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import bulk_preview, form_values
from admin.book_list import BULK, LIST, asked_of, listing_of, show_list
from admin.list_state import query_of
from admin.rendering import Refusal, back_to, page
from bookstore.backoffice import books as desk
from bookstore.backoffice import bulk_changes, bulk_jobs
from bookstore.backoffice.bulk_changes import OF_BOOKS, Field, Outcome, Plan
from bookstore.catalogue import categories
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.database.tables import books
from bookstore.errors import BookstoreError, Invalid, NotAllowed, NotFound
from bookstore.orders import bestsellers
from bookstore.users.permissions import Permission, permits
from web.auth.sessions import me
from web.server.keys import ENGINE
from web.server.request_context import now
from web.store import flash, forms

#: As many as the longest page ticks.
MOST_TICKED = 100
#: So many of a plan's books are shown by name.
SHOWN = 100


async def plan(request: web.Request) -> web.Response:
    """POST /admin/books/bulk: the ticked books, or with `all` every book that the list shows.

    Nothing is changed yet: the page after this shows what would be.  Where there is none, the list
    keeps its ticks and what was typed.
    """
    form = await forms.read(request)
    sent = await request.post()
    back = back_to(form.get("back"), LIST)
    ticked = form_values.ids(sent.getall("book", []), MOST_TICKED)
    field, every = form.get("field", ""), form.get("all") == "yes"

    async def work() -> int:
        if field not in OF_BOOKS:
            raise Invalid("field", "Choose what to change.")
        _allow(request, Field(field))
        if not ticked and not every:
            raise Invalid("book", "Nothing was ticked. Tick the books first.")
        async with transaction(request.config_dict[ENGINE]) as conn:
            chosen = await _chosen(conn, back) if every else _these(ticked)
            if field == Field.PRICE:
                return await bulk_changes.plan_prices(
                    conn, chosen, form.get("price", ""), user_id=me(request).id, now=now()
                )
            return await bulk_changes.plan_category(
                conn,
                chosen,
                Field(field),
                form.get("category", ""),
                user_id=me(request).id,
                now=now(),
            )

    try:
        plan_id = await retry_transaction(work)
    except NotAllowed:
        raise
    except BookstoreError as error:
        return await show_list(request, query_of(back), _refusal(error, form, ticked))
    raise web.HTTPSeeOther(f"/admin/books/bulk/{plan_id}")


async def show(request: web.Request) -> web.Response:
    """GET /admin/books/bulk/{plan_id}: what would change, or what became of it."""
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await bulk_changes.get(conn, int(request.match_info["plan_id"]))
        _allow(request, found.field)
        job = await bulk_jobs.of(conn, found.id)
        shown = sorted(found.changes, key=lambda it: it.outcome is not Outcome.OVERTAKEN)[:SHOWN]
        by_id = await bestsellers.by_ids(conn, [change.ref_id for change in shown])
        name = found.wanted
        if found.field is not Field.PRICE:
            name = next(
                (
                    it.name
                    for it in await categories.tree(conn, counted=False)
                    if it.slug == found.wanted
                ),
                name,
            )
    return await page(
        request,
        "bulk.html",
        books=by_id,
        job=job,
        name=name,
        outcome=Outcome,
        plan=found,
        shown=shown,
    )


async def carry_out(request: web.Request) -> web.Response:
    """POST /admin/books/bulk/{plan_id}: do what was shown."""
    if found := await bulk_preview.carry_out(request, await _checked(request)):
        done, left = found.number(Outcome.DONE), found.number(Outcome.OVERTAKEN)
        await flash.leave(request, "ok", f"{_books(done)} changed.")
        if left:
            await flash.leave(
                request, "warn", f"{_books(left)} left alone: somebody changed them meanwhile."
            )
    raise web.HTTPSeeOther(request.path)


async def undo(request: web.Request) -> web.Response:
    """POST /admin/books/bulk/{plan_id}/undo: give the books back what they had."""
    if found := await bulk_preview.carry_out(request, await _checked(request), undo=True):
        done, kept = found.number(Outcome.UNDONE), found.number(Outcome.KEPT)
        await flash.leave(request, "ok", f"{_books(done)} as before.")
        if kept:
            await flash.leave(
                request, "warn", f"{_books(kept)} left alone: somebody changed them since."
            )
    raise web.HTTPSeeOther(request.path.removesuffix("/undo"))


async def _checked(request: web.Request) -> Plan:
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await bulk_changes.get(conn, int(request.match_info["plan_id"]))
    _allow(request, found.field)
    return found


async def _chosen(conn: AsyncConnection, address: str) -> Select[tuple[int]]:
    """All books of the list at this address."""
    listing = listing_of(query_of(address), await categories.tree(conn, counted=False))
    query, view = asked_of(listing)
    return desk.ids(conn, query, view)


def _refusal(error: BookstoreError, form: Mapping[str, str], ticked: Iterable[int]) -> Refusal:
    field = error.field if isinstance(error, Invalid) else ""
    place = next((place for place, at_fault in BULK.items() if at_fault == field), "ticks")
    typed = {place: form.get(name, "") for place, name in BULK.items()}
    typed["ticks"] = " ".join(map(str, ticked))
    return Refusal.of(error, place, {**typed, "bulk-all": form.get("all", "")})


def _these(ids: list[int]) -> Select[tuple[int]]:
    return select(books.c.id).where(books.c.id.in_(ids))


def _allow(request: web.Request, field: Field) -> None:
    if field not in OF_BOOKS:
        raise NotFound("This change")
    if field is Field.PRICE and not permits(me(request).role, Permission.CHANGE_PRICES):
        raise NotAllowed


def _books(number: int) -> str:
    return "1 book is" if number == 1 else f"{number:,} books are"
