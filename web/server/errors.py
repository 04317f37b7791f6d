"""Errors that only the HTTP interface raises, in addition to `bookstore.errors`."""

from collections.abc import Sequence
from typing import NamedTuple

from bookstore.errors import BookstoreError
from bookstore.i18n import sentence


class Fault(NamedTuple):
    """An error in the body or the query of a request.

    `pointer` is a JSON Pointer to the field of the body (RFC 6901) and `parameter` the name of the
    query parameter; one of them is empty.
    """

    pointer: str
    detail: str
    parameter: str = ""

    @property
    def facts(self) -> dict[str, str]:
        """The members of the problem document."""
        place = {"parameter": self.parameter} if self.parameter else {"pointer": self.pointer}
        return {**place, "detail": self.detail}


class InvalidInput(BookstoreError):
    """Fields are missing, unknown or invalid."""

    code = "invalid"

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("Some of the input is not valid.")
        self.faults = list(faults)


class MalformedJson(BookstoreError):
    code = "malformed-json"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The body is not JSON: {reason}.")


class NotJson(BookstoreError):
    """The body's media type is not application/json."""

    code = "not-json"

    def __init__(self) -> None:
        super().__init__("Send the body as application/json.")


class NotMultipart(BookstoreError):
    """The body's media type is not multipart/form-data."""

    code = "not-multipart"

    def __init__(self) -> None:
        super().__init__("Send the file in a form, as multipart/form-data.")


class MalformedMultipart(BookstoreError):
    """The body is declared as multipart/form-data and cannot be parsed."""

    code = "malformed-multipart"

    def __init__(self) -> None:
        super().__init__("The form is malformed: a part is broken or incomplete.")


class CrossSiteRequest(BookstoreError):
    code = "cross-site-request"

    def __init__(self) -> None:
        super().__init__("This request comes from another site.")


class TooManyAttempts(BookstoreError):
    """Too many failed attempts, such as wrong passwords, in a short time."""

    code = "too-many-attempts"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(
            sentence("Please wait %(seconds)s seconds before you try again.", seconds=retry_after_s)
        )
        self.retry_after_s = retry_after_s


class TooManyRequests(BookstoreError):
    """This address or token exceeds its requests per minute; see `RateLimit-Policy`."""

    code = "too-many-requests"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(
            sentence(
                "Too many requests in one minute. Please try again in %(seconds)s seconds.",
                seconds=retry_after_s,
            )
        )
        self.retry_after_s = retry_after_s


class IfMatchRequired(BookstoreError):
    code = "if-match-required"

    def __init__(self) -> None:
        super().__init__("Send the resource's ETag in an If-Match header.")
