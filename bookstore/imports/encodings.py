"""Detect the encoding of a text file by fixed rules, without statistics.

    byte order mark                               the encoding of the mark
    every other byte of the first bytes is zero   UTF-16 without a mark
    the whole file is valid UTF-8                 UTF-8
    otherwise                                     Windows-1252, unless the bytes contradict it

An ambiguous file (possibly Cyrillic, Central European, Macintosh or DOS, or damaged UTF-8) is
refused: the sender has to save it as UTF-8 or name its encoding.
"""

import codecs
import re
from dataclasses import dataclass
from typing import BinaryIO

from bookstore.errors import Invalid

#: Encodings that a sender can name, for files that the rules refuse.
CHOICES = (
    "utf-8",
    "utf-16",
    "windows-1250",
    "windows-1251",
    "windows-1252",
    "windows-1253",
    "windows-1254",
    "windows-1257",
    "iso-8859-1",
    "iso-8859-2",
    "iso-8859-15",
    "mac-roman",
    "cp437",
    "cp850",
    "shift_jis",
    "gb18030",
    "big5",
    "euc-kr",
)
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
#: Western European text rarely has a symbol between letters or three accented letters in a row.
#: Text in other encodings has both when it is decoded as Windows-1252.
_LETTER = rb"[A-Za-z\xc0-\xd6\xd8-\xf6\xf8-\xff]"
_SIGN = rb"[\xa1-\xa9\xac-\xb6\xb8\xb9\xbc-\xbf\xd7\xf7]"
_SIGN_IN_WORD = re.compile(
    _LETTER + _SIGN + rb"[a-z\xdf-\xf6\xf8-\xff]|" + _LETTER + rb"{3}[\xb3\xb9\xbf]"
)
_CAPITAL_IN_WORD = re.compile(rb"[a-z][\x82-\x84\x86-\x8c\x8e]")
_UNDEFINED = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_FOREIGN_WORD = re.compile(rb"[\xc0-\xff]{3,}")
_LETTERS = re.compile(rb"[\xc0-\xff]+")
_SEQUENCE = re.compile(rb"[\xc3-\xf4][\x80-\xbf]+")
_HOW_TO_FIX = "Save it as UTF-8 or choose its encoding."


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
        _refuse_unless_western(file, line)
        rule = "It is not UTF-8, and all of its characters are plausible in Windows-1252."
        encoding = Encoding("cp1252", "Windows-1252", rule)
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


def _refuse_unless_western(file: BinaryIO, line: int) -> None:
    """Raise Invalid when a file that is not UTF-8 may be in another encoding than Windows-1252."""
    words = foreign = sequences = singles = 0
    doubtful = False
    file.seek(0)
    # A word at the boundary of two chunks is counted twice, which does not affect the result.
    while chunk := file.read(_CHUNK):
        doubtful = doubtful or any(
            pattern.search(chunk) for pattern in (_SIGN_IN_WORD, _CAPITAL_IN_WORD, _UNDEFINED)
        )
        words += len(_LETTERS.findall(chunk))
        foreign += len(_FOREIGN_WORD.findall(chunk))
        good = sum(map(_is_valid_utf8, _SEQUENCE.findall(chunk)))
        sequences += good
        singles += len(re.findall(rb"[\x80-\xff]+", chunk)) - good
    reason = f"Line {line} is not in UTF-8, and its encoding is ambiguous."
    if sequences > singles:
        reason = f"Line {line} is not in UTF-8 but most others are: the file is damaged."
    elif not doubtful and foreign * 5 <= words:
        return
    raise Invalid("file", f"{reason} {_HOW_TO_FIX}")


def _is_valid_utf8(sequence: bytes) -> bool:
    try:
        sequence.decode()
    except UnicodeDecodeError:
        return False
    return True
