"""Ways to pay.  What is true of the money stands on the order; how it gets there differs.

unpaid ──> authorized ──> paid ──> refund_due ──> refunded
   └────────────────────────^

A provider says which of these steps it takes, and what becomes of the money when an order
comes to nothing.  It decides within the transaction of the change and talks to nobody; one
that has to ask a bank does so in a task of its own, and reports with `orders.change_payment`.
"""

from collections.abc import Mapping
from typing import ClassVar, Protocol

from bookstore.stored_enum import StoredEnum


class Payment(StoredEnum):
    """Where the money of an order is."""

    UNPAID = "unpaid"
    #: Set aside by a bank for us, and not taken yet.
    AUTHORIZED = "authorized"
    PAID = "paid"
    REFUND_DUE = "refund_due"
    REFUNDED = "refunded"


Steps = Mapping[Payment, frozenset[Payment]]


class Provider(Protocol):
    """A way to pay."""

    @property
    def code(self) -> str:
        """What orders remember it by; it never changes."""

    @property
    def steps(self) -> Steps:
        """Where each state may lead.  A state that is not here is final."""

    def called_off(self, payment: Payment) -> Payment:
        """What becomes of the money when the order is cancelled or cannot be filled."""


class Invoice:
    """The books come with an invoice, and staff note when it is paid."""

    code: ClassVar[str] = "invoice"
    #: Authorized is for customers whose bank has promised the sum, such as libraries.
    steps: ClassVar[Steps] = {
        Payment.UNPAID: frozenset({Payment.AUTHORIZED, Payment.PAID}),
        Payment.AUTHORIZED: frozenset({Payment.PAID, Payment.UNPAID}),
        Payment.PAID: frozenset({Payment.REFUND_DUE}),
        Payment.REFUND_DUE: frozenset({Payment.REFUNDED}),
    }

    def called_off(self, payment: Payment) -> Payment:
        """What was paid goes back, and a promise is worth nothing any more."""
        return {
            Payment.PAID: Payment.REFUND_DUE,
            Payment.AUTHORIZED: Payment.UNPAID,
        }.get(payment, payment)


INVOICE = Invoice()
#: By the code that orders remember; one that orders were paid with stays here for ever.
PROVIDERS: Mapping[str, Provider] = {provider.code: provider for provider in (INVOICE,)}
