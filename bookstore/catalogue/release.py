"""From when a book may be sold: not before its day of publication, or the end of its embargo."""

from datetime import datetime

from bookstore.regional import shop_time


def is_released(on_sale_from: str | None, now: datetime) -> bool:
    """Whether a book with this `books.on_sale_from` may be sold and shipped.

    A date without day or month (`2027-03`, `2027`) counts from its first day.  The day begins at
    midnight in the time zone of the store.
    """
    # Dates in ISO 8601 sort as text, and a part of a date sorts before the days in it.
    return on_sale_from is None or on_sale_from <= shop_time.day_of(now).isoformat()
