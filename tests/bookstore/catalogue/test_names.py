"""Who is who: different names stay different authors and categories."""

import asyncio
import unicodedata

import pytest

from bookstore.catalogue import authors, categories, listing, names
from bookstore.catalogue.listing import BookQuery
from bookstore.database.engine import reading, run_transaction, transaction
from tests.factories import create_book

#: Names that search may take for the same, in many scripts.
DIFFERENT = {
    "Devanagari": ("राम वर्मा", "रमा वर्मा"),
    "Tamil": ("கமல்", "கமலா"),
    "Bengali": ("কালী", "কলি"),
    "Thai": ("ใหม่ ดี", "ไม่ ดี"),
    "kana": ("かき まさお", "かぎ まさお"),
    "katakana": ("パパ", "ハハ"),
    "Hebrew": ("שָׁלוֹם", "שלום"),
    "Arabic": ("مُحَمَّد", "محمد"),
    "Vietnamese": ("Nguyễn Ma", "Nguyen Mà"),
    "Turkish": ("Işık", "İşik"),
    "dotless": ("Kızıl", "Kizil"),
    "Czech": ("Dvořák", "Dvorak"),
    "German": ("Weiß", "Weiss"),
    "umlaut": ("Müller", "Mueller"),
    "Danish": ("Åse", "Aase"),
    "Cyrillic": ("Майя", "Маия"),
    "Greek": ("Νίκος", "Νικος"),
    "emoji": ("📚", "🎈"),
    "signs": ("???", "!!!"),
    "two words": ("Le Roy", "Leroy"),
    "Latin and Cyrillic": ("Anna", "Аnnа"),
}
SAME = {
    "case": ("Jane Austen", "JANE  AUSTEN "),
    "initials": ("J.K. Rowling", "J. K. ROWLING"),
    "normalisation": ("Dvořák", unicodedata.normalize("NFD", "Dvořák")),
    "Hangul": ("한강", unicodedata.normalize("NFD", "한강")),
    "sigma": ("Ὀδυσσεύς", "ὈΔΥΣΣΕΎΣ"),
    "spaces": ("Leo Tolstoy", "\u00a0Leo\u2003Tolstoy"),
    "Cyrillic": ("Лев", "ЛЕВ"),
}


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT)
async def test_different_names_are_different_authors_and_categories(conn, one, other):
    ids = await authors.get_or_create(conn, [one, other])
    again = await authors.get_or_create(conn, [other, one])
    stored = await categories.get_or_create(conn, [one, other])

    assert len(ids) == len({*ids.values()}) == 2
    assert again == ids
    assert len({*stored.values()}) == 2
    tree = await categories.tree(conn)
    assert {it.name for it in tree} == {one, other}
    assert len({it.slug for it in tree}) == 2


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
async def test_spellings_of_one_name_are_one_author(conn, one, other):
    ids = await authors.get_or_create(conn, [one, other])
    stored = await categories.get_or_create(conn, [one, other])

    assert len({*ids.values()}) == len({*stored.values()}) == 1
    assert names.identity(one) == names.identity(other)


async def test_staff_see_names_that_may_be_the_same_person(conn):
    ids = await authors.get_or_create(conn, ["Dvořák", "Dvorak", "Capek"])
    dvorak = await authors.get(conn, ids[authors.key("Dvořák")])

    found = await authors.similar(conn, dvorak)

    assert [it.name for it in found] == ["Dvorak"]


async def test_two_imports_at_once_create_an_author_once(engine):
    async def create(conn):
        return await authors.get_or_create(conn, ["かぎ まさお", "かき まさお"])

    found = await asyncio.gather(*(run_transaction(engine, create) for _ in range(6)))

    assert all(ids == found[0] for ids in found)
    assert len({*found[0].values()}) == 2


FOUND = [
    ("パパ", "パパ", True),
    ("パパ", "ハハ", False),
    ("ﾊﾟﾊﾟ", "パパ", True),
    ("हिंदी", "हिंदी", True),
    ("हिंदी", "हिंदू", False),
    ("हिं", "हिंदी", True),
    ("கமலா", "கமல்", False),
    ("ไม่", "ใหม่", False),
    ("📚", "Read 📚 now", True),
    ("🎈", "Read 📚 now", False),
    ("𠮷", "𠮷野家", True),
    ("𠮷野", "𠮷野家", True),
    ("𡈽", "𠮷野家", False),
    ("吾", "吾輩は猫である", True),
    ("محمد", "مُحَمَّد", True),
    ("שלום", "שָׁלוֹם", True),
    ("dvorak", "Dvořák", True),
    ("νικος", "Νίκος", True),
    ("елка", "Ёлка", True),
    ("маи", "май", False),
    ("한강", unicodedata.normalize("NFD", "한강"), True),
    ("nguyen", "Nguyễn", True),
]


@pytest.mark.parametrize(("query", "title", "is_found"), FOUND)
async def test_marks_make_other_words_where_readers_write_them(engine, query, title, is_found):
    async with transaction(engine) as conn:
        await create_book(conn, title=title)

    async with reading(engine) as conn:
        page = await listing.find(conn, BookQuery(q=query))

    assert len(page.items) == is_found
