"""Authors and the other contributors of books."""

from aiohttp import web
from marshmallow import Schema, fields, validate

from bookstore.catalogue import authors
from bookstore.catalogue.authors import Author
from bookstore.database.pagination import Page
from web.api.field_types import described
from web.api.operations import Fields, operation
from web.api.schemas import PageQuery, page_of
from web.server.transactions import read


class AuthorOut(Schema):
    id = fields.Integer(required=True)
    name = fields.String(required=True)
    book_count = fields.Integer(required=True)


class AuthorQuery(PageQuery):
    q = described(
        "Prefixes of words of the name.",
        fields.String(load_default="", validate=validate.Length(max=200)),
    )


AuthorPage = page_of(AuthorOut)


@operation(query=AuthorQuery, returns=(200, AuthorPage), cached=True)
async def list_authors(request: web.Request, query: Fields) -> Page[Author]:
    """List authors, or find them by name."""
    return await read(request, authors.find, **query)


@operation(returns=(200, AuthorOut), cached=True)
async def show_author(request: web.Request, author_id: int) -> Author:
    """Show an author."""
    return await read(request, authors.get, author_id)
