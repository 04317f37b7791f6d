"""The words of the catalogue: each by which a book was ever found.

They only grow.  A word whose last book has gone costs a look that finds nothing.
"""

from collections.abc import Iterable

from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.statements import Bulk, BulkQuery

#: Shorter words are one slip away from too many others; longer ones are none.
SHORTEST, LONGEST = 4, 40

_KNOWN = BulkQuery(
    "word VARCHAR(40)", "w.word", "FROM {rows} AS v {join} search_words AS w ON w.word = v.word"
)
_LEARN = Bulk(
    "word VARCHAR(40)",
    "INSERT IGNORE INTO search_words (word) SELECT v.word FROM {rows} AS v",
    sqlite="INSERT OR IGNORE INTO search_words (word) SELECT v.word FROM {rows} AS v",
)


def holds(word: str) -> bool:
    """Whether a word, normalised as in the index, is of the kind that is remembered."""
    return SHORTEST <= len(word) <= LONGEST and not word.isdecimal()


async def learn(conn: AsyncConnection, words: Iterable[str]) -> None:
    """Remember these words, normalised as in the index."""
    wanted = {word for word in words if holds(word)}
    # Most are known, and looking is cheaper than trying: it locks nothing.
    if new := wanted - await known(conn, wanted):
        await _LEARN(conn, [(word,) for word in sorted(new)])


async def known(conn: AsyncConnection, words: Iterable[str]) -> set[str]:
    """Those of the words that are remembered."""
    return {word for (word,) in await _KNOWN(conn, [(word,) for word in sorted(words)])}
