"""Domain model and services of the store: users, books, carts, orders, notifications."""

__version__ = "1.0.0"
