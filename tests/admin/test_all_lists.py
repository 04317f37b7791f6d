"""Every list of the dashboard can do what all lists can: the router is walked, so that a new one
cannot forget it."""

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
from bookstore.database.tables import tasks as task_table
from bookstore.exports.exporter import Exporter, Format
from bookstore.notifications import notifications
from bookstore.tasks import jobs
from bookstore.tasks.job_runner import Runner
from bookstore.tasks.jobs import Kind
from bookstore.users.permissions import Role
from tests.admin.conftest import read, send
from tests.factories import NOON, add_book, add_order, add_user, create_book
from web.server.keys import ENGINE

#: Rows of each list: three pages of the smallest size.
ROWS = 55
#: Lists, by their routes; where a list needs an object, the first one made.
LISTS = {
    # First, before the walk leaves its own traces in it.
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
#: Pages whose tables are no lists: parts of one thing, or a sheet of paper.
OTHERS = {
    "": "what is to be done, and the latest of it",
    "/orders/slips": "a sheet for each order",
    "/orders/{number}": "the lines of an order",
    "/books/bulk/{plan_id:[0-9]{1,18}}": "what one change does",
    "/orders/bulk/{plan_id:[0-9]{1,18}}": "what one change does",
    "/notifications/bulk/{plan_id:[0-9]{1,18}}": "what one change does",
    "/books/new": "a form",
    "/books/{book_id:[0-9]{1,18}}": "one book",
    "/categories/{slug}": "the list with a form open",
    "/authors/{author_id:[0-9]{1,18}}": "the books of one author",
    "/imports/new": "the columns of one file",
    "/imports/{job_id:[0-9]{1,18}}": "the refused rows of one file, which are had as a file",
    "/users/{user_id:[0-9]{1,18}}": "one user",
    "/texts": "as many as the store has",
    "/texts/{name}/{language}": "one text",
    "/exports/{job_id:[0-9]{1,18}}": "one export",
    "/search": "leads elsewhere",
}


async def fill(database):
    """`ROWS` of everything; the ids of one of each."""
    async with database() as conn:
        user_id = await add_user(conn, email="mira@example.com")
    books = []
    for n in range(ROWS):
        # One by one: a transaction has to be short on a machine that is busy too.
        async with database() as conn:
            book = await create_book(
                conn, title=f"Book {n:03}", authors=[f"Author {n:03}"], stock=100
            )
            books.append(book.id)
            await add_user(conn, name=f"User {n:03}")
            await add_order(conn, {books[0]: 1}, number=f"{n:04}-TEST", total_cents=n * 100)
            await categories.create(conn, f"Category {n:03}", user_id=user_id, now=NOON)
            await notifications.queue(
                conn, "message", recipient=f"r{n}@example.com", subject=f"Letter {n:03}",
                body="b", user_id=user_id, now=NOON,
            )  # fmt: skip
            await stock.move(
                conn, books[0], -1, stock.Reason.COUNT, user_id=user_id, note=f"Note {n}", now=NOON
            )
            await jobs.add(
                conn, Kind.IMPORT_BOOKS, user_id=user_id, options={"dry_run": True}, now=NOON
            )
            await log.record(
                conn, "change", "book", n, {"title": ["a", "b"]}, user_id=user_id, now=NOON
            )
    async with database() as conn:
        await conn.execute(update(task_table).values(dead_at=NOON, error="KeyError: 'weight'"))
    return {"book": books[0]}


def rows(page):
    """The rows of a page's list, but for what they say of the page itself."""
    body = page.html.partition("data-rows")[2].partition("<tbody>")[2].partition("</tbody>")[0]
    return [re.sub(r"(\?|&amp;)cursor=[^\"&#]*", "", row) for row in body.split("<tr")[1:]]


def rel(page, name):
    found = [facts["href"] for _, facts in page.elements if facts.get("rel") == name]
    return found[0] if found else None


def asked(link):
    return {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}


def sorts(page):
    """The links in the heads of the list's columns."""
    head = page.html.partition("data-rows")[2].partition("</thead>")[0]
    return [unescape(link) for link in re.findall(r'<a class="by" href="([^"]+)"', head)]


def sorted_by(page):
    """How the list says it is sorted, and the link that turns it round."""
    return [
        (way, unescape(link))
        for way, link in re.findall(r'aria-sort="(\w+)"><a class="by" href="([^"]+)"', page.html)
    ]


def test_every_page_is_a_list_or_is_known_not_to_be_one():
    pages = {path for method, path, *_ in routes.PAGES if method == "GET"}
    files = {path for path in pages if re.search(r"export\.|/body|/file|/stream|/static/", path)}

    assert pages - files - OTHERS.keys() == LISTS.keys()
    for path in LISTS:
        for chosen in ("csv", "xlsx"):
            assert f"{path}/export.{chosen}" in files


@pytest.mark.timeout(300)
async def test_every_list_sorts_turns_pages_and_is_had_as_a_file(visitor, database):
    known = await fill(database)
    admin = await visitor(Role.ADMIN)

    for path in LISTS.values():
        address = "/admin" + path.format(**known)
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
    """Next to the end and Previous back to the beginning show all rows, each once."""
    pages = [first]
    while following := rel(pages[-1], "next"):
        pages.append(await read(client, following))
    every = [row for page in pages for row in rows(page)]
    assert rel(first, "prev") is None, address
    assert len(pages) >= 3, address
    assert len(every) >= ROWS, address
    assert len(set(every)) == len(every), address
    assert [len(rows(page)) for page in pages[:-1]] == [SIZES[0]] * (len(pages) - 1), address
    back = pages[-1]
    for page in reversed(pages[:-1]):
        back = await read(client, rel(back, "prev"))
        assert rows(back) == rows(page), address
    assert rel(back, "prev") is None, address


async def assert_sorts(client, address, first):
    """A column sorts one way and the other, says so, and the address keeps it."""
    found = sorts(first)
    assert len(found) >= (1 if address.endswith("/audit") else 2), address
    for link in found:
        one = await read(client, link)
        ((way, turn),) = sorted_by(one)
        two = await read(client, turn)
        ((turned, _),) = sorted_by(two)
        assert {way, turned} == {"ascending", "descending"}, (address, link)
        following = rel(one, "next")
        assert asked(following).get("sort") == asked(link).get("sort"), (address, link)
        assert (await read(client, following)).status == 200, (address, link)


async def assert_sizes(client, address, first):
    """Every page size but the one that is shown is offered, and kept from page to page."""
    offered = {size for link in first.links if (size := asked(link).get("size"))}
    assert offered == {str(size) for size in SIZES[1:]}, address
    larger = await read(client, f"{address}?size={SIZES[1]}")
    assert len(rows(larger)) == SIZES[1], address
    assert asked(rel(larger, "next"))["size"] == str(SIZES[1]), address


async def assert_files(client, address, first):
    """What is shown is had as CSV and as XLSX, with the same cells."""
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
    # Of the audit: that it was taken along is one row more.
    more = 1 if address.endswith("/audit") else 0
    assert len(tables[1]) - len(tables[0]) == more, address
    assert tables[0][0] == tables[1][0], address


async def test_refused_rows_of_an_import_turn_pages_both_ways(visitor, database):
    async with database() as conn:
        job = await jobs.add(
            conn, Kind.IMPORT_BOOKS, user_id=None, options={"dry_run": True}, now=NOON
        )
        refused = {"job_id": job.id, "outcome": "refused", "reason": "no ISBN"}
        await conn.execute(
            insert(job_lines), [{**refused, "position": n, "line": n + 2} for n in range(ROWS)]
        )
    editor = await visitor(Role.EDITOR)
    address = f"/admin/imports/{job.id}"

    first = await read(editor, address)

    await assert_pages(editor, address, first)
    ((_, turn),) = sorted_by(first)
    assert ">56</th>" in rows(await read(editor, turn))[0]


@pytest.mark.parametrize("path", LISTS.values())
async def test_an_empty_list_says_what_to_do_next(visitor, database, path):
    async with database() as conn:
        known = {"book": await add_book(conn)}
    admin = await visitor(Role.ADMIN)
    address = "/admin" + path.format(**known)

    page = await read(admin, f"{address}?q=nobody-has-this&state=waiting&until=1999-01-01&id=none")

    shown = [facts for name, facts in page.elements if facts.get("class") == "empty"]
    assert len(shown) == 1 or rows(page), address
    words = re.search(r'<p class="empty">([^<]+)</p>', page.html)
    if words:
        # More than that nothing is there: why, or what to do.
        assert len(words[1].split(". ")) > 1 or words[1].count(" ") >= 4, words[1]


@pytest.mark.parametrize("chosen", [*Format])
async def test_a_list_too_long_to_wait_for_is_written_by_the_actors(
    visitor, database, server, chosen
):
    number = list_exports.MOST_AT_ONCE + 1
    async with database() as conn:
        dune = await add_book(conn)
        movement = {"book_id": dune, "delta": 1, "reason": "count", "created_at": NOON}
        await conn.execute(insert(stock_movements), [movement] * number)
    editor, clerk = await visitor(Role.EDITOR), await visitor(Role.CLERK)
    address = f"/admin/books/{dune}/stock/export.{chosen}?sort=when"

    offer = await read(editor, address)
    begun = await send(editor, address)
    (job_id,) = map(int, re.findall(r"/admin/exports/(\d+)$", begun.path))
    waiting = await editor.get(f"{begun.path}/file")
    exporter = Exporter(
        server.app[ENGINE], currency="EUR", clock=lambda: NOON, source_of=list_exports.source_of
    )
    runner = Runner(server.app[ENGINE], {Kind.EXPORT_LIST: exporter}, clock=lambda: NOON)
    assert not await runner.run(job_id)
    done = await read(editor, begun.path)
    file = await (await editor.get(f"{begun.path}/file")).read()
    again = await read(editor, address)

    assert "More than 5,000 rows" in offer.text
    assert address in offer.forms
    assert "0 rows written." in begun.text
    assert waiting.status == 404
    assert f"{number:,} rows are written." in done.text
    assert begun.path in again.links
    if chosen is Format.CSV:
        assert len(file.splitlines()) == number + 1
    else:
        sheet = CalamineWorkbook.from_filelike(io.BytesIO(file)).get_sheet_by_index(0)
        assert sheet.height == number + 1
    for path in (begun.path, f"{begun.path}/file", f"{begun.path}/stream"):
        assert (await clerk.get(path)).status == 403


async def test_an_export_is_stopped(visitor, database):
    async with database() as conn:
        await add_user(conn)
    admin = await visitor(Role.ADMIN)

    begun = await send(admin, "/admin/users/export.csv?role=customer")
    stopped = await send(admin, f"{begun.path}/cancel")

    assert "There is no file." in stopped.text
    assert begun.path not in stopped.forms


async def test_what_was_searched_for_is_on_no_record(visitor, database):
    admin = await visitor(Role.ADMIN)

    await admin.get("/admin/users/export.csv?q=mira@example.com&role=customer")

    async with database() as conn:
        latest = (await audit_report.audit(conn)).items[0]
    assert (latest.action, latest.object_type) == ("export", "users")
    assert latest.changes == {"q": None, "role": [None, "customer"]}
