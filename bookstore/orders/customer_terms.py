"""The words by which staff find an order: the customer's name, postcode and phone number.

`order_terms` contains them as people spell them in different ways: without capitals, accents,
spaces and punctuation.  A phone number is stored backwards after a `+`, because its end is the
same with and without the code of the country.
"""

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, intersect, or_, select

from bookstore.catalogue import search
from bookstore.database.statements import Bulk
from bookstore.database.tables import order_terms

#: In characters; longer words are truncated.
MAX_LENGTH = 40
_MAX_TERMS = 24
#: A shorter number is too common to be the end of a phone number.
_MIN_DIGITS = 6
_PHONE = re.compile(r"[+\d][\d\s()./\-‐‑–]*")
#: The zero before a number without the country's code, as in +49 (0)40.
_ZERO = re.compile(r"\(0\)")
#: Of the code of a country, at most.
_CODE_DIGITS = 3
_LAST_CHARACTER = "\U0010ffff"

INSERT = Bulk(
    "order_id BIGINT, term VARCHAR(40)",
    """
    INSERT INTO order_terms (order_id, term) SELECT v.order_id, v.term FROM {rows} AS v
    """,
)


def of_address(address: Mapping[str, Any]) -> list[str]:
    """The terms of an order with this shipping address, sorted."""
    name = search.normalize(address.get("name") or "")
    postcode = search.normalize(address.get("postcode") or "")
    terms = [_compact(name), _compact(postcode), *name.split(), *postcode.split()]
    digits = _digits(address.get("phone") or "")
    if len(digits) >= _MIN_DIGITS:
        terms.insert(0, f"+{digits[::-1]}")
    kept = dict.fromkeys(term[:MAX_LENGTH] for term in terms if term)
    return sorted(list(kept)[:_MAX_TERMS])


def matching(q: str) -> list[Select[tuple[int]]]:
    """Queries for the ids of the orders whose customer matches this text.

    One is for all of its words, in any order, of which each may be the beginning of a term; one for
    the text without spaces; and one for a phone number.
    """
    words = search.query_words(q)
    if not words:
        return []
    by_words = [_starting_with(word) for word in words]
    queries = [_starting_with(_compact(" ".join(words)))]
    if len(by_words) > 1:
        every = intersect(*by_words).subquery()
        queries.append(select(every.c.id))
    digits = _digits(q)
    if _PHONE.fullmatch(q.strip()) and len(digits) >= _MIN_DIGITS:
        stored = f"+{digits[::-1]}"[:MAX_LENGTH]
        # The order may have the number without the code of the country.
        shorter = [stored[:-cut] for cut in range(1, _CODE_DIGITS + 1)]
        term = order_terms.c.term
        national = term.in_([each for each in shorter if len(each) > _MIN_DIGITS])
        queries.append(
            select(order_terms.c.order_id.label("id"))
            .where(or_(term.between(stored, stored + _LAST_CHARACTER), national))
            .distinct()
        )
    return queries


def _starting_with(word: str) -> Select[tuple[int]]:
    start = word[:MAX_LENGTH]
    matches = order_terms.c.term.between(start, start + _LAST_CHARACTER)
    return select(order_terms.c.order_id.label("id")).where(matches).distinct()


def _compact(text: str) -> str:
    return text.replace(" ", "")


def _digits(phone: str) -> str:
    """The digits of a phone number, in ASCII, without zeros at the beginning."""
    digits = (str(int(char)) for char in _ZERO.sub("", phone) if char.isdecimal())
    return "".join(digits).lstrip("0")
