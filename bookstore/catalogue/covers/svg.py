"""The six layouts of a typographic cover, as SVG.  A cover is 320 by 480 units."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from bookstore.catalogue.covers import font_metrics
from bookstore.catalogue.covers.font_metrics import TextLayout

_FAMILY = "'Libre Caslon Text',Georgia,serif"
_PAPER = "#f3f0e6"
#: Used beside a pale cloth, which needs a whiter paper for contrast.
_WHITE_PAPER = "#fbf9f2"
_BLACK = "#1a1f1c"


@dataclass(frozen=True, slots=True)
class Cloth:
    """The colours of a bookbinder's cloth.

    `foil` is the colour of text stamped on it; `tone` and `light` are lighter shades of `colour`.
    """

    name: str
    colour: str
    foil: str
    tone: str
    light: str
    pale: bool = False

    @property
    def ink(self) -> str:
        """A text colour with enough contrast on paper, which the colour of a pale cloth lacks."""
        return _BLACK if self.pale else self.colour


@dataclass(frozen=True, slots=True)
class CoverText:
    """The text on a cover.  `key` identifies the book; `second` is a subtitle or a series."""

    key: str
    title: str
    second: str
    author: str
    year: str
    initial: str
    right_to_left: bool


@dataclass(frozen=True, slots=True)
class CoverDesign:
    """The design that the hash selected.

    `ornament` and `pattern` may be any number; it is reduced modulo the number of choices.
    """

    cloth: Cloth
    ornament: int
    pattern: int
    in_foil: bool
    id: str


def draw(layout: str, words: CoverText, design: CoverDesign) -> str:
    """The complete SVG element of a cover."""
    direction = ' direction="rtl"' if words.right_to_left else ""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 480" width="320" height="480"'
        f' aria-hidden="true" font-family="{_FAMILY}"{direction}>'
        f"{''.join(_LAYOUTS[layout](words, design))}</svg>"
    )


def draw_small(initial: str, cloth: Cloth) -> str:
    """The SVG element of a small cover: the cloth and one letter."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 48" width="32" height="48"'
        f' aria-hidden="true" font-family="{_FAMILY}">'
        f'{_rect(0, 0, 32, 48, cloth.colour)}<path d="M2.5 0V48" stroke="{cloth.light}"'
        f' stroke-width=".6"/>{_text(17, 33, 27, initial, cloth.foil, italic=True)}</svg>'
    )


def _label(words: CoverText, design: CoverDesign) -> list[str]:
    """A paper label on cloth."""
    cloth = design.cloth
    title = font_metrics.fit(words.title, (182, 182), range(42, 17, -2))
    second = font_metrics.fit(words.second, (190, 36), range(16, 12, -1))
    author = font_metrics.fit(words.author, (194, 46), range(20, 13, -1))
    y = 97 + 0.9 * title.size
    parts = [_lines(164, y, title, _BLACK)]
    y += _height(title)
    if words.second:
        parts.append(_lines(164, y + 27, second, _BLACK, italic=True))
        y += 27 + _height(second)
    parts.append(_rect(146, y + 20, 36, 1.4, cloth.ink, opacity=0.6))
    y += 20
    if words.author:
        parts.append(_lines(164, y + 30, author, _BLACK, italic=True))
        y += 30 + _height(author)
    height = y + 28 - 72
    return [
        _cloth(cloth),
        _rect(46, 72, 236, height, _PAPER),
        _box(51, 77, 226, height - 10, cloth.ink, 2),
        _box(55.4, 81.4, 217.2, height - 18.8, cloth.ink, 0.8),
        *parts,
        _ornament(design.ornament, 164, 424, cloth.foil),
    ]


