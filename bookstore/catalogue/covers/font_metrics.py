"""Text widths in the typeface Libre Caslon Text, and fitting text into a box.

A cover is laid out on the server, without a browser, so this module contains the advance widths of
the typeface.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

#: Advance widths of libre-caslon-text-latin-400-normal (and of a few letters of its latin-ext
#: file).  Each entry has the width as four digits, in thousandths of the font size, followed by the
#: characters of that width.
_WIDTHS = """
    0135ʼ 0170`´ 0186˚ 0218' 0220⁄ 0230¸ 0242’ 0245‘ 0262. 0263,‚ 0272| 0273¡ 0275¦ 0276ˆ 0280j‹›
    0282· 0284: 0286; 0289l 0298ł 0300iı 0301! 0305() 0307¯ 0317¨ 0324[] 0327{}˜ 0340° 0350t 0351f¹
    0362J 0363/ 0364\\ 0370" 0374I 0389³ 0404¿ 0405² 0406⁴ 0410• 0411? 0415r 0417ª 04201 0434” 0435s
    0436«» 0437“ 0442º 0455„ 0465- 0481* 0491× 04937 0499^ 0502+ 0513z 0514g 0519< 0520> 0525a÷
    0535c 0537$ 0540§ 05475 05543¢ 0560eə 0566=v− 0572y¬ 0576± 05792x 05824 0583¶ 0588~ 05906ð
    05919k 05958 0598u 0599S 0602bq 0603þ 0607dđ 0610∕ 0611n 0615p 0616o 0619hħ 0624µ 0630ø 0634¤
    0639€ 06400 0650F¥ 0656L 0657Ł 0663P 0665Þ 0674# 0676Z 0678£ 0690® 0692E 0694ß 0696_ 0699B 0709Y
    0721V 0733R 0744A 0753– 0754T 0772Ə 0774CU 0783K 0787X 0807% 0808G¼ 0810D 0811ÐĐ 0812& 0817¾
    0822… 0828N 0834½ 0836OQæ 0837Ø 0841™ 0849w 0857H 0858Ħ 0875@ 0902© 0907m 0984œ 1012M 1029Æ
    1074— 1090W 1146Œ
"""

_SPACE = 272

#: Characters that the typeface lacks are shown in another font.  Their width is an estimate: the
#: full font size for Chinese, Japanese and Korean, and an average width for all others.
_DEFAULT_WIDTH = 560
_FULL_WIDTH = 1000

#: The line height as a multiple of the font size.
LEADING = 1.12

_table = {char: int(entry[:4]) for entry in _WIDTHS.split() for char in entry[4:]} | {" ": _SPACE}


@dataclass(frozen=True, slots=True)
class TextLayout:
    """Text broken into lines of one font size that fit a box."""

    size: int
    lines: tuple[str, ...]


def width(text: str) -> int:
    """The width of `text` in thousandths of its font size.

    Kerning is ignored; it would make the text slightly narrower.
    """
    return sum(map(_width, text))


def fit(text: str, box: tuple[int, int], sizes: Iterable[int], *, spacing: int = 0) -> TextLayout:
    """`text` at the first of `sizes` that fits the box (width, height), in lines of even length.

    If it fits at none of the sizes, it is truncated with "…" at the last one.  `spacing` is the
    letter spacing after each character, in thousandths of the font size.
    """
    pieces = _pieces(text)
    size, line_width, max_lines = 0, 0, 0
    for size in sizes:
        line_width = box[0] * 1000 // size
        max_lines = max(1, int(box[1] / (size * LEADING)))
        lines = _even_lines(pieces, line_width, max_lines, spacing)
        if lines is not None:
            return TextLayout(size, tuple(lines))
    return TextLayout(size, tuple(_truncate(pieces, line_width, max_lines, spacing)))


@cache
def _width(char: str) -> int:
    if char in _table:
        return _table[char]
    if unicodedata.category(char) in ("Mn", "Cf"):
        return 0
    if unicodedata.east_asian_width(char) in "WF":
        return _FULL_WIDTH
    # A letter with an accent is as wide as the letter.
    return _table.get(unicodedata.normalize("NFD", char)[0], _DEFAULT_WIDTH)


def _pieces(text: str) -> list[str]:
    """The parts of `text` between which a line may break.  A piece includes its trailing space.

    Lines may break after a space and after each Chinese, Japanese or Korean character.
    """
    pieces = [""]
    for char in text:
        pieces[-1] += char
        if char == " " or unicodedata.east_asian_width(char) in "WF":
            pieces.append("")
    return [piece for piece in pieces if piece]


def _even_lines(
    pieces: list[str], line_width: int, max_lines: int, spacing: int
) -> list[str] | None:
    """The text in as few lines as possible, with the least sum of squared unused widths.

    None if a piece is wider than a line, or if there would be more than `max_lines`.
    """
    widths = [width(piece) + spacing * len(piece) for piece in pieces]
    # A trailing space does not count at the end of a line.
    trailing = [_SPACE if piece.endswith(" ") else 0 for piece in pieces]
    if any(wide - space > line_width for wide, space in zip(widths, trailing, strict=True)):
        return None
    # Dynamic programming.  best[i]: the number of lines and the badness of the first i pieces, and
    # the index of the piece that begins their last line.
    best: list[tuple[int, int, int]] = [(0, 0, 0)]
    for end in range(1, len(pieces) + 1):
        wide = -trailing[end - 1]
        candidates = []
        for start in range(end - 1, -1, -1):
            wide += widths[start]
            if wide > line_width:
                break
            count, badness, _ = best[start]
            candidates.append((count + 1, badness + (line_width - wide) ** 2, start))
        best.append(min(candidates))
    if best[-1][0] > max_lines:
        return None
    breaks = [len(pieces)]
    while breaks[-1]:
        breaks.append(best[breaks[-1]][2])
    return ["".join(pieces[start:end]).rstrip() for start, end in pairwise(reversed(breaks))]


def _truncate(pieces: list[str], line_width: int, max_lines: int, spacing: int) -> list[str]:
    """As much text as fits into `max_lines`, filled line by line and ended with "…"."""
    lines = [""]
    for piece in pieces:
        if lines[-1] and _spaced_width(lines[-1] + piece.rstrip(), spacing) > line_width:
            if len(lines) == max_lines:
                return [*lines[:-1], _shorten(lines[-1], line_width, spacing)]
            lines = [*lines[:-1], lines[-1].rstrip(), ""]
        lines[-1] += piece
        if _spaced_width(lines[-1].rstrip(), spacing) > line_width:
            return [*lines[:-1], _shorten(lines[-1], line_width, spacing)]
    return [line.rstrip() for line in lines]


def _shorten(line: str, line_width: int, spacing: int) -> str:
    while line and _spaced_width(line.rstrip() + "…", spacing) > line_width:
        line = line[:-1]
    return line.rstrip(" ,;:-–—") + "…"


def _spaced_width(text: str, spacing: int) -> int:
    return width(text) + spacing * len(text)
