"""Encodings: detected by rules, or refused when ambiguous."""

import io

import pytest

from bookstore.errors import Invalid
from bookstore.imports import encodings

WESTERN = (
    "isbn;title\n1;Émile Zola, œuvres – «L’été» à 5 €\n2;Straßenköter & Dvořák-ähnlich: ñandú\n"
)
PLAIN = "isbn;title\n1;Dune\n"


def found(content, chosen=None):
    file = io.BytesIO(content)
    encoding = encodings.detect(file, chosen)
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
def test_an_encoding_is_detected(content, name):
    assert found(content)[0] == name


def test_windows_1252_is_decoded_without_loss():
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
def test_an_ambiguous_encoding_is_refused_and_can_be_chosen(text, encoding):
    content = text.encode(encoding)

    with pytest.raises(Invalid, match=r"Line 1 is not in UTF-8, and its encoding is ambiguous"):
        found(content)
    if encoding != "koi8-r":
        name = {"cp125": "windows-125"}.get(encoding[:5], encoding[:5]) + encoding[5:]
        assert found(content, name)[1] == text


def test_damaged_utf_8_is_refused():
    content = WESTERN.encode() * 3 + "3;Émile\n".encode("latin-1") + WESTERN.encode()

    with pytest.raises(Invalid, match=r"Line 10 is not in UTF-8 but most others are"):
        found(content)


@pytest.mark.parametrize("chosen", ["utf-8", "utf-16", "shift_jis"])
def test_a_file_that_is_not_in_the_chosen_encoding_is_refused(chosen):
    with pytest.raises(Invalid, match=r"Line [12] is not in"):
        found("1;a\n2;\xe9\xe8\xff".encode("latin-1"), chosen)


def test_every_choice_is_an_encoding_of_python():
    for name in encodings.CHOICES:
        assert "a;b".encode(encodings.by_name(name).codec)
    with pytest.raises(Invalid, match="has to be one of"):
        encodings.by_name("rot13")
