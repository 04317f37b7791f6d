"""Since when devices of an account count as known."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    moment = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")
    op.add_column("users", sa.Column("secured_at", moment))


def downgrade() -> None:
    op.drop_column("users", "secured_at")
