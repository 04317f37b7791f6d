"""Trusted HTML (`Markup`) for templates.  Only this module creates it for the store's pages."""

import re
from functools import lru_cache

from markupsafe import Markup

from bookstore.catalogue import covers
from bookstore.catalogue.models import Book

#: Block elements in a description.
_BLOCK = re.compile(r"<(?:p|ul|ol|blockquote|h[1-6])\b")


def cover(book: Book, place: str = "", *, at_once: bool = False) -> Markup:
    """The book's cover: the uploaded picture, or a generated SVG.

    `place` makes element ids unique if a page shows a book twice.  `at_once` loads a picture
    eagerly, for covers that are visible without scrolling; others load lazily.
    """
    if book.cover is not None:
        return picture(book.cover, at_once=at_once)
    author = book.authors[0].name if book.authors else ""
    category = book.categories[0].name if book.categories else None
    return _drawn(book.title, author, category, book.year, place)


def picture(name: str, *, at_once: bool = False) -> Markup:
    """An uploaded cover with `srcset`; width and height are part of the file name."""
    _, _, size = name.removesuffix(".jpg").partition("-")
    width, _, height = size.partition("x")
    # Empty alt text: the title is beside the picture.
    small, loading = covers.small_name(name), "eager" if at_once else "lazy"
    return Markup(
        '<img src="/api/v1/covers/{small}" srcset="/api/v1/covers/{small} 1x,'
        ' /api/v1/covers/{large} 2x" width="{width}" height="{height}" alt="" loading="{loading}">'
    ).format(small=small, large=name, width=width, height=height, loading=loading)


def blurb(description: str) -> Markup:
    """A description in paragraphs.  `bookstore.catalogue.validation` has sanitized its HTML."""
    if _BLOCK.search(description):
        return Markup(description)  # noqa: S704 - sanitized when stored
    paragraphs = re.split(r"\n\s*\n", description.strip())
    return Markup("".join(f"<p>{text}</p>" for text in paragraphs))  # noqa: S704


@lru_cache(maxsize=4096)
def _drawn(title: str, author: str, category: str | None, year: int | None, place: str) -> Markup:
    # `covers.draw` escapes the texts.
    return Markup(covers.draw(title, author, category, year, id_suffix=place))  # noqa: S704
