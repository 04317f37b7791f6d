"""Lists of books as CSV, XLSX and ONIX files."""

from bookstore.imports import columns, encodings, entries, formats, importer
