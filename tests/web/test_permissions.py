"""Who may come in: the router itself is asked, so that no address is forgotten."""

import re

import pytest

from bookstore.permissions import GRANTS, Permission, Role
from web import routes
from web.access import Open


def example(path):
    """An address that leads to nothing: whoever is let in finds nothing, or is asked for more."""
    return re.sub(r"\{number\}", "NOSUCHORDER", re.sub(r"\{[^}]*\}", "999999", path))


def addresses(app):
    for route in app.router.routes():
        info = route.resource.get_info()
        path = info.get("path") or info["formatter"]
        if path.startswith(routes.API) and route.method != "HEAD":
            yield route.method, path


@pytest.mark.parametrize("role", [None, *Role])
async def test_every_address_lets_in_whom_it_should(server, visitor, role):
    client = await visitor(role)
    access = {(route.method, route.path): route.access for route in routes.OPERATIONS}
    wrong = []

    for method, path in addresses(server.app):
        wanted = access[
            method,
            next(
                r.path
                for r in routes.OPERATIONS
                if r.method == method
                and re.sub(r":[^{}]*(\{[^{}]*\})?[^{}]*\}", "}", r.path)
                == path.removeprefix(routes.API)
            ),
        ]
        if path.endswith("/session") and method == "DELETE":
            continue
        answer = await client.request(method, example(path))
        if wanted is Open.ANYONE or (wanted in (Open.SIGNED_IN, Open.IN_PERSON) and role):
            let_in = True
        else:
            let_in = role is not None and wanted in GRANTS[role]
        refusal = 401 if role is None else 403
        if (answer.status == refusal) is let_in:
            wrong.append((method, path, wanted, answer.status))
        assert answer.status < 500, (method, path)

    assert wrong == []


def test_administrators_may_do_everything():
    assert GRANTS[Role.ADMIN] == set(Permission)
