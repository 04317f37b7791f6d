"""Secrets that nobody stores: worked out from the store's own and what they are for."""

import base64
import hashlib
import hmac


def digest(secret_key: str, purpose: str) -> bytes:
    """32 bytes for this purpose, which nobody works out without the store's secret."""
    return hmac.digest(secret_key.encode(), purpose.encode(), hashlib.sha256)


def text(secret_key: str, purpose: str) -> str:
    """The same in 43 characters that an address may hold."""
    return base64.urlsafe_b64encode(digest(secret_key, purpose)).decode().rstrip("=")


def fits(given: str, secret_key: str, purpose: str) -> bool:
    """Whether somebody knows this purpose's text; takes equally long, right or wrong."""
    # What came from outside may hold half surrogate pairs.
    known = text(secret_key, purpose).encode()
    return hmac.compare_digest(given.encode(errors="surrogatepass"), known)
