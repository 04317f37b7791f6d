"""In which language customers read: remembered with accounts, orders and letters."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0010"
down_revision = "0009"


def key(length: int) -> sa.types.TypeEngine[str]:
    binary = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return sa.String(length).with_variant(binary, "mysql")


def upgrade() -> None:
    # Letters were in English so far; what the code before this migration writes stays so.
    for name in ("users", "orders"):
        op.add_column(name, sa.Column("language", key(8), nullable=False, server_default="en"))
    op.add_column("notifications", sa.Column("language", key(8), nullable=True))
