"""Categories: the tree that customers browse."""

from collections.abc import Mapping
from functools import partial

from aiohttp import web
from marshmallow import Schema, fields
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import categories
from bookstore.catalogue.categories import NAME_LENGTH, SLUG_LENGTH, Category
from bookstore.errors import CategoryInUse, Invalid, SlugTaken
from web.api.field_types import JsonInteger, SingleLine, described
from web.api.idempotency import create_once
from web.api.operations import Answer, Fields, operation
from web.api.preconditions import check_if_match
from web.api.schemas import Text
from web.auth.sessions import current_user
from web.server.request_context import now
from web.server.transactions import read, write

REVALIDATE = {"Cache-Control": "no-cache"}


class CategoryOut(Schema):
    slug = fields.String(required=True)
    name = fields.String(required=True)
    parent = described("The slug of the parent category.", Text(allow_none=True))
    position = fields.Integer(required=True)
    book_count = described(
        "The number of books on sale, including those in subcategories.",
        fields.Integer(required=True),
    )
    version = described(
        "Increases with each change of the category itself.", fields.Integer(required=True)
    )


class CategoriesOut(Schema):
    items = described(
        "All categories; each precedes its subcategories.",
        fields.List(fields.Nested(CategoryOut), required=True),
    )


class CategoryChangesIn(Schema):
    name = SingleLine(NAME_LENGTH)
    slug = SingleLine(SLUG_LENGTH)
    parent = described(
        "The slug of the parent category, or null for a top-level category.",
        SingleLine(SLUG_LENGTH, allow_none=True),
    )
    position = JsonInteger(0, 1_000_000)


class CategoryIn(CategoryChangesIn):
    name = SingleLine(NAME_LENGTH, required=True)


@operation(returns=(200, CategoriesOut), cached=True)
async def list_categories(request: web.Request) -> Fields:
    """List all categories."""
    return {"items": await read(request, categories.tree)}


@operation(returns=(200, CategoryOut), cached=True)
async def show_category(request: web.Request, slug: str) -> Answer:
    """Show a category."""
    return _answer(await read(request, categories.get, slug))


@operation(
    body=CategoryIn,
    returns=(201, CategoryOut),
    refusals=[Invalid, SlugTaken],
    idempotent=True,
)
async def create_category(request: web.Request, body: Fields) -> Answer:
    """Create a category.

    It becomes a subcategory of `parent`, or a top-level category without it.  A missing slug is
    derived from the name.
    """
    by = current_user(request).id
    create = partial(categories.create, **body, user_id=by, now=now())
    created = await create_once(request, body, create, categories.by_id, location_by="slug")
    return _answer(created.content, created.headers)


@operation(
    body=CategoryChangesIn,
    versioned=True,
    returns=(200, CategoryOut),
    refusals=[Invalid, SlugTaken],
)
async def change_category(request: web.Request, slug: str, body: Fields) -> Answer:
    """Change a category.

    Fields that are not sent stay unchanged.
    """
    by = current_user(request).id

    async def change(conn: AsyncConnection) -> Category:
        version = await _expected_version(request, conn, slug)
        return await categories.change(conn, slug, body, version=version, user_id=by, now=now())

    return _answer(await write(request, change))


@operation(
    versioned=True,
    returns=(204, None),
    refusals=[CategoryInUse],
)
async def remove_category(request: web.Request, slug: str) -> None:
    """Delete a category that contains neither books nor subcategories."""
    by = current_user(request).id

    async def remove(conn: AsyncConnection) -> None:
        version = await _expected_version(request, conn, slug)
        await categories.remove(conn, slug, version=version, user_id=by, now=now())

    await write(request, remove)


async def _expected_version(request: web.Request, conn: AsyncConnection, slug: str) -> int:
    return check_if_match(request, (await categories.get(conn, slug)).version)


def _answer(category: Category, headers: Mapping[str, str] = {}) -> Answer:
    """A response with the category.  Its ETag contains the version and a hash of the content."""
    return Answer(category, {**REVALIDATE, **headers}, version=category.version)
