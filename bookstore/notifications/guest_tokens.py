"""Access tokens with which guests, who have no account, open their orders."""

from bookstore import derived_secrets


def access_token(secret_key: str, number: str) -> str:
    """The token for the order with this number: 43 characters, not guessable from the number.

    It is derived, not stored, and changes only with the store's secret key.
    """
    return derived_secrets.text(secret_key, f"order {number}")


def is_valid(token: str, secret_key: str, number: str) -> bool:
    """Whether a token belongs to this order."""
    return derived_secrets.verify(token, secret_key, f"order {number}")
