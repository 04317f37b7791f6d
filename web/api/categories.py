"""Categories: the tree in which shoppers browse."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from marshmallow import Schema, fields
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import categories
from bookstore.catalogue.categories import NAME_LENGTH, SLUG_LENGTH, Category
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import CategoryInUse, Invalid, SlugTaken, Stale
from web.api.field_types import Count, Line
from web.api.idempotency import made_once
from web.api.operations import Fields, answer, operation
from web.api.preconditions import IF_MATCH, seen_version
from web.auth.sessions import me
from web.server.errors import IfMatchRequired
from web.server.keys import ENGINE
from web.server.request_context import now

TAGS = ["books"]
STAFF = ["staff"]
FOR_ALL = {"Cache-Control": "no-cache"}


class CategoryOut(Schema):
    slug = fields.String(required=True)
    name = fields.String(required=True)
    parent = fields.String(required=True, allow_none=True, metadata={"description": "A slug."})
    position = fields.Integer(required=True)
    book_count = fields.Integer(
        required=True, metadata={"description": "Books that are sold, in subcategories too."}
    )
    version = fields.Integer(
        required=True, metadata={"description": "Counts the changes of the category itself."}
    )


class CategoriesOut(Schema):
    items = fields.List(
        fields.Nested(CategoryOut),
        required=True,
        metadata={"description": "Each category before its subcategories."},
    )


class CategoryChangesIn(Schema):
    name = Line(NAME_LENGTH)
    slug = Line(SLUG_LENGTH)
    parent = Line(
        SLUG_LENGTH, allow_none=True, metadata={"description": "A slug; null is the top."}
    )
    position = Count(0, 1_000_000)


class CategoryIn(CategoryChangesIn):
    name = Line(NAME_LENGTH, required=True)


@operation(returns=(200, CategoriesOut), tags=TAGS, kept=True)
async def list_categories(request: web.Request) -> web.Response:
    """Show the tree of categories, all of it."""
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await categories.tree(conn)
    return answer(CategoriesOut, {"items": found}, headers=FOR_ALL)


@operation(returns=(200, CategoryOut), tags=TAGS, kept=True)
async def show_category(request: web.Request) -> web.Response:
    """Show one category."""
    async with reading(request.config_dict[ENGINE]) as conn:
        category = await categories.get(conn, _slug(request))
    return _answer(category)


@operation(
    body=CategoryIn,
    returns=(201, CategoryOut),
    tags=STAFF,
    refusals=[Invalid, SlugTaken],
    once=True,
)
async def create_category(request: web.Request, body: Fields) -> web.Response:
    """Make a category, at the top or below `parent`; without a slug its name gives one."""

    async def make(conn: AsyncConnection) -> Category:
        return await categories.create(conn, **body, user_id=me(request).id, now=now())

    category, headers = await made_once(request, body, make, categories.by_id)
    headers["Location"] = str(request.rel_url.with_query(None) / category.slug)
    return _answer(category, status=201, headers=headers)


@operation(
    body=CategoryChangesIn,
    headers=IF_MATCH,
    returns=(200, CategoryOut),
    tags=STAFF,
    refusals=[Invalid, SlugTaken, Stale, IfMatchRequired],
)
async def change_category(request: web.Request, body: Fields) -> web.Response:
    """Rename or move a category."""
    changes: dict[str, Any] = body

    async def work() -> Category:
        async with transaction(request.config_dict[ENGINE]) as conn:
            seen = await _seen(request, conn)
            return await categories.change(
                conn, _slug(request), changes, version=seen, user_id=me(request).id, now=now()
            )

    return _answer(await retry_transaction(work))


@operation(
    headers=IF_MATCH,
    returns=(204, None),
    tags=STAFF,
    refusals=[CategoryInUse, Stale, IfMatchRequired],
)
async def remove_category(request: web.Request) -> web.Response:
    """Delete a category that has neither books nor subcategories."""

    async def work() -> None:
        async with transaction(request.config_dict[ENGINE]) as conn:
            seen = await _seen(request, conn)
            await categories.remove(
                conn, _slug(request), version=seen, user_id=me(request).id, now=now()
            )

    await retry_transaction(work)
    return web.Response(status=204)


def _slug(request: web.Request) -> str:
    return request.match_info["slug"]


async def _seen(request: web.Request, conn: AsyncConnection) -> int:
    category = await categories.get(conn, _slug(request))
    return seen_version(request, category.version)


def _answer(
    category: Category, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """The category; its tag has the version, and what else is shown of it."""
    response = answer(CategoryOut, category, status=status, headers={**FOR_ALL, **(headers or {})})
    response.headers["ETag"] = f'"{category.version}.{response.headers["ETag"].strip(chr(34))}"'
    return response
