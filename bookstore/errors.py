"""Every way the store can say no."""

from collections.abc import Sequence
from typing import ClassVar

from bookstore import i18n
from bookstore.i18n import N_, sentence


class BookstoreError(Exception):
    """Base of every refusal.  `str(error)` is fit to show to a customer.

    Its attributes are facts that the REST API passes on.
    """

    code: ClassVar[str]  # part of the API: never changes

    def said(self) -> str:
        """The sentence in the language of whoever is served."""
        return i18n.said(self.args[0])


class NotFound(BookstoreError):
    """It does not exist, or it belongs to somebody else: callers cannot tell which."""

    code = "not-found"

    def __init__(self, what: str = N_("This page")) -> None:
        super().__init__(sentence("%(what)s could not be found.", what=sentence(what)))


class Invalid(BookstoreError):
    """A value breaks a rule of the store.  `field` is its name in the request."""

    code = "invalid"

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field


class InvalidIsbn(Invalid):
    """`text` is no ISBN; `reason` is a sentence that says why."""

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
    """The record was changed since the caller read it."""

    code = "stale"

    def __init__(self, version: int) -> None:
        super().__init__("Somebody changed this record meanwhile. Load it again.")
        self.version = version


# Users


class EmailTaken(BookstoreError):
    code = "email-taken"

    def __init__(self) -> None:
        super().__init__("There is an account with this e-mail address already.")


class BadCredentials(BookstoreError):
    """The same for an unknown address and a wrong password."""

    code = "bad-credentials"

    def __init__(self) -> None:
        super().__init__(
            "This address and password do not go together. Check both, or set a new password."
        )


class NotSignedIn(BookstoreError):
    code = "not-signed-in"

    def __init__(self) -> None:
        super().__init__("Please sign in first.")


class NotAllowed(BookstoreError):
    code = "not-allowed"

    def __init__(self) -> None:
        super().__init__("Your account may not do this.")


class OrdersOpen(BookstoreError):
    """Somebody who is still waiting for books, or for money, cannot be erased."""

    code = "orders-open"

    def __init__(self, numbers: Sequence[str]) -> None:
        super().__init__(
            sentence(
                "Not while an order is open: %(numbers)s. Cancel it, or wait until it has arrived"
                " and no refund is due.",
                numbers=", ".join(numbers),
            )
        )
        self.orders = list(numbers)


class EmailBeingSent(BookstoreError):
    """A letter to somebody is being sent at this moment, so they cannot be erased yet."""

    code = "email-being-sent"

    def __init__(self) -> None:
        super().__init__("A letter is being sent at this moment. Please try again in a minute.")


class AddressBookFull(BookstoreError):
    code = "address-book-full"

    def __init__(self, most: int) -> None:
        super().__init__(
            sentence(
                "An address book takes %(most)s addresses. Please remove one first.", most=most
            )
        )
        self.most = most


class TooManyTokens(BookstoreError):
    """One user has no more than `most` tokens."""

    code = "too-many-tokens"

    def __init__(self, most: int) -> None:
        super().__init__(
            sentence(
                "You have %(most)s tokens, which is all we keep. Please end one first.", most=most
            )
        )
        self.most = most


class BadToken(BookstoreError):
    """The token was ended, has expired or never was one."""

    code = "bad-token"

    def __init__(self) -> None:
        super().__init__("This token is not valid (any more). Make a new one in your account.")


class PasswordNeeded(BookstoreError):
    """The password was typed too long ago for this: sign in once more."""

    code = "password-needed"

    def __init__(self) -> None:
        super().__init__("Please give your password once more for this.")


class CodeRequired(BookstoreError):
    """The password is right; a code of the second factor is due."""

    code = "code-required"

    def __init__(self) -> None:
        super().__init__("Please give the code that your authenticator shows, or a recovery code.")


class BadCode(BookstoreError):
    """The code is wrong, too old, or was used before."""

    code = "bad-code"

    def __init__(self) -> None:
        super().__init__("This code is wrong or was used before. Wait for the next one.")


class SecondFactorRequired(BookstoreError):
    """Staff need a second factor before they do anything as staff."""

    code = "second-factor-required"

    def __init__(self) -> None:
        super().__init__("Please set up your second factor first.")


class SecondFactorOn(BookstoreError):
    """There is a second factor already: it has to be removed before there is another."""

    code = "second-factor-on"

    def __init__(self) -> None:
        super().__init__("Your account has a second factor. Remove it to set up another.")


