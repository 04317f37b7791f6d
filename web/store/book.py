"""One book: its cover, its title page and the slip with its price."""

import html
import re
import textwrap
from typing import Any

from aiohttp import web

from bookstore.catalogue import books, editions, listing
from bookstore.catalogue.listing import Query
from bookstore.catalogue.models import Book
from bookstore.database.engine import reading
from bookstore.i18n import _
from web.api.book_schemas import cover_url
from web.server.keys import ENGINE, RATES, SETTINGS
from web.store import formatting, forms
from web.store.cached_pages import kept
from web.store.rendering import page

#: How many more books by the same author stand on the shelf.
_MORE = 6
#: Letters of a description that search engines show.
_SUMMARY = 155
_TAG = re.compile(r"<[^<>]*>")
#: What schema.org calls those who made a book; other roles are contributors.
_PROPERTIES = {
    "author": "author",
    "editor": "editor",
    "illustrator": "illustrator",
    "translator": "translator",
}


@kept
async def show(request: web.Request) -> web.Response:
    """GET /books/{book_id}; `copies` is what has been set with minus and plus."""
    async with reading(request.config_dict[ENGINE]) as conn:
        book = await books.get(conn, int(request.match_info["book_id"]))
        author = book.authors[0]
        same = await listing.find(conn, Query(author=author.id), limit=_MORE + 1)
        others = await editions.of(conn, book.id)
    shelf = book.categories[0] if book.categories else None
    return await page(
        request,
        "book.html",
        book=book,
        copies=max(1, forms.quantity({"quantity": request.query.get("copies", "1")})),
        more=[other for other in same.items if other.id != book.id][:_MORE],
        editions=others,
        shelf=shelf.slug if shelf else None,
        summary=_summary(book),
        data=_linked_data(request, book),
        trail=_breadcrumb(request, book),
    )


def _summary(book: Book) -> str:
    """The book in a line or two of plain text, for those who find it elsewhere."""
    text = " ".join(html.unescape(_TAG.sub(" ", book.description or "")).split())
    text = text or _("%(title)s by %(authors)s") % {
        "title": book.title,
        "authors": formatting.authors_of(book),
    }
    return textwrap.shorten(text, _SUMMARY, placeholder=" …")


def _breadcrumb(request: web.Request, book: Book) -> dict[str, Any]:
    """Where the book stands (schema.org, as JSON-LD)."""
    site = request.config_dict[SETTINGS].base_url.rstrip("/")
    places = [(_("Home"), f"{site}/")]
    places += [(it.name, f"{site}/books?category={it.slug}") for it in book.categories[:1]]
    places.append((book.title, f"{site}/books/{book.id}"))
    return {
        "@context": "https://schema.org",
        "@type": "BreadcrumbList",
        "itemListElement": [
            {"@type": "ListItem", "position": position, "name": name, "item": address}
            for position, (name, address) in enumerate(places, 1)
        ],
    }


def _linked_data(request: web.Request, book: Book) -> dict[str, Any]:
    """The book and its offer for search engines (schema.org, as JSON-LD)."""
    site = request.config_dict[SETTINGS].base_url.rstrip("/")
    availability = "InStock" if book.available else "OutOfStock"
    facts: dict[str, Any] = {
        "@context": "https://schema.org",
        "@type": "Book",
        "name": book.title,
        **_people(book),
        "isbn": book.isbn13,
        "inLanguage": book.language,
        "numberOfPages": book.pages,
        "publisher": book.publisher,
        "image": f"{site}{cover_url(book)}",
        "url": f"{site}/books/{book.id}",
        "offers": {
            "@type": "Offer",
            "price": f"{book.price_cents / 100:.2f}",
            "priceCurrency": request.config_dict[RATES].currency,
            "availability": f"https://schema.org/{availability}",
            "url": f"{site}/books/{book.id}",
        },
    }
    return {name: value for name, value in facts.items() if value is not None}


def _people(book: Book) -> dict[str, list[dict[str, str]]]:
    people: dict[str, list[dict[str, str]]] = {}
    for person in book.authors:
        role = _PROPERTIES.get(person.role, "contributor")
        people.setdefault(role, []).append({"@type": "Person", "name": person.name})
    return people
