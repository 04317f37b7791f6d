"""Imports and exports through the API."""

import asyncio
import csv
import io
import json
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import FormData
from sqlalchemy import func, select

from bookstore.catalogue import books
from bookstore.database.engine import reading, transaction
from bookstore.database.tables import files
from bookstore.tasks import jobs
from bookstore.users.permissions import Role
from tests.actors.conftest import all_tasks_done
from tests.factories import create_book
from web.server.keys import ENGINE

HEADER = "isbn,title,authors,price,stock\n"
DUNE = "0441172717,Dune,Frank Herbert,12.90,3\n"
FORM = "multipart/form-data; boundary=b"
FILE = b'Content-Disposition: form-data; name="file"\r\n\r\n'
BAD = "9780441172718,=cmd|'x',Frank Herbert,12.90,3\n"


def form(content, **texts):
    data = FormData()
    for name, value in texts.items():
        data.add_field(name, value)
    data.add_field("file", content, filename="books.csv", content_type="text/csv")
    return data


async def send(client, content, **texts):
    answer = await client.post("/api/v1/imports", data=form(content, **texts))
    assert answer.status == 202, await answer.text()
    return await answer.json()


async def ended(client, job):
    for _ in range(200):
        found = await (await client.get(f"/api/v1/imports/{job['id']}")).json()
        if found["finished_at"]:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(found)


def counts(job):
    return [job[name] for name in ("read", "created", "updated", "unchanged", "refused")]


@pytest.fixture
def settings(settings):
    """A store that runs the workers in its own process."""
    return replace(settings, broker_url="memory:")


@pytest.fixture
async def editor(visitor):
    return await visitor(Role.EDITOR)


async def test_a_list_is_imported_and_its_refused_rows_can_be_corrected(editor):
    answer = await editor.post("/api/v1/imports", data=form(HEADER + DUNE + BAD))
    job = await answer.json()
    assert answer.status == 202
    assert answer.headers["Location"] == f"/api/v1/imports/{job['id']}"

    job = await ended(editor, job)

    assert (job["state"], job["format"], job["encoding"]) == ("done", "csv", "UTF-8")
    assert counts(job) == [2, 1, 0, 0, 1]
    (line,) = (await (await editor.get(f"/api/v1/imports/{job['id']}/lines")).json())["items"]
    assert (line["line"], line["column"], line["value"]) == (3, "isbn", "9780441172718")
    answer = await editor.get(f"/api/v1/imports/{job['id']}/errors.csv")
    text = await answer.text()
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["refused_line"], row["refused_column"]) == ("3", "isbn")
    assert row["title"] == "'=cmd|'x'"
    mended = await ended(editor, await send(editor, text.replace("441172718,", "441172719,")))
    assert counts(mended) == [1, 0, 1, 0, 0]
    found = await (await editor.get("/api/v1/books/isbn/9780441172719")).json()
    assert found["title"] == "=cmd|'x'"


async def test_a_dry_run_reports_the_result_and_changes_nothing(editor):
    job = await ended(editor, await send(editor, HEADER + DUNE, dry_run="true"))

    assert (job["dry_run"], counts(job)) == (True, [1, 1, 0, 0, 0])
    assert (await editor.get("/api/v1/books/isbn/0441172717")).status == 404


async def test_columns_and_the_encoding_can_be_specified(editor):
    content = "EAN;Was;Wer;Preis\n0441172717;Дюна;Герберт;12,90\n".encode("cp1251")

    job = await ended(
        editor,
        await send(
            editor,
            content,
            mapping=json.dumps({"title": "was", "authors": "Wer"}),
            encoding="windows-1251",
        ),
    )

    assert counts(job) == [1, 1, 0, 0, 0]
    assert job["columns"] == {"isbn": "EAN", "title": "Was", "authors": "Wer", "price": "Preis"}
    assert (await (await editor.get("/api/v1/books/isbn/0441172717")).json())["title"] == "Дюна"


async def test_a_repeat_with_the_same_key_starts_one_import_and_stores_one_file(editor, server):
    headers = {"Idempotency-Key": "abc"}
    first = await editor.post("/api/v1/imports", data=form(HEADER + DUNE), headers=headers)
    second = await editor.post("/api/v1/imports", data=form(HEADER + DUNE), headers=headers)
    other = await editor.post("/api/v1/imports", data=form(HEADER), headers=headers)

    assert (await first.json())["id"] == (await second.json())["id"]
    assert second.headers["Idempotent-Replayed"] == "true"
    assert other.status == 422
    async with reading(server.app[ENGINE]) as conn:
        assert await conn.scalar(select(func.count()).select_from(files)) == 1


async def test_the_stream_of_an_import_ends_with_the_import(editor):
    job = await send(editor, HEADER + DUNE + BAD)

    stream = await editor.get(f"/api/v1/imports/{job['id']}/stream")
    text = await stream.text()

    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    assert stream.content_type == "text/event-stream"
    assert counts(events[-1]) == [2, 1, 0, 0, 1]
    assert events[-1]["state"] == "done"
    assert events[-1]["progress"] == 1.0


