"""One word for one thing: words that were dropped do not come back (docs/glossary.md).

Walked are identifiers, comments, docstrings, texts, templates, documents and the message catalogue.
"""

import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: Migrations keep the names that tables had; the other two explain the old words.
LEFT_OUT = re.compile(
    r"migrations/versions/|^CHANGELOG\.md$|^docs/glossary\.md$|^tests/test_vocabulary\.py$"
    r"|package-lock|examples\.json$|\.lock$|/fonts/"
)
KINDS = ("*.py", "*.html", "*.txt", "*.md", "*.js", "*.css", "*.toml", "*.yaml", "*.yml", "*.conf")
CONFIGURATION = ("Makefile", "Dockerfile", "*.service", "*.target", "*.sh", "*.cfg", "*.sql")

#: Words that no identifier has as a part, and what is said instead.
IDENTIFIERS = {
    "letter": "email, or notification for its row",
    "letters": "emails, or notifications for their rows",
    "shelf": "category, or stock",
    "shelves": "categories",
    "desk": "backoffice",
    "told": "notified, reported, recorded",
    "wish": "request, checkout_request",
    "wishes": "requests",
    "trail": "timeline, audit_log",
    "parcel": "shipment",
    "parcels": "shipments",
    "parked": "dead",
    "crashpoint": "failpoint",
    "postman": "delivery_worker",
    "happening": "event",
    "happenings": "events",
    "knot": "step",
    "duties": "to_do",
    "worries": "alerts",
    "worded": "translated, explained",
    "pour": "merge",
    "poured": "merged",
    "dossier": "data_export",
    "upkeep": "housekeeping",
    "precautions": "startup_checks",
    "caslon": "font_metrics",
    "guesses": "attempts",
    "whoever": "the term for the person",
}
#: Files about the letters of an alphabet, which are called letters.
ABOUT_ALPHABETS = {
    "bookstore/catalogue/categories.py",
    "bookstore/catalogue/covers/font_metrics.py",
    "bookstore/catalogue/covers/generated.py",
    "bookstore/catalogue/covers/svg.py",
    "bookstore/catalogue/did_you_mean.py",
    "bookstore/catalogue/search.py",
    "bookstore/catalogue/validation.py",
    "bookstore/imports/encodings.py",
    "bookstore/imports/onix/reader.py",
    "bookstore/users/addresses.py",
    "tests/bookstore/catalogue/covers/test_font_metrics.py",
    "tests/bookstore/catalogue/covers/test_generated.py",
    "tests/bookstore/catalogue/test_did_you_mean.py",
    "tests/bookstore/catalogue/test_search.py",
    "tests/test_patterns.py",
    "tests/web/auth/test_login_throttle.py",
    "tests/web/server/test_security_transport.py",
}
#: Names of other libraries, and paths of earlier versions.
TRUE_IDENTIFIERS = {"dead_letters", "dead_letters_of_a_failure"}

#: Words in texts of any kind, and what is said instead.
TEXTS = {
    r"letters?": "e-mail",
    r"shel(?:f|ves)": "category, stock",
    r"desks?": "back office",
    r"parcels?": "shipment",
    r"told": "notified, reported",
    r"wish(?:es)?": "checkout request",
    r"trails?": "timeline, audit log",
    r"parked": "dead",
    r"given up": "dead",
    r"gives? up": "fail",
    r"postman": "delivery worker",
    r"whoever": "the term for the person",
    r"in one go|at one go": "in one transaction, in one query",
    r"machinery": "infrastructure",
    r"happenings?": "event",
    r"upkeep": "housekeeping",
    r"crashpoints?": "failpoint",
    r"dossiers?": "data export",
    r"Brief(?:e|en|s)?": "E-Mail",
    r"[Vv]ergriffen": "ausverkauft",
}
#: Where a word of `TEXTS` is what everybody means by it.
TRUE_TEXTS = [
    r"letter-spacing",
    r"dead[- ]letters?",
    r"/account/letters",
    r"(?:two|three|12|wrong|first|single)[- ]letters?",
    r"letters? (?:and|or|,) digits",
    r"contain only letters",
    r"two- or three-letter",
]


def files(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    return [ROOT / name for name in listed if name and not LEFT_OUT.search(name)]


def parts(name: str) -> set[str]:
    """`LetterUnderWay` and `letter_under_way` have the same parts."""
    return {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def identifiers(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], token.string


def is_excused(path: Path, word: str) -> bool:
    name = path.relative_to(ROOT).as_posix()
    return name in ABOUT_ALPHABETS and re.fullmatch("letters?", word, re.I) is not None


def dropped_words(text: str) -> Iterator[tuple[int, str]]:
    """Line number and word of everything in `TEXTS` that has no other meaning there."""
    pattern = re.compile(rf"\b(?:{'|'.join(TEXTS)})\b", re.I)
    excused = re.compile("|".join(TRUE_TEXTS), re.I)
    for number, line in enumerate(text.splitlines(), 1):
        rest = excused.sub("", line)
        for word in pattern.findall(rest):
            yield number, word


@pytest.mark.parametrize("path", files("*.py"), ids=lambda path: str(path.relative_to(ROOT)))
def test_identifiers_use_the_words_of_the_glossary(path):
    found = [
        f"{path.relative_to(ROOT)}:{line} {name}: {', '.join(IDENTIFIERS[it] for it in bad)}"
        for line, name in identifiers(path.read_text("utf-8"))
        if (bad := {it for it in parts(name) & IDENTIFIERS.keys() if not is_excused(path, it)})
        and name not in TRUE_IDENTIFIERS
    ]
    assert found == []


@pytest.mark.parametrize(
    "path", files(*KINDS, *CONFIGURATION, "*.po"), ids=lambda path: str(path.relative_to(ROOT))
)
def test_texts_use_the_words_of_the_glossary(path):
    found = [
        f"{path.relative_to(ROOT)}:{line} {word}"
        for line, word in dropped_words(path.read_text("utf-8"))
        if not is_excused(path, word)
    ]
    assert found == []


def test_a_dropped_word_is_found_wherever_it_is():
    assert [*dropped_words("One letter is in the post")] == [(1, "letter")]
    assert [*dropped_words("two letters (ISO 639-1)\nletter-spacing: 1px")] == []
    assert parts("LetterUnderWay") == parts("letter_under_way") == {"letter", "under", "way"}
    assert [name for _, name in identifiers("def told(x): ...")] == ["def", "told", "x"]
