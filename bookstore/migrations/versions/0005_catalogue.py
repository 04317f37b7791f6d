"""Covers, editions, answers that are kept for their key."""

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Nothing yet."""
