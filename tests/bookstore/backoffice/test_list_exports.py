"""Exports of lists by the actors: the filters of the list are stored with the job."""

from bookstore.backoffice import list_exports, lists
from bookstore.backoffice.books import BOOKS, BookListQuery, StockFilter
from bookstore.exports import Format
from bookstore.tasks import jobs
from bookstore.tasks.jobs import JobKind
from tests.factories import NOON, add_user, create_book


async def test_a_job_exports_only_the_books_of_its_stock_view(conn):
    user_id = await add_user(conn)
    for stock in (0, 0, 1, 9):
        await create_book(conn, stock=stock)

    counted = {}
    for view in (None, StockFilter.LOW, StockFilter.SOLD_OUT, StockFilter.WITHDRAWN):
        query = BookListQuery(view=view)
        started = await list_exports.start(
            conn, BOOKS, query, "stock", Format.CSV, user_id=user_id, now=NOON
        )
        job = await jobs.get(conn, started.id, (JobKind.EXPORT_LIST,))
        counted[view] = await list_exports.source_of(job).count(conn)

    assert counted == {
        None: 4,
        StockFilter.LOW: 1,
        StockFilter.SOLD_OUT: 2,
        StockFilter.WITHDRAWN: 0,
    }


def test_the_names_of_the_lists_never_change():
    """Jobs and the audit log store them."""
    assert {*lists.LISTS} >= {
        "orders", "books", "categories", "authors", "imports", "users", "emails", "tasks", "stock",
        "changes",
    }  # fmt: skip
