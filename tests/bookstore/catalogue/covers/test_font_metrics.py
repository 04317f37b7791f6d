"""Setting lines: how wide they are, and where they break."""

import pytest

from bookstore.catalogue.covers import font_metrics


def test_an_accent_does_not_make_a_letter_wider() -> None:
    assert font_metrics.width("é") == font_metrics.width("e") == font_metrics.width("e\u0301")


def test_a_letter_of_a_script_we_do_not_have_gets_a_guess() -> None:
    assert font_metrics.width("ш") == 560
    assert font_metrics.width("猫") == 1000


def test_the_largest_size_that_fits_wins() -> None:
    assert font_metrics.fit("Emma", (200, 100), (60, 40, 20)).size == 60
    assert font_metrics.fit("Emma", (140, 100), (60, 40, 20)).size == 40


def test_lines_are_as_few_as_possible_and_even() -> None:
    setting = font_metrics.fit("one two three four five six", (200, 60), (30, 20))

    assert setting == font_metrics.Setting(20, ("one two three", "four five six"))


def test_a_line_of_japanese_may_break_anywhere() -> None:
    assert font_metrics.fit("吾輩は猫である", (80, 80), (20,)).lines == ("吾輩は", "猫である")


@pytest.mark.parametrize("text", ["word " * 50, "w" * 90, "short " + "w" * 90])
def test_what_fits_at_no_size_is_cut_and_still_fits(text: str) -> None:
    setting = font_metrics.fit(text, (150, 60), (30, 20))

    assert setting.size == 20
    assert setting.lines[-1].endswith("…")
    assert len(setting.lines) <= 2
    assert all(font_metrics.width(line) * 20 <= 150 * 1000 for line in setting.lines)


def test_nothing_needs_no_line() -> None:
    assert font_metrics.fit("", (150, 60), (30, 20)).lines == ()
