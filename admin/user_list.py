"""The list of users."""

from admin.list_state import Filter, labels
from admin.lists import AdminList
from bookstore.backoffice import users
from bookstore.users.permissions import Permission, Role

LIST = AdminList(
    rows=users.USERS,
    path="/users",
    template="users.html",
    permission=Permission.SEE_USERS,
    filters=(
        Filter("q", "Search"),
        Filter("role", "Role", labels(Role), parse=Role),
        Filter("disabled", "Access", {"yes": "Disabled"}, parse=bool),
    ),
)
