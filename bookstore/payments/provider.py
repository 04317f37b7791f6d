"""Payment providers.  The order has the status of its payment; providers say how it may change.

unpaid ──> authorized ──> paid ──> refund_due ──> refunded
   └────────────────────────^

A provider defines which of these steps it supports, and what happens to the money when an order is
cancelled or rejected.  It decides inside the transaction of that change and makes no call of its
own: a provider that has to ask a bank does so in a task, and reports with `orders.change_payment`.
"""

from collections.abc import Mapping
from typing import ClassVar, Protocol

from bookstore.stored_enum import StoredEnum


class Payment(StoredEnum):
    """The payment status of an order."""

    UNPAID = "unpaid"
    #: Reserved by a bank and not captured yet.
    AUTHORIZED = "authorized"
    PAID = "paid"
    REFUND_DUE = "refund_due"
    REFUNDED = "refunded"


Steps = Mapping[Payment, frozenset[Payment]]


class Provider(Protocol):
    """A payment provider."""

    @property
    def code(self) -> str:
        """The code stored on orders; it never changes."""

    @property
    def steps(self) -> Steps:
        """The statuses that may follow each status.  A status that is not a key is final."""

    def called_off(self, payment: Payment) -> Payment:
        """The payment status after the order was cancelled or rejected."""


class Invoice:
    """The books come with an invoice, and staff record its payment."""

    code: ClassVar[str] = "invoice"
    #: Authorized is for customers whose bank has guaranteed the amount, such as libraries.
    steps: ClassVar[Steps] = {
        Payment.UNPAID: frozenset({Payment.AUTHORIZED, Payment.PAID}),
        Payment.AUTHORIZED: frozenset({Payment.PAID, Payment.UNPAID}),
        Payment.PAID: frozenset({Payment.REFUND_DUE}),
        Payment.REFUND_DUE: frozenset({Payment.REFUNDED}),
    }

    def called_off(self, payment: Payment) -> Payment:
        """A paid amount is due for refund, and an authorization is released."""
        return {
            Payment.PAID: Payment.REFUND_DUE,
            Payment.AUTHORIZED: Payment.UNPAID,
        }.get(payment, payment)


INVOICE = Invoice()
#: By code.  A provider that orders were paid with is never removed.
PROVIDERS: Mapping[str, Provider] = {provider.code: provider for provider in (INVOICE,)}
