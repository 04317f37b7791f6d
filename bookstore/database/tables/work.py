"""Tasks, jobs, the relays' heartbeats, and files."""

from sqlalchemy import Column, ForeignKey, Index, UniqueConstraint
from sqlalchemy.types import BigInteger, Integer, SmallInteger, String, Text

from bookstore.database import documents
from bookstore.database.tables.columns import Chunk, Id, Key, UtcDateTime, table

tasks = table(
    "tasks",
    Column("id", Id, primary_key=True),
    Column("task", Key(40), nullable=False),
    Column("ref_id", BigInteger, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("publish_count", Integer, nullable=False),
    Column("attempts", SmallInteger, nullable=False),
    Column("error", Text),
    Column("dead_at", UtcDateTime),
    Column("request_id", Key(64)),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("task", "ref_id"),
    Index("ix_tasks_due", "dead_at", "due_at"),
    # SQLite must not reuse the id of a deleted task.
    sqlite_autoincrement=True,
)

# The history of failures.  A task's row has only the last error and is deleted when it succeeds.
task_failures = table(
    "task_failures",
    Column("id", Id, primary_key=True),
    Column("task", Key(40), nullable=False),
    Column("ref_id", BigInteger, nullable=False),
    Column("attempt", SmallInteger, nullable=False),
    Column("error", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Index("ix_task_failures_of", "task", "ref_id"),
    Index("ix_task_failures_at", "at"),
)

heartbeats = table(
    "heartbeats",
    Column("name", Key(100), primary_key=True),
    Column("beat_at", UtcDateTime, nullable=False),
)

files = table(
    "files",
    Column("id", Id, primary_key=True),
    Column("name", String(255), nullable=False),
    Column("media_type", Key(100), nullable=False),
    Column("size", BigInteger, nullable=False),
    # NULL until the upload is complete.
    Column("sha256", Key(64)),
    Column("kind", Key(20), nullable=False),
    Column("owner_id", Id, ForeignKey("users.id"), index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, index=True),
    # SQLite must not reuse the id of a deleted file: a saved link must not lead to another file.
    sqlite_autoincrement=True,
)

file_chunks = table(
    "file_chunks",
    Column("file_id", Id, ForeignKey("files.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("content", Chunk, nullable=False),
)

jobs = table(
    "jobs",
    Column("id", Id, primary_key=True),
    Column("kind", Key(20), nullable=False),
    Column("state", Key(20), nullable=False),
    Column("user_id", Id, ForeignKey("users.id"), index=True),
    Column("file_id", Id, ForeignKey("files.id", ondelete="SET NULL"), index=True),
    Column("result_id", Id, ForeignKey("files.id", ondelete="SET NULL"), index=True),
    Column("options", documents.OPTIONS, nullable=False),
    # What the job detected in its file, and by which rules.
    Column("findings", documents.FINDINGS, nullable=False),
    Column("read", Integer, nullable=False),
    Column("created", Integer, nullable=False),
    Column("updated", Integer, nullable=False),
    Column("unchanged", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
    # Progress, in the unit of `total`; `total` is NULL until it is known.
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger),
    Column("error", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Index("ix_jobs_kind", "kind", "id"),
    sqlite_autoincrement=True,
)

# The outcome of single lines of an import: the refused ones, or all if a report was requested.
job_lines = table(
    "job_lines",
    Column("job_id", Id, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("line", Integer, nullable=False),
    Column("outcome", Key(20), nullable=False),
    Column("isbn13", Key(13)),
    Column("field", String(100)),
    Column("value", String(100)),
    Column("reason", String(500)),
    # The row as in the file, to be corrected and uploaded again.
    Column("cells", documents.CELLS),
)
