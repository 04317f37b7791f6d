"""Payment providers. Payments know order ids only; orders apply their outcome."""

from bookstore.payments.provider import INVOICE, PROVIDERS, Payment
