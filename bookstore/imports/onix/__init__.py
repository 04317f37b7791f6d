"""ONIX for Books, releases 3.0 and 3.1."""

from bookstore.imports.onix import limits, reader, source
