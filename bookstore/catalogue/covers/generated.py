"""Covers for books that have none: title and author, set in type on a bookbinder's cloth.

The same book has the same cover for ever: what is chosen is chosen by a hash of its words.
"""

import hashlib
import re
import unicodedata

from bookstore.catalogue.covers import svg
from bookstore.catalogue.covers.svg import Cloth, Look, Words

#: The names of a family's categories hold one of these words; the first family that fits counts.
#: Then its layouts and cloths, in the order in which the hash picks them.
_FAMILIES = (
    (
        ("mystery", "crime", "thriller", "horror", "paranormal"),
        ("initial", "bands", "frame"),
        ("soot", "oxblood", "petrol", "slate", "plum", "ochre"),
    ),
    (
        ("science fiction", "fantasy", "travel"),
        ("initial", "frame", "paper", "bands"),
        ("navy", "plum", "petrol", "bottle", "soot", "duckegg"),
    ),
    (
        ("poetry", "children", "young adult", "humour", "humor", "romance", "comic", "food"),
        ("paper", "bands", "label"),
        ("ochre", "duckegg", "rose", "moss", "madder", "petrol"),
    ),
    (
        ("classic", "literary", "general fiction", "historical", "drama", "short stories"),
        ("frame", "label", "paper", "page"),
        ("bottle", "oxblood", "navy", "petrol", "stone", "slate", "madder"),
    ),
)

#: All other categories: facts.
_FACTS = (
    ("bands", "page", "label"),
    ("slate", "petrol", "ochre", "stone", "moss", "navy"),
)

#: The cloth of a category's own spine, by a word in its name; the first that fits counts.
_SPINES = {
    "classic": "bottle",
    "literary": "oxblood",
    "mystery": "soot",
    "crime": "soot",
    "historical": "stone",
    "science fiction": "petrol",
    "fantasy": "plum",
    "romance": "rose",
    "children": "ochre",
    "biography": "slate",
    "history": "madder",
    "poetry": "duckegg",
    "science": "moss",
    "philosophy": "navy",
}

_CLOTHS = {
    cloth.name: cloth
    for cloth in (
        Cloth("bottle", "#17392f", "#e8d8a0", tone="#24503f", light="#305f4e"),
        Cloth("oxblood", "#5c1d24", "#efd9ae", tone="#752a33", light="#8a3d46"),
        Cloth("navy", "#1d2d4d", "#e8dfc0", tone="#2c4169", light="#425a8a"),
        Cloth("plum", "#43254a", "#ecd5dd", tone="#583461", light="#704a7a"),
        Cloth("petrol", "#134a57", "#efe2bf", tone="#1f6070", light="#307a89"),
        Cloth("slate", "#3a464f", "#ede8d8", tone="#4c5a64", light="#6b7f83"),
        Cloth("soot", "#1c1c1f", "#e9c64f", tone="#303035", light="#47474e"),
        Cloth("madder", "#91342b", "#f6e5cd", tone="#a8473d", light="#c0625a"),
        Cloth("moss", "#4d6534", "#f3efdc", tone="#5f7944", light="#7a945d"),
        Cloth("ochre", "#cf9f35", "#271c07", tone="#dcb252", light="#eacb80", pale=True),
        Cloth("duckegg", "#a8c5bf", "#14322c", tone="#b9d2cd", light="#d3e4e0", pale=True),
        Cloth("rose", "#dba9a3", "#431519", tone="#e5bcb7", light="#f2d8d5", pale=True),
        Cloth("stone", "#cdc6b4", "#2a261e", tone="#d9d3c4", light="#ebe7de", pale=True),
    )
}

#: Layouts in which nothing stands at the left: for what is read from the right.
_EITHER_WAY = ("label", "page")

#: `Title (Series, #2)`
_SERIES = re.compile(r"(?P<title>.+?) \((?P<series>[^()]+?),? #(?P<number>[0-9][0-9.–-]*)\)")

#: From this length on, a subtitle after a colon goes on a line of its own.
_SPLIT_FROM = 25

