"""Texts that make a regular expression with quadratic or exponential runtime slow."""

import re
from collections.abc import Iterator
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_GENERAL = (
    "a",
    "1",
    " ",
    "\n",
    "-",
    "/",
    ".",
    "<",
    "(",
    "[",
    "{",
    '"',
    "'",
    "\\",
    ":",
    "1,",
    "ab ",
)
_GENERAL += ("<?xml ", "<!DOCTYPE a [", "a@", "ISBN-13: 978", "a" * 20 + " ", "\xe9", "\x80")
#: None of our patterns matches one of these as a whole after the repeated part.
_ENDS = ("", "!", "\x00")
_OF_CATEGORY = {
    codes.CATEGORY_DIGIT: "1",
    codes.CATEGORY_NOT_DIGIT: "a",
    codes.CATEGORY_SPACE: " ",
    codes.CATEGORY_NOT_SPACE: "a",
    codes.CATEGORY_WORD: "a",
    codes.CATEGORY_NOT_WORD: "-",
}


def hostile_texts(pattern: re.Pattern[Any], length: int) -> Iterator[str]:
    """Texts of about `length` characters, made of general pieces and of the pattern's own parts.

    For each repetition in the pattern: what has to stand before it, then the repeated part many
    times, and both together many times.
    """
    pieces = {("", piece) for piece in _GENERAL}
    for before, repeated in _repetitions(parser.parse(pattern.pattern, pattern.flags)):
        pieces |= {(before, repeated), ("", before), ("", before + repeated)}
    for before, repeated in sorted(pieces):
        if repeated:
            many = before + repeated * (length // len(repeated))
            yield from (many + end for end in _ENDS)


def _repetitions(parsed: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """A text that matches the pattern up to each unlimited repetition, and the repeated text."""
    for code, value in parsed:
        match code:
            case codes.SUBPATTERN:
                yield from _repetitions(value[-1], before)
            case codes.BRANCH:
                for branch in value[1]:
                    yield from _repetitions(branch, before)
            case codes.MAX_REPEAT | codes.MIN_REPEAT | codes.POSSESSIVE_REPEAT:
                if value[1] > 1_000:
                    yield before, _sample(value[2])
                    yield before, " "
                yield from _repetitions(value[2], before)
        before += _sample([(code, value)])


def _sample(parsed: Any) -> str:
    """A short text that the pattern matches, apart from assertions."""
    text = ""
    for code, value in parsed:
        match code:
            case codes.LITERAL:
                text += chr(value)
            case codes.NOT_LITERAL:
                text += "a" if value != ord("a") else "b"
            case codes.ANY:
                text += "a"
            case codes.IN:
                text += _member(value)
            case codes.SUBPATTERN:
                text += _sample(value[-1])
            case codes.BRANCH:
                text += _sample(value[1][0])
            case codes.MAX_REPEAT | codes.MIN_REPEAT | codes.POSSESSIVE_REPEAT:
                text += _sample(value[2]) * min(value[0], 100)
            case codes.ATOMIC_GROUP:
                text += _sample(value)
    return text


def _member(members: Any) -> str:
    """A character of a set."""
    if members[0][0] is codes.NEGATE:
        excluded = {_member([member]) for member in members[1:]}
        return next(char for char in "a1 -é!\n" if char not in excluded)
    code, value = members[0]
    match code:
        case codes.LITERAL:
            return chr(value)
        case codes.RANGE:
            return chr(value[0])
    return _OF_CATEGORY.get(value, "a")
