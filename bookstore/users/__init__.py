"""Accounts, authentication, sessions, permissions and addresses."""

from bookstore.users import (
    accounts,
    addresses,
    api_tokens,
    attempts,
    email_change,
    password_reset,
    passwords,
    permissions,
    session_lookup,
    sessions,
    two_factor,
)
