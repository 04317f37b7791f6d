"""Encodings: detected by rules, or refused when ambiguous."""

import io

import pytest

from bookstore.errors import Invalid
from bookstore.imports import encodings

WESTERN = (
    "isbn;title\n1;Émile Zola, œuvres – «L’été» à 5 €\n2;Straßenköter & Dvořák-ähnlich: ñandú\n"
)
GERMAN = "isbn;title;price\n1;Größe – „Bücher“ für Mädchen;5 €\n2;Straßenköter;7,90 €\n"
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
        (GERMAN.encode("cp1252"), "Windows-1252"),
        ("三体,劉慈欣\n".encode() * 200_000, "UTF-8"),
        (b"", "UTF-8"),
    ],
)
def test_an_encoding_is_detected(content, name):
    assert found(content)[0] == name


def test_windows_1252_is_decoded_without_loss():
    text = GERMAN * 100

    assert found(text.encode("cp1252"))[1] == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("1;Преступление и наказание\n2;Война и мир\n", "cp1251"),
        ("1;Преступление и наказание\n2;Война и мир\n", "koi8-r"),
        ("1;Ο Καπετάν Μιχάλης\n", "cp1253"),
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
    name = encoding.replace("cp125", "windows-125")
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


#: Two rows of a list in each language, and the code pages in which its shops may write them.
LISTS = {
    "German": ("Größe für Bären;Jörg Müßig", "cp1252 cp850 cp437 mac-roman iso8859-15 iso8859-1"),
    "French": ("L’élève naïf, là-bas;François Lefèvre", "cp1252 mac-roman"),
    "Spanish": ("Cien años de soledad;García Márquez", "cp1252 cp850 mac-roman"),
    "Portuguese": ("Ficções e maçãs;José Conceição", "cp1252 cp860 cp850"),
    "Italian": ("Perché la città;Niccolò", "cp1252 cp850"),
    "Danish": ("Frøken på øen;Jørgen Ærø", "cp1252 cp865"),
    "Swedish": ("Pippi Långstrump;Åsa Örn", "cp1252 cp850 cp437"),
    "Icelandic": ("Sjálfstætt fólk;Þórður Ægir", "cp1252 cp861 mac-iceland"),
    "Estonian": ("Tõde ja õigus;Šatov", "cp1257 cp775 cp1252 iso8859-15"),
    "Czech": ("Řeka čarů;Jiří Dvořák", "cp1250 cp852 iso8859-2 mac-latin2"),
    "Hungarian": ("Erdő mélyén;Ágnes Szűcs", "cp1250 cp852 iso8859-2 mac-latin2"),
    "Polish": ("Zażółć gęślą jaźń;Łukasz Żak", "cp1250 cp852 iso8859-2 mac-latin2"),
    "Slovak": ("Ľadový stĺp;Ďuro Šťastný", "cp1250 cp852 iso8859-2"),
    "Croatian": ("Na Drini ćuprija;Đorđe Čolić", "cp1250 cp852 iso8859-2 mac-croatian"),
    "Romanian": ("Pădurea spânzuraţilor;Ştefan", "cp1250 iso8859-2 cp852"),
    "Turkish": ("Kürk ığdır şekeri;Gülşah İnci", "cp1254 cp857 iso8859-9 mac-turkish"),
    "Latvian": ("Mērnieku ļaudis;Kaudzīte Ķēniņš", "cp1257 cp775 iso8859-13 iso8859-4"),
    "Lithuanian": ("Mėnesiena ąžuolų;Žemaitė", "cp1257 cp775 iso8859-13"),
    "Russian": ("Война и мир;Лев Толстой", "cp1251 koi8-r cp866 iso8859-5 mac-cyrillic cp855"),
    "Ukrainian": ("Їжак і ґава;Леся Українка", "cp1251 koi8-u"),
    "Serbian": ("Ђорђе и љубав;Његош", "cp1251 iso8859-5 cp855 mac-cyrillic"),
    "Greek": ("Ο Καπετάν Μιχάλης;Νίκος", "cp1253 iso8859-7 cp737 cp869 mac-greek"),
    "Hebrew": ("אהבה וחושך;עמוס עוז", "cp1255 iso8859-8 cp862"),
    "Arabic": ("ألف ليلة وليلة;محمود", "cp1256 iso8859-6"),
    "Vietnamese": ("Sô đo;Trong đêm", "cp1258"),
    "Welsh": ("Y Dŵr;Siôn", "iso8859-14"),
    "Maltese": ("Il-Ġgant;Ħal", "iso8859-3"),
    "Japanese": ("吾輩は猫である;夏目漱石", "shift-jis euc-jp"),
    "Chinese": ("红楼梦;曹雪芹", "gb18030"),
    "Taiwanese": ("紅樓夢;曹雪芹", "big5"),
    "Korean": ("채식주의자;한강", "euc-kr"),
}
WALK = [
    (language, code_page, rows)
    for language, (rows, code_pages) in LISTS.items()
    for code_page in code_pages.split()
]


@pytest.mark.parametrize("times", [1, 200])
@pytest.mark.parametrize(("language", "code_page", "rows"), WALK)
def test_a_list_is_read_right_or_refused_with_samples(language, code_page, rows, times):
    text = "isbn;title;authors\n" + f"1;{rows}\n" * times

    try:
        _, read = found(text.encode(code_page))
    except encodings.AmbiguousEncoding as refused:
        read = text
        assert "choose its encoding" in str(refused)  # noqa: PT017
    assert read == text


@pytest.mark.parametrize(
    ("text", "code_page", "name", "sample"),
    [
        ("1;Řeka čarů\n", "cp1250", "windows-1250, iso-8859-2", "Řeka čarů"),
        ("1;Война и мир\n", "cp866", "cp866", "Война и мир"),
    ],
)
def test_a_refusal_shows_what_the_text_would_be(text, code_page, name, sample):
    with pytest.raises(encodings.AmbiguousEncoding) as refused:
        found(text.encode(code_page))

    assert refused.value.readings[name] == sample
    assert sample in str(refused.value)


def test_a_long_list_of_hostile_bytes_is_refused_in_time():
    content = b"\xe4\xf6\xfc" * 2_000_000 + b"\n" + bytes(range(128, 256)) * 10_000

    with pytest.raises(Invalid):
        found(content)
