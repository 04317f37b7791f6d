"""Services for the back office: sortable and filterable lists, reports and bulk changes."""

from bookstore.backoffice import (
    audit_report,
    authors,
    books,
    bulk_changes,
    bulk_jobs,
    categories,
    emails,
    imports,
    legal_texts,
    list_exports,
    lists,
    orders,
    reports,
    stock_ledger,
    tasks,
    users,
)
