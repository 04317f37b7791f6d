"""Every route with the access that it requires, and the parts of paths."""

import re
from typing import NamedTuple

from bookstore.users.permissions import Permission
from web.server.route_access import ACCESS

#: Parts of paths that identify public objects, or objects whose access needs a permission.
UNOWNED_PARTS = {
    "author_id", "book_id", "isbn", "job_id", "language", "name", "part", "path", "plan_id", "slug",
    "task_id", "token", "user_id",
}  # fmt: skip
#: Parts of paths that identify a user's objects, with the permission for those of other users.
#: None: no permission gives access.
OWNED_PARTS = {
    "address_id": None,
    "notification_id": None,
    "number": Permission.SEE_ORDERS,
    "session": None,
    "token_id": None,
}
PATH_PARTS = re.compile(r"\{(\w+)\}")


class Cell(NamedTuple):
    """A route with the access that it requires."""

    method: str
    path: str
    access: object


def cells(app):
    """Every route, including the back office. A route without access raises KeyError."""
    access = dict(app[ACCESS])
    for dashboard in app._subapps:
        access |= dashboard[ACCESS]
    for route in app.router.routes():
        info = route.resource.get_info()
        yield Cell(route.method, info.get("path") or info["formatter"], access[route])
