"""How wide words are in Libre Caslon Text, and how they fill a box.

A cover is set without a browser, so the advance widths of the typeface stand here.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

#: Advance widths of libre-caslon-text-latin-400-normal (and of a few letters of its latin-ext
#: file): four digits, in thousandths of the size, and the signs of that width.
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

#: Signs that the typeface lacks come from another one: a guess, and a full square for Chinese,
#: Japanese and Korean.
_UNKNOWN = 560
_SQUARE = 1000

#: Lines are this far apart, in sizes.
LEADING = 1.12

_table = {sign: int(entry[:4]) for entry in _WIDTHS.split() for sign in entry[4:]} | {" ": _SPACE}


@dataclass(frozen=True, slots=True)
class Setting:
    """Lines of one size that fit the box they were set for."""

    size: int
    lines: tuple[str, ...]


def width(text: str) -> int:
    """The width of `text` in thousandths of its size; kerning would make it a little less."""
    return sum(map(_width, text))


def fit(text: str, box: tuple[int, int], sizes: Iterable[int], *, spacing: int = 0) -> Setting:
    """`text` in the first of `sizes` that fits the box (width, height), in lines of even length.

    If none does, it is cut with "…" at the last one.  `spacing` is put after each sign, in
    thousandths of the size.
    """
    pieces = _pieces(text)
    size, room, most = 0, 0, 0
    for size in sizes:
        room = box[0] * 1000 // size
        most = max(1, int(box[1] / (size * LEADING)))
        lines = _even_lines(pieces, room, most, spacing)
        if lines is not None:
            return Setting(size, tuple(lines))
    return Setting(size, tuple(_cut(pieces, room, most, spacing)))


@cache
def _width(sign: str) -> int:
    if sign in _table:
        return _table[sign]
    if unicodedata.category(sign) in ("Mn", "Cf"):
        return 0
    if unicodedata.east_asian_width(sign) in "WF":
        return _SQUARE
    # A letter with an accent is as wide as the letter.
    return _table.get(unicodedata.normalize("NFD", sign)[0], _UNKNOWN)


def _pieces(text: str) -> list[str]:
    """The parts between which a line may break; a space at an end belongs to the part.

    A line may break after each sign of Chinese, Japanese and Korean.
    """
    pieces = [""]
    for sign in text:
        pieces[-1] += sign
        if sign == " " or unicodedata.east_asian_width(sign) in "WF":
            pieces.append("")
    return [piece for piece in pieces if piece]


def _even_lines(pieces: list[str], room: int, most: int, spacing: int) -> list[str] | None:
    """The fewest lines that fit, at most `most`, with the least sum of squared rests."""
    widths = [width(piece) + spacing * len(piece) for piece in pieces]
    rests = [_SPACE if piece.endswith(" ") else 0 for piece in pieces]
    if any(wide - rest > room for wide, rest in zip(widths, rests, strict=True)):
        return None
    # best[i]: lines and badness of the pieces up to i, and where the last line begins.
    best: list[tuple[int, int, int]] = [(0, 0, 0)]
    for end in range(1, len(pieces) + 1):
        wide = -rests[end - 1]
        candidates = []
        for start in range(end - 1, -1, -1):
            wide += widths[start]
            if wide > room:
                break
            count, badness, _ = best[start]
            candidates.append((count + 1, badness + (room - wide) ** 2, start))
        best.append(min(candidates))
    if best[-1][0] > most:
        return None
    breaks = [len(pieces)]
    while breaks[-1]:
        breaks.append(best[breaks[-1]][2])
    return ["".join(pieces[start:end]).rstrip() for start, end in pairwise(reversed(breaks))]


def _cut(pieces: list[str], room: int, most: int, spacing: int) -> list[str]:
    """As much as goes into `most` lines, line after line, and "…"."""
    lines = [""]
    for piece in pieces:
        if lines[-1] and _wide(lines[-1] + piece.rstrip(), spacing) > room:
            if len(lines) == most:
                return [*lines[:-1], _shorten(lines[-1], room, spacing)]
            lines = [*lines[:-1], lines[-1].rstrip(), ""]
        lines[-1] += piece
        if _wide(lines[-1].rstrip(), spacing) > room:
            return [*lines[:-1], _shorten(lines[-1], room, spacing)]
    return [line.rstrip() for line in lines]


def _shorten(line: str, room: int, spacing: int) -> str:
    while line and _wide(line.rstrip() + "…", spacing) > room:
        line = line[:-1]
    return line.rstrip(" ,;:-–—") + "…"


def _wide(text: str, spacing: int) -> int:
    return width(text) + spacing * len(text)
