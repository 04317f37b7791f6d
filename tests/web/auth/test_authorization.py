"""Every access decision goes through one authorization policy.

The tests walk the routers themselves, the back office included, so that a new route is covered
without a change here.
"""

import ast
import re
import shutil
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp.test_utils import TestServer
from aiohttp_security.abc import AbstractAuthorizationPolicy
from aiohttp_security.api import AUTZ_KEY
from sqlalchemy import select

from admin import routes as admin_routes
from bookstore.database.engine import transaction
from bookstore.database.tables import users
from bookstore.users.permissions import DELICATE, Permission, Role
from tests.web.server.routes import PATH_PARTS
from web.api import routes as api_routes
from web.app import make_app
from web.auth import sessions
from web.auth.authorization import Authorization
from web.server.keys import ENGINE, TOKEN
from web.server.request_context import now
from web.server.route_access import ACCESS, CONFIRMED, AccessLevel
from web.server.security import SAFE_METHODS
from web.store import routes as store_routes

ROOT = Path(__file__).parents[3]
ADMIN_PREFIX = "/admin"
#: A role of each kind: guest, customer, staff with few permissions, staff with all.
ROLES = [None, Role.CUSTOMER, Role.CLERK, Role.ADMIN]


class RouteCell(NamedTuple):
    """A route with what it requires."""

    method: str
    path: str
    access: object
    confirmed: bool

    @property
    def url(self):
        """A URL of the route. Its ids match nothing that exists."""
        known = {"number": "NOSUCHORDER00", "path": "none.css", "name": "none.css"}
        return PATH_PARTS.sub(lambda match: known.get(match[1], "999999"), self.path)

    @property
    def is_api(self):
        return self.path.startswith("/api/")

    @property
    def is_admin(self):
        return self.path.startswith(ADMIN_PREFIX)


def route_cells(app):
    """Every route of the application and its subapplications."""
    access, confirmed = dict(app[ACCESS]), set(app[CONFIRMED])
    for subapp in app._subapps:
        access |= subapp[ACCESS]
        confirmed |= subapp[CONFIRMED]
    for route in app.router.routes():
        info = route.resource.get_info()
        path = info.get("path") or info["formatter"]
        yield RouteCell(route.method, path, access[route], route in confirmed)


class SpyPolicy(AbstractAuthorizationPolicy):
    """Records what it is asked, and permits everything that is not in `denied`.

    `denied` is None while the real policy decides.
    """

    def __init__(self):
        self.denied = None
        self.questions = []
        self._real = Authorization()

    async def authorized_userid(self, identity):
        return await self._real.authorized_userid(identity)

    async def permits(self, identity, permission, context=None):
        if self.denied is None:
            return await self._real.permits(identity, permission, context)
        self.questions.append((context.method, context.path, permission))
        return permission not in self.denied


EVERYTHING = {*AccessLevel, *Permission}


@pytest.fixture
def database_url(sqlite_template, tmp_path):
    """SQLite only: the database makes no difference to authorization."""
    path = tmp_path / "bookstore.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture
async def server(settings):
    """The application with a spy instead of its policy."""
    app = await make_app(settings)
    app[AUTZ_KEY] = SpyPolicy()
    server = TestServer(app)
    await server.start_server(access_log=None)
    yield server
    await server.close()


@pytest.fixture
def policy(server):
    return server.app[AUTZ_KEY]


@pytest.fixture
def long_after(monkeypatch):
    """Sets the clock of the sessions to the given time after now."""

    def move(delay):
        monkeypatch.setattr(sessions, "now", lambda: now() + delay)

    return move


async def send(client, cell, **more):
    """The response to a request for the route; streams are closed after their headers."""
    response = await client.request(cell.method, cell.url, allow_redirects=False, **more)
    if response.content_type == "text/event-stream":
        response.close()
    return response


def leads_to(response, page):
    """Whether the response redirects to this page."""
    return response.status == 303 and response.headers["Location"].startswith(f"{page}?next=")


async def code_of(response):
    """The code of a problem document; None for any other response."""
    if response.content_type != "application/problem+json":
        return None
    return (await response.json())["code"]


# The policy decides about every route.


