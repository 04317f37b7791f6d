"""Categories: the tree that customers browse."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from marshmallow import Schema, fields
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import categories
from bookstore.catalogue.categories import NAME_LENGTH, SLUG_LENGTH, Category
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import CategoryInUse, Invalid, SlugTaken, Stale
from web.api.field_types import JsonInteger, SingleLine
from web.api.idempotency import create_once
from web.api.operations import Fields, answer, operation
from web.api.preconditions import IF_MATCH, check_if_match
from web.auth.sessions import current_user
from web.server.errors import IfMatchRequired
from web.server.keys import ENGINE
from web.server.request_context import now

TAGS = ["books"]
STAFF = ["staff"]
REVALIDATE = {"Cache-Control": "no-cache"}


class CategoryOut(Schema):
    slug = fields.String(required=True)
    name = fields.String(required=True)
    parent = fields.String(
        required=True, allow_none=True, metadata={"description": "The slug of the parent category."}
    )
    position = fields.Integer(required=True)
    book_count = fields.Integer(
        required=True,
        metadata={"description": "The number of books on sale, including those in subcategories."},
    )
    version = fields.Integer(
        required=True,
        metadata={"description": "Increases with each change of the category itself."},
    )


class CategoriesOut(Schema):
    items = fields.List(
        fields.Nested(CategoryOut),
        required=True,
        metadata={"description": "All categories; each precedes its subcategories."},
    )


class CategoryChangesIn(Schema):
    name = SingleLine(NAME_LENGTH)
    slug = SingleLine(SLUG_LENGTH)
    parent = SingleLine(
        SLUG_LENGTH,
        allow_none=True,
        metadata={
            "description": "The slug of the parent category, or null for a top-level category."
        },
    )
    position = JsonInteger(0, 1_000_000)


class CategoryIn(CategoryChangesIn):
    name = SingleLine(NAME_LENGTH, required=True)


@operation(returns=(200, CategoriesOut), tags=TAGS, cached=True)
async def list_categories(request: web.Request) -> web.Response:
    """List all categories."""
    async with reading(request.config_dict[ENGINE]) as conn:
        found = await categories.tree(conn)
    return answer(CategoriesOut, {"items": found}, headers=REVALIDATE)


@operation(returns=(200, CategoryOut), tags=TAGS, cached=True)
async def show_category(request: web.Request) -> web.Response:
    """Show a category."""
    async with reading(request.config_dict[ENGINE]) as conn:
        category = await categories.get(conn, _slug(request))
    return _answer(category)


@operation(
    body=CategoryIn,
    returns=(201, CategoryOut),
    tags=STAFF,
    refusals=[Invalid, SlugTaken],
    idempotent=True,
)
async def create_category(request: web.Request, body: Fields) -> web.Response:
    """Create a category.

    It becomes a subcategory of `parent`, or a top-level category without it.  A missing slug is
    derived from the name.
    """

    async def create(conn: AsyncConnection) -> Category:
        return await categories.create(conn, **body, user_id=current_user(request).id, now=now())

    category, headers = await create_once(request, body, create, categories.by_id)
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
    """Change a category.

    Fields that are not sent stay unchanged.
    """
    changes: dict[str, Any] = body

    async def work() -> Category:
        async with transaction(request.config_dict[ENGINE]) as conn:
            version = await _expected_version(request, conn)
            return await categories.change(
                conn,
                _slug(request),
                changes,
                version=version,
                user_id=current_user(request).id,
                now=now(),
            )

    return _answer(await retry_transaction(work))


@operation(
    headers=IF_MATCH,
    returns=(204, None),
    tags=STAFF,
    refusals=[CategoryInUse, Stale, IfMatchRequired],
)
async def remove_category(request: web.Request) -> web.Response:
    """Delete a category that contains neither books nor subcategories."""

    async def work() -> None:
        async with transaction(request.config_dict[ENGINE]) as conn:
            version = await _expected_version(request, conn)
            await categories.remove(
                conn, _slug(request), version=version, user_id=current_user(request).id, now=now()
            )

    await retry_transaction(work)
    return web.Response(status=204)


def _slug(request: web.Request) -> str:
    return request.match_info["slug"]


async def _expected_version(request: web.Request, conn: AsyncConnection) -> int:
    category = await categories.get(conn, _slug(request))
    return check_if_match(request, category.version)


def _answer(
    category: Category, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A response with the category.  Its ETag contains the version and a hash of the content."""
    response = answer(
        CategoryOut, category, status=status, headers={**REVALIDATE, **(headers or {})}
    )
    response.headers["ETag"] = f'"{category.version}.{response.headers["ETag"].strip(chr(34))}"'
    return response
