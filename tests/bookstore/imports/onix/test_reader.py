import io
from datetime import date

import pytest

from bookstore.catalogue.validation import Contribution
from bookstore.errors import Invalid
from bookstore.imports.entries import EntryAction, Refusal
from bookstore.imports.onix import reader
from bookstore.imports.onix.limits import Shop

TODAY = date(2026, 11, 25)
SHOP = Shop("DE", "EUR", TODAY)
ISBN = "9780441172719"


def product(descriptive="", *, kind="03", blocks="", isbn=ISBN):
    return f"""
    <Product>
      <RecordReference>com.example.1</RecordReference>
      <NotificationType>{kind}</NotificationType>
      {element("ProductIdentifier", ProductIDType="03", IDValue=isbn)}
      {f"<DescriptiveDetail>{descriptive}</DescriptiveDetail>" if descriptive else ""}
      {blocks}
    </Product>"""


def message(*products, release="3.0", before='<?xml version="1.0"?>'):
    return f'{before}\n<ONIXMessage release="{release}">{"".join(products)}</ONIXMessage>'


def declared(encoding):
    return f'<?xml version="1.0" encoding="{encoding}"?>'


def title(inside, kind="01"):
    return f"""<TitleDetail><TitleType>{kind}</TitleType><TitleElement>
      <TitleElementLevel>01</TitleElementLevel>{inside}</TitleElement></TitleDetail>"""


def priced(*prices, header=""):
    supply = f"<ProductSupply><SupplyDetail>{''.join(prices)}</SupplyDetail></ProductSupply>"
    return message(header, product(blocks=supply))


def price(amount, kind="02", currency="EUR", more=""):
    return f"""<Price><PriceType>{kind}</PriceType>{more}<PriceAmount>{amount}</PriceAmount>
      <CurrencyCode>{currency}</CurrencyCode></Price>"""


def element(tag, **children):
    inside = "".join(f"<{name}>{text}</{name}>" for name, text in children.items())
    return f"<{tag}>{inside}</{tag}>"


def dated(role, day):
    return element("PriceDate", PriceDateRole=role, Date=day)


def read(text, encoding="utf-8"):
    stream = io.BytesIO(text if isinstance(text, bytes) else text.encode(encoding))
    return list(reader.read_records(stream, SHOP))


def facts(text):
    [record] = read(text)
    return record.facts


def test_a_record_becomes_the_fields_of_a_book():
    described = [
        "<ProductForm>BC</ProductForm>",
        title("<TitleText>Dune</TitleText><Subtitle>A novel</Subtitle>"),
        element(
            "Contributor", SequenceNumber=2, ContributorRole="B10", PersonNameInverted="Lee, Alan"
        ),
        element("Contributor", SequenceNumber=1, ContributorRole="A01", PersonName="Frank Herbert"),
        element("Language", LanguageRole="02", LanguageCode="fre"),
        element("Language", LanguageRole="01", LanguageCode="eng"),
        element("Extent", ExtentType="00", ExtentValue=412, ExtentUnit="03"),
        element("Subject", SubjectSchemeIdentifier="20", SubjectHeadingText="sand; spice"),
        element("Subject", SubjectSchemeIdentifier="24", SubjectHeadingText="Novels / Deserts"),
        element("Subject", MainSubject="", SubjectSchemeIdentifier="93", SubjectCode="FLC"),
    ]
    text = element("TextContent", TextType="03", Text="<p>Sand &amp; <em>spice</em></p>")
    published = [
        element("Imprint", ImprintName="Ace"),
        "<PublishingStatus>04</PublishingStatus>",
        element("PublishingDate", PublishingDateRole="01", Date="19650801"),
    ]
    blocks = [
        f"<CollateralDetail>{text}</CollateralDetail>",
        f"<PublishingDetail>{''.join(published)}</PublishingDetail>",
        "<ProductSupply><SupplyDetail><ProductAvailability>21</ProductAvailability>",
        price("12.90"),
        "</SupplyDetail></ProductSupply>",
    ]

    [record] = read(message(product("".join(described), blocks="".join(blocks))))

    assert (record.action, record.line) == (EntryAction.UPSERT, 3)
    assert record.facts == {
        "isbn13": ISBN,
        "title": "Dune",
        "subtitle": "A novel",
        "authors": [
            Contribution("Frank Herbert"),
            Contribution("Alan Lee", "editor"),
            Contribution("Alan Lee", "translator"),
        ],
        "format": "paperback",
        "language": "eng",
        "pages": 412,
        "categories": ["Science Fiction", "Deserts"],
        "description": "<p>Sand &amp; <em>spice</em></p>",
        "publisher": "Ace",
        "year": 1965,
        "price_cents": 1290,
        "on_sale_from": "1965-08-01",
    }
    assert record.remarks == [
        "Publishing status: active.",
        "Availability at the supplier: in stock.",
    ]


