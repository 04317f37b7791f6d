"""Font metrics: the width of text, and where its lines break."""

import pytest

from bookstore.catalogue.covers import font_metrics


def test_an_accent_does_not_make_a_letter_wider() -> None:
    assert font_metrics.width("é") == font_metrics.width("e") == font_metrics.width("e\u0301")


def test_a_letter_that_the_typeface_lacks_has_an_estimated_width() -> None:
    assert font_metrics.width("ш") == 560
    assert font_metrics.width("猫") == 1000


def test_the_first_size_that_fits_is_used() -> None:
    assert font_metrics.fit("Emma", (200, 100), (60, 40, 20)).size == 60
    assert font_metrics.fit("Emma", (140, 100), (60, 40, 20)).size == 40


def test_lines_are_few_and_of_even_length() -> None:
    layout = font_metrics.fit("one two three four five six", (200, 60), (30, 20))

    assert layout == font_metrics.TextLayout(20, ("one two three", "four five six"))


def test_a_line_of_japanese_may_break_after_any_character() -> None:
    assert font_metrics.fit("吾輩は猫である", (80, 80), (20,)).lines == ("吾輩は", "猫である")


@pytest.mark.parametrize("text", ["word " * 50, "w" * 90, "short " + "w" * 90])
def test_text_that_fits_at_no_size_is_truncated_to_fit(text: str) -> None:
    layout = font_metrics.fit(text, (150, 60), (30, 20))

    assert layout.size == 20
    assert layout.lines[-1].endswith("…")
    assert len(layout.lines) <= 2
    assert all(font_metrics.width(line) * 20 <= 150 * 1000 for line in layout.lines)


def test_empty_text_has_no_lines() -> None:
    assert font_metrics.fit("", (150, 60), (30, 20)).lines == ()
