"""Tokens that were valid for ever are valid for 90 more days."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    ends = (datetime.now(UTC) + timedelta(days=90)).strftime("%Y-%m-%d %H:%M:%S.%f")
    op.get_bind().execute(
        sa.text("UPDATE api_tokens SET expires_at = :ends WHERE expires_at IS NULL"), {"ends": ends}
    )


def downgrade() -> None:
    """The earlier release understands the times."""
