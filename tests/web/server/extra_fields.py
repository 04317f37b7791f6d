"""Fields that a client could add to a request (mass assignment)."""

from bookstore.database.tables import metadata

#: Fields that clients could set in other shops.
TEMPTING = {
    "is_staff", "is_admin", "admin", "role", "roles", "permissions", "user_id", "owner_id", "price",
    "total", "status", "stock", "paid", "id", "created_at", "updated_at", "version", "disabled",
    "email_verified", "__proto__", "constructor", "_csrf", "scopes", "discount_cents",
}  # fmt: skip
COLUMNS = {column.name for table in metadata.tables.values() for column in table.columns}