@pytest.mark.parametrize("role", ROLES)
async def test_no_route_works_when_the_policy_permits_nothing(server, policy, visitor, role):
    client = await visitor(role)
    policy.denied = EVERYTHING
    wrong = []

    for cell in route_cells(server.app):
        response = await send(client, cell)
        if role is None:
            refused = response.status == 401 if cell.is_api else leads_to(response, "/sign-in")
        else:
            refused = response.status == 403
        if not refused:
            wrong.append((cell, response.status))

    assert wrong == []


async def test_the_policy_is_asked_for_exactly_the_access_of_the_route_table(
    server, policy, visitor
):
    client = await visitor(Role.ADMIN)
    wrong = []

    for cell in route_cells(server.app):
        # The site permits every request to its subapplication, which then asks for the route.
        before = [AccessLevel.ANYONE] if cell.is_admin else []
        policy.denied = EVERYTHING - {*before}
        policy.questions.clear()
        await send(client, cell)
        if policy.questions != [(cell.method, cell.url, each) for each in (*before, cell.access)]:
            wrong.append((cell, [*policy.questions]))

    assert wrong == []


async def test_the_policy_is_also_asked_about_the_recent_password(server, policy, visitor):
    client = await visitor(Role.ADMIN)
    policy.denied = {AccessLevel.CONFIRMED}
    cells = [cell for cell in route_cells(server.app) if cell.confirmed]
    wrong = []

    for cell in cells:
        policy.questions.clear()
        await send(client, cell)
        asked = [permission for _, _, permission in policy.questions]
        if asked[-2:] != [cell.access, AccessLevel.CONFIRMED]:
            wrong.append((cell, asked))

    assert len(cells) >= 8
    assert wrong == []


@pytest.mark.parametrize(
    ("path", "defaults"),
    [
        ("/nothing", [AccessLevel.ANYONE]),
        ("/api/v1/nothing", [AccessLevel.ANYONE]),
        ("/admin/nothing", [AccessLevel.ANYONE, Permission.OPEN_DASHBOARD]),
    ],
)
async def test_the_policy_is_asked_about_unknown_addresses(policy, visitor, path, defaults):
    client = await visitor(Role.ADMIN)
    policy.denied = set()

    response = await client.get(path)

    assert response.status == 404
    assert policy.questions == [("GET", path, access) for access in defaults]


# Scopes of API tokens.


async def make_token(client, scopes):
    response = await client.post(
        "/api/v1/users/me/tokens", json={"name": "script", "scopes": scopes}
    )
    assert response.status == 201
    return {"Authorization": f"Bearer {(await response.json())['token']}"}


@pytest.mark.parametrize(
    ("scopes", "safe"),
    [(["read", "staff"], False), (["write", "staff"], True)],
    ids=["read", "write"],
)
async def test_a_token_needs_the_scope_of_the_method(server, visitor, scopes, safe):
    admin, program = await visitor(Role.ADMIN), await visitor()
    token = await make_token(admin, scopes)
    cells = [
        cell
        for cell in route_cells(server.app)
        if cell.is_api and (cell.method in SAFE_METHODS) is safe
    ]
    wrong = []

    for cell in cells:
        response = await send(program, cell, headers=token)
        if response.status != 403 or (
            cell.method != "HEAD" and await code_of(response) != "not-allowed"
        ):
            wrong.append((cell, response.status))

    assert len(cells) > 30
    assert wrong == []


async def test_a_token_with_the_scope_is_permitted(server, visitor):
    admin, program = await visitor(Role.ADMIN), await visitor()
    token = await make_token(admin, ["read", "staff"])

    for cell in route_cells(server.app):
        permitted = isinstance(cell.access, Permission) or cell.access is AccessLevel.SIGNED_IN
        if cell.is_api and cell.method == "GET" and permitted:
            response = await send(program, cell, headers=token)
            assert response.status not in (401, 403), cell


# Recently entered password.

#: A minute more and a minute less than the time that a password counts as recent.
TOO_LONG = sessions.CONFIRMED + timedelta(minutes=1)
IN_TIME = sessions.CONFIRMED - timedelta(minutes=1)


