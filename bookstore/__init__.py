"""What the store knows and can do: users, books, carts, orders, notifications."""

__version__ = "0.1.0"