def _paper(words: CoverText, design: CoverDesign) -> list[str]:
    """A smaller label on patterned paper."""
    cloth = design.cloth
    title = font_metrics.fit(words.title, (192, 200), range(40, 16, -1))
    second = font_metrics.fit(words.second, (192, 34), range(15, 11, -1))
    author = font_metrics.fit(words.author, (192, 44), range(19, 13, -1))
    y = 82 + 0.9 * title.size
    parts = [_lines(160, y, title, cloth.ink)]
    y += _height(title)
    if words.second:
        parts.append(_lines(160, y + 25, second, cloth.ink, italic=True))
        y += 25 + _height(second)
    if words.author:
        parts.append(_lines(160, y + 42, author, cloth.ink, italic=True))
        y += 42 + _height(author)
    height = y + 33 - 64
    return [
        _rect(0, 0, 320, 480, cloth.colour),
        _pattern(design),
        _rect(44, 64, 232, height, _PAPER),
        _box(49.5, 69.5, 221, height - 11, cloth.ink, 1.6, opacity=0.6),
        *parts,
    ]


def _frame(words: CoverText, design: CoverDesign) -> list[str]:
    """A double frame stamped in foil, a square in each corner."""
    cloth = design.cloth
    title = font_metrics.fit(words.title, (216, 204), range(76, 19, -2))
    second = font_metrics.fit(words.second, (216, 34), range(17, 12, -1))
    author = font_metrics.fit(words.author, (190, 48), range(21, 14, -1))
    # Centred between the frame and the ornament.  Capitals are 0.7 of the font size high.
    block = _height(title) + (34 + _height(second) if words.second else 0)
    y = 196 - block / 2 + 0.32 * title.size
    parts = [_lines(166, y, title, cloth.foil)]
    if words.second:
        parts.append(_lines(166, y + _height(title) + 36, second, cloth.foil, italic=True))
    corners = "".join(
        _box(x - 13, y - 13, 26, 26, cloth.foil, 1, opacity=0.7) + _diamond(x, y, 7, cloth.foil)
        for x in (54, 278)
        for y in (44, 436)
    )
    return [
        _cloth(cloth),
        _box(34, 24, 264, 432, cloth.foil, 3),
        _box(41, 31, 250, 418, cloth.foil, 1, opacity=0.8),
        corners,
        *parts,
        _ornament(design.ornament, 166, 348, cloth.foil),
        _lines(166, 404 - _height(author), author, cloth.foil),
    ]


def _initial(words: CoverText, design: CoverDesign) -> list[str]:
    """One huge letter in the cloth's tone, cropped by the edge, with the title below it."""
    cloth = design.cloth
    title = font_metrics.fit(words.title, (264, 190), range(42, 20, -1))
    second = font_metrics.fit(words.second, (264, 17), range(15, 11, -1))
    author = font_metrics.fit(words.author, (264, 22), range(19, 13, -1))
    y = 452 - _height(title)
    rule = y - 0.9 * title.size - 14
    return [
        _rect(0, 0, 320, 480, cloth.colour),
        _text(-26, 330, 560, words.initial, cloth.tone, left=True, italic=True),
        _lines(28, 40, second, cloth.foil, left=True, italic=True),
        _lines(28, rule - 12, author, cloth.foil, left=True, italic=True),
        _rect(28, rule, 264, 2, cloth.foil, opacity=0.8),
        _lines(28, y, title, cloth.foil, left=True),
    ]


def _bands(words: CoverText, design: CoverDesign) -> list[str]:
    """Paper between two bands of cloth."""
    cloth = design.cloth
    title = font_metrics.fit(words.title, (264, 225), range(54, 20, -2))
    second = font_metrics.fit(words.second, (264, 36), range(17, 12, -1))
    author = font_metrics.fit(words.author, (230, 46), range(22, 14, -1))
    y = 58 + 0.9 * title.size
    return [
        _rect(0, 0, 320, 480, _WHITE_PAPER if cloth.pale else _PAPER),
        _rect(0, 0, 320, 26, cloth.colour),
        _rect(0, 341, 320, 5, cloth.colour),
        _rect(0, 352, 320, 128, cloth.colour),
        _lines(28, y, title, cloth.ink, left=True),
        _lines(28, y + _height(title) + 35, second, cloth.ink, left=True, italic=True),
        _lines(28, 395, author, cloth.foil, left=True),
        _star(276, 446, cloth.foil),
    ]


