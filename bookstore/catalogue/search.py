"""Full-text search for books, with the same results on MariaDB and SQLite.

`book_search` contains the words of each book, normalised: without accents, capitals and
punctuation.  Each word has the prefix `__`.  With it no word is too short for InnoDB
(`innodb_ft_min_token_size`) and none is a stop word, so "It" by Stephen King can be found.
SQLite's tokenizer ignores the underscores.  Scripts without spaces are indexed as bigrams (pairs
of letters), because neither database can split them into words.

The text of a query is normalised in the same way, so it cannot contain search operators.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
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

#: Letters that Unicode does not decompose into a base letter and an accent.
_PLAIN = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"}
)
_APOSTROPHES = re.compile(r"['’‘ʼ`´＇]")
_HYPHENS = re.compile(r"(?<=\w)[-‐‑](?=\w)")
_WORD = re.compile(r"[^\W_]+")
#: Emoji and other signs from here on can be searched; each is a word of its own.
_FIRST_SIGN = "\u2600"
#: Scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, kana, Han.
_UNSPACED_SCRIPTS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]+"
)

#: In characters.  InnoDB ignores words longer than 84 (innodb_ft_max_token_size), so longer words
#: are truncated.
_MAX_WORD_LENGTH = 80
#: Only the first words of a longer query are used.
_MAX_WORDS = 16
#: At most this many matches are scored to find the best.  Customers do not read further.
MAX_COMPARED = 2000
#: Sorts after every other character.
_LAST_CHARACTER = "\U0010ffff"
#: In characters.  Longer text is truncated, so that pasting a whole chapter is not slow.
_MAX_QUERY_LENGTH = 500

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
_books_by_title = books.alias()

#: The same score for all books.  A literal 0 in ORDER BY would be read as a column number.
_NO_SCORE = literal(0) + literal(0)


class SearchEntry(NamedTuple):
    """The fields of a book that the search covers."""

    isbn13: str
    title: str
    subtitle: str | None
    publisher: str | None
    authors: Sequence[str]

    @classmethod
    def of(cls, book: Book) -> "SearchEntry":
        names = [contributor.name for contributor in book.authors]
        return cls(book.isbn13, book.title, book.subtitle, book.publisher, names)

    def words(self) -> list[str]:
        """The words for the index, without duplicates."""
        combined = " ".join(
            value
            for value in (self.isbn13, self.title, self.subtitle, *self.authors, self.publisher)
            if value
        )
        # d'Artagnan is found as dartagnan and as artagnan, Spider-Man also as spiderman.
        spellings = (combined, _APOSTROPHES.sub(" ", combined), _HYPHENS.sub("", combined))
        return list(
            dict.fromkeys(
                token
                for spelling in spellings
                for word in normalize(spelling).split()
                for token in _tokens(word, to_index=True)
            )
        )


@dataclass(frozen=True, slots=True)
class Match:
    """The condition and the relevance score of a search, for a query over `books`.

    The score is an integer that depends only on the book and the search text, not on other books.
    Pages of a list sorted by it are therefore consistent.
    """

    condition: ColumnElement[bool]
    score: ColumnElement[int]
    #: Whether the condition already restricts the books to `among` (see `matching`).
    within: bool = False


def normalize(text: str) -> str:
    """`text` as lower-case words separated by single spaces, without accents and punctuation.

    Apostrophes are removed: `Salem's` becomes `salems`.  Marks are removed where readers leave them
    out: accents of Latin, Greek and Cyrillic letters (but й is a letter), Hebrew and Arabic vowel
    signs.  In all other scripts a mark makes another word: vowel signs of India, voicing marks of
    kana, tones of Thai.
    """
    decomposed = unicodedata.normalize("NFKD", _APOSTROPHES.sub("", text)).casefold()
    if decomposed.isascii():
        return " ".join(_WORD.findall(decomposed))
    kept, base = [], ""
    for char in decomposed:
        if not unicodedata.combining(char) and unicodedata.category(char)[0] != "M":
            base = char
        elif _is_optional(char, base):
            continue
        kept.append(char)
    plain = unicodedata.normalize("NFC", "".join(kept).translate(_PLAIN))
    return " ".join(_words(plain))


def _is_optional(mark: str, base: str) -> bool:
    """Whether readers of this letter's script leave the mark out when they search."""
    if base < "\u0400" or "\u1e00" <= base < "\u2000":  # Latin, Greek, and signs.
        return True
    if base < "\u0530":  # Cyrillic; й is и with a breve.
        return mark != "\u0306"
    # Hebrew and Arabic.  A variation selector follows a sign.
    return base < "\u0900" or "\ufb1d" <= base < "\uff00" or "\ufe00" <= mark <= "\ufe0f"


def _words(text: str) -> Iterator[str]:
    """The words of a text: letters and digits with their marks, and each sign on its own."""
    word = ""
    for char in text:
        category = unicodedata.category(char)
        if category[0] in "LN" or (word and category[0] == "M"):
            word += char
            continue
        if word:
            yield word
            word = ""
        if category == "So" and char >= _FIRST_SIGN:
            yield char
    if word:
        yield word


