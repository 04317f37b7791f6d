"""The category tree: create, rename, move and delete categories."""

from collections.abc import Sequence
from typing import NamedTuple

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import exports
from admin.list_state import Filter, ListState
from admin.rendering import NO_ERROR, FormError, page, run_action, run_form
from bookstore.backoffice import categories as backoffice_categories
from bookstore.backoffice import list_exports
from bookstore.catalogue import categories
from bookstore.catalogue.categories import Category
from bookstore.database.engine import reading
from bookstore.errors import BookstoreError, Invalid, NotFound
from web.auth.sessions import current_user
from web.server.keys import ENGINE
from web.server.request_context import now
from web.store import forms

LIST = "/admin/categories"


class CategoryRow(NamedTuple):
    """A category, and its position among those with the same parent."""

    category: Category
    first: bool
    last: bool
    #: It has no books and no subcategories, so it can be deleted.
    empty: bool


def _list_state(request: web.Request) -> ListState:
    # After a failed form, the first page is shown.
    params = request.query if request.method in ("GET", "HEAD") else {}
    return ListState(
        params,
        LIST,
        (Filter("q", "Search"),),
        sorts=backoffice_categories.SORTS,
        sort=backoffice_categories.AS_TREE,
    )


def _query(list_state: ListState) -> backoffice_categories.CategoryQuery:
    return backoffice_categories.CategoryQuery(list_state.text("q") or "")


async def show_all(
    request: web.Request, form_error: FormError = NO_ERROR, changing: str = ""
) -> web.Response:
    """GET /admin/categories; `change` is the slug of the category to edit."""
    list_state = _list_state(request)
    async with reading(request.config_dict[ENGINE]) as conn:
        tree = await categories.tree(conn)
    found = backoffice_categories.page_of_tree(
        tree,
        _query(list_state),
        sort=list_state.sort,
        cursor=list_state.cursor,
        limit=list_state.size,
    )
    changing = changing or request.query.get("change", "")
    return await page(
        request,
        "categories.html",
        changed=next((_row(it, tree) for it in tree if it.slug == changing), None),
        found=found.with_items([_row(category, tree) for category in found.items]),
        list=list_state,
        form_error=form_error,
        tree=tree,
    )


async def show(request: web.Request) -> web.Response:
    """GET /admin/categories/{slug}: the tree with the form of this category."""
    return await show_all(request, changing=request.match_info["slug"])


async def export(request: web.Request) -> web.StreamResponse:
    """GET /admin/categories/export.csv: all categories of the list."""
    list_state = _list_state(request)
    return await exports.send(request, list_exports.CATEGORIES, _query(list_state), list_state.sort)


async def create(request: web.Request) -> web.Response:
    """POST /admin/categories."""
    form = await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        category = await categories.create(
            conn,
            form.get("name", ""),
            parent=form.get("parent") or None,
            user_id=current_user(request).id,
            now=now(),
        )
        return f"Category {category.name} was added."

    if error := await run_form(request, work):
        field = f"new-{_error_field(error)}"
        values = {f"new-{name}": form.get(name, "") for name in ("name", "parent")}
        return await show_all(request, FormError.from_error(error, field, values))
    raise web.HTTPSeeOther(LIST)


async def change(request: web.Request) -> web.Response:
    """POST /admin/categories/{slug}: a new name or parent."""
    slug, form = request.match_info["slug"], await forms.read(request)

    async def work(conn: AsyncConnection) -> str:
        changes = {"name": form.get("name", ""), "parent": form.get("parent") or None}
        category = await categories.change(
            conn, slug, changes, user_id=current_user(request).id, now=now()
        )
        return f"{category.name} is saved."

    if error := await run_form(request, work):
        if isinstance(error, NotFound):
            raise error
        return await show_all(request, FormError.from_error(error, _error_field(error), form), slug)
    raise web.HTTPSeeOther(LIST)


async def move(request: web.Request) -> web.Response:
    """POST /admin/categories/{slug}/move: one position up or down among its siblings."""
    slug, form = request.match_info["slug"], await forms.read(request)
    offset = -1 if form.get("step") == "up" else 1

    async def work(conn: AsyncConnection) -> str:
        name = (await categories.get(conn, slug)).name
        position, count = await categories.move_by(
            conn, slug, offset, user_id=current_user(request).id, now=now()
        )
        return f"{name} is now number {position} of {count}."

    await run_action(request, work)
    raise web.HTTPSeeOther(LIST)


async def remove(request: web.Request) -> web.Response:
    """POST /admin/categories/{slug}/delete."""
    slug = request.match_info["slug"]

    async def work(conn: AsyncConnection) -> str:
        name = (await categories.get(conn, slug)).name
        await categories.remove(conn, slug, user_id=current_user(request).id, now=now())
        return f"{name} is deleted."

    await run_action(request, work)
    raise web.HTTPSeeOther(LIST)


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
