"""Typographic covers for books without an uploaded cover: title and author on bookbinder's cloth.

A book always gets the same cover, because layout, cloth and ornament are selected by a hash of its
title and author.
"""

import hashlib
import re
import unicodedata

from bookstore.catalogue.covers import svg
from bookstore.catalogue.covers.svg import Cloth, CoverDesign, CoverText

#: Families of categories: keywords, layouts and cloths.  A category belongs to the first family of
#: which a keyword occurs in its name.  The hash selects a layout and a cloth by index, so changing
#: an order changes covers.
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

#: Layouts and cloths of all other categories, which are mostly non-fiction.
_NONFICTION = (
    ("bands", "page", "label"),
    ("slate", "petrol", "ochre", "stone", "moss", "navy"),
)

#: The cloth of the book spine that stands for a category, by a keyword in its name.  The first
#: matching keyword is used.
_SPINE_CLOTHS = {
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

#: Layouts without left-aligned text, for titles in right-to-left scripts.
_CENTERED_LAYOUTS = ("label", "page")

#: `Title (Series, #2)`
_SERIES = re.compile(r"(?P<title>.+?) \((?P<series>[^()]+?),? #(?P<number>[0-9][0-9.–-]*)\)")

#: From this length in characters, the subtitle after a colon is split from the title.
_SPLIT_LENGTH = 25

#: In characters.  Longer titles and names are cut off, because they would not fit a cover.
_MAX_LENGTH = 200

#: Invisible characters that the spelling of Persian and several Indic scripts requires.
_JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"

#: Skipped when the initial of a title is determined.
_ARTICLE = re.compile(r"(?:the|an?|der|die|das|le|la|les|el|los|il)\s+(?=\S)|l’", re.IGNORECASE)


def draw(
    title: str, author: str, category: str | None, year: int | None, *, id_suffix: str = ""
) -> str:
    """The cover of a book as SVG, 320 by 480 units, to be embedded in HTML.

    `author` is the first author, `category` the name of the main category; both may be empty.
    Element ids must be unique in an HTML page.  If a page shows the cover of a book twice, pass
    different values of `id_suffix` (letters and digits).
    """
    words = _cover_text(title, author, year)
    number = _hash_number(words)
    layouts, cloths = _family(category)
    if words.right_to_left:
        layouts = _CENTERED_LAYOUTS
    design = CoverDesign(
        cloth=_CLOTHS[cloths[(number >> 16) % len(cloths)]],
        ornament=number >> 40,
        pattern=number >> 48,
        in_foil=not number >> 60 & 1,
        id=f"c{number >> 224:08x}{id_suffix}",
    )
    return svg.draw(layouts[number % len(layouts)], words, design)


def draw_small(title: str, author: str, category: str | None) -> str:
    """The cover for display at less than 64 pixels wide: the cloth and the title's initial."""
    words = _cover_text(title, author, None)
    _, cloths = _family(category)
    cloth = _CLOTHS[cloths[(_hash_number(words) >> 16) % len(cloths)]]
    return svg.draw_small(_initial(words.title), cloth)


def cloth_of(category: str) -> str:
    """The name of the cloth for a category, as used in CSS classes such as `cloth-navy`."""
    name = category.casefold()
    for keyword, cloth in _SPINE_CLOTHS.items():
        if keyword in name:
            return cloth
    names = list(_CLOTHS)
    return names[int.from_bytes(hashlib.sha256(name.encode()).digest()) % len(names)]


def _hash_number(words: CoverText) -> int:
    return int.from_bytes(hashlib.sha256(words.key.encode()).digest())


def _family(category: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    name = (category or "").casefold()
    if "non-fiction" in name:
        return _NONFICTION
    for keywords, layouts, cloths in _FAMILIES:
        if any(keyword in name for keyword in keywords):
            return layouts, cloths
    return _NONFICTION


def _cover_text(title: str, author: str, year: int | None) -> CoverText:
    title, author = _clean(title), _clean(author)
    key = f"{title}|{author}"
    second = ""
    if series := _SERIES.fullmatch(title):
        title, second = series["title"], f"{series['series']} · {series['number']}"
    elif len(title) >= _SPLIT_LENGTH and ": " in title:
        title, _, second = title.partition(": ")
    return CoverText(
        key=key,
        title=title.replace("'", "’"),
        second=second.replace("'", "’"),
        author=author.replace("'", "’"),
        year=_year(year),
        initial=_initial(title),
        right_to_left=_is_right_to_left(title or author),
    )


def _clean(text: str) -> str:
    """`text` on one line, without characters that XML forbids or that change the direction."""
    return " ".join("".join(map(_sanitize, text[:_MAX_LENGTH])).split())


def _sanitize(char: str) -> str:
    match unicodedata.category(char):
        case "Cc":
            return " "
        case "Cf" if char not in _JOINERS:
            return ""
        case "Cn" | "Co" | "Cs":
            return ""
    return char


def _year(year: int | None) -> str:
    if year is None:
        return ""
    return str(year) if year >= 0 else f"{-year} BC"


def _initial(title: str) -> str:
    """The first letter or digit after the article; `&` if there is none."""
    without_article = _ARTICLE.sub("", title, count=1)
    return next((char for char in without_article if char.isalnum()), "&").upper()


def _is_right_to_left(text: str) -> bool:
    """Whether the first character with a strong direction is right-to-left (UAX 9, rule P2)."""
    directions = map(unicodedata.bidirectional, text)
    return next((it != "L" for it in directions if it in ("L", "R", "AL")), False)
