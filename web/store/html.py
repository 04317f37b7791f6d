"""HTML that templates may take as it is.  It is made here and nowhere else."""

import re
from functools import lru_cache

from markupsafe import Markup

from bookstore.catalogue import covers
from bookstore.catalogue.models import Book

#: What already makes blocks of a description.
_BLOCK = re.compile(r"<(?:p|ul|ol|blockquote|h[1-6])\b")


def cover(book: Book, place: str = "", *, at_once: bool = False) -> Markup:
    """The book's cover: its picture, or a drawing as SVG.

    `place` tells apart two drawings of a book on one page.  `at_once` is for a picture that is
    seen without scrolling; others are loaded when they come near.
    """
    if book.cover is not None:
        return picture(book.cover, at_once=at_once)
    author = book.authors[0].name if book.authors else ""
    category = book.categories[0].name if book.categories else None
    return _drawn(book.title, author, category, book.year, place)


def picture(name: str, *, at_once: bool = False) -> Markup:
    """An uploaded cover in the size that fits the screen; its name has its width and height."""
    _, _, size = name.removesuffix(".jpg").partition("-")
    width, _, height = size.partition("x")
    # Without words of its own: the title stands beside it.
    return Markup(
        '<img src="/api/v1/covers/{small}" srcset="/api/v1/covers/{small} 1x,'
        ' /api/v1/covers/{large} 2x" width="{width}" height="{height}" alt="" loading="{loading}">'
    ).format(
        loading="eager" if at_once else "lazy",
        small=covers.small_name(name),
        large=name,
        width=width,
        height=height,
    )


def blurb(description: str) -> Markup:
    """A description in paragraphs.  `bookstore.catalogue.validation` has cleaned its HTML."""
    if _BLOCK.search(description):
        return Markup(description)  # noqa: S704 - cleaned when it was written
    paragraphs = re.split(r"\n\s*\n", description.strip())
    return Markup("".join(f"<p>{text}</p>" for text in paragraphs))  # noqa: S704


@lru_cache(maxsize=4096)
def _drawn(title: str, author: str, category: str | None, year: int | None, place: str) -> Markup:
    # The drawing escapes what stands on it.
    return Markup(covers.draw(title, author, category, year, place=place))  # noqa: S704
