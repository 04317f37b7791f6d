"""Secrets that are derived from the store's secret key and a purpose, and so are not stored."""

import base64
import hashlib
import hmac


def digest(secret_key: str, purpose: str) -> bytes:
    """32 bytes for this purpose (HMAC-SHA-256).  They cannot be computed without `secret_key`."""
    return hmac.digest(secret_key.encode(), purpose.encode(), hashlib.sha256)


def text(secret_key: str, purpose: str) -> str:
    """The same as URL-safe base64 without padding: 43 characters."""
    return base64.urlsafe_b64encode(digest(secret_key, purpose)).decode().rstrip("=")


def verify(candidate: str, secret_key: str, purpose: str) -> bool:
    """Whether `candidate` is the text for this purpose; compared in constant time."""
    expected = text(secret_key, purpose).encode()
    # User input may contain lone surrogates, which plain UTF-8 cannot encode.
    return hmac.compare_digest(candidate.encode(errors="surrogatepass"), expected)
