"""Languages: texts are translated with gettext, numbers and dates are formatted by locale.

The English texts are in the code.  Translators edit the message catalogues of the other languages
in `locale/`.  A process reads a catalogue when it first needs it, so a change takes effect after a
restart.
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
#: The supported languages: the code that browsers use, and the language's own name for itself.
LANGUAGES = {DEFAULT: "English", Language("de"): "Deutsch"}

_catalogues: dict[Language, gettext.NullTranslations] = {DEFAULT: gettext.NullTranslations()}
_language: ContextVar[Language] = ContextVar("language", default=DEFAULT)


def current() -> Language:
    """The language of the current request or task; `DEFAULT` if none was set."""
    return _language.get()


def set_language(language: Language) -> None:
    """Use this language until the current asyncio task ends."""
    _language.set(language)


@contextmanager
def using_language(language: Language) -> Iterator[None]:
    """Use this language within a `with` block."""
    token = _language.set(language)
    try:
        yield
    finally:
        _language.reset(token)


def babel() -> BabelLocale:
    """The locale for numbers, money and dates."""
    return BabelLocale.parse(current())


def supported_or_default(code: str | None) -> Language:
    """The language with this code; `DEFAULT` if the code is None or not supported."""
    return next((language for language in LANGUAGES if language == code), DEFAULT)


def negotiate(accepted: Iterable[str]) -> Language:
    """The first supported language among the accepted tags (`de-AT`, `en`), or `DEFAULT`."""
    for tag in accepted:
        language = tag.partition("-")[0].lower()
        if language in LANGUAGES:
            return Language(language)
    return DEFAULT


def _(message: str) -> str:
    """The message in the current language; the message itself if it has no translation."""
    return _translations(current()).gettext(message)


def ngettext(one: str, many: str, number: int) -> str:
    """The singular or plural message for `number`, in the current language."""
    return _translations(current()).ngettext(one, many, number)


def N_(message: str) -> str:
    """The message unchanged.  Marks it for extraction; it is translated when it is shown."""
    return message


class Sentence(str):
    """An English sentence that keeps its pattern and values, so that it can be translated later."""

    __slots__ = ("pattern", "values")

    pattern: str
    values: Mapping[str, object]


def sentence(pattern: str, **values: object) -> Sentence:
    """The sentence in which each `%(name)s` of `pattern` is replaced by the value of that name."""
    result = Sentence(pattern % values)
    result.pattern, result.values = pattern, values
    return result


def translated(text: str) -> str:
    """The sentence in the current language; unchanged if the catalogue does not contain it."""
    if isinstance(text, Sentence):
        values = {
            name: translated(value) if isinstance(value, Sentence) else value
            for name, value in text.values.items()
        }
        return _(text.pattern) % values
    return _(text) if text else ""


@contextmanager
def added_language(
    language: Language, name: str, catalogue: gettext.NullTranslations
) -> Iterator[None]:
    """Support one more language within a `with` block, from a catalogue outside `locale/`."""
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
