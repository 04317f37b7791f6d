"""Every list of the dashboard can be sorted, paged and exported.

The lists are compared with the route table, so a new list without these functions fails.
"""

import csv
import io
import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from python_calamine import CalamineWorkbook
from sqlalchemy import insert, update

from admin import routes
from admin.list_state import SIZES
from bookstore.audit import log
from bookstore.backoffice import audit_report, list_exports
from bookstore.catalogue import categories, stock
from bookstore.database.tables import job_lines, stock_movements
from bookstore.database.tables import tasks as tasks_table
from bookstore.exports.exporter import Exporter, Format
from bookstore.notifications import notifications
from bookstore.tasks import jobs
from bookstore.tasks.job_runner import JobRunner
from bookstore.tasks.jobs import JobKind
from bookstore.users.permissions import Role
from tests.admin.conftest import read, send
from tests.factories import NOON, add_book, add_order, add_user, create_book
from web.server.keys import ENGINE

#: Rows of each list: three pages of the smallest size.
ROWS = 55
#: The lists by route. A list about a book shows the first book that `fill` adds.
LISTS = {
    # First, because the exports of the other lists add rows to the audit log.
    "/audit": "/audit",
    "/orders": "/orders",
    "/books": "/books",
    "/books/{book_id:[0-9]{1,18}}/stock": "/books/{book}/stock",
    "/categories": "/categories",
    "/authors": "/authors",
    "/imports": "/imports",
    "/users": "/users",
    "/notifications": "/notifications",
    "/queues": "/queues",
}
#: Pages that are not lists, and what they show.
OTHERS = {
    "": "open work and recent events",
    "/orders/slips": "a packing slip for each order",
    "/orders/{number}": "the lines of an order",
    "/books/bulk/{plan_id:[0-9]{1,18}}": "the preview of one bulk change",
    "/orders/bulk/{plan_id:[0-9]{1,18}}": "the preview of one bulk change",
    "/notifications/bulk/{plan_id:[0-9]{1,18}}": "the preview of one bulk change",
    "/books/new": "a form",
    "/books/{book_id:[0-9]{1,18}}": "one book",
    "/categories/{slug}": "the category list with an open form",
    "/authors/{author_id:[0-9]{1,18}}": "the books of one author",
    "/imports/new": "the columns of one file",
    "/imports/{job_id:[0-9]{1,18}}": "the refused rows of one file, which have their own download",
    "/users/{user_id:[0-9]{1,18}}": "one user",
    "/texts": "a fixed number of texts",
    "/texts/{name}/{language}": "one text",
    "/exports/{job_id:[0-9]{1,18}}": "one export",
    "/search": "redirects to the results",
}


async def fill(database):
    """Adds `ROWS` rows to every list and returns the ids that the paths in `LISTS` need."""
    async with database() as conn:
        user_id = await add_user(conn, email="mira@example.com")
    books = []
    for n in range(ROWS):
        # One transaction per row, so that transactions stay short on a busy machine.
        async with database() as conn:
            book = await create_book(
                conn, title=f"Book {n:03}", authors=[f"Author {n:03}"], stock=100
            )
            books.append(book.id)
            await add_user(conn, name=f"User {n:03}")
            await add_order(conn, {books[0]: 1}, number=f"{n:04}-TEST", total_cents=n * 100)
            await categories.create(conn, f"Category {n:03}", user_id=user_id, now=NOON)
            await notifications.queue(
                conn, "message", recipient=f"r{n}@example.com", subject=f"E-mail {n:03}",
                body="b", user_id=user_id, now=NOON,
            )  # fmt: skip
            await stock.move(
                conn,
                books[0],
                -1,
                stock.StockReason.COUNT,
                user_id=user_id,
                note=f"Note {n}",
                now=NOON,
            )
            await jobs.add(
                conn, JobKind.IMPORT_BOOKS, user_id=user_id, options={"dry_run": True}, now=NOON
            )
            await log.record(
                conn, "change", "book", n, {"title": ["a", "b"]}, user_id=user_id, now=NOON
            )
    async with database() as conn:
        await conn.execute(update(tasks_table).values(dead_at=NOON, error="KeyError: 'weight'"))
    return {"book": books[0]}


def rows(page):
    """The rows of the list on a page, without the cursors in their links."""
    body = page.html.partition("data-rows")[2].partition("<tbody>")[2].partition("</tbody>")[0]
    return [re.sub(r"(\?|&amp;)cursor=[^\"&#]*", "", row) for row in body.split("<tr")[1:]]


