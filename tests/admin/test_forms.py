"""Every form of the dashboard, found by opening its pages: what is refused is not lost.

A form that is added to a page is tried with the others; one that no page of this store shows is
missed at the end.
"""

import re
from collections import Counter
from urllib.parse import urlsplit

import pytest
from aiohttp import FormData
from sqlalchemy import func, insert, select, update

from admin import routes
from bookstore.catalogue import categories
from bookstore.database.tables import audit_log, books, tasks, users
from bookstore.imports.importer import Importer
from bookstore.tasks.job_runner import Runner
from bookstore.tasks.jobs import Kind
from bookstore.users.permissions import GRANTS, Permission, Role, is_staff
from tests.admin.forms import NO_FILE, Page, sendings, tamperings
from tests.admin.test_staff import add_letter
from tests.factories import NOON, add_order, create_book
from tests.web.story import COVER
from web.server.keys import ENGINE

#: As many pages of one kind as show every state of what they are about.
ALIKE = 8
LIST = b"isbn,title,authors,price,stock\n9780441172717,Dune,Frank Herbert,12.90,3\n"


def pattern_of(path):
    """What fits an address as the router has it."""
    return re.compile("/admin" + re.sub(r"\{\w+(:[^{}]*(\{[^{}]*\})?[^{}]*)?\}", "[^/]+", path))


#: The addresses of the forms, and what fits each.  Only of a list that is too long to wait for a
#: page asks whether it should be written, with a button and nothing else.
POSTS = {
    path: pattern_of(path)
    for method, path, _, _ in routes.PAGES
    if method == "POST" and "/export." not in path
}


def kind_of(action):
    """The address of the dashboard's that this is; None for the shop's own."""
    path = urlsplit(action).path
    fitting = [post for post, pattern in POSTS.items() if pattern.fullmatch(path)]
    return min(fitting, key=lambda post: post.count("{"), default=None)


async def upload(client, path, content, **fields):
    data = FormData()
    for name, value in fields.items():
        data.add_field(name, value)
    for name, file in content.items():
        data.add_field(name, file, filename="sent")
    return await client.post(path, data=data)


async def furnish(server, database, admin):
    """A store that has every form to show; the pages to which no link leads."""
    async with database() as conn:
        shelf = await categories.create(conn, "Science fiction", user_id=None, now=NOON)
        await categories.create(conn, "Empty", user_id=None, now=NOON)
        dune = await create_book(conn, categories=[shelf.slug])
        solaris = await create_book(conn, title="Solaris")
        gone = await create_book(conn, title="Gone")
        await conn.execute(update(books).where(books.c.id == gone.id).values(withdrawn_at=NOON))
        mira = await conn.scalar(select(users.c.id).where(users.c.email == "mira@example.com"))
        await conn.execute(update(users).where(users.c.id == mira).values(totp_at=NOON))
        for number, status in enumerate(("confirmed", "packed", "shipped")):
            order_id = await add_order(
                conn,
                {dune.id: 1},
                number=f"7Q4M-XK2{number}",
                status=status,
                user_id=mira,
                total_cents=1580,
            )
            work = {"task": "process_orders", "ref_id": order_id, "created_at": NOON}
            dead = {"attempts": 5, "error": "KeyError: 'weight'", "dead_at": NOON}
            await conn.execute(insert(tasks).values(**work, **dead, due_at=NOON, publish_count=3))
    await add_letter(database, order_id=order_id)
    await upload(admin, f"/admin/books/{dune.id}/cover", {"cover": COVER}, version="1")
    sent = await upload(admin, "/admin/imports", {"file": LIST})
    file_id = sent.url.query["file"]
    tried = await admin.post("/admin/imports/start", data={"file": file_id, "dry_run": "yes"})
    engine = server.app[ENGINE]
    importer = Importer(engine, currency="EUR", clock=lambda: NOON)
    runner = Runner(engine, {Kind.IMPORT_BOOKS: importer}, clock=lambda: NOON)
    await runner.run(int(tried.url.name))
    await admin.post("/admin/imports/start", data={"file": file_id, "dry_run": "yes"})
    plan = {"book": str(solaris.id), "field": "add-category", "category": shelf.slug}
    planned = await admin.post("/admin/books/bulk", data=plan)
    plan = {"book": str(dune.id), "field": "remove-category", "category": shelf.slug}
    done = await admin.post("/admin/books/bulk", data=plan)
    await admin.post(done.url.path)
    every = {"all": "yes", "to": "packed", "back": "/admin/orders?status=confirmed"}
    packed = await admin.post("/admin/orders", data=every)
    every = {"all": "yes", "back": "/admin/notifications"}
    again = await admin.post("/admin/notifications/resend", data=every)
    export = await admin.post("/admin/books/export.csv")
    answers = (planned, done, packed, again, export)
    return [*(answer.url.path for answer in answers), f"/admin/imports/new?file={file_id}"]