class SecondFactorNotBegun(BookstoreError):
    """There is no seed to which the code could belong."""

    code = "second-factor-not-begun"

    def __init__(self) -> None:
        super().__init__("Ask for a new secret first, then confirm it with its first code.")


class BadLink(BookstoreError):
    """The link of a letter was used, is too old, or was never one of ours."""

    code = "bad-link"

    def __init__(self) -> None:
        super().__init__("This link has been used, is too old or was never one of ours.")


# Books


class IsbnTaken(BookstoreError):
    code = "isbn-taken"

    def __init__(self, isbn13: str) -> None:
        super().__init__(f"There is a book with the ISBN {isbn13} already.")
        self.isbn13 = isbn13


class OutOfStock(BookstoreError):
    code = "out-of-stock"

    def __init__(self, book_id: int, stock: int) -> None:
        super().__init__(
            "This book is sold out."
            if stock == 0
            else sentence("Only %(stock)s of this book are left.", stock=stock)
        )
        self.book_id = book_id
        self.stock = stock


class NotAPicture(BookstoreError):
    """The file is neither JPEG nor PNG nor WebP, whatever it is called."""

    code = "not-a-picture"

    def __init__(self) -> None:
        super().__init__("Send a picture: JPEG, PNG or WebP.")


class BrokenPicture(BookstoreError):
    """A picture cannot be used; the detail says why."""

    code = "broken-picture"

    def __init__(self, reason: str) -> None:
        super().__init__(f"This picture cannot be used. {reason}")


class SlugTaken(BookstoreError):
    code = "slug-taken"

    def __init__(self, slug: str) -> None:
        super().__init__(f"There is a category {slug!r} already.")
        self.slug = slug


class CategoryInUse(BookstoreError):
    code = "category-in-use"

    def __init__(self, slug: str) -> None:
        super().__init__(f"The category {slug!r} still has books or subcategories.")
        self.slug = slug


# Carts and orders


class CartEmpty(BookstoreError):
    code = "cart-empty"

    def __init__(self) -> None:
        super().__init__("There is nothing in this cart.")


class CartFull(BookstoreError):
    """A cart takes no more different books."""

    code = "cart-full"

    def __init__(self, most: int) -> None:
        super().__init__(
            sentence("A cart takes %(most)s different books. Order these first, please.", most=most)
        )
        self.most = most


class NotDelivered(BookstoreError):
    """The store sends no parcels to this country."""

    code = "not-delivered"

    def __init__(self, country: str) -> None:
        super().__init__(
            sentence("We send no parcels to this country (%(country)s).", country=country)
        )
        self.country = country


class PriceChanged(BookstoreError):
    """The total is not the one the customer agreed to; nothing was ordered."""

    code = "price-changed"

    def __init__(self, expected_total_cents: int, total_cents: int) -> None:
        super().__init__("The total of your cart has changed. Please look at it again.")
        self.expected_total_cents = expected_total_cents
        self.total_cents = total_cents


class BookWithdrawn(BookstoreError):
    """A book in the cart is not sold any more."""

    code = "book-withdrawn"

    def __init__(self, titles: Sequence[str]) -> None:
        super().__init__(
            sentence(
                "Not sold any more: %(titles)s. Please remove it from the cart.",
                titles=", ".join(titles),
            )
        )
        self.titles = list(titles)


class IllegalTransition(BookstoreError):
    code = "illegal-transition"

    def __init__(self, status: str, wanted: str) -> None:
        super().__init__(f"An order that is {status} cannot become {wanted}.")
        self.status = status
        self.wanted = wanted


class JobEnded(BookstoreError):
    """The job is done, given up or cancelled already."""

    code = "job-ended"

    def __init__(self, state: str) -> None:
        super().__init__(f"This job is {state} already.")
        self.state = state


class IdempotencyKeyRequired(BookstoreError):
    code = "idempotency-key-required"

    def __init__(self) -> None:
        super().__init__("Send an Idempotency-Key header of 1 to 255 characters.")


class IdempotencyKeyReused(BookstoreError):
    code = "idempotency-key-reused"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used for another request.")


class RequestInProgress(BookstoreError):
    code = "request-in-progress"

    def __init__(self) -> None:
        super().__init__("The first request with this Idempotency-Key is still running.")