def test_short_tags_are_read_like_reference_names():
    short = f"""<ONIXmessage release="3.1" xmlns="http://ns.editeur.org/onix/3.1/short"><product>
      <a001>com.example.1</a001><a002>03</a002>
      <productidentifier><b221>15</b221><b244>{ISBN}</b244></productidentifier>
      <descriptivedetail><b012>BB</b012><titledetail><b202>01</b202><titleelement><x409>01</x409>
      <b030>The</b030><b031>Dispossessed</b031></titleelement></titledetail>
      <contributor><b035>A01</b035><b036>Ursula K. Le Guin</b036></contributor></descriptivedetail>
      <productsupply><supplydetail><price><x462>04</x462><j151>9.5</j151><j152>EUR</j152></price>
      </supplydetail></productsupply></product></ONIXmessage>"""

    found = facts(short)

    assert found["title"] == "The Dispossessed"
    assert found["authors"] == [Contribution("Ursula K. Le Guin")]
    assert (found["format"], found["price_cents"]) == ("hardback", 950)


def test_an_update_sets_only_the_fields_of_its_blocks():
    blocks = "<CollateralDetail></CollateralDetail>"

    [record] = read(message(product(kind="04", blocks=blocks)))

    assert record.action is EntryAction.CHANGE
    assert record.facts == {"isbn13": ISBN, "description": None}


def test_a_complete_record_without_authors_price_and_categories_keeps_them():
    found = facts(message(product(title("<TitleText>Dune</TitleText>"))))

    assert found.keys() & {"authors", "price_cents", "categories"} == set()
    assert found["description"] is None


@pytest.mark.parametrize("status", ["01", "11", "12", "17"])
def test_a_book_that_must_not_be_sold_is_withdrawn(status):
    blocks = f"<PublishingDetail><PublishingStatus>{status}</PublishingStatus></PublishingDetail>"

    [record] = read(message(product(title("<TitleText>Dune</TitleText>"), blocks=blocks)))

    assert record.action is EntryAction.WITHDRAW
    assert record.remarks


def test_the_fields_of_a_deletion_are_ignored():
    [record] = read(message(product(title("<TitleText>Dune</TitleText>"), kind="05")))

    assert (record.action, record.facts) == (EntryAction.WITHDRAW, {"isbn13": ISBN})


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        (
            "<TitlePrefix>L'</TitlePrefix><TitleWithoutPrefix>étranger</TitleWithoutPrefix>",
            "L'étranger",
        ),
        ("<NoPrefix/><TitleWithoutPrefix>Roseanna</TitleWithoutPrefix>", "Roseanna"),
        ("<TitleText>Saga</TitleText><PartNumber>Book 2</PartNumber>", "Saga, Book 2"),
        ("<TitleText>High Noon&ndash;in Nimbin &eacute;</TitleText>", "High Noon–in Nimbin é"),
        ("<TitleText><!-- no -->One<!-- no --> Two</TitleText>", "One Two"),
    ],
)  # fmt: skip
def test_a_title_is_composed_of_its_parts(inside, expected):
    assert facts(message(product(title(inside))))["title"] == expected


