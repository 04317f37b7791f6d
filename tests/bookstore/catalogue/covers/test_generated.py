"""Typographic covers: stable for each book, and well-formed for any title and author."""

from itertools import product
from xml.etree import ElementTree

import pytest

from bookstore.catalogue.covers import generated

CATEGORIES = ("Classics", "Mystery & Crime", "Science Fiction", "Poetry", "History", "", None)

#: Enough different books to cover every layout, cloth, ornament and pattern of a family.
TITLES = tuple(f"A Book of Numbers {number}" for number in range(60))


def words(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_book_always_has_the_same_cover() -> None:
    first = generated.draw("Brave New World", "Aldous Huxley", "Science Fiction", 1932)

    assert generated.draw("Brave New World", "Aldous Huxley", "Science Fiction", 1932) == first
    # The layout and cloth that this book has always had: a large B on navy.
    assert words(first) == ["B", "Aldous Huxley", "Brave New", "World"]
    assert "#1d2d4d" in first


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_cover_is_small_well_formed_and_has_no_style_attribute(category: str | None) -> None:
    drawn = [generated.draw(title, "Ada Author", category, 1984) for title in TITLES]

    for svg in drawn:
        root = ElementTree.fromstring(svg)
        assert root.get("viewBox") == "0 0 320 480"
        assert root.get("aria-hidden") == "true"
        assert " style=" not in svg
        assert len(svg.encode()) < 2500
    assert len(set(drawn)) == len(TITLES)


@pytest.mark.parametrize("category", CATEGORIES)
def test_markup_in_a_title_is_escaped(category: str | None) -> None:
    for number in range(24):
        svg = generated.draw(f"<script> {number} & \"]]>' </b>", "</svg><i>", category, 2000)

        assert "<script" not in svg
        assert f'<script>{number}&"]]>’</b>' in "".join(words(svg)).replace(" ", "")


def test_characters_that_xml_forbids_are_removed() -> None:
    svg = generated.draw("Du\x00ne\ud800\ufffe\u202e", "Frank\x0bHerbert", "Classics", 1965)

    assert "".join(words(svg)).startswith(("Dune", "Frank Herbert", "FRANK HERBERT"))


@pytest.mark.parametrize(
    ("title", "category"), list(product(("שיר השירים", "الف ليلة وليلة"), CATEGORIES))
)
def test_hebrew_and_arabic_are_set_right_to_left(title: str, category: str | None) -> None:
    svg = generated.draw(title, "", category, None)

    assert ElementTree.fromstring(svg).get("direction") == "rtl"
    assert 'text-anchor="start"' not in svg
    assert "letter-spacing" not in svg or 'letter-spacing="0"' in svg


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_title_that_is_too_long_is_truncated_with_an_ellipsis(category: str | None) -> None:
    for title in ("Unpronounceable" * 20, "many words " * 60):
        shown = words(generated.draw(title, "Ada Author", category, None))

        assert any(line.endswith("…") for line in shown)


def test_a_series_is_shown_under_the_title() -> None:
    shown = words(generated.draw("The Hollow (Hercule Poirot, #22-23)", "A", "History", None))

    assert "Hercule Poirot · 22-23" in shown


def test_a_long_title_is_split_at_its_colon_and_a_short_one_is_not() -> None:
    long = words(generated.draw("Perfume: The Story of a Murderer", "A", "Classics", None))
    short = words(generated.draw("Emma: A Novel", "A", "Classics", None))

    assert "The Story of a Murderer" in long
    assert "Emma: A" in " ".join(short)


def test_a_negative_year_is_shown_as_bc() -> None:
    assert "750 BC" in words(generated.draw("The Iliad", "Homer", "Classics", -750))


def test_two_covers_on_one_page_can_have_different_ids() -> None:
    book = ("The Hobbit", "J.R.R. Tolkien", "Fantasy", 1937)

    first = generated.draw(*book, id_suffix="first")
    second = generated.draw(*book, id_suffix="second")

    assert 'first"' in first
    assert first.replace("first", "second") == second


def test_a_book_without_a_title_and_author_has_a_cover() -> None:
    for category in CATEGORIES:
        ElementTree.fromstring(generated.draw("", "", category, None))
        ElementTree.fromstring(generated.draw_small("", "", category))


@pytest.mark.parametrize(
    ("title", "letter"),
    [
        ("The Iliad", "I"),
        ("A Room", "R"),
        ("Der Prozess", "P"),
        ("L'Étranger", "É"),
        ("Les Misérables", "M"),
        ("The", "T"),
        ("1984", "1"),
        ("...", "&"),
    ],
)
def test_the_small_cover_is_one_letter_on_the_same_cloth(title: str, letter: str) -> None:
    small = generated.draw_small(title, "Ada Author", "Classics")

    assert words(small) == [letter]
    assert small.split('fill="')[1][:7] in generated.draw(title, "Ada Author", "Classics", None)


def test_every_category_always_has_the_same_cloth() -> None:
    assert generated.cloth_of("Science Fiction") == "petrol"
    assert generated.cloth_of("Science & Nature") == "moss"
    assert generated.cloth_of("Gardening") == generated.cloth_of("gardening")
