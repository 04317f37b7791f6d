"""Titles and descriptions: types, languages, readers, places and times."""

import pytest

from bookstore.imports.onix.limits import Shop
from tests.bookstore.imports.onix.records import TODAY, dated, nested, read_one, said, territory

BRITISH = Shop("GB", "GBP", TODAY)


def text(words, *audiences, kind="03", language="", more=""):
    shown = "".join(nested(ContentAudience=code) for code in audiences)
    attribute = f' language="{language}"' if language else ""
    inside = f"{nested(TextType=kind)}{shown}<Text{attribute}>{words}</Text>{more}"
    return f"<TextContent>{inside}</TextContent>"


def described(*texts, **options):
    return read_one(f"<CollateralDetail>{''.join(texts)}</CollateralDetail>", **options)


def content_date(role, day, form="00"):
    return dated(role, day, form, tag="ContentDate")


@pytest.mark.parametrize(
    "hidden",
    [
        *(text("Secret.", code) for code in ("01", "02", "04", "05", "06", "07", "08", "09", "10")),
        text("Secret.", "99"),
        text("Secret.", "02", "07"),
        text("Secret.", "00", more=territory("US")),
        text("Secret.", "00", more=content_date("14", "20270101")),
        text("Secret.", "00", more=content_date("14", "202612", "01")),
        text("Secret.", "00", more=content_date("27", "20270101")),
        text("Secret.", "00", more=content_date("15", "20261124")),
        text("Secret.", "00", more=content_date("24", "2020010120200131", "06")),
        text("Secret.", "00", more=content_date("14", "soon", "12")),
        text("Secret.", "00", more=content_date("99", "20200101")),
    ],
)
def test_a_text_that_shoppers_must_not_read_today_is_hidden_and_reported(hidden):
    assert described(hidden).facts["description"] is None
    for texts in ([hidden, text("Open.", "03", kind="02")], [text("Open."), hidden]):
        found = described(*texts)
        assert found.facts["description"] == "Open."
        assert "A description is not shown" in said(found)


@pytest.mark.parametrize(
    "shown",
    [
        text("Open."),
        text("Open.", "00"),
        text("Open.", "03"),
        text("Open.", "02", "03"),
        text("Open.", "00", more=territory(RegionsIncluded="WORLD")),
        text("Open.", "00", more=content_date("14", "20261125")),
        text("Open.", "00", more=content_date("15", "202611", "01")),
        text("Open.", "00", more=content_date("01", "20990101")),
        text("Open.", "00", more=content_date("17", "20250101")),
    ],
)
def test_a_text_for_shoppers_is_shown(shown):
    assert described(shown).facts["description"] == "Open."


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("shop", "expected"), [(Shop("DE", "EUR", TODAY), "Deutsch."), (BRITISH, "English.")]
)
def test_a_text_in_the_language_of_the_country_is_used(shop, expected, backwards):
    texts = [
        text("Deutsch.", language="ger", kind="02"),
        text("English.", language="eng"),
        text("Français.", language="fre"),
    ]

    found = described(*(reversed(texts) if backwards else texts), shop=shop)

    assert found.facts["description"] == expected
    assert "is used, not" in said(found)


def test_one_element_can_have_the_text_in_several_languages():
    both = (
        f"<TextContent>{nested(TextType='03')}"
        "<Text language='eng'>English.</Text><Text language='ger'>Deutsch.</Text></TextContent>"
    )

    assert described(both).facts["description"] == "Deutsch."
    assert described(both, shop=BRITISH).facts["description"] == "English."


def test_a_text_in_another_language_is_used_if_there_is_no_other():
    assert described(text("Français.", language="fre")).facts["description"] == "Français."


def test_the_header_can_state_the_language_of_texts():
    header = "<DefaultLanguageOfText>eng</DefaultLanguageOfText>"
    texts = [text("English."), text("Deutsch.", language="ger")]

    assert described(*texts, header=header).facts["description"] == "Deutsch."
    assert described(*texts, header=header, shop=BRITISH).facts["description"] == "English."


def titled(*titles, spoken=""):
    language = (
        f"<Language>{nested(LanguageRole='01', LanguageCode=spoken)}</Language>" if spoken else ""
    )
    return read_one(f"<DescriptiveDetail>{''.join(titles)}{language}</DescriptiveDetail>")


def title(words, kind="01", language=""):
    attribute = f' language="{language}"' if language else ""
    inside = f"{nested(TitleElementLevel='01')}<TitleText{attribute}>{words}</TitleText>"
    return (
        f"<TitleDetail>{nested(TitleType=kind)}<TitleElement>{inside}</TitleElement></TitleDetail>"
    )


def test_the_title_of_the_book_comes_before_one_without_a_type():
    found = titled(title("Other", "00"), title("Book"), title("Original", "03"))

    assert (found.facts["title"], said(found)) == ("Book", "")


def test_a_title_without_a_type_is_used_and_reported():
    found = titled(title("Original", "03"), title("Book", "00"))

    assert found.facts["title"] == "Book"
    assert "no stated type" in said(found)


def test_titles_of_other_types_are_reported_and_not_used():
    found = titled(title("Original", "03"), title("BOOK (SERIES", "10"))

    assert "title" not in found.facts
    assert "03, 10" in said(found)


@pytest.mark.parametrize(
    ("spoken", "expected"), [("fre", "Livre"), ("eng", "Book"), ("ger", "Buch"), ("", "Buch")]
)
def test_a_title_in_the_language_of_the_book_is_used(spoken, expected):
    titles = [title("Book", language="eng"), title("Livre", language="fre")]
    titles.append(title("Buch", language="ger"))

    assert titled(*titles, spoken=spoken).facts["title"] == expected
    assert titled(*reversed(titles), spoken=spoken).facts["title"] == expected


def test_a_title_with_an_element_for_each_language_has_one_title():
    elements = "".join(
        f"<TitleElement>{nested(TitleElementLevel='01', PartNumber=2)}"
        f"<TitleText language='{code}'>{words}</TitleText></TitleElement>"
        for code, words in (("eng", "Book"), ("ger", "Buch"))
    )
    both = f"<TitleDetail>{nested(TitleType='01')}{elements}</TitleDetail>"

    assert titled(both, spoken="eng").facts["title"] == "Book, 2"
    assert titled(both, spoken="ger").facts["title"] == "Buch, 2"


def test_the_name_of_a_category_is_in_the_language_of_the_country():
    headings = "".join(
        f"<SubjectHeadingText language='{code}'>{words}</SubjectHeadingText>"
        for code, words in (("eng", "Gardens"), ("ger", "Gärten"))
    )
    subject = f"<Subject>{nested(SubjectSchemeIdentifier='24')}{headings}</Subject>"

    assert titled(subject).facts["categories"] == ["Gärten"]
