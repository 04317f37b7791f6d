"""Export of books, orders and other lists to CSV and XLSX files."""

from bookstore.exports import rejected_rows
from bookstore.exports.exporter import (
    MEDIA_TYPES,
    RETENTION,
    SOURCES,
    Cell,
    Exporter,
    ExportSource,
    Format,
    Money,
    start,
    write,
)
