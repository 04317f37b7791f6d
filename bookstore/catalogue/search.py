"""Finding books by words, the same way on both databases.

Each book's words lie in `book_search`, normalised: no accents, no capitals, no
punctuation.  Each is written `__word`: so no word is too short for InnoDB
(`innodb_ft_min_token_size`) and none is a stop word, and "It" by King can be found.
SQLite's tokenizer drops the underscores.  Scripts without spaces are indexed in pairs of
letters, as search engines do, because neither database knows their words.

What a customer types becomes a list of such words, so that nothing in it can be an operator.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import (
    ColumnElement,
    Select,
    TextualSelect,
    case,
    false,
    literal,
    select,
    text,
    union,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.catalogue import isbn, search_terms
from bookstore.catalogue.models import Book
from bookstore.database.statements import Bulk
from bookstore.database.tables import Id, books
from bookstore.errors import InvalidIsbn

#: Letters that Unicode does not take apart into a plain one and an accent.
_PLAIN = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"}
)
_APOSTROPHES = re.compile(r"['’‘ʼ`´＇]")
_HYPHENS = re.compile(r"(?<=\w)[-‐‑](?=\w)")
_WORD = re.compile(r"[^\W_]+")
#: Scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, kana, Han.
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+"
)

#: InnoDB ignores longer words (innodb_ft_max_token_size is 84); ours are cut before.
_LONGEST_WORD = 80
#: Of a longer question the first words decide.
_MOST_WORDS = 16
#: As many books are compared for the best of them; nobody reads further.
MOST_COMPARED = 2000
#: Sorts behind every other sign.
_LAST_SIGN = "\U0010ffff"
#: Nobody types more; whoever pastes a chapter is not made to wait.
_LONGEST_QUESTION = 500

_INDEX = Bulk(
    "book_id BIGINT, words TEXT",
    """
    INSERT INTO book_search (book_id, words) SELECT v.book_id, v.words FROM {rows} AS v
    ON DUPLICATE KEY UPDATE words = v.words
    """,
    sqlite="""
    INSERT OR REPLACE INTO book_search (rowid, words) SELECT v.book_id, v.words FROM {rows} AS v
    """,
)
_MATCH_MYSQL = text(
    "SELECT book_id FROM book_search WHERE MATCH (words) AGAINST (:words IN BOOLEAN MODE)"
).columns(book_id=Id)
_MATCH_SQLITE = text(
    "SELECT rowid AS book_id FROM book_search WHERE book_search MATCH :words"
).columns(book_id=Id)
_titled = books.alias()

#: All alike.  A bare 0 in ORDER BY would be the number of a column.
_NO_SCORE = literal(0) + literal(0)


class Entry(NamedTuple):
    """What a book can be found by."""

    isbn13: str
    title: str
    subtitle: str | None
    publisher: str | None
    authors: Sequence[str]

    @classmethod
    def of(cls, book: Book) -> "Entry":
        names = [contributor.name for contributor in book.authors]
        return cls(book.isbn13, book.title, book.subtitle, book.publisher, names)

    def words(self) -> list[str]:
        """The words that go into the index, each once."""
        facts = " ".join(
            fact
            for fact in (self.isbn13, self.title, self.subtitle, *self.authors, self.publisher)
            if fact
        )
        # d'Artagnan is found as dartagnan and as artagnan, Spider-Man as spiderman too.
        spellings = (facts, _APOSTROPHES.sub(" ", facts), _HYPHENS.sub("", facts))
        return list(
            dict.fromkeys(
                token
                for written in spellings
                for word in normal(written).split()
                for token in _tokens(word, to_index=True)
            )
        )


@dataclass(frozen=True, slots=True)
class Match:
    """Parts of a query over `books`: which of them match, and how well.

    The score is a whole number that depends on the book and the question alone, never on
    other books: so a list sorted by it goes on where its last page ended.
    """

    condition: ColumnElement[bool]
    score: ColumnElement[int]
    #: Whether none matches but those among which was looked.
    within: bool = False


def normal(text: str) -> str:
    """`text` as plain words with single spaces between: no accents, capitals, punctuation.

    Apostrophes close up: `Salem's` is `salems`.  Vowel signs of Indic scripts are lost as
    accents are; so they are in what is looked for.
    """
    apart = unicodedata.normalize("NFKD", _APOSTROPHES.sub("", text)).casefold()
    plain = "".join(sign for sign in apart if unicodedata.category(sign)[0] != "M")
    return " ".join(_WORD.findall(unicodedata.normalize("NFC", plain.translate(_PLAIN))))


def words_of(question: str) -> list[str]:
    """The words that are looked for, normalised."""
    return normal(question[:_LONGEST_QUESTION]).split()[:_MOST_WORDS]


async def index(conn: AsyncConnection, found_by: Mapping[int, Sequence[str]]) -> None:
    """Have each book, by its id, found by the words of its entry, and by no others."""
    if found_by:
        rows = [(it, " ".join(f"__{word}" for word in words)) for it, words in found_by.items()]
        await _INDEX(conn, sorted(rows))
        await search_terms.learn(conn, {word for words in found_by.values() for word in words})


def matching(
    conn: AsyncConnection, question: str, *, among: Select[tuple[int]] | None = None
) -> Match:
    """The books that a customer may mean: an ISBN in any spelling, or words.

    `among` gives the ids of the books that may be found, for a list sorted by the score: of a word
    that is in very many of them, MariaDB then compares only `MOST_COMPARED` that it happens to find
    first and as many whose title begins so, for they are the best; all of them would take seconds.

    All words have to be there, in any order; the last one may be unfinished.  A question
    without any letter or digit matches nothing.
    """
    try:
        return Match(books.c.isbn13 == isbn.parse(question[:_LONGEST_QUESTION]), _NO_SCORE)
    except InvalidIsbn:
        pass
    words = words_of(question)
    tokens = [token for word in words for token in _tokens(word)]
    if not tokens:
        return Match(false(), _NO_SCORE)
    if conn.dialect.name == "sqlite":
        found = _MATCH_SQLITE.bindparams(
            words=" AND ".join(f'"{token}"' for token in tokens) + " *"
        )
    else:
        asked = " ".join(f"+__{token}" for token in tokens) + "*"
        found = _MATCH_MYSQL.bindparams(words=asked)
        if among is not None:
            best = _best(found, among, " ".join(words))
            return Match(books.c.id.in_(best), _score(words), within=True)
    return Match(books.c.id.in_(found), _score(words))


def _best(found: TextualSelect, among: Select[tuple[int]], title: str) -> Select[tuple[int]]:
    some = among.where(books.c.id.in_(found)).limit(MOST_COMPARED)
    first = (
        select(_titled.c.id)
        .where(
            _titled.c.withdrawn_at.is_(None),
            _titled.c.sort_title.between(title, title + _LAST_SIGN),
        )
        .order_by(_titled.c.sort_title, _titled.c.id)
        .limit(MOST_COMPARED)
        .subquery("titled")
    )
    begun = among.where(books.c.id.in_(select(first.c.id)))
    # A derived table, since an IN over a UNION is asked once for each book.
    return select(union(some, begun).subquery("best").c.id)


def _score(words: Sequence[str]) -> ColumnElement[int]:
    """Best is the very title, then a title that begins so, then one with most of the words."""
    title = literal(" ") + books.c.sort_title + literal(" ")
    whole = f" {' '.join(words)}"
    score: ColumnElement[int] = case(
        (title == f"{whole} ", 1000),
        (title.startswith(f"{whole} "), 500),
        (title.startswith(whole), 400),
        else_=0,
    )
    for word in words:
        start = word if _SPACELESS.search(word) else f" {word}"
        score = score + case((title.contains(start), 10), else_=0)
    return score


def _tokens(word: str, *, to_index: bool = False) -> list[str]:
    """The word, or where its script knows no spaces, its letters in pairs.

    The index also has the last letter alone, so that each can be found as a beginning.
    """
    tokens = []
    last = 0
    for run in _SPACELESS.finditer(word):
        tokens += [word[last : run.start()], *_pairs(run[0], to_index=to_index)]
        last = run.end()
    tokens.append(word[last:])
    # MariaDB's parser knows no letters beyond the basic plane.
    return [
        token[:_LONGEST_WORD]
        for token in tokens
        if token and all(sign <= "\uffff" for sign in token)
    ]


def _pairs(run: str, *, to_index: bool) -> list[str]:
    pairs = [run[place : place + 2] for place in range(len(run) - 1)]
    return [*pairs, run[-1]] if to_index or not pairs else pairs
