"""Personal data: where it is, how it is exported and erased."""

from bookstore.privacy import data_export, erasure