def test_a_volume_without_a_title_gets_the_title_of_its_collection():
    volume = """<TitleDetail><TitleType>01</TitleType>
      <TitleElement><TitleElementLevel>01</TitleElementLevel><PartNumber>3</PartNumber>
      </TitleElement><TitleElement><TitleElementLevel>02</TitleElementLevel>
      <TitleText>Collected Works</TitleText></TitleElement></TitleDetail>"""

    assert facts(message(product(volume)))["title"] == "Collected Works, 3"


@pytest.mark.parametrize(
    ("prices", "cents"),
    [
        ([price("10", "02"), price("9.90", "04")], 990),
        ([price("10.5000"), price("12", currency="USD")], 1050),
        ([price("10"), price("8", more="<PriceQualifier>06</PriceQualifier>")], 1000),
        ([price("10"), price("8", more="<MinimumOrderQuantity>5</MinimumOrderQuantity>")], 1000),
        ([price("10"), price("8", "14", more=dated(15, 20261124))], 1000),
        ([price("10"), price("8", "14", more=dated(15, 20261125))], 800),
        ([price("10"), price("8", more=dated(14, 20261126))], 1000),
        ([price("10", "01")], None),
        ([price("10", currency="USD")], None),
    ],
)  # fmt: skip
def test_the_price_is_the_retail_price_of_today(prices, cents):
    [record] = read(priced(*prices))

    assert record.facts.get("price_cents") == cents
    # What is left out is reported.
    assert bool(record.remarks) is (cents is None or len(prices) > 1)


def test_the_header_can_set_the_currency():
    header = "<Header><DefaultCurrencyCode>EUR</DefaultCurrencyCode></Header>"
    bare = "<Price><PriceType>02</PriceType><PriceAmount>7.99</PriceAmount></Price>"

    assert facts(priced(bare, header=header))["price_cents"] == 799


@pytest.mark.parametrize(
    ("text", "column", "value"),
    [
        (priced(price("10"), price("11")), "PriceAmount", "10, 11"),
        (priced(price("1e3")), "PriceAmount", "1e3"),
        (priced(price("-1")), "PriceAmount", "-1"),
        (message(product(title("<TitleText>&nosuch;</TitleText>"))), "TitleText", "&nosuch;"),
        (message(product("<ProductForm>XC</ProductForm>")), "ProductForm", "XC"),
        (message(product(kind="89")), "NotificationType", "89"),
        (message(product(kind="77")), "NotificationType", "77"),
        (message(product(isbn="")), "ProductIdentifier", ""),
    ],
)
def test_an_invalid_record_is_refused_with_a_reason(text, column, value):
    [refusal] = read(text)

    assert isinstance(refusal, Refusal)
    assert (refusal.line, refusal.column, refusal.value) == (3, column, value)
    assert refusal.reason.endswith(".")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "cp1252"])
def test_every_declared_encoding_is_supported(encoding):
    named = "utf-8" if encoding == "utf-8-sig" else encoding
    name = "Łódź" if "utf" in encoding else "Gödel"
    text = message(product(title(f"<TitleText>{name}</TitleText>")), before=declared(named))

    assert facts(text.encode(encoding))["title"] == name


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not an ONIX message"),
        ("isbn,title\n", "not an ONIX message"),
        ("<html></html>", "begins with <html>"),
        ("<ONIXMessage><Header/></ONIXMessage>", "ONIX 2.1"),
        ('<ONIXMessage release="2.1"><Header/></ONIXMessage>', "ONIX 2.1"),
        (f'{declared("klingon")}<ONIXMessage release="3.0"/>', "the unknown encoding klingon"),
        (f'{declared("hex")}<ONIXMessage release="3.0"/>', "the unknown encoding hex"),
        (
            f'{declared("undefined")}<ONIXMessage release="3.0"/>',
            "encoding undefined but is not in it",
        ),
        (f'{declared("UTF-16")}<ONIXMessage release="3.0"/>', "encoding utf-16 but is not in it"),
        (
            '<!DOCTYPE a [<!ENTITY b "&c;">]><ONIXMessage release="3.0"/>',
            "declares its own entities",
        ),
        ("<!DOCTYPE a [", "is not closed"),
    ],
)
def test_files_that_are_not_onix_3_are_refused_as_a_whole(text, reason):
    with pytest.raises(Invalid, match=reason):
        read(text)


