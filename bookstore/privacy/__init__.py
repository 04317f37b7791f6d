"""Personal data: the data map, export and erasure."""

from bookstore.privacy import data_export, erasure