def link_with_rel(page, name):
    found = [attributes["href"] for _, attributes in page.elements if attributes.get("rel") == name]
    return found[0] if found else None


def query_of(link):
    return {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}


def sort_links(page):
    """The sort links in the column headers of the list."""
    head = page.html.partition("data-rows")[2].partition("</thead>")[0]
    return [unescape(link) for link in re.findall(r'<a class="by" href="([^"]+)"', head)]


def sort_state(page):
    """The sort direction that the page shows, and the link that reverses it."""
    return [
        (direction, unescape(link))
        for direction, link in re.findall(
            r'aria-sort="(\w+)"><a class="by" href="([^"]+)"', page.html
        )
    ]


def test_every_page_is_in_lists_or_others():
    pages = {path for method, path, *_ in routes.ROUTES if method == "GET"}
    files = {path for path in pages if re.search(r"export\.|/body|/file|/stream|/static/", path)}

    assert pages - files - OTHERS.keys() == LISTS.keys()
    for path in LISTS:
        for file_format in ("csv", "xlsx"):
            assert f"{path}/export.{file_format}" in files


@pytest.mark.timeout(300)
async def test_every_list_can_be_sorted_paged_and_exported(visitor, database):
    ids = await fill(database)
    admin = await visitor(Role.ADMIN)

    for path in LISTS.values():
        address = "/admin" + path.format(**ids)
        first = await read(admin, address)
        assert first.status == 200, address
        await assert_pages(admin, address, first)
        await assert_sorts(admin, address, first)
        await assert_sizes(admin, address, first)
        await assert_files(admin, address, first)
        broken = await read(admin, f"{address}?cursor=x")
        assert broken.status == 422, address
        assert "does not belong to this list" in broken.text


async def assert_pages(client, address, first):
    """Next up to the last page and Previous back to the first show every row exactly once."""
    pages = [first]
    while following := link_with_rel(pages[-1], "next"):
        pages.append(await read(client, following))
    every = [row for page in pages for row in rows(page)]
    assert link_with_rel(first, "prev") is None, address
    assert len(pages) >= 3, address
    assert len(every) >= ROWS, address
    assert len(set(every)) == len(every), address
    assert [len(rows(page)) for page in pages[:-1]] == [SIZES[0]] * (len(pages) - 1), address
    back = pages[-1]
    for page in reversed(pages[:-1]):
        back = await read(client, link_with_rel(back, "prev"))
        assert rows(back) == rows(page), address
    assert link_with_rel(back, "prev") is None, address


async def assert_sorts(client, address, first):
    """Columns sort in both directions; the page shows the direction, and the next one keeps it."""
    found = sort_links(first)
    assert len(found) >= (1 if address.endswith("/audit") else 2), address
    for link in found:
        sorted_page = await read(client, link)
        ((direction, reverse_link),) = sort_state(sorted_page)
        reversed_page = await read(client, reverse_link)
        ((reversed_direction, _),) = sort_state(reversed_page)
        assert {direction, reversed_direction} == {"ascending", "descending"}, (address, link)
        following = link_with_rel(sorted_page, "next")
        assert query_of(following).get("sort") == query_of(link).get("sort"), (address, link)
        assert (await read(client, following)).status == 200, (address, link)


async def assert_sizes(client, address, first):
    """Every other page size is offered, and the next page keeps the chosen size."""
    offered = {size for link in first.links if (size := query_of(link).get("size"))}
    assert offered == {str(size) for size in SIZES[1:]}, address
    larger = await read(client, f"{address}?size={SIZES[1]}")
    assert len(rows(larger)) == SIZES[1], address
    assert query_of(link_with_rel(larger, "next"))["size"] == str(SIZES[1]), address


async def assert_files(client, address, first):
    """The list can be downloaded as CSV and as XLSX, with the same columns and rows."""
    links = [link for link in first.links if urlsplit(link).path.startswith(f"{address}/export.")]
    tables = []
    for link in links:
        answer = await client.get(link)
        content = await answer.read()
        assert "attachment" in answer.headers["Content-Disposition"], link
        if urlsplit(link).path.endswith(".csv"):
            assert answer.content_type == "text/csv"
            tables.append([*csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))])
        else:
            assert content[:2] == b"PK"
            sheet = CalamineWorkbook.from_filelike(io.BytesIO(content)).get_sheet_by_index(0)
            tables.append(sheet.to_python())
    assert len(tables) == 2, address
    assert [len(table) > ROWS for table in tables] == [True, True], address
    # The first export adds a row to the audit log, which is in the second export.
    more = 1 if address.endswith("/audit") else 0
    assert len(tables[1]) - len(tables[0]) == more, address
    assert tables[0][0] == tables[1][0], address


