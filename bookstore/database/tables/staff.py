"""The audit log and its hash chain, bulk changes and legal texts."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Text

from bookstore.database import documents
from bookstore.database.tables.columns import Hash, Id, Key, UtcDateTime, table

audit_log = table(
    "audit_log",
    Column("id", Id, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("user_id", Id, ForeignKey("users.id")),
    Column("action", Key(40), nullable=False),
    Column("object_type", Key(20), nullable=False),
    Column("object_id", Key(100), nullable=False),
    # {field: [before, after]}; for personal data only {field: null}.
    Column("changes", documents.CHANGES, nullable=False),
    # The client's network address; NULL for the command line.
    Column("address", Key(45)),
    Index("ix_audit_log_object", "object_type", "object_id", "id"),
    Index("ix_audit_log_user", "user_id", "id"),
)

# Each link holds a digest of the audit log's rows after `after_id` up to `up_to_id`, and of the
# previous link.
audit_chain = table(
    "audit_chain",
    Column("up_to_id", BigInteger, primary_key=True, autoincrement=False),
    # Unique, so that a link has at most one successor.
    Column("after_id", BigInteger, nullable=False, unique=True),
    # NULL until all transactions that wrote its rows have committed.
    Column("digest", Hash),
    Column("marked_at", UtcDateTime, nullable=False),
)

# `rows` is [[id, version, before, after, outcome], ...]: exactly the changes that were previewed.
bulk_changes = table(
    "bulk_changes",
    Column("id", Id, primary_key=True),
    Column("user_id", Id, ForeignKey("users.id"), nullable=False),
    Column("field", Key(20), nullable=False),
    Column("wanted", String(200), nullable=False),
    Column("rows", documents.ROWS, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("applied_at", UtcDateTime),
    Column("undone_at", UtcDateTime),
)

# Legal texts as edited by staff, in Markdown; without a row the built-in text is used.
legal_texts = table(
    "legal_texts",
    Column("name", Key(20), primary_key=True),
    Column("language", Key(10), primary_key=True),
    Column("body", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("updated_by", Id, ForeignKey("users.id")),
)
