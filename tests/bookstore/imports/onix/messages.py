"""ONIX messages and their import."""

import io
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.imports import importer
from bookstore.tasks.jobs import Job
from tests.factories import NOON

DETAIL = """
<DescriptiveDetail><ProductForm>BC</ProductForm>
<TitleDetail><TitleType>01</TitleType><TitleElement><TitleElementLevel>01</TitleElementLevel>
<TitleText>{title}</TitleText></TitleElement></TitleDetail>
<Contributor><SequenceNumber>1</SequenceNumber><ContributorRole>A01</ContributorRole>
<PersonName>{author}</PersonName></Contributor>
<Contributor><SequenceNumber>2</SequenceNumber><ContributorRole>B06</ContributorRole>
<PersonName>Tara Lator</PersonName></Contributor>
<Language><LanguageRole>01</LanguageRole><LanguageCode>eng</LanguageCode></Language>
</DescriptiveDetail>"""
BLURB = """<CollateralDetail><TextContent>
<TextType>03</TextType><ContentAudience>00</ContentAudience>
<Text>{text}</Text></TextContent></CollateralDetail>"""
PRICE = """<ProductSupply><SupplyDetail><Supplier><SupplierRole>01</SupplierRole></Supplier>
<ProductAvailability>20</ProductAvailability><Price><PriceType>02</PriceType>
<PriceAmount>{amount}</PriceAmount><CurrencyCode>EUR</CurrencyCode></Price></SupplyDetail>
</ProductSupply>"""


def product(isbn: str, kind: str, *blocks: str) -> str:
    return (
        f"<Product><RecordReference>r.{isbn}</RecordReference>"
        f"<NotificationType>{kind}</NotificationType><ProductIdentifier>"
        f"<ProductIDType>15</ProductIDType><IDValue>{isbn}</IDValue></ProductIdentifier>"
        f"{''.join(blocks)}</Product>\n"
    )


def whole(isbn: str, *, title: str = "Dune", amount: str = "12.90", blurb: str = "Sand.") -> str:
    detail = DETAIL.format(title=title, author="Frank Herbert")
    return product(isbn, "03", detail, BLURB.format(text=blurb), PRICE.format(amount=amount))


async def run(engine: AsyncEngine, *products: str, **options: Any) -> Job:
    text = (
        '<?xml version="1.0"?>\n'
        '<ONIXMessage release="3.0" xmlns="http://ns.editeur.org/onix/3.0/reference">'
        "<Header><Sender><SenderName>S</SenderName></Sender>"
        f"<SentDateTime>20260101</SentDateTime></Header>\n{''.join(products)}</ONIXMessage>"
    )
    return await importer.import_file(
        engine,
        io.BytesIO(text.encode()),
        name="onix.xml",
        currency="EUR",
        clock=lambda: NOON,
        **{"country": "DE", **options},
    )
