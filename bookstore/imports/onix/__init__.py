"""ONIX for Books, releases 2.1 and 3.x."""

from bookstore.imports.onix import reader, source