def _stored(token: str) -> str:
    """The token as both databases can store and find it.

    Their tokenizers split words at marks and drop signs, and MariaDB compares letters with its own
    rules (パ equals ハ).  Tokens beyond ASCII are spelled with five hexadecimal digits for each
    character, so that the beginning of a word stays a prefix.
    """
    if token.isascii():
        return token
    return "".join(f"{ord(char):05x}" for char in token)[:_MAX_WORD_LENGTH]


def query_words(query_text: str) -> list[str]:
    """The normalised words of a search query, at most 16.  Beside letters, signs are left out."""
    words = normalize(query_text[:_MAX_QUERY_LENGTH]).split()[:_MAX_WORDS]
    return [word for word in words if word[0].isalnum()] or words


def index_text(words: Sequence[str]) -> str:
    """These words as `book_search` stores them."""
    return " ".join(f"__{_stored(word)}" for word in words)


async def index(conn: AsyncConnection, words_by_book: Mapping[int, Sequence[str]]) -> None:
    """Replace the index entries of these books, given the words by book id.

    Also adds the words to the vocabulary in `search_terms`.  May be repeated.
    """
    if words_by_book:
        rows = [(book_id, index_text(words)) for book_id, words in words_by_book.items()]
        await _INDEX(conn, sorted(rows))
        await search_terms.add(conn, {word for words in words_by_book.values() for word in words})


def matching(
    conn: AsyncConnection, query_text: str, *, among: Select[tuple[int]] | None = None
) -> Match:
    """The match condition for a search text: an ISBN in any spelling, or words.

    A book must contain all words, in any order; the last word may be a prefix.  A text without
    letters or digits matches no book.

    Pass `among`, a query for the ids of eligible books, if the list is sorted by the score.  It
    limits the work for a word that very many books contain, on MariaDB: scoring all of them would
    take seconds.  Only the first `MAX_COMPARED` matches that MariaDB finds are scored, and as many
    whose title begins with the search text, because those have the best scores.
    """
    try:
        return Match(books.c.isbn13 == isbn.parse(query_text[:_MAX_QUERY_LENGTH]), _NO_SCORE)
    except InvalidIsbn:
        pass
    words = query_words(query_text)
    tokens = [_stored(token) for word in words for token in _tokens(word)]
    if not tokens:
        return Match(false(), _NO_SCORE)
    if conn.dialect.name == "sqlite":
        found = _MATCH_SQLITE.bindparams(
            words=" AND ".join(f'"{token}"' for token in tokens) + " *"
        )
    else:
        expression = " ".join(f"+__{token}" for token in tokens) + "*"
        found = _MATCH_MYSQL.bindparams(words=expression)
        if among is not None:
            best = _best(found, among, " ".join(words))
            return Match(books.c.id.in_(best), _score(words), within=True)
    return Match(books.c.id.in_(found), _score(words))


def _best(found: TextualSelect, among: Select[tuple[int]], title: str) -> Select[tuple[int]]:
    some = among.where(books.c.id.in_(found)).limit(MAX_COMPARED)
    first = (
        select(_books_by_title.c.id)
        .where(
            _books_by_title.c.withdrawn_at.is_(None),
            _books_by_title.c.sort_title.between(title, title + _LAST_CHARACTER),
        )
        .order_by(_books_by_title.c.sort_title, _books_by_title.c.id)
        .limit(MAX_COMPARED)
        .subquery("titled")
    )
    title_matches = among.where(books.c.id.in_(select(first.c.id)))
    # A derived table, because MariaDB evaluates an IN over a UNION once for each book.
    return select(union(some, title_matches).subquery("best").c.id)


def _score(words: Sequence[str]) -> ColumnElement[int]:
    """The relevance score: an exact title first, then a title that begins with the words, then the
    number of words that the title contains."""
    title = literal(" ") + books.c.sort_title + literal(" ")
    whole = f" {' '.join(words)}"
    score: ColumnElement[int] = case(
        (title == f"{whole} ", 1000),
        (title.startswith(f"{whole} "), 500),
        (title.startswith(whole), 400),
        else_=0,
    )
    for word in words:
        start = word if _UNSPACED_SCRIPTS.search(word) else f" {word}"
        score = score + case((title.contains(start), 10), else_=0)
    return score


def _tokens(word: str, *, to_index: bool = False) -> list[str]:
    """The word as one token, or as bigrams where its script has no spaces.

    The index also contains the last letter of such a run on its own, so that a prefix search finds
    every letter.
    """
    tokens = []
    last = 0
    for run in _UNSPACED_SCRIPTS.finditer(word):
        tokens += [word[last : run.start()], *_pairs(run[0], to_index=to_index)]
        last = run.end()
    tokens.append(word[last:])
    return [token[:_MAX_WORD_LENGTH] for token in tokens if token]


def _pairs(run: str, *, to_index: bool) -> list[str]:
    pairs = [run[index : index + 2] for index in range(len(run) - 1)]
    return [*pairs, run[-1]] if to_index or not pairs else pairs
