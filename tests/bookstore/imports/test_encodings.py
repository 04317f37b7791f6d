"""Encodings: found out by rules that are told, or refused; never guessed."""

import io

import pytest

from bookstore.errors import Invalid
from bookstore.imports import encodings

WESTERN = (
    "isbn;title\n1;Émile Zola, œuvres – «L’été» à 5 €\n2;Straßenköter & Dvořák-ähnlich: ñandú\n"
)
PLAIN = "isbn;title\n1;Dune\n"


def found(content, wanted=None):
    file = io.BytesIO(content)
    encoding = encodings.of(file, wanted)
    assert file.tell() == 0
    return encoding.name, content.decode(encoding.codec)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (PLAIN.encode(), "UTF-8"),
        (WESTERN.encode(), "UTF-8"),
        (WESTERN.encode("utf-8-sig"), "UTF-8"),
        (WESTERN.encode("utf-16"), "UTF-16"),
        (WESTERN.encode("utf-16-le"), "UTF-16"),
        (WESTERN.encode("utf-16-be"), "UTF-16"),
        (WESTERN.encode("utf-32"), "UTF-32"),
        (WESTERN.replace("ř", "r").encode("cp1252"), "Windows-1252"),
        ("三体,劉慈欣\n".encode() * 200_000, "UTF-8"),
        (b"", "UTF-8"),
    ],
)
def test_an_encoding_is_found_out(content, name):
    assert found(content)[0] == name


def test_what_is_read_as_windows_1252_is_what_was_written():
    text = WESTERN.replace("ř", "r") * 100

    assert found(text.encode("cp1252"))[1] == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("1;Преступление и наказание\n2;Война и мир\n", "cp1251"),
        ("1;Преступление и наказание\n2;Война и мир\n", "koi8-r"),
        ("1;Ο Καπετάν Μιχάλης\n", "cp1253"),
        ("1;Zażółć gęślą jaźń, Kościół\n", "cp1250"),
        ("1;Příliš žluťoučký kůň\n", "cp1250"),
        ("1;Les Misérables, été, à la façon\n", "mac-roman"),
        ("1;Les Misérables, été, à la façon\n", "cp850"),
        ("1;Die Verwandlung für Mädchen, Größe\n", "cp437"),
        ("1;吾輩は猫である\n", "shift_jis"),
        ("1;三体\n2;红楼梦\n", "gb18030"),
    ],
)
def test_what_could_be_something_else_is_refused_and_can_be_said(text, encoding):
    content = text.encode(encoding)

    with pytest.raises(Invalid, match=r"Line 1 is not in UTF-8, and it is not clear"):
        found(content)
    if encoding != "koi8-r":
        name = {"cp125": "windows-125"}.get(encoding[:5], encoding[:5]) + encoding[5:]
        assert found(content, name)[1] == text


def test_utf_8_that_is_damaged_is_not_taken_for_something_else():
    content = WESTERN.encode() * 3 + "3;Émile\n".encode("latin-1") + WESTERN.encode()

    with pytest.raises(Invalid, match=r"Line 10 is not in UTF-8, though most others are"):
        found(content)


@pytest.mark.parametrize("wanted", ["utf-8", "utf-16", "shift_jis"])
def test_what_is_not_in_the_encoding_that_was_said_is_refused(wanted):
    with pytest.raises(Invalid, match=r"Line [12] is not in"):
        found("1;a\n2;\xe9\xe8\xff".encode("latin-1"), wanted)


def test_every_choice_is_an_encoding_that_python_knows():
    for name in encodings.CHOICES:
        assert "a;b".encode(encodings.named(name).codec)
    with pytest.raises(Invalid, match="has to be one of"):
        encodings.named("rot13")
