"""The audit log: each change by staff, with values before and after, user and address."""

from typing import Any

from admin.list_state import Filter, labels, row_id, start_of_day
from admin.lists import AdminList, View
from bookstore.backoffice import audit_report
from bookstore.users import accounts
from bookstore.users.permissions import Permission

#: The page of each type of object.
OBJECT_URLS = {
    "author": "/admin/authors/{}",
    "book": "/admin/books/{}",
    "category": "/admin/categories?change={}",
    "notification": "/admin/notifications?email={}",
    "order": "/admin/orders/{}",
    "user": "/admin/users/{}",
}
#: The types of objects; some have no page.
_OBJECTS = sorted([*OBJECT_URLS, "task", "import", "token", "session"])


def _action(text: str) -> str:
    return text.lower().replace(" ", "-")


async def _details(view: View) -> dict[str, Any]:
    user_id = view.query.user_id
    names = await accounts.names(view.conn, {user_id} if user_id is not None else set())
    return {"object_urls": OBJECT_URLS, "who_name": names.get(user_id)}


LIST = AdminList(
    rows=audit_report.AUDIT,
    path="/audit",
    template="audit.html",
    permission=Permission.SEE_AUDIT,
    filters=(
        Filter("object", "Object", labels(_OBJECTS), field="object_type"),
        Filter("id", "Number or slug", field="object_id"),
        Filter("action", "Action", parse=_action),
        Filter("user", "User", field="user_id", parse=row_id),
        Filter("since", "Since", parse=start_of_day),
    ),
    details=_details,
    counted=False,
)
