"""Refusals that only a web server knows, beside those of the store."""

from collections.abc import Sequence
from typing import NamedTuple

from bookstore.errors import BookstoreError
from bookstore.i18n import sentence


class Fault(NamedTuple):
    """Something wrong with the input; `pointer` is a JSON Pointer into it (RFC 6901)."""

    pointer: str
    detail: str


class InvalidInput(BookstoreError):
    """Fields are missing, unknown or not what they must be."""

    code = "invalid"

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("Some of the input is not valid.")
        self.faults = list(faults)


class MalformedJson(BookstoreError):
    code = "malformed-json"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The body is not JSON: {reason}.")


class NotJson(BookstoreError):
    """The body's media type is another one."""

    code = "not-json"

    def __init__(self) -> None:
        super().__init__("Send the body as application/json.")


class NotMultipart(BookstoreError):
    """The body's media type is another one than that of a form with files."""

    code = "not-multipart"

    def __init__(self) -> None:
        super().__init__("Send the file in a form, as multipart/form-data.")


class MalformedMultipart(BookstoreError):
    """The body says that it is a form with files, and is none."""

    code = "malformed-multipart"

    def __init__(self) -> None:
        super().__init__("The form cannot be taken apart: its parts are broken or cut off.")


class CrossSiteRequest(BookstoreError):
    code = "cross-site-request"

    def __init__(self) -> None:
        super().__init__("This request comes from another site.")


class TooManyAttempts(BookstoreError):
    """Too many wrong passwords in too short a time."""

    code = "too-many-attempts"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(
            sentence("Please wait %(seconds)s s before you try again.", seconds=retry_after_s)
        )
        self.retry_after_s = retry_after_s


class TooManyRequests(BookstoreError):
    """More requests in a minute than this address or token may send; see `RateLimit-Policy`."""

    code = "too-many-requests"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(
            sentence(
                "That was too much in a minute. Go on in %(seconds)s s.", seconds=retry_after_s
            )
        )
        self.retry_after_s = retry_after_s


class IfMatchRequired(BookstoreError):
    code = "if-match-required"

    def __init__(self) -> None:
        super().__init__("Send the record's ETag in an If-Match header.")
