"""What columns are made of: types that are the same on both databases."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    DateTime,
    Dialect,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
)
from sqlalchemy.dialects import mysql

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
    """An aware moment in UTC: DATETIME alone drops the zone and the microseconds."""

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
            raise ValueError("a moment without a time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


def moment(text: str) -> datetime:
    """The moment that a database wrote as text, such as 2026-03-21 12:34:56.789012."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


#: SQLite counts up only in columns that are exactly INTEGER PRIMARY KEY.
Id = BigInteger().with_variant(Integer, "sqlite")
#: A piece of a file: MariaDB's plain BLOB ends at 64 KiB.
Chunk = LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql")
#: BLOB cannot be a key in MariaDB.
Hash = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql")


def Key(length: int) -> String:
    """Text that is compared letter by letter: names of things, not words for people."""
    return String(length).with_variant(
        mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql"
    )


def table(name: str, *parts: Any, **options: Any) -> Table:
    """A table as both databases make it."""
    return Table(
        name,
        metadata,
        *parts,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_unicode_ci",
        **options,
    )
