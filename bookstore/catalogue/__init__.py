"""Books, authors, categories and stock, and how they are found."""

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
    listing,
    models,
    search,
    stock,
    validation,
)