def _page(words: CoverText, design: CoverDesign) -> list[str]:
    """A title page bound with a strip of cloth."""
    cloth = design.cloth
    # Letter spacing would break the connections between Arabic letters.
    spacing = 0 if words.right_to_left else 100
    title = font_metrics.fit(words.title, (240, 205), range(44, 18, -1))
    second = font_metrics.fit(words.second, (240, 36), range(17, 12, -1))
    author = font_metrics.fit(words.author.upper(), (240, 34), range(15, 11, -1), spacing=spacing)
    y = 119 + 0.9 * title.size
    return [
        _rect(0, 0, 320, 480, _PAPER),
        _rect(0, 0, 12, 480, cloth.colour),
        f'<g letter-spacing="{_n(author.size * spacing / 1000)}">'
        f"{_lines(166, 62 - _height(author), author, cloth.ink)}</g>",
        _rect(46, 90, 240, 3, cloth.ink),
        _rect(46, 96, 240, 0.8, cloth.ink),
        _lines(166, y, title, cloth.ink),
        _lines(166, y + _height(title) + 34, second, cloth.ink, italic=True),
        _ornament(design.ornament, 166, 380, cloth.ink),
        _rect(46, 420, 240, 0.8, cloth.ink),
        _text(166, 447, 16, words.year, cloth.ink),
    ]


#: Each layout returns the parts of its cover, from back to front.
_LAYOUTS: dict[str, Callable[[CoverText, CoverDesign], list[str]]] = {
    "label": _label,
    "paper": _paper,
    "frame": _frame,
    "initial": _initial,
    "bands": _bands,
    "page": _page,
}


def _cloth(cloth: Cloth) -> str:
    """The background: woven threads every four units, and the hinge beside the spine."""
    return (
        f"{_rect(0, 0, 320, 480, cloth.colour)}"
        f'<g stroke="{cloth.tone}" stroke-dasharray="1.2 2.8" opacity=".45">'
        '<path d="M160 0V480" stroke-width="320"/><path d="M0 240H320" stroke-width="480"/></g>'
        '<path d="M15 0V480" stroke="#000" stroke-width="1.4" opacity=".3"/>'
        f'<path d="M17.4 0V480" stroke="{cloth.foil}" stroke-dasharray="2 2" opacity=".25"/>'
    )


_FILLED = ' fill="{colour}" stroke="none"'
#: Width and height of a pattern cell, its SVG path and further attributes of the path.  Paths
#: inherit the stroke colour.
_PATTERNS: Sequence[tuple[int, int, str, str]] = (
    # scales
    (40, 40, "M0 0a20 20 0 0 0 40 0M-20 20a20 20 0 0 0 40 0a20 20 0 0 0 40 0", ""),
    # combed
    (
        45,
        45,
        "M-2 12q8-10 15-4l11 10q8 6 15-2q4-4 8-4M-2 23q8-10 15-4l11 10q8 6 15-2q4-4 8-4"
        "M-2 34q8-10 15-4l11 10q8 6 15-2q4-4 8-4",
        "",
    ),
    # crosses
    (30, 30, "M8 3V13M3 8H13M23 18V28M18 23H28", ""),
    # dots
    (28, 28, "M7 7h0M21 21h0", ' stroke-width="6.4" stroke-linecap="round"'),
    # leaves
    (36, 36, "M9 1a5 8 0 0 1 0 16a5 8 0 0 1 0-16M27 19a5 8 0 0 1 0 16a5 8 0 0 1 0-16", _FILLED),
    # chevron
    (32, 18, "M-2 16L16 4L34 16", ""),
    # stars
    (
        40,
        40,
        "M10 2q1 7 8 8q-7 1-8 8q-1-7-8-8q7-1 8-8M30 22q1 7 8 8q-7 1-8 8q-1-7-8-8q7-1 8-8",
        _FILLED,
    ),
    # waves
    (40, 20, "M-20 10q10-11 20 0t20 0 20 0 20 0", ""),
)


def _pattern(design: CoverDesign) -> str:
    cloth = design.cloth
    wide, high, path, attributes = _PATTERNS[design.pattern % len(_PATTERNS)]
    colour, opacity = (cloth.foil, 0.75) if design.in_foil else (cloth.light, 1)
    return (
        f'<pattern id="{design.id}" width="{wide}" height="{high}" patternUnits="userSpaceOnUse">'
        f'<g fill="none" stroke="{colour}" stroke-width="2.2" opacity="{_n(opacity)}">'
        f'<path d="{path}"{attributes.format(colour=colour)}/></g></pattern>'
        f"{_rect(0, 0, 320, 480, f'url(#{design.id})')}"
    )


