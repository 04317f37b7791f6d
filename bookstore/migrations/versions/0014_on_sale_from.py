"""The day from which a book is sold."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0014"
down_revision = "0013"

_DAY = sa.String(10).with_variant(
    mysql.VARCHAR(10, charset="utf8mb4", collation="utf8mb4_bin"), "mysql"
)


def upgrade() -> None:
    op.add_column("books", sa.Column("on_sale_from", _DAY))


def downgrade() -> None:
    op.drop_column("books", "on_sale_from")
