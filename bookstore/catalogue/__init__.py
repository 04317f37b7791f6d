"""The catalogue: books, authors, categories, stock, search and covers."""

from bookstore.catalogue import (
    author_merge,
    authors,
    books,
    categories,
    category_index,
    covers,
    did_you_mean,
    editions,
    facets,
    isbn,
    language_codes,
    listing,
    models,
    names,
    release,
    search,
    sitemap,
    stock,
    validation,
)
