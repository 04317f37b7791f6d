"""What a customer may have meant who mistyped a word.

The rule: a word of four letters or more that is nowhere in the catalogue is replaced by one
that is there and differs by a single slip (a letter too many, too few or wrong, or two that
changed places).  All words that are one slip away can be written down (some 500 for eight
letters), so one look into the list of words finds those that exist; nothing is compared.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice, product

from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import listing, search, search_terms
from bookstore.catalogue.listing import Query

#: Readings that are tried, and words tried in the place of one.
MOST, MOST_PER_WORD = 16, 12
_DOUBLE = re.compile(r"(.)\1")
_LATIN = "abcdefghijklmnopqrstuvwxyz"
#: Letters beyond it are looked for among those of their own alphabet, which lie together.
_BLOCK = 256


async def meant(conn: AsyncConnection, question: str) -> str | None:
    """The likeliest reading of a question that finds nothing by which some book is found."""
    for reading in await readings(conn, question):
        if (await listing.find(conn, Query(q=reading), limit=1)).items:
            return reading
    return None


async def readings(conn: AsyncConnection, question: str) -> list[str]:
    """What the question may have meant, likeliest first; empty when each of its words is known
    or none is near it.  Whether books are found by a reading is for the caller to look up."""
    words = search.words_of(question)
    unknown = {word for word in words if search_terms.holds(word)}
    unknown -= await search_terms.known(conn, unknown)
    if not unknown:
        return []
    candidates = {word: set(_one_slip_away(word)) for word in unknown}
    there = await search_terms.known(conn, set().union(*candidates.values()))
    choices = [
        _ranked(word, candidates[word] & there) or [word] if word in unknown else [word]
        for word in words
    ]
    found = (" ".join(choice) for choice in product(*choices))
    return [reading for reading in islice(found, MOST) if reading != " ".join(words)]


def _ranked(word: str, near: Iterable[str]) -> list[str]:
    """Likeliest first: double letters, then any slip but in the first letter, which people know."""

    def likeliness(other: str) -> tuple[bool, bool, bool, str]:
        return (
            other[0] != word[0],
            _DOUBLE.sub(r"\1", other) != _DOUBLE.sub(r"\1", word),
            len(other) != len(word),
            other,
        )

    return sorted(near, key=likeliness)[:MOST_PER_WORD]


def _one_slip_away(word: str) -> Iterator[str]:
    letters = {letter for sign in word for letter in _alphabet(ord(sign) // _BLOCK)}
    for place in range(len(word) + 1):
        before, after = word[:place], word[place:]
        yield before + after[1:]
        if len(after) > 1:
            yield before + after[1] + after[0] + after[2:]
        for letter in letters:
            yield before + letter + after
            yield before + letter + after[1:]


@lru_cache(maxsize=64)
def _alphabet(block: int) -> str:
    if block == 0:
        return _LATIN
    signs = map(chr, range(block * _BLOCK, (block + 1) * _BLOCK))
    # Only letters that the index has: normalising leaves them as they are.
    return "".join(sign for sign in signs if sign.isalpha() and search.normal(sign) == sign)
