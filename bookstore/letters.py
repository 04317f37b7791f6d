"""Letters: what we write to customers."""

from enum import StrEnum


class Kind(StrEnum):
    """What a letter is about.  There is none for packed: wrapping paper is no news."""

    WELCOME = "welcome"
    ORDER_PLACED = "order-placed"
    ORDER_CONFIRMED = "order-confirmed"
    ORDER_REJECTED = "order-rejected"
    ORDER_SHIPPED = "order-shipped"
    ORDER_DELIVERED = "order-delivered"
    ORDER_CANCELLED = "order-cancelled"
    MESSAGE = "message"
