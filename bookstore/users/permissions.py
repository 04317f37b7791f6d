"""Roles and their permissions, in one table that the code and the tests read."""

from enum import StrEnum

from bookstore.stored_enum import StoredEnum


class Role(StoredEnum):
    CUSTOMER = "customer"
    CLERK = "clerk"
    EDITOR = "editor"
    MANAGER = "manager"
    ADMIN = "admin"


class Permission(StrEnum):
    OPEN_DASHBOARD = "open-dashboard"
    SEE_ORDERS = "see-orders"
    CHANGE_ORDERS = "change-orders"
    CHANGE_PAYMENT = "change-payment"
    CHANGE_BOOKS = "change-books"
    CHANGE_PRICES = "change-prices"
    CHANGE_STOCK = "change-stock"
    CHANGE_CATEGORIES = "change-categories"
    IMPORT_BOOKS = "import-books"
    EXPORT_BOOKS = "export-books"
    EXPORT_ORDERS = "export-orders"
    SEE_USERS = "see-users"
    CHANGE_USERS = "change-users"
    SEE_NOTIFICATIONS = "see-notifications"
    SEND_NOTIFICATIONS = "send-notifications"
    SEE_TASKS = "see-tasks"
    CHANGE_TASKS = "change-tasks"
    SEE_AUDIT = "see-audit"
    CHANGE_TEXTS = "change-texts"


_CLERK = {
    Permission.OPEN_DASHBOARD,
    Permission.SEE_ORDERS,
    Permission.CHANGE_ORDERS,
    Permission.CHANGE_STOCK,
    Permission.SEE_USERS,
    Permission.SEE_NOTIFICATIONS,
    Permission.SEND_NOTIFICATIONS,
    Permission.SEE_TASKS,
}
_EDITOR = {
    Permission.OPEN_DASHBOARD,
    Permission.CHANGE_BOOKS,
    Permission.CHANGE_STOCK,
    Permission.CHANGE_CATEGORIES,
    Permission.IMPORT_BOOKS,
    Permission.EXPORT_BOOKS,
}

#: The permissions of each role, in addition to what every signed-in user may do.
GRANTS: dict[Role, frozenset[Permission]] = {
    Role.CUSTOMER: frozenset(),
    Role.CLERK: frozenset(_CLERK),
    Role.EDITOR: frozenset(_EDITOR),
    Role.MANAGER: frozenset(set(Permission) - {Permission.CHANGE_USERS}),
    Role.ADMIN: frozenset(Permission),
}


def permits(role: Role, permission: Permission) -> bool:
    """Whether a user with this role has the permission."""
    return permission in GRANTS.get(role, frozenset())


def is_staff(role: Role) -> bool:
    """Whether a user with this role may open the back office."""
    return permits(role, Permission.OPEN_DASHBOARD)


#: What these permit takes accounts over or reveals them.  Pages and API ask for the password first,
#: and a token needs `Scope.ELEVATED`.
DELICATE = frozenset({Permission.CHANGE_USERS})