def confirmed_cells(app):
    return [cell for cell in route_cells(app) if cell.confirmed]


def is_password_page(response):
    return leads_to(response, "/account/confirm")


async def test_every_handler_that_needs_a_recent_password_has_a_route(server):
    [admin] = server.app._subapps
    delicate = {it.handler for it in api_routes.OPERATIONS if it.access in DELICATE}

    assert {route.handler for route in server.app[CONFIRMED]} == (
        api_routes.CONFIRMED | store_routes.CONFIRMED | delicate
    )
    assert {route.handler for route in admin[CONFIRMED]} == {
        handler for _, _, handler, permission in admin_routes.ROUTES if permission in DELICATE
    }


async def test_the_api_asks_for_the_password_where_the_dashboard_does(server):
    """For each delicate permission both have routes, and all of them ask."""
    for permission in DELICATE:
        of_permission = [cell for cell in route_cells(server.app) if cell.access is permission]
        assert {cell.is_admin for cell in of_permission} == {True, False}
        # A page at the address of a form only leads to the form.
        asking = [cell for cell in of_permission if cell.method not in ("GET", "HEAD")]
        assert asking
        assert all(cell.confirmed for cell in asking)


@pytest.mark.parametrize(
    ("scopes", "status"), [(["read", "write", "staff"], 403), (["write", "staff", "elevated"], 200)]
)
async def test_a_token_changes_roles_only_if_it_was_made_for_it(server, visitor, scopes, status):
    admin, program = await visitor(Role.ADMIN), await visitor()
    await visitor(Role.CUSTOMER, "anna@example.com")
    token = await make_token(admin, scopes)
    async with transaction(server.app[ENGINE]) as conn:
        anna = await conn.scalar(select(users.c.id).where(users.c.email == "anna@example.com"))

    answer = await program.patch(f"/api/v1/users/{anna}", json={"role": "clerk"}, headers=token)

    assert answer.status == status


async def test_a_session_without_a_recent_password_changes_no_role(server, visitor, long_after):
    admin = await visitor(Role.ADMIN)
    await visitor(Role.CUSTOMER, "anna@example.com")
    async with transaction(server.app[ENGINE]) as conn:
        anna = await conn.scalar(select(users.c.id).where(users.c.email == "anna@example.com"))
    long_after(TOO_LONG)

    answer = await admin.patch(f"/api/v1/users/{anna}", json={"role": "clerk"})

    assert (answer.status, (await answer.json())["code"]) == (403, "password-needed")


async def test_a_password_entered_too_long_ago_is_needed_again(server, visitor, long_after):
    admin = await visitor(Role.ADMIN)
    long_after(TOO_LONG)
    wrong = []

    for cell in confirmed_cells(server.app):
        response = await send(admin, cell)
        if cell.is_api:
            refused = (response.status, await code_of(response)) == (403, "password-needed")
        else:
            refused = is_password_page(response)
        if not refused:
            wrong.append((cell, response.status))

    assert wrong == []


async def test_a_password_entered_recently_is_enough(server, visitor, long_after):
    admin = await visitor(Role.ADMIN)
    long_after(IN_TIME)

    for cell in confirmed_cells(server.app):
        response = await send(admin, cell)
        assert response.status not in (401, 403), cell
        assert not is_password_page(response), cell


async def test_a_token_never_counts_as_a_recent_password(server, visitor):
    admin, program = await visitor(Role.ADMIN), await visitor()
    token = await make_token(admin, ["read", "write", "staff"])
    wrong = []

    for cell in confirmed_cells(server.app):
        response = await send(program, cell, headers=token)
        if cell.is_api:
            refused = (response.status, await code_of(response)) == (403, "not-allowed")
        else:  # Pages ignore tokens, so this is a guest.
            refused = leads_to(response, "/sign-in")
        if not refused:
            wrong.append((cell, response.status))

    assert wrong == []


