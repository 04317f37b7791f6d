"""Users, their addresses and preferences, and their authentication."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, String, Text

from bookstore.database import documents
from bookstore.database.tables.columns import Hash, Id, Key, UtcDateTime, table

users = table(
    "users",
    Column("id", Id, primary_key=True),
    Column("email", String(254), nullable=False),
    Column("email_key", Key(254), nullable=False, unique=True),
    Column("password_hash", String(255), nullable=False),
    Column("name", String(200), nullable=False),
    Column("role", Key(20), nullable=False),
    # The language of our e-mails to the user (`bookstore.i18n`).
    Column("language", Key(8), nullable=False, server_default="en"),
    Column("email_verified_at", UtcDateTime),
    Column("disabled_at", UtcDateTime),
    # When personal data was erased; the row stays, because orders refer to it.
    Column("erased_at", UtcDateTime),
    # The second factor's seed is derived from the nonce and the store's secret.  `totp_step` is
    # the time step of the last accepted code, so that no code is accepted twice.
    Column("totp_nonce", Hash),
    Column("totp_at", UtcDateTime),
    Column("totp_step", BigInteger),
    # When all access from before was ended; devices known before no longer count as known.
    Column("secured_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

recovery_codes = table(
    "recovery_codes",
    Column("user_id", Id, ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("code_hash", Hash, primary_key=True),
)

addresses = table(
    "addresses",
    Column("id", Id, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id"), nullable=False, index=True),
    Column("name", String(200), nullable=False),
    Column("line1", String(200), nullable=False),
    Column("line2", String(200)),
    Column("city", String(100), nullable=False),
    Column("postcode", String(20)),
    Column("country", Key(2), nullable=False),
    Column("phone", String(40)),
    Column("is_default", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

# Only for users who changed their preferences; the others get every e-mail.
preferences = table(
    "preferences",
    Column("user_id", Id, ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("email_when_delivered", Boolean, nullable=False),
    Column("email_messages", Boolean, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

sessions = table(
    "sessions",
    Column("id_hash", Hash, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id"), index=True),
    Column("data", Text, nullable=False),
    Column("address", Key(45)),
    Column("user_agent", String(255)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("last_seen_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

api_tokens = table(
    "api_tokens",
    Column("id", Id, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id"), nullable=False, index=True),
    Column("name", String(100), nullable=False),
    Column("token_hash", Hash, nullable=False, unique=True),
    Column("scopes", documents.SCOPES, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, index=True),
    Column("last_used_at", UtcDateTime),
    sqlite_autoincrement=True,
)

# One-time links in e-mails.  The link's secret is derived from `nonce` and never stored.
link_tokens = table(
    "link_tokens",
    Column("id", Id, primary_key=True),
    Column("purpose", Key(20), nullable=False),
    Column("user_id", Id, ForeignKey("users.id"), nullable=False, index=True),
    Column(
        "notification_id",
        Id,
        ForeignKey("notifications.id", ondelete="CASCADE"),
        nullable=False,
        unique=True,
    ),
    # The address to which the e-mail was sent; opening the link proves that the user owns it.
    Column("email", String(254), nullable=False),
    Column("nonce", Hash, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
    sqlite_autoincrement=True,
)

# Failed attempts by name (an account, a network or a device), stored as a hash.
failed_attempts = table(
    "failed_attempts",
    Column("name_hash", Hash, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("failed_at", UtcDateTime, nullable=False),
    Column("forget_at", UtcDateTime, nullable=False, index=True),
)
