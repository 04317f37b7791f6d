"""robots.txt, sitemaps, the Atom feed and OpenSearch."""

from collections.abc import Iterable
from datetime import datetime
from xml.sax.saxutils import escape, quoteattr

from aiohttp import web
from aiohttp.typedefs import LooseHeaders

from bookstore.catalogue import listing
from bookstore.catalogue import sitemap as sitemap_parts
from bookstore.catalogue.listing import BookQuery, Sort
from bookstore.errors import NotFound
from bookstore.i18n import _
from web.server.keys import SETTINGS
from web.server.request_context import now
from web.server.transactions import read
from web.store import formatting
from web.store.rendering import current_navigation

#: Paths that crawlers must skip: personal pages, and lists with endless variations.
_PERSONAL = "/account /admin /api/ /cart /checkout /orders /register /sign-in /suggestions"
#: The maximum of URLs in one sitemap (sitemaps.org, protocol 0.9).
SITEMAP = 50_000
_FEED = 30
_AN_HOUR: LooseHeaders = {"Cache-Control": "max-age=3600"}
_SITEMAPS = "http://www.sitemaps.org/schemas/sitemap/0.9"
_TEXTS = ("/imprint", "/terms", "/privacy", "/withdrawal")


async def robots(request: web.Request) -> web.Response:
    """GET /robots.txt (RFC 9309)."""
    lines = [
        "User-agent: *",
        *(f"Disallow: {path}" for path in _PERSONAL.split()),
        # Covers are public.
        "Allow: /api/v1/covers/",
        f"Sitemap: {_site(request)}/sitemap.xml",
    ]
    return web.Response(text="\n".join(lines) + "\n", headers=_AN_HOUR)


async def sitemaps(request: web.Request) -> web.Response:
    """GET /sitemap.xml: the index; sitemap 0 has categories and texts, the others have books."""
    parts = await read(request, sitemap_parts.count_parts, SITEMAP)
    addresses = [f"{_site(request)}/sitemaps/{part}.xml" for part in range(parts + 1)]
    entries = "".join(f"<sitemap><loc>{address}</loc></sitemap>" for address in addresses)
    return _xml(f'<sitemapindex xmlns="{_SITEMAPS}">{entries}</sitemapindex>')


async def sitemap(request: web.Request) -> web.Response:
    """GET /sitemaps/{part}.xml: the categories and texts, or up to 50,000 books."""
    part = int(request.match_info["part"])
    if part == 0:
        navigation = await current_navigation(request)
        categories = [f"/books?category={it.slug}" for it in navigation.tree if it.book_count]
        return _sitemap(request, [(path, None) for path in ("/", "/books", *categories, *_TEXTS)])
    found = await read(request, sitemap_parts.get_part, part, SITEMAP)
    if not found:
        raise NotFound("This sitemap")
    return _sitemap(request, [(f"/books/{book_id}", changed) for book_id, changed in found])


async def feed(request: web.Request) -> web.Response:
    """GET /feed.atom: the newest books (RFC 4287)."""
    site, name = _site(request), request.config_dict[SETTINGS].store_name
    found = (await read(request, listing.find, BookQuery(sort=Sort.NEWEST), limit=_FEED)).items
    title = _("%s: new books") % name
    updated = max((book.created_at for book in found), default=now())
    entries = "".join(
        f"<entry><id>{site}/books/{book.id}</id><title>{escape(book.title)}</title>"
        f'<link href="{site}/books/{book.id}"/><updated>{_moment(book.created_at)}</updated>'
        f"<author><name>{escape(formatting.authors_of(book))}</name></author>"
        + (f'<summary type="html">{escape(book.description)}</summary>' if book.description else "")
        + "</entry>"
        for book in found
    )
    response = _xml(
        '<feed xmlns="http://www.w3.org/2005/Atom">'
        f"<id>{site}/feed.atom</id><title>{escape(title)}</title>"
        f'<link rel="self" href="{site}/feed.atom"/><link href="{site}/"/>'
        f"<updated>{_moment(updated)}</updated><author><name>{escape(name)}</name></author>"
        f"{entries}</feed>",
        content_type="application/atom+xml",
    )
    response.headers["Vary"] = "Cookie, Accept-Language"
    return response


async def search_description(request: web.Request) -> web.Response:
    """GET /opensearch.xml: the description of the search for browsers (OpenSearch 1.1)."""
    name = request.config_dict[SETTINGS].store_name
    template = quoteattr(f"{_site(request)}/books?q={{searchTerms}}")
    return _xml(
        '<OpenSearchDescription xmlns="http://a9.com/-/spec/opensearch/1.1/">'
        f"<ShortName>{escape(name[:16])}</ShortName><Description>{escape(name)}</Description>"
        f'<InputEncoding>UTF-8</InputEncoding><Url type="text/html" template={template}/>'
        "</OpenSearchDescription>",
        content_type="application/opensearchdescription+xml",
    )


def _sitemap(request: web.Request, entries: Iterable[tuple[str, datetime | None]]) -> web.Response:
    site = _site(request)
    urls = "".join(
        f"<url><loc>{escape(site + path)}</loc>"
        + (f"<lastmod>{_moment(changed)}</lastmod>" if changed else "")
        + "</url>"
        for path, changed in entries
    )
    return _xml(f'<urlset xmlns="{_SITEMAPS}">{urls}</urlset>')


def _xml(text: str, *, content_type: str = "application/xml") -> web.Response:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'
    response = web.Response(text=text, content_type=content_type, headers=_AN_HOUR)
    response.enable_compression()
    return response


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _site(request: web.Request) -> str:
    return request.config_dict[SETTINGS].base_url.rstrip("/")
