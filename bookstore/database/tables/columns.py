"""Column types that work the same on MariaDB, MySQL and SQLite."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Dialect, MetaData, Table
from sqlalchemy.dialects import mysql
from sqlalchemy.types import BigInteger, DateTime, Integer, LargeBinary, String, TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC: DATETIME alone drops the time zone and the microseconds."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(
            mysql.DATETIME(fsp=6) if dialect.name == "mysql" else DateTime()
        )

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without a time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


def parse_utc(text: str) -> datetime:
    """The UTC datetime that a database wrote as text, such as 2026-03-21 12:34:56.789012."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


#: SQLite generates ids only for columns declared as INTEGER PRIMARY KEY.
Id = BigInteger().with_variant(Integer, "sqlite")
#: A chunk of a file: MariaDB's plain BLOB is limited to 64 KiB.
Chunk = LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql")
#: A SHA-256: MariaDB cannot index a BLOB without a prefix length.
Hash = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")


def Key(length: int) -> String:
    """Text compared by code point (binary collation): identifiers and codes, not prose."""
    return String(length).with_variant(
        mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql"
    )


def table(name: str, *parts: Any, **options: Any) -> Table:
    """A table with our storage engine and character set on MariaDB and MySQL."""
    return Table(
        name,
        metadata,
        *parts,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_unicode_ci",
        **options,
    )