#: Nobody reads more on a cover.
_LONGEST = 200

#: Invisible, but Persian and several Indian scripts are spelled with them.
_JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"

#: Left out when a title is cut down to one letter.
_ARTICLE = re.compile(r"(?:the|an?|der|die|das|le|la|les|el|los|il)\s+(?=\S)|l’", re.IGNORECASE)


def draw(
    title: str, author: str, category: str | None, year: int | None, *, place: str = ""
) -> str:
    """The cover of a book as SVG, 320 by 480 units, ready to stand inside HTML.

    `author` is the first author, `category` the name of the main category; both may be empty.
    Two drawings of one book on one page need a different `place` (letters and digits), because
    ids count for the whole page.
    """
    words = _words(title, author, year)
    number = _number(words)
    layouts, cloths = _family(category)
    if words.right_to_left:
        layouts = _EITHER_WAY
    look = Look(
        cloth=_CLOTHS[cloths[(number >> 16) % len(cloths)]],
        ornament=number >> 40,
        pattern=number >> 48,
        in_foil=not number >> 60 & 1,
        id=f"c{number >> 224:08x}{place}",
    )
    return svg.draw(layouts[number % len(layouts)], words, look)


def draw_small(title: str, author: str, category: str | None) -> str:
    """The cover for places under 64 pixels wide: its cloth and one letter, nothing else."""
    words = _words(title, author, None)
    _, cloths = _family(category)
    cloth = _CLOTHS[cloths[(_number(words) >> 16) % len(cloths)]]
    return svg.draw_small(_initial(words.title), cloth)


def cloth_of(category: str) -> str:
    """The name of the cloth in which a category is bound, as in the class `cloth-navy`."""
    name = category.casefold()
    for keyword, cloth in _SPINES.items():
        if keyword in name:
            return cloth
    names = list(_CLOTHS)
    return names[int.from_bytes(hashlib.sha256(name.encode()).digest()) % len(names)]


def _number(words: Words) -> int:
    return int.from_bytes(hashlib.sha256(words.key.encode()).digest())


def _family(category: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    name = (category or "").casefold()
    if "non-fiction" in name:
        return _FACTS
    for keywords, layouts, cloths in _FAMILIES:
        if any(keyword in name for keyword in keywords):
            return layouts, cloths
    return _FACTS


def _words(title: str, author: str, year: int | None) -> Words:
    title, author = _clean(title), _clean(author)
    key = f"{title}|{author}"
    second = ""
    if series := _SERIES.fullmatch(title):
        title, second = series["title"], f"{series['series']} · {series['number']}"
    elif len(title) >= _SPLIT_FROM and ": " in title:
        title, _, second = title.partition(": ")
    return Words(
        key=key,
        title=title.replace("'", "’"),
        second=second.replace("'", "’"),
        author=author.replace("'", "’"),
        year=_year(year),
        initial=_initial(title),
        right_to_left=_is_right_to_left(title or author),
    )


def _clean(text: str) -> str:
    """`text` on one line, without signs that XML forbids or that turn the direction around."""
    return " ".join("".join(map(_harmless, text[:_LONGEST])).split())


def _harmless(sign: str) -> str:
    match unicodedata.category(sign):
        case "Cc":
            return " "
        case "Cf" if sign not in _JOINERS:
            return ""
        case "Cn" | "Co" | "Cs":
            return ""
    return sign


def _year(year: int | None) -> str:
    if year is None:
        return ""
    return str(year) if year >= 0 else f"{-year} BC"


def _initial(title: str) -> str:
    """The first letter or digit, without the article."""
    bare = _ARTICLE.sub("", title, count=1)
    return next((sign for sign in bare if sign.isalnum()), "&").upper()


def _is_right_to_left(text: str) -> bool:
    """Whether the first sign with a direction is Hebrew, Arabic or the like (UAX 9, rule P2)."""
    directions = map(unicodedata.bidirectional, text)
    return next((way != "L" for way in directions if way in ("L", "R", "AL")), False)