async def walk(client, starts):
    """Each page of the dashboard that links lead to, some of those that are alike."""
    waiting, seen, alike = ["/admin", *starts], set(), Counter()
    while waiting:
        address = waiting.pop(0).partition("#")[0]
        parts = urlsplit(address)
        kind = (re.sub(r"[0-9][\w-]*", "0", parts.path), *re.findall(r"(\w+)=", parts.query))
        if address in seen or alike[kind] == ALIKE or re.search(r"\.(csv|json|xlsx)$", parts.path):
            continue
        seen.add(address)
        alike[kind] += 1
        answer = await client.get(address)
        assert answer.status == 200, address
        page = Page(await answer.text())
        waiting += [link for link in page.links if re.match(r"/admin(/(?!static)|\?|$)", link)]
        yield address, page


async def found_forms(client, starts):
    """One of each form, with the page it stands on."""
    found = {}
    async for address, page in walk(client, starts):
        for form in page.forms:
            if kind := kind_of(form.action):
                states = [value for _, value in form.buttons if not re.search("[0-9]", value)]
                names = [control.name for control in form.typed]
                found.setdefault((kind, *names, *states), (address, form))
    return found.values()


async def written(database):
    """How much the staff have changed."""
    async with database() as conn:
        return await conn.scalar(select(func.count()).select_from(audit_log))


def unanswered(form, sending, page):
    """What is wrong with the page after a form that could not be right."""
    if page.status >= 500:
        return f"{page.status}"
    if page.status < 400:
        # One of several buttons may not need what was wrong.
        return "" if sending.how == "too much" and len(form.buttons) > 1 else "was taken"
    places = {f"#field-{control.id.removeprefix('field-')}" for control in form.typed}
    places |= {"#field-ticks", "#field-categories"}
    if page.status == 404 and all(control.kind == "select" for control in form.typed):
        return ""
    if "hidden" not in sending.how and not places & {*page.summary}:
        return f"{page.status}, no link to a field: {page.summary}"
    if astray := [link for link in page.summary if link[1:] not in page.ids and link[0] == "#"]:
        return f"a link to nothing: {astray}"
    lost = [place for place, typed in sending.typed.items() if not is_kept(page, place, typed)]
    return f"lost: {lost}" if lost else ""


def is_kept(page, place, typed):
    control = page.by_id.get(place)
    if control is not None and control.kind == "select" and typed not in control.options:
        return True
    # The field may have gone: the text has not.
    return (control is not None and control.value == typed) or typed in page.text


# A hundred pages and some hundreds of forms, on a machine that may be busy.
@pytest.mark.timeout(300)
async def test_no_form_loses_what_was_typed(visitor, server, database):
    admin = await visitor(Role.ADMIN, "ada@example.com")
    await visitor(Role.CLERK, "mira@example.com")
    starts = await furnish(server, database, admin)
    forms = await found_forms(admin, starts)
    before, wrong = await written(database), []

    for address, form in forms:
        for sending in sendings(form) if form.typed else ():
            if form.multipart:
                file = {control.name: NO_FILE for control in form.typed}
                answer = await upload(admin, form.action, file, **dict(sending.fields))
            else:
                answer = await admin.post(form.action, data=sending.fields)
            page = Page(await answer.text(), answer.status)
            if fault := unanswered(form, sending, page):
                wrong.append((address, form.action, sending.how, fault))
            again = await admin.get(form.action)
            if again.status >= 400:
                wrong.append((address, form.action, "opened again", again.status))
    assert wrong == [], "\n".join(map(str, wrong))
    assert await written(database) == before
    # What has only buttons may be carried out, whatever its hidden fields say.
    for address, form in forms:
        for fields in tamperings(form) if not form.typed else ():
            answer = await admin.post(form.action, data=fields)
            page = Page(await answer.text(), answer.status)
            if answer.status >= 500 or not (answer.status >= 400 or page.notes):
                wrong.append((address, form.action, fields, answer.status))

    assert wrong == [], "\n".join(map(str, wrong))
    assert {kind_of(form.action) for _, form in forms} == POSTS.keys()


# No link of a page leads to one that this role may not see, or the walk would fail.
@pytest.mark.parametrize("role", [role for role in Role if is_staff(role)])
@pytest.mark.timeout(300)
async def test_each_role_is_offered_what_it_may_do_and_no_more(visitor, server, database, role):
    admin = await visitor(Role.ADMIN, "ada@example.com")
    await visitor(Role.CLERK, "mira@example.com")
    starts = await furnish(server, database, admin)
    somebody = await visitor(role)

    forms = await found_forms(somebody, [start for start in starts if may(role, "GET", start)])

    offered = {kind_of(form.action) for _, form in forms}
    assert offered == {path for path in POSTS if may(role, "POST", f"/admin{path}")}


def may(role, method, address):
    """Whether the role is let in there; an export is also a matter of what is in it."""
    path = urlsplit(address).path
    if path.startswith("/admin/exports/"):
        return Permission.EXPORT_BOOKS in GRANTS[role]
    (access, *_) = (
        access
        for each, it, _, access in routes.PAGES
        if each == method and (path == f"/admin{it}" or pattern_of(it).fullmatch(path))
    )
    return access in GRANTS[role]