async def test_an_editor_adds_books_and_does_not_change_prices(editor, visitor, server):
    async with transaction(server.app[ENGINE]) as conn:
        await create_book(conn, isbn13="9780441172719", price_cents=1290)

    job = await ended(editor, await send(editor, HEADER + DUNE.replace("12.90", "0.01")))
    manager = await visitor(Role.MANAGER)
    again = await ended(manager, await send(manager, HEADER + DUNE.replace("12.90", "0.01")))

    assert counts(job) == [1, 0, 0, 0, 1]
    assert counts(again) == [1, 0, 1, 0, 0]
    async with reading(server.app[ENGINE]) as conn:
        assert (await books.by_isbn(conn, "9780441172719")).price_cents == 1


async def test_an_import_that_has_ended_cannot_be_cancelled(editor):
    job = await ended(editor, await send(editor, HEADER))

    answer = await editor.post(f"/api/v1/imports/{job['id']}/cancel")

    assert (answer.status, (await answer.json())["code"]) == (409, "job-ended")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"\x89PNG\r\n\x1a\n", "picture"),
        (b"<html><body>404</body></html>", "web page"),
        (b"isbn,colour\n1,2\n", "missing: title, authors, price"),
        (b"title,price\n1,2\n", "missing: isbn"),
    ],
)
async def test_a_file_that_is_not_a_list_of_books_is_refused(editor, content, error):
    job = await ended(editor, await send(editor, content))

    assert (job["state"], counts(job)) == ("failed", [0, 0, 0, 0, 0])
    assert error in job["error"]


@pytest.mark.parametrize(
    ("texts", "pointer"),
    [
        ({"dry_run": "yes"}, "#/dry_run"),
        ({"encoding": "klingon"}, "#/encoding"),
        ({"mapping": "[1]"}, "#/mapping"),
        ({"mapping": "{"}, "#/mapping"),
        ({"mapping": '{"colour": "x"}'}, "#/mapping"),
        ({"mapping": "x" * 20_000}, "#/mapping"),
        ({"colour": "red"}, "#/colour"),
    ],
)
async def test_an_invalid_part_is_refused_and_no_file_is_stored(editor, server, texts, pointer):
    answer = await editor.post("/api/v1/imports", data=form(HEADER, **texts))

    assert answer.status == 422
    assert (await answer.json())["errors"][0]["pointer"] == pointer
    async with reading(server.app[ENGINE]) as conn:
        assert await conn.scalar(select(func.count()).select_from(files)) == 0


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "application/json", 415),
        (b"", "multipart/form-data", 400),
        (b"rubbish", FORM, 400),
        (b"--b\r\n", FORM, 422),
        (b"--b\r\n" + FILE + b"x", FORM, 400),
        (b"--b\r\nno header\r\n\r\nx\r\n--b--\r\n", FORM, 400),
        (b"--b\r\n" + FILE + b"\r\n--b--\r\n", FORM, 422),
        (b"--b--\r\n", FORM, 422),
    ],
)
async def test_a_broken_form_is_refused(editor, body, content_type, status):
    answer = await editor.post("/api/v1/imports", data=body, headers={"Content-Type": content_type})

    assert answer.status == status, await answer.text()


async def test_an_exported_list_of_books_imports_unchanged(editor, server):
    async with transaction(server.app[ENGINE]) as conn:
        await create_book(conn, title="=1+1", authors=["A; B", {"name": "C|D", "role": "editor"}])
    for chosen in ("csv", "xlsx"):
        answer = await editor.post("/api/v1/exports", json={"list": "books", "format": chosen})
        job = await answer.json()
        await all_tasks_done(server.app[ENGINE])
        job = await (await editor.get(answer.headers["Location"])).json()
        assert (job["state"], job["rows"]) == ("done", 1)

        fetched = await editor.get(job["file_url"])
        content = await fetched.read()
        head = await editor.head(job["file_url"])

        assert head.headers["Content-Length"] == str(len(content))
        assert "attachment" in fetched.headers["Content-Disposition"]
        back = await ended(editor, await send(editor, content))
        assert (back["format"], counts(back)) == (chosen, [1, 0, 0, 1, 0])


async def test_orders_are_exported_to_managers_only(editor, visitor):
    manager = await visitor(Role.MANAGER)
    body = {"list": "orders"}

    refused = await editor.post("/api/v1/exports", json=body)
    made = await manager.post("/api/v1/exports", json=body)

    assert (refused.status, made.status) == (403, 202)
    job = await made.json()
    assert (await editor.get(f"/api/v1/exports/{job['id']}")).status == 404
    assert (await editor.get(f"/api/v1/exports/{job['id']}/file")).status == 404
    assert (await (await editor.get("/api/v1/exports")).json())["items"] == []
    assert len((await (await manager.get("/api/v1/exports")).json())["items"]) == 1


async def test_an_aborted_upload_leaves_no_file(editor, server):
    async def half():
        yield b"--b\r\n" + FILE + b"x" * 400_000
        await asyncio.sleep(0.3)
        raise ConnectionResetError

    with pytest.raises((aiohttp.ClientError, ConnectionResetError)):
        await editor.post(
            "/api/v1/imports",
            data=half(),
            headers={"Content-Type": FORM},
        )

    for _ in range(100):
        async with reading(server.app[ENGINE]) as conn:
            left = await conn.scalar(select(func.count()).select_from(files))
            assert (await jobs.find(conn)).items == []
        if not left:
            break
        await asyncio.sleep(0.05)
    assert left == 0
