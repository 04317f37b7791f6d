"""Every form of the dashboard shows the entered values again after an error.

The tests find the forms by following links, so they also cover a new form on an existing page. The
first test fails for a form that no page of the test store shows.
"""

import re
from urllib.parse import urlsplit

import pytest
from sqlalchemy import func, select

from admin import routes
from bookstore.database.tables import audit_log
from bookstore.users.permissions import GRANTS, Permission, Role, is_staff
from tests.admin.conftest import upload
from tests.admin.forms import INVALID_FILE, Page, invalid_submissions, tampered_submissions
from tests.admin.route_paths import pattern_of
from tests.admin.store_data import add_data_for_every_form
from tests.admin.walking import walk

#: The pattern of each route that accepts a form.  Export routes are left out: they have a form only
#: for a list that is too long for a direct download, and that form has a button and no fields.
POSTS = {
    path: pattern_of(path)
    for method, path, _, _ in routes.ROUTES
    if method == "POST" and "/export." not in path
}


def route_of(action):
    """The route of the dashboard for the form's action; None for an action outside of it."""
    path = urlsplit(action).path
    matching = [post for post, pattern in POSTS.items() if pattern.fullmatch(path)]
    return min(matching, key=lambda post: post.count("{"), default=None)


async def find_forms(client, start_paths):
    """Each different form once, with the address of its page."""
    found = {}
    async for address, page in walk(client, start_paths):
        for form in page.forms:
            if route := route_of(form.action):
                states = [value for _, value in form.buttons if not re.search("[0-9]", value)]
                names = [control.name for control in form.typed]
                found.setdefault((route, *names, *states), (address, form))
    return found.values()


async def count_changes(database):
    """The number of changes in the audit log."""
    async with database() as conn:
        return await conn.scalar(select(func.count()).select_from(audit_log))


def problem_of(form, submission, page):
    """The problem of the page that follows an invalid form; empty if the page is as expected."""
    if page.status >= 500:
        return f"{page.status}"
    if page.status < 400:
        # One of several buttons may not use the invalid field.
        return (
            "" if submission.description == "too much" and len(form.buttons) > 1 else "was accepted"
        )
    field_links = {f"#field-{control.id.removeprefix('field-')}" for control in form.typed}
    field_links |= {"#field-ticks", "#field-categories"}
    if page.status == 404 and all(control.kind == "select" for control in form.typed):
        return ""
    if "hidden" not in submission.description and not field_links & {*page.summary_links}:
        return f"{page.status}, no link to a field: {page.summary_links}"
    if broken := [
        link for link in page.summary_links if link[1:] not in page.ids and link[0] == "#"
    ]:
        return f"a link to nothing: {broken}"
    lost = [
        field_id
        for field_id, typed in submission.typed.items()
        if not is_kept(page, field_id, typed)
    ]
    return f"lost: {lost}" if lost else ""


def is_kept(page, field_id, typed):
    control = page.by_id.get(field_id)
    if control is not None and control.kind == "select" and typed not in control.options:
        return True
    # The page may no longer have the field, but it must show the text.
    return (control is not None and control.value == typed) or typed in page.text


# About 100 pages and several hundred submissions, possibly on a busy machine.
@pytest.mark.timeout(300)
async def test_no_form_loses_entered_values(visitor, server, database):
    admin = await visitor(Role.ADMIN, "ada@example.com")
    await visitor(Role.CLERK, "mira@example.com")
    start_paths = await add_data_for_every_form(server, database, admin)
    forms = await find_forms(admin, start_paths)
    before, wrong = await count_changes(database), []

    for address, form in forms:
        for submission in invalid_submissions(form) if form.typed else ():
            if form.multipart:
                files = {control.name: INVALID_FILE for control in form.typed}
                answer = await upload(admin, form.action, files, **dict(submission.fields))
            else:
                answer = await admin.post(form.action, data=submission.fields)
            page = Page(await answer.text(), answer.status)
            if problem := problem_of(form, submission, page):
                wrong.append((address, form.action, submission.description, problem))
            reopened = await admin.get(form.action)
            if reopened.status >= 400:
                wrong.append((address, form.action, "opened again", reopened.status))
    assert wrong == [], "\n".join(map(str, wrong))
    assert await count_changes(database) == before
    # A form that has only buttons may succeed even with changed hidden fields.
    for address, form in forms:
        for fields in tampered_submissions(form) if not form.typed else ():
            answer = await admin.post(form.action, data=fields)
            page = Page(await answer.text(), answer.status)
            if answer.status >= 500 or not (answer.status >= 400 or page.messages):
                wrong.append((address, form.action, fields, answer.status))

    assert wrong == [], "\n".join(map(str, wrong))
    assert {route_of(form.action) for _, form in forms} == POSTS.keys()


# `walk` fails if a page links to another page that the role may not see.
@pytest.mark.parametrize("role", [role for role in Role if is_staff(role)])
@pytest.mark.timeout(300)
async def test_each_role_sees_exactly_the_forms_that_it_may_send(visitor, server, database, role):
    admin = await visitor(Role.ADMIN, "ada@example.com")
    await visitor(Role.CLERK, "mira@example.com")
    start_paths = await add_data_for_every_form(server, database, admin)
    client = await visitor(role)

    forms = await find_forms(
        client, [path for path in start_paths if is_allowed(role, "GET", path)]
    )

    offered = {route_of(form.action) for _, form in forms}
    assert offered == {path for path in POSTS if is_allowed(role, "POST", f"/admin{path}")}


def is_allowed(role, method, address):
    """Whether the role may send this request; an export also requires access to its data."""
    path = urlsplit(address).path
    if path.startswith("/admin/exports/"):
        return Permission.EXPORT_BOOKS in GRANTS[role]
    (access, *_) = (
        access
        for route_method, route, _, access in routes.ROUTES
        if route_method == method
        and (path == f"/admin{route}" or pattern_of(route).fullmatch(path))
    )
    return access in GRANTS[role]
