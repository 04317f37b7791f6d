"""Spelling suggestions for search queries.

A word of four letters or more that no book contains is replaced by a word of the catalogue at a
Damerau-Levenshtein distance of 1: one letter inserted, deleted or replaced, or two adjacent letters
swapped.  All strings at that distance are generated (about 500 for a word of eight letters) and
looked up in the vocabulary with one query, so the word is not compared with every word in it.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice, product

from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import listing, search, search_terms
from bookstore.catalogue.listing import BookQuery

#: How many corrected queries are tried, and how many replacements for each word.
MAX_CANDIDATES, MAX_PER_WORD = 16, 12
_DOUBLE = re.compile(r"(.)\1")
_LATIN = "abcdefghijklmnopqrstuvwxyz"
#: For a letter beyond Latin, the replacement letters are those of its block of 256 code points,
#: because the letters of an alphabet have adjacent code points.
_BLOCK_SIZE = 256


async def suggest(conn: AsyncConnection, query_text: str) -> str | None:
    """The most likely correction of a query that finds no books; None if none finds a book."""
    for candidate in await candidates(conn, query_text):
        if (await listing.find(conn, BookQuery(q=candidate), limit=1)).items:
            return candidate
    return None


async def candidates(conn: AsyncConnection, query_text: str) -> list[str]:
    """Corrected queries, most likely first.

    Empty if the catalogue contains all words, or no word similar to an unknown one.  A candidate
    may still find no books: the caller has to search for it.
    """
    words = search.query_words(query_text)
    unknown = {word for word in words if search_terms.is_stored(word)}
    unknown -= await search_terms.existing(conn, unknown)
    if not unknown:
        return []
    edits = {word: set(_single_edits(word)) for word in unknown}
    existing = await search_terms.existing(conn, set().union(*edits.values()))
    choices = [
        _ranked(word, edits[word] & existing) or [word] if word in unknown else [word]
        for word in words
    ]
    corrected = (" ".join(choice) for choice in product(*choices))
    return [query for query in islice(corrected, MAX_CANDIDATES) if query != " ".join(words)]


def _ranked(word: str, similar: Iterable[str]) -> list[str]:
    """The similar words, most likely first, at most `MAX_PER_WORD`.

    Words with the same first letter come first, because people rarely mistype it.  Among them,
    words that differ only in a doubled letter come first, then words of the same length.
    """

    def sort_key(other: str) -> tuple[bool, bool, bool, str]:
        return (
            other[0] != word[0],
            _DOUBLE.sub(r"\1", other) != _DOUBLE.sub(r"\1", word),
            len(other) != len(word),
            other,
        )

    return sorted(similar, key=sort_key)[:MAX_PER_WORD]


def _single_edits(word: str) -> Iterator[str]:
    letters = {letter for char in word for letter in _alphabet(ord(char) // _BLOCK_SIZE)}
    for index in range(len(word) + 1):
        before, after = word[:index], word[index:]
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
    chars = map(chr, range(block * _BLOCK_SIZE, (block + 1) * _BLOCK_SIZE))
    # The index contains only normalised letters.
    return "".join(char for char in chars if char.isalpha() and search.normalize(char) == char)
