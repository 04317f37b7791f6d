"""HTML that templates may take as it is.  It is made here and nowhere else."""

import re
from functools import lru_cache

from markupsafe import Markup

from bookstore import covers
from bookstore.records import Book

#: What already makes blocks of a description.
_BLOCK = re.compile(r"<(?:p|ul|ol|blockquote|h[1-6])\b")


def cover(book: Book, place: str = "") -> Markup:
    """The book's cover as SVG; `place` tells apart two drawings of a book on one page."""
    author = book.authors[0].name if book.authors else ""
    category = book.categories[0].name if book.categories else None
    return _drawn(book.title, author, category, book.year, place)


def blurb(description: str) -> Markup:
    """A description in paragraphs.  `bookstore.drafts` has cleaned its HTML."""
    if _BLOCK.search(description):
        return Markup(description)  # noqa: S704 - cleaned when it was written
    paragraphs = re.split(r"\n\s*\n", description.strip())
    return Markup("".join(f"<p>{text}</p>" for text in paragraphs))  # noqa: S704


@lru_cache(maxsize=4096)
def _drawn(title: str, author: str, category: str | None, year: int | None, place: str) -> Markup:
    # The drawing escapes what stands on it.
    return Markup(covers.draw(title, author, category, year, place=place))  # noqa: S704
