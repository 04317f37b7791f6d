"""The page of one book."""

import html
import re
import textwrap
from typing import Any

from aiohttp import web

from bookstore.catalogue import books, editions, listing
from bookstore.catalogue.listing import BookQuery
from bookstore.catalogue.models import Book
from bookstore.database.engine import reading
from bookstore.i18n import _
from bookstore.regional import money
from web.api.book_schemas import cover_url
from web.server.keys import ENGINE, RATES, SETTINGS
from web.store import formatting, forms
from web.store.cached_pages import cached
from web.store.rendering import page

#: How many other books by the same author the page shows.
_MORE = 6
#: Characters of a description that search engines show.
_SUMMARY = 155
_TAG = re.compile(r"<[^<>]*>")
#: Properties of schema.org by role; other roles are `contributor`.
_PROPERTIES = {
    "author": "author",
    "editor": "editor",
    "illustrator": "illustrator",
    "translator": "translator",
}


@cached
async def show(request: web.Request) -> web.Response:
    """GET /books/{book_id}; `quantity` is the value set with the minus and plus buttons."""
    async with reading(request.config_dict[ENGINE]) as conn:
        book = await books.get(conn, int(request.match_info["book_id"]))
        author = book.authors[0]
        same = await listing.find(conn, BookQuery(author=author.id), limit=_MORE + 1)
        others = await editions.find_others(conn, book.id)
    category = book.categories[0] if book.categories else None
    return await page(
        request,
        "book.html",
        book=book,
        quantity=max(1, forms.quantity({"quantity": request.query.get("quantity", "1")})),
        more=[other for other in same.items if other.id != book.id][:_MORE],
        editions=others,
        current_category=category.slug if category else None,
        summary=_summary(book),
        data=_linked_data(request, book),
        breadcrumb=_breadcrumb(request, book),
    )


def _summary(book: Book) -> str:
    """The description as a line or two of plain text, for search engines and link previews."""
    text = " ".join(html.unescape(_TAG.sub(" ", book.description or "")).split())
    text = text or _("%(title)s by %(authors)s") % {
        "title": book.title,
        "authors": formatting.authors_of(book),
    }
    return textwrap.shorten(text, _SUMMARY, placeholder=" …")


def _breadcrumb(request: web.Request, book: Book) -> dict[str, Any]:
    """The breadcrumb of the book (schema.org, as JSON-LD)."""
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
            "price": money.plain(book.price_cents),
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
