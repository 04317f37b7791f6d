"""In which encoding a text file is: found out by rules that are told, never by a guess.

    a byte order mark        says it
    zeros at every other place of the first names    UTF-16 without a mark
    all of it valid UTF-8    UTF-8
    else                     Windows-1252, when nothing speaks against it

What could be something else (Cyrillic, Central European, a Macintosh's or DOS's letters, or
UTF-8 that is damaged) is refused: whoever made the file has to save it again or to say.
"""

import codecs
import re
from dataclasses import dataclass
from typing import BinaryIO

from bookstore.errors import Invalid

#: What may be asked for by name, for files that the rules refuse.
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
#: In bytes: four columns in two bytes for each letter.
_FIRST_NAMES = 64
#: The longer ones first: the mark of UTF-32 begins like that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
#: In text of the West a sign is rarely between letters, nor are three accented letters in a
#: row; both are what other encodings look like when they are read as Windows-1252.
_LETTER = rb"[A-Za-z\xc0-\xd6\xd8-\xf6\xf8-\xff]"
_SIGN_IN_WORD = re.compile(
    _LETTER
    + rb"[\xa1-\xa9\xac-\xb6\xb8\xb9\xbc-\xbf\xd7\xf7][a-z\xdf-\xf6\xf8-\xff]|"
    + _LETTER
    + rb"{3}[\xb3\xb9\xbf]"
)
_CAPITAL_IN_WORD = re.compile(rb"[a-z][\x82-\x84\x86-\x8c\x8e]")
_UNDEFINED = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_FOREIGN_WORD = re.compile(rb"[\xc0-\xff]{3,}")
_LETTERS = re.compile(rb"[\xc0-\xff]+")
_SEQUENCE = re.compile(rb"[\xc3-\xf4][\x80-\xbf]+")
_HOW = "Save it as UTF-8, or say in which encoding it is."


@dataclass(frozen=True, slots=True)
class Encoding:
    """An encoding: `codec` is Python's name, `name` one for people, `rule` why it is this one."""

    codec: str
    name: str
    rule: str


def of(file: BinaryIO, wanted: str | None = None) -> Encoding:
    """The encoding of a whole file, which is read through once, in pieces, and rewound.

    Raises:
        Invalid: it is not in the encoding that is `wanted`; or the rules do not decide.
    """
    file.seek(0)
    start = file.read(4096)
    if wanted is not None:
        encoding = named(wanted)
    elif marked := next((found for found in _MARKS if start.startswith(found[0])), None):
        encoding = Encoding(marked[1], marked[2], "The file begins with a byte order mark.")
    elif zeros := _zeros(start):
        encoding = Encoding(zeros, "UTF-16", "Every other byte of its first names is zero.")
    else:
        encoding = Encoding("utf-8", "UTF-8", "All of the file is valid UTF-8.")
    line = _first_fault(file, encoding.codec)
    if line is not None and encoding.codec == "utf-8" and wanted is None:
        _refuse_unless_western(file, line)
        rule = "It is not UTF-8, and all of its letters make sense in Windows-1252."
        encoding = Encoding("cp1252", "Windows-1252", rule)
    elif line is not None:
        raise Invalid("file", f"Line {line} is not in {encoding.name}. {_HOW}")
    file.seek(0)
    return encoding


def named(name: str) -> Encoding:
    """The encoding of this name.

    Raises:
        Invalid: it is none of `CHOICES`.
    """
    known = name.strip().lower().replace("_", "-")
    choices = {choice.replace("_", "-"): choice for choice in CHOICES}
    if known not in choices:
        raise Invalid("encoding", f"This has to be one of {', '.join(CHOICES)}.")
    codec = choices[known]
    # A mark is no letter, whoever says what the encoding is.
    return Encoding("utf-8-sig" if codec == "utf-8" else codec, codec, "It was asked for.")


def _zeros(start: bytes) -> str | None:
    """UTF-16 by its zeros: the names in the first line are Latin letters."""
    line = start[:_FIRST_NAMES]
    even, odd = line[0::2].count(0), line[1::2].count(0)
    most = len(line) * 2 // 5
    if odd > most and not even:
        return "utf-16-le"
    if even > most and not odd:
        return "utf-16-be"
    return None


def _first_fault(file: BinaryIO, codec: str) -> int | None:
    """The number of the first line that is not in this encoding; None when all are."""
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
    """Raise when a file that is not UTF-8 could be in something else than Windows-1252."""
    words = foreign = sequences = singles = 0
    doubtful = False
    file.seek(0)
    # A word at the seam of two pieces counts twice, which changes nothing.
    while chunk := file.read(_CHUNK):
        doubtful = doubtful or any(
            pattern.search(chunk) for pattern in (_SIGN_IN_WORD, _CAPITAL_IN_WORD, _UNDEFINED)
        )
        words += len(_LETTERS.findall(chunk))
        foreign += len(_FOREIGN_WORD.findall(chunk))
        good = sum(map(_is_letter, _SEQUENCE.findall(chunk)))
        sequences += good
        singles += len(re.findall(rb"[\x80-\xff]+", chunk)) - good
    if sequences > singles:
        raise Invalid(
            "file", f"Line {line} is not in UTF-8, though most others are: it is damaged. {_HOW}"
        )
    if doubtful or foreign * 5 > words:
        raise Invalid(
            "file", f"Line {line} is not in UTF-8, and it is not clear in which encoding. {_HOW}"
        )


def _is_letter(sequence: bytes) -> bool:
    try:
        sequence.decode()
    except UnicodeDecodeError:
        return False
    return True
