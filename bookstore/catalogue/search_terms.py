"""The vocabulary of the catalogue: every word that a book was ever indexed by.

Words are added but never removed.  A word that no book has any more costs one query without a
result.
"""

from collections.abc import Iterable

from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.statements import Bulk, BulkQuery

#: The lengths of stored words, in characters.  A shorter word is one typing error away from too
#: many others; a longer string is not a word.
MIN_LENGTH, MAX_LENGTH = 4, 40

_EXISTING = BulkQuery(
    "word VARCHAR(40)", "w.word", "FROM {rows} AS v {join} search_words AS w ON w.word = v.word"
)
_ADD = Bulk(
    "word VARCHAR(40)",
    "INSERT IGNORE INTO search_words (word) SELECT v.word FROM {rows} AS v",
    sqlite="INSERT OR IGNORE INTO search_words (word) SELECT v.word FROM {rows} AS v",
)


def is_stored(word: str) -> bool:
    """Whether the vocabulary stores this word, which must be normalised as in the search index."""
    return MIN_LENGTH <= len(word) <= MAX_LENGTH and word.isalnum() and not word.isdecimal()


async def add(conn: AsyncConnection, words: Iterable[str]) -> None:
    """Add these words, which must be normalised as in the search index."""
    candidates = {word for word in words if is_stored(word)}
    # Most words exist already.  A SELECT is cheaper than an INSERT IGNORE because it locks no rows.
    if new := candidates - await existing(conn, candidates):
        await _ADD(conn, [(word,) for word in sorted(new)])


async def existing(conn: AsyncConnection, words: Iterable[str]) -> set[str]:
    """The subset of these words that is stored."""
    return {word for (word,) in await _EXISTING(conn, [(word,) for word in sorted(words)])}