async def test_refused_rows_of_an_import_are_paged_and_sorted(visitor, database):
    async with database() as conn:
        job = await jobs.add(
            conn, JobKind.IMPORT_BOOKS, user_id=None, options={"dry_run": True}, now=NOON
        )
        refused = {"job_id": job.id, "outcome": "refused", "reason": "no ISBN"}
        await conn.execute(
            insert(job_lines), [{**refused, "position": n, "line": n + 2} for n in range(ROWS)]
        )
    editor = await visitor(Role.EDITOR)
    address = f"/admin/imports/{job.id}"

    first = await read(editor, address)

    await assert_pages(editor, address, first)
    ((_, reverse_link),) = sort_state(first)
    assert ">56</th>" in rows(await read(editor, reverse_link))[0]


@pytest.mark.parametrize("path", LISTS.values())
async def test_an_empty_list_suggests_a_next_step(visitor, database, path):
    async with database() as conn:
        ids = {"book": await add_book(conn)}
    admin = await visitor(Role.ADMIN)
    address = "/admin" + path.format(**ids)

    page = await read(admin, f"{address}?q=no-such-text&state=waiting&until=1999-01-01&id=none")

    shown = [attributes for name, attributes in page.elements if attributes.get("class") == "empty"]
    assert len(shown) == 1 or rows(page), address
    text = re.search(r'<p class="empty">([^<]+)</p>', page.html)
    if text:
        # The text gives a reason or a next step, not only that the list is empty.
        assert len(text[1].split(". ")) > 1 or text[1].count(" ") >= 4, text[1]


@pytest.mark.parametrize("file_format", [*Format])
async def test_a_long_list_is_exported_by_a_worker(visitor, database, server, file_format):
    number = list_exports.MAX_DIRECT_ROWS + 1
    async with database() as conn:
        dune = await add_book(conn)
        movement = {"book_id": dune, "delta": 1, "reason": "count", "created_at": NOON}
        await conn.execute(insert(stock_movements), [movement] * number)
    editor, clerk = await visitor(Role.EDITOR), await visitor(Role.CLERK)
    address = f"/admin/books/{dune}/stock/export.{file_format}?sort=when"

    offer = await read(editor, address)
    started = await send(editor, address)
    (job_id,) = map(int, re.findall(r"/admin/exports/(\d+)$", started.path))
    waiting = await editor.get(f"{started.path}/file")
    exporter = Exporter(
        server.app[ENGINE], currency="EUR", clock=lambda: NOON, source_of=list_exports.source_of
    )
    runner = JobRunner(server.app[ENGINE], {JobKind.EXPORT_LIST: exporter}, clock=lambda: NOON)
    assert not await runner.run(job_id)
    done = await read(editor, started.path)
    file = await (await editor.get(f"{started.path}/file")).read()
    again = await read(editor, address)

    assert "More than 5,000 rows" in offer.text
    assert address in offer.forms
    assert "0 rows exported." in started.text
    assert waiting.status == 404
    assert f"{number:,} rows exported." in done.text
    assert started.path in again.links
    if file_format is Format.CSV:
        assert len(file.splitlines()) == number + 1
    else:
        sheet = CalamineWorkbook.from_filelike(io.BytesIO(file)).get_sheet_by_index(0)
        assert sheet.height == number + 1
    for path in (started.path, f"{started.path}/file", f"{started.path}/stream"):
        assert (await clerk.get(path)).status == 403


async def test_an_export_can_be_cancelled(visitor, database):
    async with database() as conn:
        await add_user(conn)
    admin = await visitor(Role.ADMIN)

    started = await send(admin, "/admin/users/export.csv?role=customer")
    cancelled = await send(admin, f"{started.path}/cancel")

    assert "There is no file." in cancelled.text
    assert started.path not in cancelled.forms


async def test_search_terms_are_not_in_the_audit_log(visitor, database):
    admin = await visitor(Role.ADMIN)

    await admin.get("/admin/users/export.csv?q=mira@example.com&role=customer")

    async with database() as conn:
        latest = (await audit_report.AUDIT.find(conn)).items[0]
    assert (latest.action, latest.object_type) == ("export", "users")
    assert latest.changes == {"q": None, "role": [None, "customer"]}
