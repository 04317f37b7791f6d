"""The tree of categories: made, named, moved, deleted."""

from collections.abc import Sequence
from typing import NamedTuple

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import exports
from admin.list_state import Filter, Listing
from admin.rendering import NO_REFUSAL, Refusal, attempt, carry_out, page
from bookstore.backoffice import categories as desk
from bookstore.backoffice import list_exports
from bookstore.catalogue import categories
from bookstore.catalogue.categories import Category
from bookstore.database.engine import reading
from bookstore.errors import BookstoreError, Invalid, NotFound
from web.auth.sessions import me
from web.server.keys import ENGINE
from web.server.request_context import now
from web.store import forms

LIST = "/admin/categories"


class Node(NamedTuple):
    """A category, and where it stands among those with the same parent."""

    category: Category
    first: bool
    last: bool
    #: Nothing is in it or below it, so that it can be deleted.
    empty: bool


def _listing(request: web.Request) -> Listing:
    # A form that was refused shows the first page.
    asked = request.query if request.method in ("GET", "HEAD") else {}
    return Listing(asked, LIST, (Filter("q", "Find"),), sorts=desk.SORTS, sort=desk.AS_TREE)


def _query(listing: Listing) -> desk.Query:
    return desk.Query(listing.text("q") or "")


async def show_all(
    request: web.Request, refusal: Refusal = NO_REFUSAL, changing: str = ""
) -> web.Response:
    """GET /admin/categories; `change` is the slug of the one whose form is open."""
    listing = _listing(request)
    async with reading(request.config_dict[ENGINE]) as conn:
        tree = await categories.tree(conn)
    found = desk.cut(
        tree, _query(listing), sort=listing.sort, cursor=listing.cursor, limit=listing.size
    )
    changing = changing or request.query.get("change", "")
    return await page(
        request,
        "categories.html",
        changed=next((_node(it, tree) for it in tree if it.slug == changing), None),
        found=found.of([_node(category, tree) for category in found.items]),
        list=listing,
        refusal=refusal,
        tree=tree,
    )


async def show(request: web.Request) -> web.Response:
    """GET /admin/categories/{slug}: the tree, with the form of this one open."""
    return await show_all(request, changing=request.match_info["slug"])


async def export(request: web.Request) -> web.StreamResponse:
    """GET /admin/categories/export.csv: all categories that the list shows."""
    listing = _listing(request)
    return await exports.send(request, list_exports.CATEGORIES, _query(listing), listing.sort)


async def create(request: web.Request) -> web.Response:
    """POST /admin/categories."""
    form = await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        category = await categories.create(
            conn,
            form.get("name", ""),
            parent=form.get("parent") or None,
            user_id=me(request).id,
            now=now(),
        )
        return f"{category.name} is a category now."

    if error := await attempt(request, work):
        place = f"new-{_at_fault(error)}"
        typed = {f"new-{name}": form.get(name, "") for name in ("name", "parent")}
        return await show_all(request, Refusal.of(error, place, typed))
    raise web.HTTPSeeOther(LIST)


async def change(request: web.Request) -> web.Response:
    """POST /admin/categories/{slug}: another name or parent."""
    slug, form = request.match_info["slug"], await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        changes = {"name": form.get("name", ""), "parent": form.get("parent") or None}
        category = await categories.change(conn, slug, changes, user_id=me(request).id, now=now())
        return f"{category.name} is saved."

    if error := await attempt(request, work):
        if isinstance(error, NotFound):
            raise error
        return await show_all(request, Refusal.of(error, _at_fault(error), form), slug)
    raise web.HTTPSeeOther(LIST)


async def move(request: web.Request) -> web.Response:
    """POST /admin/categories/{slug}/move: one place up or down among its neighbours."""
    slug, form = request.match_info["slug"], await forms.read(request)
    places = -1 if form.get("step") == "up" else 1

    async def work(conn: AsyncConnection) -> str:
        name = (await categories.get(conn, slug)).name
        place, of = await categories.step(conn, slug, places, user_id=me(request).id, now=now())
        return f"{name} is number {place} of {of}."

    await carry_out(request, work)
    raise web.HTTPSeeOther(LIST)


async def remove(request: web.Request) -> web.Response:
    """POST /admin/categories/{slug}/delete."""
    slug = request.match_info["slug"]

    async def work(conn: AsyncConnection) -> str:
        name = (await categories.get(conn, slug)).name
        await categories.remove(conn, slug, user_id=me(request).id, now=now())
        return f"{name} is deleted."

    await carry_out(request, work)
    raise web.HTTPSeeOther(LIST)


def _at_fault(error: BookstoreError) -> str:
    return "parent" if isinstance(error, Invalid) and error.field == "parent" else "name"


def _node(category: Category, tree: Sequence[Category]) -> Node:
    row = [it for it in tree if it.parent == category.parent]
    has_children = any(it.parent == category.slug for it in tree)
    return Node(
        category,
        first=row[0] is category,
        last=row[-1] is category,
        empty=not category.book_count and not has_children,
    )
