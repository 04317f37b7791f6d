"""Import of books from CSV, XLSX and ONIX files."""

from bookstore.imports import columns, encodings, entries, formats, importer