async def test_the_policy_refuses_the_recent_password_of_a_token(policy, visitor):
    """Not even a route that any signed-in user may use could accept a token here."""
    admin, program = await visitor(Role.ADMIN), await visitor()
    token = await make_token(admin, ["read", "write", "staff"])
    answers = []

    async def permits(identity, permission, context=None):
        permitted = await Authorization().permits(identity, AccessLevel.CONFIRMED, context)
        answers.append((context[TOKEN] is not None, permitted))
        return False

    policy.permits = permits
    await program.get("/api/v1/users/me", headers=token)
    await admin.get("/api/v1/users/me")

    assert answers == [(True, False), (False, True)]


# No second way to decide.


def python_files():
    for package in ("web", "admin"):
        yield from sorted((ROOT / package).rglob("*.py"))


def calls_in(tree):
    """The dotted names of all calls: `permits`, `aiohttp_security.permits`."""
    return [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_only_route_access_asks_the_policy():
    places = []
    for path in python_files():
        tree = ast.parse(path.read_text())
        name = path.relative_to(ROOT).as_posix()
        places += [
            (name, call)
            for call in calls_in(tree)
            if re.fullmatch(r"aiohttp_security\.(permits|check_\w+|is_anonymous)", call)
        ]
        imported = [
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "aiohttp_security"
            for alias in node.names
        ]
        assert imported == [], f"{name}: call aiohttp_security.{imported[0]} by its full name"

    assert places == [("web/server/route_access.py", "aiohttp_security.permits")]


#: Where code looks at a role without the policy, how often, and why it may. A new place belongs
#: into the route table or into `route_access.authorize`, unless it only decides what is shown.
ROLE_CHECKS = {
    # The policy itself, and the sessions that determine the role.
    "web/auth/authorization.py": (1, "the policy"),
    "web/auth/session_storage.py": (6, "the role and lifetime of a session"),
    "web/auth/sessions.py": (3, "a changed role ends a stream"),
    "web/auth/order_access.py": (2, "orders open to their owner, their token or staff"),
    "admin/access.py": (1, "customers get a 404 instead of a 403"),
    # What pages show.
    "admin/home.py": (2, "shows figures"),
    "admin/quick_search.py": (2, "shows results"),
    "admin/rendering.py": (3, "shows navigation and buttons; customers get the store's error page"),
    "admin/tasks.py": (1, "shows a link back"),
    "admin/user_detail.py": (2, "shows orders and audit log"),
    "web/store/account.py": (1, "shows a link"),
    "web/store/guest_orders.py": (1, "shows a guest's access link"),
    "web/store/tokens.py": (1, "shows scopes"),
    # Fields and rows: the route's permission is checked before, this narrows what it covers.
    "admin/book_form.py": (1, "prices"),
    "admin/bulk_books.py": (1, "prices"),
    "admin/imports.py": (1, "prices"),
    "web/api/books.py": (1, "prices"),
    "web/api/exports.py": (1, "exports of lists that the user may see"),
    "web/api/imports.py": (1, "prices"),
    "web/api/orders.py": (1, "staff may cancel later than customers"),
}
_ROLE_FUNCTIONS = {"permits", "is_staff", "has_permission"}


def role_checks(tree):
    """Calls of role functions, comparisons of a user's role, and uses of a certain `Role`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")
            if name[2] in _ROLE_FUNCTIONS and name[0] != "aiohttp_security":
                yield node
        elif isinstance(node, ast.Compare):
            sides = [ast.unparse(side) for side in (node.left, *node.comparators)]
            users = r"(user|account|current_user\(request\)|request\[USER\])\.role"
            if any(re.fullmatch(users, side) for side in sides):
                yield node
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "Role":
            yield node


def test_handlers_do_not_decide_by_role():
    found = {}
    for path in python_files():
        number = len(list(role_checks(ast.parse(path.read_text()))))
        if number:
            found[path.relative_to(ROOT).as_posix()] = number

    assert found == {name: number for name, (number, _) in ROLE_CHECKS.items()}


@pytest.mark.parametrize(
    "source",
    [
        "permits(user.role, Permission.SEE_ORDERS)",
        "is_staff(user.role)",
        "order_access.has_permission(request, Permission.SEE_ORDERS)",
        "if current_user(request).role == 'admin': pass",
        "x = role is Role.ADMIN",
    ],
)
def test_the_search_finds_role_checks(source):
    assert len(list(role_checks(ast.parse(source)))) == 1
