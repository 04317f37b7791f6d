"""The meaning of ONIX codes in this store (EDItEUR, ONIX code lists).

Only codes that the store uses are listed; `mapping.py` decides about all others.  Lists that give
each code a meaning are in `code_lists.toml`, which describes them; this module has the others.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from bookstore.imports.entries import EntryAction

_LISTS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))

ACTIONS: Mapping[str, EntryAction] = {
    code: EntryAction(action) for code, action in _LISTS["actions"].items()
}
#: List 1, notification types of test records.
TEST_TYPES = {"88", "89"}

#: List 5, product identifiers with an ISBN, the most reliable first: ISBN-13, EAN, ISBN-10.
ISBN_TYPES = ("15", "03", "02")

ROLES: Mapping[str, Sequence[str]] = _LISTS["roles"]
OTHER_ROLE = ("contributor",)
UNNAMED: Mapping[str, str] = _LISTS["unnamed"]

FORMS: Mapping[str, str] = _LISTS["forms"]
#: List 150, prefix of trade-only material such as displays and posters, which is not sold to
#: customers.
TRADE_ONLY = "X"

WITHDRAWN_STATUSES: Mapping[str, str] = _LISTS["withdrawn_statuses"]
WITHDRAWN_MARKET_STATUSES: Mapping[str, str] = _LISTS["withdrawn_market_statuses"]
STATUSES: Mapping[str, str] = _LISTS["statuses"]
SILENT_STATUSES: Mapping[str, str] = _LISTS["silent_statuses"]
AVAILABILITIES: Mapping[str, str] = _LISTS["availabilities"]

#: List 58, retail prices including tax, by preference: temporary prices (special, before
#: publication) before the usual one, fixed prices before recommended ones.
PRICE_TYPES = ("14", "24", "04", "34", "12", "22", "02", "42")
#: List 58, retail prices excluding tax.
UNTAXED_PRICE_TYPES = {"01", "03", "11", "13", "21", "23", "31", "33", "41"}
#: List 59, price qualifiers.  A price without one, or with one of these, is for all customers.
GENERAL_QUALIFIERS = {"", "00", "05"}
#: List 60, prices of the whole product; the other code is for a page.
PER_COPY = {"", "00"}
#: List 167, conditions with which the price is that of the book alone: none, or its updates are
#: included or can be bought.
NO_CONDITIONS = {"00", "01", "03"}
CONDITIONS: Mapping[str, str] = _LISTS["conditions"]
#: List 230, a price that does not limit the use of the book.
NO_CONSTRAINTS = {"00"}
#: List 57.
FREE_OF_CHARGE = "01"
UNPRICED: Mapping[str, str] = _LISTS["unpriced"]

#: List 49, regions with several countries; all others are parts of a country.
WORLD, EUROZONE = "WORLD", "ECZ"
REGIONS = {WORLD, EUROZONE, "ROW"}

DATE_LIMITS: Mapping[str, str] = _LISTS["date_limits"]
TEXT_DATE_LIMITS: Mapping[str, str] = _LISTS["text_date_limits"]
DATES: Mapping[str, str] = _LISTS["dates"]
SPANS: Mapping[str, str] = _LISTS["spans"]
#: List 55, a day with a time.
TIMES = {"13", "14"}
#: The format of a date that does not name it, or that is shorter or longer than it says.
FORMATS_BY_LENGTH: Mapping[int, str] = {4: "05", 6: "01", 8: "00", 16: "06"}

#: List 163, dates before which a book must not be sold, the more exact one first.
EMBARGO_ROLES = ("33", "02")
PUBLICATION_ROLE = "01"

#: List 46, rights with which the book must not be sold in a territory.
NOT_FOR_SALE = {"03", "04", "05", "06"}
#: List 46, rights with which it is sold there, or that are not stated.
FOR_SALE = {"00", "01", "02", "07", "08"}

#: List 15, types of titles by preference: the title of the book, and a title of no stated type.
TITLE_TYPES = ("01", "00")

#: List 23, page counts by preference, from the main content to the printed total.
PAGE_COUNT_TYPES = ("00", "11", "05", "07", "06", "08", "10")
PAGE_UNIT = "03"

#: List 153, text types with a description of the book, the long one first.
DESCRIPTION_TYPES = ("03", "02")
#: List 154, texts for everybody and texts for end customers.
SHOPPERS = {"00", "03"}

CATEGORIES_BY_SCHEME: Mapping[str, Mapping[str, str]] = _LISTS["categories"]
#: List 27, subject schemes that never become a category: qualifiers of BIC and Thema (places,
#: languages, times, ages), keywords, and the German trade's "Warengruppen".
NO_CATEGORY = {"13", "14", "15", "16", "17", "20", "26", "94", "95", "96", "97", "98", "99"}

LONG_NAMES: Mapping[str, str] = _LISTS["long_names"]
