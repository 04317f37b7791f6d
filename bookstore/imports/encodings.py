"""Detect the encoding of a text file by fixed rules, without statistics.

    byte order mark                               the encoding of the mark
    every other byte of the first bytes is zero   UTF-16 without a mark
    the whole file is valid UTF-8                 UTF-8
    otherwise                                     an encoding in which the words are plausible

If several encodings give different plausible words, the file is refused with a sample of each: the
sender has to save it as UTF-8 or choose one.  Text must never be stored with wrong letters.
"""

import codecs
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from bookstore.errors import Invalid

#: The code pages of Europe and its neighbours, and those of East Asia: a file without a mark may be
#: in any of them.  The most frequent first.
CODE_PAGES = (
    *("windows-1252", "windows-1250", "windows-1251", "windows-1253", "windows-1254"),
    *("windows-1255", "windows-1256", "windows-1257", "windows-1258"),
    *(f"iso-8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16)),
    *("koi8-r", "koi8-u", "cp850", "cp437", "cp852", "cp866", "cp855", "cp857", "cp737"),
    *("cp775", "cp860", "cp861", "cp862", "cp863", "cp864", "cp865", "cp869"),
    *("mac-roman", "mac-latin2", "mac-cyrillic", "mac-greek", "mac-turkish", "mac-iceland"),
    *("mac-croatian", "mac-romanian", "shift_jis", "gb18030", "big5", "euc-jp", "euc-kr"),
)
#: Encodings that a sender can name, for files that the rules refuse.
CHOICES = ("utf-8", "utf-16", *CODE_PAGES)
_CHUNK = 1 << 20
#: About four column names in UTF-16, which has two bytes for each letter.
_HEADER_BYTES = 64
#: UTF-32 before UTF-16, because its little-endian mark starts with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: A run without spaces and separators.  In the encodings of East Asia, the second byte of a letter
#: may be an ASCII letter, digit or sign.
_RUN = re.compile(rb"['0-9@-~\x80-\xff]+")
#: Different runs that are compared; more decide nothing new.
_MAX_RUNS = 3000
_MAX_RUN_LENGTH = 200
#: Readings that a refusal shows, and the characters of each sample.
_MAX_READINGS = 6
_SAMPLE_LENGTH = 40
#: Punctuation that may stand in or at a word.
_MARKS = frozenset("'’ʼ`´‘“”„‚«»‹›\"–—-…·•€£$§©®™°º¡¿\xa0\xad/&№0123456789@[]{}|\\^_~")
#: What ends a part of a word that may have a capital of its own.
_PARTS = re.compile(r"[\W\d_]+")
_SEQUENCE = re.compile(rb"[\xc3-\xf4][\x80-\xbf]+")
_HOW_TO_FIX = "Save it as UTF-8 or choose its encoding."


class AmbiguousEncoding(Invalid):
    """`readings` has a sample of the text in each plausible encoding, by the names of these."""

    def __init__(self, detail: str, readings: Mapping[str, str]) -> None:
        samples = "; ".join(f"{names}: “{sample}”" for names, sample in readings.items())
        message = f"{detail} {_HOW_TO_FIX}{f' {samples}.' if samples else ''}"
        super().__init__("file", message)
        self.readings = dict(readings)


@dataclass(frozen=True, slots=True)
class Encoding:
    """An encoding: `codec` is Python's name, `name` the displayed one, `rule` why it was chosen."""

    codec: str
    name: str
    rule: str


def detect(file: BinaryIO, requested: str | None = None) -> Encoding:
    """The encoding of a file.  Reads the whole file in chunks and rewinds it.

    Raises:
        Invalid: the file is not in the `requested` encoding, or the rules do not decide.
    """
    file.seek(0)
    start = file.read(4096)
    if requested is not None:
        encoding = by_name(requested)
    elif codec := of_mark(start):
        name = codec.removesuffix("-sig").upper()
        encoding = Encoding(codec, name, "The file begins with a byte order mark.")
    elif zeros := _utf16_without_mark(start):
        encoding = Encoding(zeros, "UTF-16", "Every other byte at the start of the file is zero.")
    else:
        encoding = Encoding("utf-8", "UTF-8", "The whole file is valid UTF-8.")
    line = _first_invalid_line(file, encoding.codec)
    if line is not None and encoding.codec == "utf-8" and requested is None:
        encoding = _only_reading(file, line)
    elif line is not None:
        raise Invalid("file", f"Line {line} is not in {encoding.name}. {_HOW_TO_FIX}")
    file.seek(0)
    return encoding


def by_name(name: str) -> Encoding:
    """The encoding with this name.

    Raises:
        Invalid: the name is not in `CHOICES`.
    """
    known = name.strip().lower().replace("_", "-")
    choice = next((each for each in CHOICES if each.replace("_", "-") == known), None)
    if choice is None:
        raise Invalid("encoding", f"This has to be one of {', '.join(CHOICES)}.")
    # A byte order mark must be removed also when the sender names the encoding.
    codec = "utf-8-sig" if choice == "utf-8" else choice
    return Encoding(codec, choice, "It was chosen by the sender.")


def of_mark(start: bytes) -> str | None:
    """The codec of the byte order mark at the start of a file; None without a mark."""
    return next((codec for mark, codec in _BYTE_ORDER_MARKS if start.startswith(mark)), None)


def of_xml(start: bytes) -> str | None:
    """The codec of a byte order mark, or of UTF-16 whose first character is "<"; else None."""
    utf16 = {b"<\x00": "utf-16-le", b"\x00<": "utf-16-be"}
    return of_mark(start) or utf16.get(start[:2])


def _utf16_without_mark(start: bytes) -> str | None:
    """The byte order of UTF-16 without a mark: the header is in Latin letters, so it has zeros."""
    line = start[:_HEADER_BYTES]
    even, odd = line[0::2].count(0), line[1::2].count(0)
    most = len(line) * 2 // 5
    if odd > most and not even:
        return "utf-16-le"
    if even > most and not odd:
        return "utf-16-be"
    return None


def _first_invalid_line(file: BinaryIO, codec: str) -> int | None:
    """The number of the first line that is not valid in this encoding; None when all are valid."""
    decoder = codecs.getincrementaldecoder(codec)()
    file.seek(0)
    line = 1
    while True:
        chunk = file.read(_CHUNK)
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            good = error.object[: error.start]
            return line + max(good.count(b"\n"), good.count(b"\r"))
        except UnicodeError:
            return line
        if not chunk:
            return None
        line += max(text.count("\n"), text.count("\r"))


def _only_reading(file: BinaryIO, line: int) -> Encoding:
    """The encoding of a file that is not UTF-8, if all plausible ones give the same text.

    Raises:
        AmbiguousEncoding: they do not.
    """
    runs: dict[bytes, None] = {}
    sequences = singles = 0
    file.seek(0)
    # A run at the boundary of two chunks is cut in two; lines end the chunks instead.
    while lines := file.readlines(_CHUNK):
        chunk = b"".join(lines)
        if len(runs) < _MAX_RUNS:
            runs |= dict.fromkeys(
                run[:_MAX_RUN_LENGTH] for run in _RUN.findall(chunk) if not run.isascii()
            )
        good = sum(map(_is_valid_utf8, _SEQUENCE.findall(chunk)))
        sequences += good
        singles += len(re.findall(rb"[\x80-\xff]+", chunk)) - good
    readings = _readings([*runs][:_MAX_RUNS])
    if sequences > singles:
        detail = f"Line {line} is not in UTF-8 but most others are: the file is damaged."
        raise AmbiguousEncoding(detail, _samples(readings) if len(readings) > 1 else {})
    if len(readings) == 1:
        [names] = readings.values()
        rule = "It is not UTF-8, and its words are plausible in no other encoding."
        return Encoding(names[0], names[0].capitalize(), rule)
    detail = f"Line {line} is not in UTF-8, and its encoding is ambiguous."
    raise AmbiguousEncoding(detail, _samples(readings))


def _readings(runs: Sequence[bytes]) -> dict[tuple[str, ...], list[str]]:
    """The plausible readings of these words, each with the names of its encodings."""
    readings: dict[tuple[str, ...], list[str]] = {}
    for name in CODE_PAGES:
        try:
            words = tuple(_decoded(run, name) for run in runs)
        except UnicodeDecodeError:
            continue
        if all(map(_is_plausible, words)):
            readings.setdefault(words, []).append(name)
    return readings


def _decoded(run: bytes, name: str) -> str:
    # The last letter of a long run may be cut off.
    is_whole = len(run) < _MAX_RUN_LENGTH
    return codecs.getincrementaldecoder(name)().decode(run, final=is_whole)


def _samples(readings: Mapping[tuple[str, ...], Sequence[str]]) -> dict[str, str]:
    """The first words in which the readings differ, by the names of their encodings."""
    columns = zip(*readings, strict=True)
    differing = [index for index, column in enumerate(columns) if len(set(column)) > 1]
    samples: dict[str, str] = {}
    for words, names in list(readings.items())[:_MAX_READINGS]:
        sample = " ".join(words[index] for index in differing[:8])
        samples[", ".join(names[:3])] = sample[:_SAMPLE_LENGTH].strip()
    return samples


def _is_plausible(word: str) -> bool:
    """Whether a word has letters of one script, no symbols, and capitals only at its start.

    A word in all capitals is plausible; a wrong reading of lower-case letters often has capitals
    among them, or symbols.
    """
    letters = [char for char in word if char.isalpha()]
    if any(not (char.isalpha() or char in _MARKS or _is_mark(char)) for char in word):
        return False
    for part in _PARTS.split(word):
        if part[1:] != part[1:].lower() and part != part.upper():
            return False
    return len({_script(char) for char in letters}) <= 1


def _is_mark(char: str) -> bool:
    return unicodedata.category(char) == "Mn"


def _script(char: str) -> str:
    """The script of a letter, as the first word of its name in Unicode."""
    name = unicodedata.name(char, "").partition(" ")[0].partition("-")[0]
    return "KANA" if name in ("HIRAGANA", "KATAKANA", "CJK", "HALFWIDTH") else name


def _is_valid_utf8(sequence: bytes) -> bool:
    try:
        sequence.decode()
    except UnicodeDecodeError:
        return False
    return True
