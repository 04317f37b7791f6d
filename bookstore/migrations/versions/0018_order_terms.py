"""The words by which staff find the order of a customer."""

import json

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from bookstore.orders import customer_terms

revision = "0018"
down_revision = "0017"

_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_TERM = sa.String(40).with_variant(
    mysql.VARCHAR(40, charset="utf8mb4", collation="utf8mb4_bin"), "mysql"
)
_BATCH = 1000


def upgrade() -> None:
    terms = op.create_table(
        "order_terms",
        sa.Column(
            "order_id",
            _ID,
            sa.ForeignKey("orders.id", name="fk_order_terms_order_id"),
            primary_key=True,
        ),
        sa.Column("term", _TERM, primary_key=True),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_unicode_ci",
    )
    op.create_index("ix_order_terms_term", "order_terms", ["term"])
    conn = op.get_bind()
    # Addresses of erased customers have only the start of a postcode.
    query = sa.text(
        "SELECT o.id, o.shipping_address AS address FROM orders AS o"
        " LEFT JOIN users AS u ON u.id = o.user_id"
        " WHERE o.id > :last AND u.erased_at IS NULL ORDER BY o.id LIMIT :most"
    )
    last = 0
    while rows := conn.execute(query, {"last": last, "most": _BATCH}).all():
        last = rows[-1].id
        found = [{"order_id": row.id, "term": term} for row in rows for term in _terms(row.address)]
        if found:
            conn.execute(sa.insert(terms), found)


def downgrade() -> None:
    op.drop_table("order_terms")


def _terms(stored: str) -> list[str]:
    """The terms of a stored address; none if it is damaged."""
    try:
        address = json.loads(stored)
        return customer_terms.of_address(address)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return []
