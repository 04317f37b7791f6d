"""The category tree: create, rename, move and delete categories."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin.access import made_by
from admin.list_state import Filter
from admin.lists import AdminList, View
from admin.rendering import FormError, run_action, run_form
from bookstore.backoffice import categories as backoffice_categories
from bookstore.catalogue import categories
from bookstore.catalogue.categories import Category
from bookstore.errors import BookstoreError, Invalid, NotFound
from bookstore.users.permissions import Permission
from web.store import forms


class CategoryRow(NamedTuple):
    """A category, and its position among those with the same parent."""

    category: Category
    first: bool
    last: bool
    #: It has no books and no subcategories, so it can be deleted.
    empty: bool


async def _details(view: View) -> dict[str, Any]:
    """The category to edit is in `change` or in the path."""
    tree = view.selected.all
    slug = view.request.match_info.get("slug") or view.request.query.get("change", "")
    return {
        "changed": next((_row(it, tree) for it in tree if it.slug == slug), None),
        "found": view.found.with_items([_row(category, tree) for category in view.found.items]),
        "tree": tree,
    }


LIST = AdminList(
    rows=backoffice_categories.CATEGORIES,
    path="/categories",
    template="categories.html",
    permission=Permission.CHANGE_CATEGORIES,
    filters=(Filter("q", "Search"),),
    details=_details,
    counted=False,
)


async def create(request: web.Request) -> web.Response:
    """POST /admin/categories."""
    form = await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        category = await categories.create(
            conn, form.get("name", ""), parent=form.get("parent") or None, **made_by(request)
        )
        return f"Category {category.name} was added."

    if error := await run_form(request, work):
        field = f"new-{_error_field(error)}"
        values = {f"new-{name}": form.get(name, "") for name in ("name", "parent")}
        return await LIST.show(request, FormError.from_error(error, field, values))
    raise web.HTTPSeeOther(LIST.url())


async def change(request: web.Request) -> web.Response:
    """POST /admin/categories/{slug}: a new name or parent."""
    slug, form = request.match_info["slug"], await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        changes = {"name": form.get("name", ""), "parent": form.get("parent") or None}
        category = await categories.change(conn, slug, changes, **made_by(request))
        return f"{category.name} is saved."

    if error := await run_form(request, work):
        if isinstance(error, NotFound):
            raise error
        return await LIST.show(request, FormError.from_error(error, _error_field(error), form))
    raise web.HTTPSeeOther(LIST.url())


async def move(request: web.Request) -> web.Response:
    """POST /admin/categories/{slug}/move: one position up or down among its siblings."""
    slug, form = request.match_info["slug"], await forms.read(request)
    offset = -1 if form.get("step") == "up" else 1

    async def work(conn: AsyncConnection) -> str:
        name = (await categories.get(conn, slug)).name
        position, count = await categories.move_by(conn, slug, offset, **made_by(request))
        return f"{name} is now number {position} of {count}."

    await run_action(request, work)
    raise web.HTTPSeeOther(LIST.url())


async def remove(request: web.Request) -> web.Response:
    """POST /admin/categories/{slug}/delete."""
    slug = request.match_info["slug"]

    async def work(conn: AsyncConnection) -> str:
        name = (await categories.get(conn, slug)).name
        await categories.remove(conn, slug, **made_by(request))
        return f"{name} is deleted."

    await run_action(request, work)
    raise web.HTTPSeeOther(LIST.url())


def _error_field(error: BookstoreError) -> str:
    return "parent" if isinstance(error, Invalid) and error.field == "parent" else "name"


def _row(category: Category, tree: Sequence[Category]) -> CategoryRow:
    siblings = [it for it in tree if it.parent == category.parent]
    has_children = any(it.parent == category.slug for it in tree)
    return CategoryRow(
        category,
        first=siblings[0] is category,
        last=siblings[-1] is category,
        empty=not category.book_count and not has_children,
    )
