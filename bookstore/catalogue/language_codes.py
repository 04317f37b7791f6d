"""Languages of books: BCP 47 tags out of the habits of three standards."""

import re
from collections.abc import Mapping
from functools import lru_cache

from babel import Locale
from babel.core import get_global

from bookstore.errors import Invalid

#: A language, and at most a script and a country: `en`, `pt-BR`, `zh-Hant-TW`.
_TAG = re.compile(r"([A-Za-z]{2,3})(?:-([A-Za-z]{4}))?(?:-([A-Za-z]{2}|[0-9]{3}))?")

_ENGLISH = Locale("en")
#: Codes of ISO 639-2 and others (`eng`, `fre`, `ger`) to the shorter ones of BCP 47.
_SHORTER: Mapping[str, str] = get_global("language_aliases")
_BY_NAME = {name.casefold(): code for code, name in _ENGLISH.languages.items()}


@lru_cache(maxsize=1000)
def normal(text: str) -> str:
    """The BCP 47 tag for a tag, a code of ISO 639 or an English name of a language.

    `eng`, `EN` and `English` become `en`; `en_us` becomes `en-US`.

    Raises:
        Invalid: no such language, script or country is known.
    """
    given = text.strip()
    tag = _BY_NAME.get(given.casefold(), given.replace("_", "-"))
    parts = _TAG.fullmatch(tag.replace("_", "-"))
    if parts:
        language = parts[1].lower()
        language = _SHORTER.get(language, language)
        script = parts[2].title() if parts[2] else None
        country = parts[3].upper() if parts[3] else None
        if (
            language in _ENGLISH.languages
            and (script is None or script in _ENGLISH.scripts)
            and (country is None or country in _ENGLISH.territories)
        ):
            return "-".join(part for part in (language, script, country) if part)
    raise Invalid("language", "This is no language tag like en, en-US or pt-BR.")
