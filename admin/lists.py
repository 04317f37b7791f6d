"""The lists of the dashboard.  A new list is one description, one route line and one template.

The description has two parts: which rows there are (in `bookstore/backoffice/`), and how they are
shown (here in `admin/`).

    AUTHORS = List(                          # bookstore/backoffice/authors.py
        name="authors",                      # stored in export jobs, and the name of the file
        query=AuthorQuery,                   # a dataclass of filters, each with a default
        select=_select,                      # (conn, query) -> a SELECT of the rows that match
        load=lists.each(_author),            # row -> item
        id=table.c.id,
        sorts={"name": table.c.name_key, "new": table.c.id},
        default_sort="name",
        columns={"id": "id", "name": "name", "books": "book_count"},  # of the CSV or XLSX file
        export_permission=Permission.EXPORT_BOOKS,
    )

    LIST = AdminList(                        # admin/authors.py
        rows=backoffice_authors.AUTHORS,
        path="/authors",
        template="authors.html",
        permission=Permission.CHANGE_BOOKS,
        filters=(Filter("q", "Search"),),    # fills the field `q` of the query
    )

    *list_routes(authors.LIST),              # admin/routes.py

The template gets `list` (a `ListState`), `found` (a page of items), `number` (how many rows there
are, as text) and `form_error`.  The macros of `lists.html` draw the filters, column headers, tabs
and page links.  `tests/admin/test_new_list.py` adds a list in this way.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import exports
from admin.list_state import Filter, ListState, format_total, parse_query
from admin.rendering import NO_ERROR, ROOT, FormError, page
from bookstore.backoffice.lists import List
from bookstore.database.engine import reading
from bookstore.database.pagination import Page
from bookstore.exports import Format
from bookstore.users.permissions import Permission
from web.server.keys import ENGINE
from web.server.route_access import Access

Route = tuple[str, str, Handler, Access]
#: A parameter of a path, with its pattern.
_PARAMETER = re.compile(r"\{(\w+)[^/]{0,60}\}")


@dataclass(frozen=True, slots=True)
class View:
    """A page of a list while it is built; `subject` is what `AdminList.subject` returned.

    `selected` is what the `select` of the list returned, `found` the items of the page, `values`
    what `AdminList.show` was called with.
    """

    request: web.Request
    conn: AsyncConnection
    state: ListState
    query: Any
    subject: Any
    selected: Any
    found: Page[Any]
    form_error: FormError
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AdminList:
    """A list of the dashboard; the fields with defaults are for lists with something special."""

    rows: List[Any, Any]
    path: str
    template: str
    permission: Permission
    #: A list whose filters depend on its subject has a function.
    filters: Sequence[Filter] | Callable[[Any], Sequence[Filter]] = ()
    #: What the list is about, such as the book of a stock ledger; raises `NotFound`.
    subject: Callable[[AsyncConnection, Mapping[str, str]], Awaitable[Any]] | None = None
    #: The query for a state and a subject, where it is not simply the values of the filters.
    query: Callable[[ListState, Any], Any] | None = None
    #: The sort order of a tab that has another one than the list.
    tab_sorts: Mapping[str, str] | None = None
    #: More values for the template.  `counts` has the number of rows of each tab.
    details: Callable[[View], Awaitable[dict[str, Any]]] | None = None
    #: Whether the page shows the number of rows.
    counted: bool = True

    def url(self, **parts: str) -> str:
        """The URL of the list; `parts` are the parameters of its path, others are ignored."""
        return ROOT + _PARAMETER.sub(lambda found: parts[found[1]], self.path)

    async def show(
        self,
        request: web.Request,
        form_error: FormError = NO_ERROR,
        *,
        params: Mapping[str, str] | None = None,
        **values: Any,
    ) -> web.Response:
        """GET: a page of the list.

        The handler of a form calls it with the error of the form; then `params` is the state of
        the list, by default the first page.  `values` are more values for the template.
        """
        if params is None:
            params = request.query if request.method in ("GET", "HEAD") else {}
        async with reading(request.config_dict[ENGINE]) as conn:
            subject, state, query = await self._open(conn, request, params)
            selected = await self.rows.select(conn, query)
            found = await self.rows.page(
                conn, selected, sort=state.sort, cursor=state.cursor, limit=state.size
            )
            shown = {"found": found, "form_error": form_error, "list": state, **values}
            if self.details:
                view = View(
                    request, conn, state, query, subject, selected, found, form_error, values
                )
                shown |= await self.details(view)
            if self.counted and "number" not in shown:
                if "counts" in shown and not state.chips:
                    shown["number"] = f"{shown['counts'][state.tab]:,}"
                else:
                    shown["number"] = format_total(await self.rows.count(conn, selected))
        return await page(request, self.template, **shown)

    async def export(self, request: web.Request) -> web.StreamResponse:
        """GET or POST {list}/export.csv: all rows of the list, see `exports.send`."""
        async with reading(request.config_dict[ENGINE]) as conn:
            _, state, query = await self._open(conn, request, request.query)
        return await exports.send(request, self.rows, query, state.sort)

    async def ids(
        self, conn: AsyncConnection, request: web.Request, address: str
    ) -> Select[tuple[int]]:
        """A query for the ids of all rows of the list with this URL."""
        _, _, query = await self._open(conn, request, parse_query(address))
        return self.rows.ids(await self.rows.select(conn, query))

    async def _open(
        self, conn: AsyncConnection, request: web.Request, params: Mapping[str, str]
    ) -> tuple[Any, ListState, Any]:
        """The subject, the state and the query of the list."""
        parts = request.match_info
        subject = await self.subject(conn, parts) if self.subject else None
        state = ListState(
            params,
            self.url(**parts),
            self.filters(subject) if callable(self.filters) else self.filters,
            sorts=self.rows.sorts,
            sort=self.rows.default_sort,
            tab_sorts=self.tab_sorts or {},
        )
        query = self.query(state, subject) if self.query else state.query(self.rows.query)
        return subject, state, query


def list_routes(of: AdminList, show: Handler | None = None) -> list[Route]:
    """The routes of a list; `show` draws its page if `AdminList.show` is not enough.

    A list can be exported: GET writes the file, POST leaves it to the actors.
    """
    exported = [
        (method, f"{of.path}/export.{file_format}", of.export, of.rows.export_permission)
        for file_format in Format
        for method in ("GET", "POST")
        if of.rows.columns
    ]
    return [("GET", of.path, show or of.show, of.permission), *exported]