def test_an_external_document_type_is_never_loaded(tmp_path):
    secret = tmp_path / "secret.dtd"
    secret.write_text('<!ENTITY ndash "stolen">')
    before = f'<!DOCTYPE ONIXMessage SYSTEM "{secret.as_uri()}">'

    found = facts(message(product(title("<TitleText>a&ndash;b</TitleText>")), before=before))

    assert found["title"] == "a–b"


def test_a_document_type_can_follow_a_comment():
    before = "<!-- An <ONIXMessage> --><?a b?><!DOCTYPE ONIXMessage SYSTEM 'x.dtd'>"

    assert facts(message(product(title("<TitleText>Dune</TitleText>")), before=before))


def test_a_document_type_within_a_text_is_kept():
    page = "<![CDATA[<!DOCTYPE html [<p>Sand.</p>]]>"
    text = f"<TextContent><TextType>03</TextType><Text textformat='02'>{page}</Text></TextContent>"
    block = f"<CollateralDetail>{text}</CollateralDetail>"

    assert "Sand." in facts(message(product(blocks=block)))["description"]


def test_a_truncated_file_yields_the_records_before_the_error():
    whole = product(title("<TitleText>Dune</TitleText>"))

    *records, last = read(message(whole, whole, "<Product><a>").removesuffix("</ONIXMessage>"))

    assert len(records) == 2
    assert isinstance(last, Refusal)
    assert "Nothing after this point could be read" in last.reason


def test_a_record_without_an_end_is_refused():
    [refusal] = read(message(f"<Product>{'<b>x</b>' * 700_000}</Product>"))

    assert "4 MB" in refusal.reason


def test_a_name_is_composed_in_reading_order():
    contributors = [
        element(
            "Contributor",
            SequenceNumber=1,
            ContributorRole="A01",
            NamesBeforeKey="Ludwig",
            PrefixToKey="van",
            KeyNames="Beethoven",
            NamesAfterKey="Jr",
        ),
        element("Contributor", ContributorRole="A36", CorporateName="Studio"),
        element("Contributor", ContributorRole="A01", UnnamedPersons="02"),
    ]

    assert facts(message(product("".join(contributors))))["authors"] == [
        Contribution("Ludwig van Beethoven Jr"),
        Contribution("Studio", "contributor"),
        Contribution("Anonymous"),
    ]


def test_a_book_without_contributors_is_anonymous():
    assert facts(message(product("<NoContributor/>")))["authors"] == [Contribution("Anonymous")]


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("<Text textformat='06'>1 &lt; 2</Text>", "1 &lt; 2"),
        ("<Text textformat='02'>&lt;p&gt;One&lt;/p&gt;</Text>", "<p>One</p>"),
        ("<Text><![CDATA[<b>One</b> &amp; two]]></Text>", "<b>One</b> &amp; two"),
        ("<Text textformat='05'>One<br/>two &mdash; <b>3</b></Text>", "One<br>\ntwo — <b>3</b>"),
    ],
)
def test_descriptions_are_converted_to_html(text, html):
    content = f"<TextContent><TextType>03</TextType>{text}</TextContent>"
    block = f"<CollateralDetail>{content}</CollateralDetail>"

    assert facts(message(product(blocks=block)))["description"] == html


def test_onix_is_detected_by_the_beginning_of_the_file():
    assert reader.is_onix(message(product()).encode())
    assert reader.is_onix(message().replace('"1.0"', '"1.0" encoding="utf-16"').encode("utf-16"))
    assert not reader.is_onix(b"isbn,title\n")
