"""Accounts: tokens, second factors, links that prove an address."""

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Nothing yet."""
