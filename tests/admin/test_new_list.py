"""A new list is one description, one route line and one template."""

import re
from dataclasses import dataclass
from operator import eq

import pytest
from jinja2 import DictLoader
from sqlalchemy import select

from admin import routes
from admin.list_state import Filter, labels
from admin.lists import AdminList, list_routes
from admin.rendering import TEMPLATES
from bookstore.backoffice import list_exports, lists
from bookstore.backoffice.lists import List
from bookstore.database import file_store
from bookstore.database.tables import files as table
from bookstore.exports import Exporter
from bookstore.tasks.job_runner import JobRunner
from bookstore.tasks.jobs import JobKind
from bookstore.users.permissions import Permission, Role
from tests.admin.conftest import read, send
from tests.factories import NOON
from web.server.keys import ENGINE


@dataclass(frozen=True, slots=True)
class FileQuery:
    kind: str | None = None


async def _select(conn, query):
    return lists.where(
        select(table.c.id, table.c.name, table.c.kind), (table.c.kind, eq, query.kind)
    )


LIST = AdminList(
    rows=List(
        name="files",
        query=FileQuery,
        select=_select,
        id=table.c.id,
        sorts={"new": table.c.id, "name": table.c.name},
        default_sort="-new",
        columns={"id": "id", "name": "name"},
        export_permission=Permission.EXPORT_BOOKS,
    ),
    path="/files",
    template="files.html",
    permission=Permission.CHANGE_STOCK,
    filters=(Filter("kind", "Kind", labels(["import", "cover"])),),
)
ROUTE = list_routes(LIST)
TEMPLATE = """
{% extends "base.html" %}
{% import "lists.html" as l %}
{% block content %}
{{ l.export(list) }}
<form action="/admin/files">{{ l.hidden_state(list, ("kind",)) }}{{ l.choose(list, "kind") }}</form>
{{ l.chips(list) }}
<table><thead><tr>{{ l.head(list, "name", "Name") }}</tr></thead><tbody>
{% for file in found.items %}<tr><td>{{ file.name }}</td></tr>{% endfor %}
</tbody></table>
{{ l.pager(list, found, number ~ " files") }}
{% endblock %}
"""


@pytest.fixture
def settings(settings, monkeypatch):
    monkeypatch.setattr(routes, "ROUTES", [*routes.ROUTES, *ROUTE])
    return settings


@pytest.fixture
async def server(server):
    [admin] = server.app._subapps
    admin[TEMPLATES].loader.loaders.append(DictLoader({"files.html": TEMPLATE}))
    return server


@pytest.fixture
async def thirty_files(database):
    async with database() as conn:
        for number in range(30):
            kind = "cover" if number % 3 else "import"
            await file_store.add(
                conn, b"x", name=f"file {number:02}", media_type="text/csv", kind=kind, now=NOON
            )


def names(page):
    return re.findall(r"<td>file (\d\d)</td>", page.html)


def link(page, *parts):
    return next(link for link in page.links if all(part in link for part in parts))


def neighbour(page, rel):
    return next(found["href"] for name, found in page.elements if found.get("rel") == rel)


async def test_its_pages_lead_forwards_and_back(visitor, thirty_files):
    clerk = await visitor(Role.CLERK)

    first = await read(clerk, "/admin/files")
    second = await read(clerk, neighbour(first, "next"))
    back = await read(clerk, neighbour(second, "prev"))

    assert names(first) == [f"{number:02}" for number in range(29, 4, -1)]
    assert names(second) == ["04", "03", "02", "01", "00"]
    assert names(back) == names(first)
    assert "30 files" in first.text


async def test_it_is_filtered_and_sorted(visitor, thirty_files):
    clerk = await visitor(Role.CLERK)

    filtered = await read(clerk, "/admin/files?kind=import")
    ascending = await read(clerk, link(filtered, "kind=import", "sort=name"))
    unknown = await read(clerk, "/admin/files?kind=none&sort=none")

    assert "Kind: Import" in filtered.text
    assert "10 files" in filtered.text
    assert names(filtered) == sorted(names(ascending), reverse=True)
    assert names(ascending) == ["00", "03", "06", "09", "12", "15", "18", "21", "24", "27"]
    assert 'aria-sort="ascending"' in ascending.html
    assert "30 files" in unknown.text


async def test_its_rows_are_exported(visitor, thirty_files):
    editor = await visitor(Role.EDITOR)

    page = await read(editor, "/admin/files?kind=import&sort=name")
    answer = await editor.get(link(page, "export.csv"))
    lines = (await answer.read()).decode("utf-8-sig").splitlines()

    assert answer.headers["Content-Disposition"] == 'attachment; filename="files.csv"'
    assert lines[0] == "id,name"
    assert [line.partition(",")[2] for line in lines[1:3]] == ["file 00", "file 03"]
    assert len(lines) == 11


async def test_a_worker_exports_it(visitor, server, thirty_files):
    editor = await visitor(Role.EDITOR)
    engine = server.app[ENGINE]

    started = await send(editor, "/admin/files/export.csv?kind=import")
    exporter = Exporter(
        engine, currency="EUR", clock=lambda: NOON, source_of=list_exports.source_of
    )
    runner = JobRunner(engine, {JobKind.EXPORT_LIST: exporter}, clock=lambda: NOON)
    await runner.run(int(started.path.rpartition("/")[2]))

    assert "10 rows exported." in (await read(editor, started.path)).text
    clerk = await visitor(Role.CLERK)
    assert (await read(clerk, started.path)).status == 403


async def test_other_roles_are_refused(visitor, thirty_files):
    customer, clerk = await visitor(Role.CUSTOMER), await visitor(Role.CLERK)

    assert (await read(customer, "/admin/files")).status == 404
    assert (await read(clerk, "/admin/files")).status == 200
    for file_format in ("csv", "xlsx"):
        assert (await read(clerk, f"/admin/files/export.{file_format}")).status == 403
    assert (await send(clerk, "/admin/files/export.csv")).status == 403
