"""Authors and the other contributors of books."""

from aiohttp import web
from marshmallow import Schema, fields, validate

from bookstore.catalogue import authors
from bookstore.database.engine import reading
from bookstore.errors import Invalid
from web.api.operations import Fields, answer, operation, page_answer
from web.api.schemas import PageQuery, page_of
from web.server.keys import ENGINE

TAGS = ["books"]
REVALIDATE = {"Cache-Control": "no-cache"}


class AuthorOut(Schema):
    id = fields.Integer(required=True)
    name = fields.String(required=True)
    book_count = fields.Integer(required=True)


class AuthorQuery(PageQuery):
    q = fields.String(
        load_default="",
        validate=validate.Length(max=200),
        metadata={"description": "Prefixes of words of the name."},
    )


AuthorPage = page_of(AuthorOut)


@operation(query=AuthorQuery, returns=(200, AuthorPage), tags=TAGS, refusals=[Invalid], cached=True)
async def list_authors(request: web.Request, query: Fields) -> web.Response:
    """List authors, or find them by name."""
    async with reading(request.config_dict[ENGINE]) as conn:
        page = await authors.find(conn, **query)
    return page_answer(AuthorPage, request, page, headers=REVALIDATE)


@operation(returns=(200, AuthorOut), tags=TAGS, cached=True)
async def show_author(request: web.Request) -> web.Response:
    """Show an author."""
    async with reading(request.config_dict[ENGINE]) as conn:
        author = await authors.get(conn, int(request.match_info["author_id"]))
    return answer(AuthorOut, author, headers=REVALIDATE)
