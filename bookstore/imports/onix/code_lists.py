"""The meaning of ONIX codes in this store (EDItEUR, ONIX code lists).

Only codes that the store uses are listed; `mapping.py` decides about all others.
"""

from collections.abc import Mapping
from enum import StrEnum


class NotificationType(StrEnum):
    """The action that a record requests."""

    REPLACE = "replace"
    UPDATE = "update"
    WITHDRAW = "withdraw"


#: List 1, notification types.  Early, advance and confirmed records are complete; an update has
#: only the changed blocks.
ACTIONS: Mapping[str, NotificationType] = {
    "01": NotificationType.REPLACE,
    "02": NotificationType.REPLACE,
    "03": NotificationType.REPLACE,
    "04": NotificationType.UPDATE,
    "05": NotificationType.WITHDRAW,
    "12": NotificationType.UPDATE,
    "13": NotificationType.UPDATE,
    "14": NotificationType.UPDATE,
}
TEST_TYPES = {"88", "89"}

#: List 5, product identifiers with an ISBN, the most reliable first: ISBN-13, EAN, ISBN-10.
ISBN_TYPES = ("15", "03", "02")

#: List 17, contributor roles, and the store's roles for each.
ROLES: Mapping[str, tuple[str, ...]] = {
    "A01": ("author",),
    "A02": ("contributor",),
    "A03": ("author",),
    "A08": ("photographer",),
    "A12": ("illustrator",),
    "A13": ("photographer",),
    "A14": ("author",),
    "A15": ("foreword",),
    "A19": ("afterword",),
    "A23": ("foreword",),
    "A24": ("introduction",),
    "A29": ("introduction",),
    "A31": ("author",),
    "A35": ("illustrator",),
    "A38": ("author",),
    "B01": ("editor",),
    "B06": ("translator",),
    "B08": ("translator", "contributor"),
    "B09": ("editor",),
    "B10": ("editor", "translator"),
    "B11": ("editor",),
    "B12": ("editor",),
    "B13": ("editor",),
    "B15": ("editor",),
    "B16": ("editor",),
    "B19": ("editor",),
    "B20": ("editor",),
    "B21": ("editor",),
    "B24": ("editor",),
    "B26": ("editor",),
    "B29": ("editor",),
    "B31": ("editor",),
    "E03": ("narrator",),
    "E07": ("narrator",),
}
OTHER_ROLE = ("contributor",)
#: List 19, unnamed persons.
UNNAMED: Mapping[str, str] = {
    "01": "Unknown author",
    "02": "Anonymous",
    "04": "Various authors",
}

#: List 150, product forms, by prefix; the longest matching prefix decides.
FORMS: Mapping[str, str] = {
    "A": "audio",
    "AC": "audio CD",
    "AE": "audio CD",
    "AJ": "audio download",
    "AN": "audio download",
    "AO": "audio download",
    "B": "book",
    "BB": "hardback",
    "BC": "paperback",
    "BD": "loose leaf",
    "BE": "spiral bound",
    "BF": "pamphlet",
    "BG": "leather",
    "BH": "board book",
    "BI": "rag book",
    "BJ": "bath book",
    "BK": "novelty book",
    "BN": "part work",
    "BO": "fold-out book",
    "BP": "foam book",
    "C": "map",
    "D": "digital",
    "E": "e-book",
    "P": "other print",
    "PB": "address book",
    "PC": "calendar",
    "PD": "cards",
    "PF": "diary",
    "PI": "sheet music",
    "PR": "notebook",
    "S": "set",
    "V": "video",
}
#: Prefix of trade-only material such as displays and posters, which is not sold to customers.
TRADE_ONLY = "X"

#: List 64, publishing statuses with which the book must not be sold any longer.
WITHDRAWN_STATUSES: Mapping[str, str] = {
    "01": "its publisher has cancelled it",
    "11": "its publisher has withdrawn it from sale",
    "12": "it was recalled",
    "15": "it was recalled",
    "16": "it was withdrawn from sale for a while",
    "17": "it was withdrawn from sale for good",
}
#: List 64, the other statuses that the report shows.
STATUSES: Mapping[str, str] = {
    "02": "forthcoming",
    "03": "postponed",
    "04": "active",
    "06": "out of stock indefinitely",
    "07": "out of print",
    "08": "inactive",
    "13": "active, but not sold separately",
}
#: List 65, product availability at the supplier.
AVAILABILITIES: Mapping[str, str] = {
    "01": "cancelled",
    "09": "postponed indefinitely",
    "10": "not yet available",
    "11": "awaiting stock",
    "12": "not yet available, printed on demand",
    "20": "available",
    "21": "in stock",
    "22": "available to order",
    "23": "printed on demand",
    "30": "temporarily unavailable",
    "31": "out of stock",
    "32": "reprinting",
    "33": "awaiting reissue",
    "34": "temporarily withdrawn from sale",
    "40": "not available",
    "41": "replaced by another product",
    "42": "available in another form only",
    "43": "no longer supplied",
    "44": "apply direct",
    "45": "not sold separately",
    "46": "withdrawn from sale",
    "47": "remaindered",
    "48": "not available, printed on demand instead",
    "49": "recalled",
    "50": "not sold as a set",
    "51": "out of print",
    "52": "no longer sold in this market",
    "97": "no recent news",
    "98": "no more news",
    "99": "contact the supplier",
}

