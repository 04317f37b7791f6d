"""The errors that services raise when they refuse a request."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from bookstore import i18n
from bookstore.i18n import N_, sentence


class BookstoreError(Exception):
    """Base class of all errors that a user may see.  `str(error)` can be shown to a customer.

    The REST API includes the instance attributes in its response.
    """

    code: ClassVar[str]  # part of the API: never changes
    message: ClassVar[str]  # used if the error is raised without a message

    def __init__(self, message: str | None = None) -> None:
        super().__init__(self.message if message is None else message)

    def translated(self) -> str:
        """The message in the current language (see `i18n.current`)."""
        return i18n.translated(self.args[0])


class NotFound(BookstoreError):
    """The object does not exist or belongs to another user.  The caller cannot tell which."""

    code = "not-found"

    def __init__(self, what: str = N_("This page")) -> None:
        super().__init__(sentence("%(what)s could not be found.", what=sentence(what)))


class Invalid(BookstoreError):
    """A value breaks a rule of the store.  `field` is its name in the request."""

    code = "invalid"

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field


class InvalidFields(Invalid):
    """Several values break rules: the details by field.  The first one is also the error itself."""

    def __init__(self, details: Mapping[str, str]) -> None:
        super().__init__(*next(iter(details.items())))
        self.details = dict(details)


class InvalidIsbn(Invalid):
    """`text` is not an ISBN; `reason` is a sentence that says why."""

    code = "invalid-isbn"

    def __init__(self, text: str, reason: str) -> None:
        super().__init__("isbn13", reason)
        self.text = text
        self.reason = reason


class TooLarge(BookstoreError):
    """A file has more than `most` bytes."""

    code = "too-large"

    def __init__(self, most: int) -> None:
        super().__init__(
            sentence("This file is larger than %(most)s MB.", most=most // 1024 // 1024)
        )
        self.most = most


class Stale(BookstoreError):
    """Optimistic locking: the record changed after the caller read it.

    `version` is the current version.
    """

    code = "stale"

    def __init__(self, version: int) -> None:
        super().__init__("This record was changed in the meantime. Please reload it.")
        self.version = version


# Users


class EmailTaken(BookstoreError):
    code = "email-taken"
    message = N_("An account with this e-mail address already exists.")


class BadCredentials(BookstoreError):
    """Raised for an unknown e-mail address and for a wrong password, so that the response does not
    reveal which addresses have an account."""

    code = "bad-credentials"
    message = N_(
        "The e-mail address or the password is incorrect. Check both, or set a new password."
    )


class NotSignedIn(BookstoreError):
    code = "not-signed-in"
    message = N_("Please sign in first.")


class NotAllowed(BookstoreError):
    code = "not-allowed"
    message = N_("Your account is not allowed to do this.")


class OrdersOpen(BookstoreError):
    """A user with an open order or a pending refund cannot be erased."""

    code = "orders-open"

    def __init__(self, numbers: Sequence[str]) -> None:
        super().__init__(
            sentence(
                "Your data cannot be erased while an order is open: %(numbers)s. Cancel "
                "it, or wait until it has been delivered and no refund is due.",
                numbers=", ".join(numbers),
            )
        )
        self.orders = list(numbers)


class EmailBeingSent(BookstoreError):
    """An e-mail to this user is being sent, so the user cannot be erased yet.  Retry later."""

    code = "email-being-sent"
    message = N_("An e-mail is being sent at the moment. Please try again in a minute.")


class AddressBookFull(BookstoreError):
    code = "address-book-full"

    def __init__(self, most: int) -> None:
        super().__init__(
            sentence(
                "An address book can hold up to %(most)s addresses. Please remove one first.",
                most=most,
            )
        )
        self.most = most


class TooManyTokens(BookstoreError):
    """The user already has `most` tokens, the maximum."""

    code = "too-many-tokens"

    def __init__(self, most: int) -> None:
        super().__init__(
            sentence(
                "You have %(most)s tokens, which is the maximum. Please revoke one first.",
                most=most,
            )
        )
        self.most = most


class BadToken(BookstoreError):
    """The token was revoked, has expired or never existed."""

    code = "bad-token"
    message = N_("This token is invalid or has expired. Create a new one in your account.")


class PasswordNeeded(BookstoreError):
    """The last password check was too long ago for this action: the user must enter it again."""

    code = "password-needed"
    message = N_("Please enter your password again to continue.")


class CodeRequired(BookstoreError):
    """The password is correct, but a code of the second factor is required."""

    code = "code-required"
    message = N_("Please enter the code from your authenticator app, or a recovery code.")


class BadCode(BookstoreError):
    """The code is wrong, too old, or was used before."""

    code = "bad-code"
    message = N_("This code is wrong or was already used. Please wait for the next one.")


class SecondFactorRequired(BookstoreError):
    """Staff must set up a second factor before they can use the back office."""

    code = "second-factor-required"
    message = N_("Please set up your second factor first.")


class SecondFactorOn(BookstoreError):
    """The user already has a second factor, which must be removed before a new one is set up."""

    code = "second-factor-on"
    message = N_("Your account has a second factor. Remove it to set up another.")


class SecondFactorNotBegun(BookstoreError):
    """A code was sent, but no setup of a second factor was started for this user."""

    code = "second-factor-not-begun"
    message = N_("Request a new secret first, then confirm it with its first code.")


class BadLink(BookstoreError):
    """The link in an e-mail was used, has expired or was not issued by this store."""

    code = "bad-link"
    message = N_("This link was already used, has expired or is invalid.")


# Books


class IsbnTaken(BookstoreError):
    code = "isbn-taken"

    def __init__(self, isbn13: str) -> None:
        super().__init__(f"A book with the ISBN {isbn13} already exists.")
        self.isbn13 = isbn13


class OutOfStock(BookstoreError):
    code = "out-of-stock"

    def __init__(self, book_id: int, stock: int) -> None:
        super().__init__(
            "This book is sold out."
            if stock == 0
            else sentence("Only %(stock)s of this book are in stock.", stock=stock)
        )
        self.book_id = book_id
        self.stock = stock


class NotAPicture(BookstoreError):
    """The content of the file is not JPEG, PNG or WebP, whatever its name says."""

    code = "not-a-picture"
    message = N_("Please upload a JPEG, PNG or WebP image.")


class BrokenPicture(BookstoreError):
    """An image cannot be used; the message says why."""

    code = "broken-picture"

    def __init__(self, reason: str) -> None:
        super().__init__(f"This image cannot be used. {reason}")


class SlugTaken(BookstoreError):
    code = "slug-taken"

    def __init__(self, slug: str) -> None:
        super().__init__(f"The category {slug!r} already exists.")
        self.slug = slug


class CategoryInUse(BookstoreError):
    code = "category-in-use"

    def __init__(self, slug: str) -> None:
        super().__init__(f"The category {slug!r} still has books or subcategories.")
        self.slug = slug


# Carts and orders


class CartEmpty(BookstoreError):
    code = "cart-empty"
    message = N_("This cart is empty.")


class CartFull(BookstoreError):
    """The cart already holds `most` different books, the maximum."""

    code = "cart-full"

    def __init__(self, most: int) -> None:
        super().__init__(
            sentence(
                "A cart can hold up to %(most)s different books. Please order these first.",
                most=most,
            )
        )
        self.most = most


class TooManyCopies(BookstoreError):
    """An order may have at most `most` copies of each title."""

    code = "too-many-copies"

    def __init__(self, title: str, most: int) -> None:
        super().__init__(
            sentence(
                "You can order at most %(most)s copies of “%(title)s” at a time. Please contact"
                " us if you need more.",
                title=title,
                most=most,
            )
        )
        self.book_title = title
        self.most = most


class NotDelivered(BookstoreError):
    """The store does not ship to this country."""

    code = "not-delivered"

    def __init__(self, country: str) -> None:
        super().__init__(sentence("We do not ship to this country (%(country)s).", country=country))
        self.country = country


class PriceChanged(BookstoreError):
    """The total differs from the one the customer agreed to.  No order was placed."""

    code = "price-changed"

    def __init__(self, expected_total_cents: int, total_cents: int) -> None:
        super().__init__("The total of your cart has changed. Please check it again.")
        self.expected_total_cents = expected_total_cents
        self.total_cents = total_cents


class BookWithdrawn(BookstoreError):
    """A book in the cart was withdrawn from sale."""

    code = "book-withdrawn"

    def __init__(self, titles: Sequence[str]) -> None:
        super().__init__(
            sentence(
                "No longer available: %(titles)s. Please remove it from the cart.",
                titles=", ".join(titles),
            )
        )
        self.titles = list(titles)


class NotYetOnSale(BookstoreError):
    """Books may not be sold or shipped before their day of publication or the end of an embargo."""

    code = "not-yet-on-sale"

    def __init__(self, titles: Sequence[str]) -> None:
        super().__init__(sentence("Not on sale yet: %(titles)s.", titles=", ".join(titles)))
        self.titles = list(titles)


class IllegalTransition(BookstoreError):
    code = "illegal-transition"

    def __init__(self, status: str, wanted: str) -> None:
        super().__init__(f"An order that is {status} cannot become {wanted}.")
        self.current = status
        self.wanted = wanted


class JobEnded(BookstoreError):
    """The job is already done, dead or cancelled."""

    code = "job-ended"

    def __init__(self, state: str) -> None:
        super().__init__(f"This job is already {state}.")
        self.state = state


class TaskNotDead(BookstoreError):
    """Only a dead task can be discarded: the others will still be attempted."""

    code = "task-not-dead"
    message = "This task will be attempted again. Only dead tasks can be discarded."


class UnknownTask(BookstoreError):
    """The task was stored by a newer release, so this one cannot decide what it was about."""

    code = "unknown-task"
    message = "A newer release of the store made this task. Only that release can discard it."


class IdempotencyKeyRequired(BookstoreError):
    code = "idempotency-key-required"
    message = N_("Send an Idempotency-Key header of 1 to 255 characters.")


class IdempotencyKeyNotSupported(BookstoreError):
    """Its response may contain a secret, which is not stored for a repeat."""

    code = "idempotency-key-not-supported"
    message = N_("This operation does not support an Idempotency-Key. Send the request without it.")


class IdempotencyKeyReused(BookstoreError):
    code = "idempotency-key-reused"
    message = N_("This Idempotency-Key was used for another request.")


class RequestInProgress(BookstoreError):
    code = "request-in-progress"
    message = N_("The first request with this Idempotency-Key is still running.")
