"""What opens an order to a guest, who has no account to sign in to."""

import base64
import hashlib
import hmac


def access_token(secret_key: str, number: str) -> str:
    """The token for the order with this number: 43 characters that nobody can work out from it.

    It is never stored, and changes only with the store's secret.
    """
    digest = hmac.digest(secret_key.encode(), f"order {number}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def opens(token: str, secret_key: str, number: str) -> bool:
    """Whether a token belongs to this order."""
    return hmac.compare_digest(token.encode(), access_token(secret_key, number).encode())