#: List 58, retail prices including tax, by preference: temporary prices (special, before
#: publication) before the usual one, fixed prices before recommended ones.
PRICE_TYPES = ("14", "24", "04", "34", "12", "22", "02", "42")
#: List 58, retail prices excluding tax.
UNTAXED_PRICE_TYPES = {"01", "03", "11", "13", "21", "23", "31", "33", "41"}
#: List 59, price qualifiers.  A price without one, or with one of these, is for all customers.
GENERAL_QUALIFIERS = {"", "00", "05"}

#: List 23, page counts by preference, from the main content to the printed total.
PAGE_COUNT_TYPES = ("00", "11", "05", "07", "06", "08", "10")
PAGE_UNIT = "03"

#: List 153, text types with a description of the book, the long one first.
DESCRIPTION_TYPES = ("03", "02")

#: List 27, subject schemes whose codes are mapped to categories.
BISAC, BIC, THEMA = "10", "12", "93"
#: Subject schemes that never become a category: qualifiers of BIC and Thema (places, languages,
#: times, ages), keywords, and the German trade's "Warengruppen".
NO_CATEGORY = {"13", "14", "15", "16", "17", "20", "26", "94", "95", "96", "97", "98", "99"}

#: Thema 1.5, by prefix; the longest matching prefix decides.  BIC 2.1 shares some prefixes.
THEMA_CATEGORIES: Mapping[str, str] = {
    "A": "Arts",
    "AB": "Arts",
    "AM": "Architecture",
    "AV": "Music",
    "C": "Language",
    "D": "Literature",
    "DB": "Classics",
    "DC": "Poetry",
    "DD": "Drama",
    "DN": "Biography & Memoir",
    "F": "Fiction",
    "FB": "Literary Fiction",
    "FBC": "Classics",
    "FF": "Mystery & Crime",
    "FH": "Thriller",
    "FJ": "Adventure",
    "FK": "Horror",
    "FL": "Science Fiction",
    "FM": "Fantasy",
    "FR": "Romance",
    "FU": "Humour",
    "FV": "Historical Fiction",
    "FX": "Comics",
    "G": "Reference",
    "J": "Society",
    "K": "Business",
    "L": "Law",
    "M": "Medicine",
    "N": "History",
    "NH": "History",
    "P": "Science & Nature",
    "Q": "Philosophy",
    "QR": "Religion",
    "R": "Science & Nature",
    "S": "Sport",
    "T": "Technology",
    "U": "Computing",
    "V": "Health & Advice",
    "W": "Home & Hobbies",
    "WH": "Humour",
    "WT": "Travel",
    "X": "Comics",
    "Y": "Children's",
    "YX": "Young Adult",
}
BIC_CATEGORIES: Mapping[str, str] = {
    **{code: name for code, name in THEMA_CATEGORIES.items() if code[0] in "ACDJKLMP"},
    "B": "Biography & Memoir",
    "D": "Literature",
    "DC": "Poetry",
    "DD": "Drama",
    "DN": "Literature",
    "E": "Language",
    "F": "Fiction",
    "FA": "Literary Fiction",
    "FC": "Classics",
    "FF": "Mystery & Crime",
    "FH": "Thriller",
    "FJ": "Adventure",
    "FK": "Horror",
    "FL": "Science Fiction",
    "FM": "Fantasy",
    "FR": "Romance",
    "FU": "Humour",
    "FV": "Historical Fiction",
    "FX": "Comics",
    "G": "Reference",
    "H": "History",
    "HP": "Philosophy",
    "HR": "Religion",
    "R": "Science & Nature",
    "T": "Technology",
    "U": "Computing",
    "V": "Health & Advice",
    "W": "Home & Hobbies",
    "WH": "Humour",
    "WT": "Travel",
    "Y": "Children's",
}
#: BISAC: the three letters of a section, and a few headings within fiction.
BISAC_CATEGORIES: Mapping[str, str] = {
    "ANT": "Home & Hobbies",
    "ARC": "Architecture",
    "ART": "Arts",
    "BIB": "Religion",
    "BIO": "Biography & Memoir",
    "BUS": "Business",
    "CGN": "Comics",
    "CKB": "Home & Hobbies",
    "COM": "Computing",
    "CRA": "Home & Hobbies",
    "DRA": "Drama",
    "FAM": "Health & Advice",
    "FIC": "Fiction",
    "FIC004": "Classics",
    "FIC009": "Fantasy",
    "FIC014": "Historical Fiction",
    "FIC015": "Horror",
    "FIC016": "Humour",
    "FIC019": "Literary Fiction",
    "FIC022": "Mystery & Crime",
    "FIC027": "Romance",
    "FIC028": "Science Fiction",
    "FIC031": "Thriller",
    "GAR": "Home & Hobbies",
    "HEA": "Health & Advice",
    "HIS": "History",
    "HUM": "Humour",
    "JNF": "Children's",
    "JUV": "Children's",
    "LAN": "Language",
    "LAW": "Law",
    "LCO": "Literature",
    "LIT": "Literature",
    "MAT": "Science & Nature",
    "MED": "Medicine",
    "MUS": "Music",
    "NAT": "Science & Nature",
    "PHI": "Philosophy",
    "PHO": "Arts",
    "POE": "Poetry",
    "POL": "Society",
    "PSY": "Health & Advice",
    "REF": "Reference",
    "REL": "Religion",
    "SCI": "Science & Nature",
    "SEL": "Health & Advice",
    "SOC": "Society",
    "SPO": "Sport",
    "TEC": "Technology",
    "TRA": "Technology",
    "TRU": "Mystery & Crime",
    "TRV": "Travel",
    "YAF": "Young Adult",
    "YAN": "Young Adult",
}
CATEGORIES_BY_SCHEME: Mapping[str, Mapping[str, str]] = {
    BISAC: BISAC_CATEGORIES,
    BIC: BIC_CATEGORIES,
    THEMA: THEMA_CATEGORIES,
}

