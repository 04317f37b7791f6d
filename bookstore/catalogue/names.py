"""When two spellings are the same name.

Names are identifiers of authors and categories, so only spellings that mean the same to every
reader are equal: Unicode normalisation, upper and lower case, spaces.  Accents, vowel signs and
voicing marks make other names (`राम` and `रमा`, `かき` and `かぎ`).  The search treats more
spellings as equal (`search.normalize`), and must not decide who is who.
"""

import re
import unicodedata

#: The space between initials: `J. K.` and `J.K.` are the same.
_INITIALS = re.compile(r"(?<=\.) (?=\w\.|\w{2})")


def identity(name: str) -> str:
    """A key that is equal for spellings of the same name.

    Characters are compared one by one: the language-dependent pairs (Turkish dotless ı and i,
    German ß and ss) stay different.
    """
    composed = unicodedata.normalize("NFC", " ".join(name.split()))
    lower = "".join(
        folded if len(folded := char.lower()) == 1 else char for char in composed
    ).replace("ς", "σ")
    return _INITIALS.sub("", unicodedata.normalize("NFC", lower))
