"""The REST API."""

from web.api import (
    book_schemas,
    carts,
    docs_pages,
    idempotency,
    imports,
    openapi,
    operations,
    privacy,
    routes,
)
