"""Languages of books: converts ISO 639 codes and English names to BCP 47 tags."""

import re
from collections.abc import Mapping
from functools import lru_cache

from babel import Locale
from babel.core import get_global

from bookstore.errors import Invalid

#: A language, optionally with a script and a country: `en`, `pt-BR`, `zh-Hant-TW`.
_TAG = re.compile(r"([A-Za-z]{2,3})(?:-([A-Za-z]{4}))?(?:-([A-Za-z]{2}|[0-9]{3}))?")

_ENGLISH = Locale("en")
#: Maps codes of ISO 639-2 and others (`eng`, `fre`, `ger`) to the shorter codes of BCP 47.
_SHORT_CODES: Mapping[str, str] = get_global("language_aliases")
_BY_NAME = {name.casefold(): code for code, name in _ENGLISH.languages.items()}


@lru_cache(maxsize=1000)
def normalize(text: str) -> str:
    """The BCP 47 tag for a language tag, an ISO 639 code or an English language name.

    `eng`, `EN` and `English` become `en`; `en_us` becomes `en-US`.

    Raises:
        Invalid: the language, script or country is unknown.
    """
    stripped = text.strip()
    tag = _BY_NAME.get(stripped.casefold(), stripped.replace("_", "-"))
    parts = _TAG.fullmatch(tag.replace("_", "-"))
    if parts:
        language = parts[1].lower()
        language = _SHORT_CODES.get(language, language)
        script = parts[2].title() if parts[2] else None
        country = parts[3].upper() if parts[3] else None
        if (
            language in _ENGLISH.languages
            and (script is None or script in _ENGLISH.scripts)
            and (country is None or country in _ENGLISH.territories)
        ):
            return "-".join(part for part in (language, script, country) if part)
    raise Invalid("language", "This is not a language tag such as en, en-US or pt-BR.")