#: Short tags and the reference names that they stand for, as far as `mapping.py` reads them.
LONG_NAMES: Mapping[str, str] = {
    "a001": "RecordReference",
    "a002": "NotificationType",
    "b012": "ProductForm",
    "b029": "Subtitle",
    "b030": "TitlePrefix",
    "b031": "TitleWithoutPrefix",
    "b034": "SequenceNumber",
    "b035": "ContributorRole",
    "b036": "PersonName",
    "b037": "PersonNameInverted",
    "b038": "TitlesBeforeNames",
    "b039": "NamesBeforeKey",
    "b040": "KeyNames",
    "b041": "NamesAfterKey",
    "b047": "CorporateName",
    "b067": "SubjectSchemeIdentifier",
    "b069": "SubjectCode",
    "b070": "SubjectHeadingText",
    "b079": "ImprintName",
    "b081": "PublisherName",
    "b202": "TitleType",
    "b203": "TitleText",
    "b218": "ExtentType",
    "b219": "ExtentValue",
    "b220": "ExtentUnit",
    "b221": "ProductIDType",
    "b244": "IDValue",
    "b247": "PrefixToKey",
    "b248": "SuffixToKey",
    "b249": "UnnamedPersons",
    "b252": "LanguageCode",
    "b253": "LanguageRole",
    "b291": "PublishingRole",
    "b306": "Date",
    "b394": "PublishingStatus",
    "collateraldetail": "CollateralDetail",
    "contributor": "Contributor",
    "d104": "Text",
    "descriptivedetail": "DescriptiveDetail",
    "extent": "Extent",
    "header": "Header",
    "imprint": "Imprint",
    "j151": "PriceAmount",
    "j152": "CurrencyCode",
    "j260": "DateFormat",
    "j261": "PriceQualifier",
    "j263": "MinimumOrderQuantity",
    "j396": "ProductAvailability",
    "language": "Language",
    "m186": "DefaultCurrencyCode",
    "n339": "NoContributor",
    "onixmessage": "ONIXMessage",
    "price": "Price",
    "pricedate": "PriceDate",
    "product": "Product",
    "productidentifier": "ProductIdentifier",
    "productsupply": "ProductSupply",
    "publisher": "Publisher",
    "publishingdate": "PublishingDate",
    "publishingdetail": "PublishingDetail",
    "subject": "Subject",
    "supplydetail": "SupplyDetail",
    "textcontent": "TextContent",
    "title": "Title",
    "titledetail": "TitleDetail",
    "titleelement": "TitleElement",
    "x310": "DefaultPriceType",
    "x409": "TitleElementLevel",
    "x410": "PartNumber",
    "x425": "MainSubject",
    "x426": "TextType",
    "x448": "PublishingDateRole",
    "x462": "PriceType",
    "x476": "PriceDateRole",
}
