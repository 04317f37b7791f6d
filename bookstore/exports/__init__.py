"""Lists of books, orders and users as CSV and XLSX files."""

from bookstore.exports import rejected_rows
from bookstore.exports.exporter import (
    MEDIA_TYPES,
    RETENTION,
    SOURCES,
    Cell,
    Exporter,
    Format,
    Money,
    Source,
    start,
    write,
)
