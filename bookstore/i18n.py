"""In which language somebody is spoken to: texts through gettext, numbers and dates by locale.

English stands in the code.  The other languages lie in `locale/`, as catalogues that
translators edit; they are read as they are when a process starts.
"""

import gettext
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.resources import files
from io import BytesIO
from typing import NewType

from babel import Locale as BabelLocale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations

Language = NewType("Language", str)

DEFAULT = Language("en")
#: The languages that the store speaks, by the codes that browsers use, each in its own words.
LANGUAGES = {DEFAULT: "English", Language("de"): "Deutsch"}

_catalogues: dict[Language, gettext.NullTranslations] = {DEFAULT: gettext.NullTranslations()}
_language: ContextVar[Language] = ContextVar("language", default=DEFAULT)


def current() -> Language:
    """The language of whoever is served at this moment."""
    return _language.get()


def speak(language: Language) -> None:
    """From now on, until the end of this task, speak this language."""
    _language.set(language)


@contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Speak this language for a while."""
    token = _language.set(language)
    try:
        yield
    finally:
        _language.reset(token)


def babel() -> BabelLocale:
    """The locale for numbers, money and dates."""
    return BabelLocale.parse(current())


def known(code: str | None) -> Language:
    """The language with this code; the default for any other."""
    return next((language for language in LANGUAGES if language == code), DEFAULT)


def wanted(accepted: Iterable[str]) -> Language:
    """The first of the accepted tags (`de-AT`, `en`) in which the store speaks."""
    for tag in accepted:
        language = tag.partition("-")[0].lower()
        if language in LANGUAGES:
            return Language(language)
    return DEFAULT


def _(message: str) -> str:
    """The message in the current language."""
    return _translations(current()).gettext(message)


def ngettext(one: str, many: str, number: int) -> str:
    """The message for so many, in the current language."""
    return _translations(current()).ngettext(one, many, number)


def N_(message: str) -> str:
    """The message itself, to be translated when it is shown."""
    return message


class Sentence(str):
    """A sentence in English, with facts in it, that can be said in other languages too."""

    __slots__ = ("facts", "pattern")

    pattern: str
    facts: Mapping[str, object]


def sentence(pattern: str, **facts: object) -> Sentence:
    """The sentence: in `pattern` each `%(name)s` stands for the fact of this name."""
    made = Sentence(pattern % facts)
    made.pattern, made.facts = pattern, facts
    return made


def said(text: str) -> str:
    """The sentence in the current language; what is not known there stays as it is."""
    if isinstance(text, Sentence):
        facts = {
            name: said(fact) if isinstance(fact, Sentence) else fact
            for name, fact in text.facts.items()
        }
        return _(text.pattern) % facts
    return _(text) if text else ""


@contextmanager
def also(language: Language, name: str, catalogue: gettext.NullTranslations) -> Iterator[None]:
    """Speak one more language for a while, from a catalogue that is not in `locale/`."""
    LANGUAGES[language], _catalogues[language] = name, catalogue
    try:
        yield
    finally:
        del LANGUAGES[language], _catalogues[language]


def _translations(language: Language) -> gettext.NullTranslations:
    if language not in _catalogues:
        _catalogues[language] = _read(language)
    return _catalogues[language]


def _read(language: Language) -> gettext.NullTranslations:
    path = files("bookstore") / "locale" / language / "LC_MESSAGES" / "bookstore.po"
    compiled = BytesIO()
    with path.open("rb") as file:
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    return Translations(compiled)
