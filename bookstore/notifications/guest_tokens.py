"""What opens an order to a guest, who has no account to sign in to."""

from bookstore import derived_secrets


def access_token(secret_key: str, number: str) -> str:
    """The token for the order with this number: 43 characters that nobody can work out from it.

    It is never stored, and changes only with the store's secret.
    """
    return derived_secrets.text(secret_key, f"order {number}")


def opens(token: str, secret_key: str, number: str) -> bool:
    """Whether a token belongs to this order."""
    return derived_secrets.fits(token, secret_key, f"order {number}")