def _ornament(number: int, x: float, y: float, colour: str) -> str:
    match number % 4:
        case 0:
            return _star(x, y, colour)
        case 1:
            dots = f"M{_n(x - 17)} {_n(y)}h0M{_n(x + 17)} {_n(y)}h0"
            return (
                f'<g stroke="{colour}" stroke-linecap="round"><path d="{dots}" stroke-width="5"/>'
                f'<path d="M{_n(x)} {_n(y)}h0" stroke-width="9"/></g>'
            )
        case 2:
            lens = f'<ellipse cx="{_n(x)}" cy="{_n(y)}" rx="5.5" ry="9" fill="{colour}"/>'
            return lens + _wings(x, y, 15, 12, colour)
    return _diamond(x, y, 6.5, colour) + _wings(x, y, 9, 23, colour)


def _wings(x: float, y: float, inner: float, length: float, colour: str) -> str:
    """A short line on each side of an ornament."""
    lines = f"M{_n(x - inner)} {_n(y)}h-{_n(length)}M{_n(x + inner)} {_n(y)}h{_n(length)}"
    return f'<path d="{lines}" stroke="{colour}" stroke-width="2" opacity=".7"/>'


def _star(x: float, y: float, colour: str) -> str:
    return (
        f'<path d="M{_n(x)} {_n(y - 14)}q2 12 14 14q-12 2-14 14q-2-12-14-14q12-2 14-14"'
        f' fill="{colour}"/>'
    )


def _diamond(x: float, y: float, half: float, colour: str) -> str:
    h = _n(half)
    return f'<path d="M{_n(x)} {_n(y - half)}l{h} {h}-{h} {h}-{h}-{h}z" fill="{colour}"/>'


def _rect(x: float, y: float, wide: float, high: float, colour: str, *, opacity: float = 1) -> str:
    return _rectangle(x, y, wide, high, f'fill="{colour}"', opacity)


def _box(
    x: float, y: float, wide: float, high: float, colour: str, line: float, *, opacity: float = 1
) -> str:
    """A rectangle outline whose outer edge starts at x and y.  `line` is the stroke width."""
    stroke = f'fill="none" stroke="{colour}" stroke-width="{_n(line)}"'
    return _rectangle(x + line / 2, y + line / 2, wide - line, high - line, stroke, opacity)


def _rectangle(x: float, y: float, wide: float, high: float, paint: str, opacity: float) -> str:
    faint = f' opacity="{_n(opacity)}"' if opacity < 1 else ""
    size = f'width="{_n(wide)}" height="{_n(high)}"'
    return f'<rect x="{_n(x)}" y="{_n(y)}" {size} {paint}{faint}/>'


def _height(layout: TextLayout) -> float:
    """The distance from the first baseline to the last."""
    return max(0, len(layout.lines) - 1) * layout.size * font_metrics.LEADING


def _lines(
    x: float, y: float, layout: TextLayout, colour: str, *, left: bool = False, italic: bool = False
) -> str:
    """Lines of text; `y` is the first baseline."""
    leading = layout.size * font_metrics.LEADING
    return "".join(
        _text(x, y + index * leading, layout.size, line, colour, left=left, italic=italic)
        for index, line in enumerate(layout.lines)
    )


def _text(
    x: float,
    y: float,
    size: float,
    text: str,
    colour: str,
    *,
    left: bool = False,
    italic: bool = False,
) -> str:
    """A line of text that is centred at `x`, or begins there if `left`."""
    if not text:
        return ""
    anchor = "start" if left else "middle"
    slant = ' font-style="italic"' if italic else ""
    return (
        f'<text x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}" text-anchor="{anchor}"{slant}'
        f' fill="{colour}">{escape(text)}</text>'
    )


def _n(number: float) -> str:
    """A number rounded to one decimal place, without a trailing `.0`."""
    return f"{number:.1f}".removesuffix(".0")
