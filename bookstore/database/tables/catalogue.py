"""Books, authors, categories, editions, covers and the search index."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index
from sqlalchemy.types import Integer, SmallInteger, String, Text

from bookstore.database.tables.columns import Id, Key, UtcDateTime, table

books = table(
    "books",
    Column("id", Id, primary_key=True),
    Column("isbn13", Key(13), nullable=False, unique=True),
    Column("title", String(500), nullable=False),
    Column("sort_title", Key(200), nullable=False),
    Column("subtitle", String(500)),
    Column("description", Text),
    Column("publisher", String(200)),
    Column("year", SmallInteger),
    Column("language", Key(35)),
    Column("format", Key(20)),
    Column("pages", Integer),
    Column("price_cents", Integer, nullable=False),
    # ISO 8601, as exact as it is known (2027, 2027-03 or 2027-03-01); not sold before.
    Column("on_sale_from", Key(10)),
    Column("version", Integer, nullable=False),
    # The stock is low at this quantity or below; NULL means the store's default.
    Column("low_stock", SmallInteger),
    Column("withdrawn_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    # The name of its picture in `book_covers`; NULL means a generated typographic cover.
    Column("cover", Key(40)),
    CheckConstraint("price_cents >= 0", name="price_not_negative"),
    CheckConstraint("pages > 0", name="pages_positive"),
    Index("ix_books_title", "withdrawn_at", "sort_title", "id"),
    Index("ix_books_price", "withdrawn_at", "price_cents", "id"),
    Index("ix_books_newest", "withdrawn_at", "id"),
    Index("ix_books_year", "withdrawn_at", "year", "id"),
    Index("ix_books_language", "withdrawn_at", "language", "id"),
    Index("ix_books_format", "withdrawn_at", "format", "id"),
)

# A narrow table of its own, so that workers can lock the stock without locking the book's row.
# Inserts of order lines and cart items check a foreign key to books and must not wait for workers.
book_stock = table(
    "book_stock",
    Column("book_id", Id, ForeignKey("books.id"), primary_key=True, autoincrement=False),
    Column("stock", Integer, nullable=False),
    CheckConstraint("stock >= 0", name="stock_not_negative"),
)

authors = table(
    "authors",
    Column("id", Id, primary_key=True),
    Column("name", String(255), nullable=False),
    # For searching and sorting: without accents and marks.  Different people may share it.
    Column("name_key", Key(255), nullable=False, index=True),
    # Who it is (`names.identity`).
    Column("identity_key", Key(255), nullable=False, unique=True),
)

book_authors = table(
    "book_authors",
    Column("book_id", Id, ForeignKey("books.id"), primary_key=True),
    Column("position", SmallInteger, primary_key=True, autoincrement=False),
    Column("author_id", Id, ForeignKey("authors.id"), nullable=False, index=True),
    Column("role", Key(20), nullable=False),
)

categories = table(
    "categories",
    Column("id", Id, primary_key=True),
    Column("slug", Key(100), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("parent_id", Id, ForeignKey("categories.id"), index=True),
    Column("position", Integer, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
)

# The columns from `withdrawn_at` on are copies of the book's (see `category_index`), so that one
# of these covering indexes answers a category's list: in its order, with its filters.
book_categories = table(
    "book_categories",
    Column("book_id", Id, ForeignKey("books.id"), primary_key=True),
    Column("category_id", Id, ForeignKey("categories.id"), primary_key=True),
    Column("position", SmallInteger, nullable=False),
    Column("withdrawn_at", UtcDateTime),
    Column("sort_title", Key(200), nullable=False, server_default=""),
    Column("price_cents", Integer, nullable=False, server_default="0"),
    Column("year", SmallInteger),
    Column("language", Key(35)),
    Column("format", Key(20)),
    *(
        Index(
            f"ix_book_categories_{name}",
            *("category_id", "withdrawn_at", *by, "book_id", "language", "format"),
        )
        for name, by in (
            ("newest", ()),
            ("title", ("sort_title",)),
            ("price", ("price_cents",)),
            ("year", ("year",)),
        )
    ),
)

# Books with the same `work_id` are editions of one work; `work_id` is the id of its oldest book.
editions = table(
    "editions",
    Column("book_id", Id, ForeignKey("books.id"), primary_key=True, autoincrement=False),
    Column("work_id", Id, ForeignKey("books.id"), nullable=False, index=True),
)

# On SQLite the migration makes this an FTS5 table whose rowid is the book's id.
book_search = table(
    "book_search",
    Column("book_id", Id, ForeignKey("books.id"), primary_key=True, autoincrement=False),
    Column("words", Text, nullable=False),
    Index("ft_book_search_words", "words", mysql_prefix="FULLTEXT").ddl_if(dialect="mysql"),
)

# Every word in the search index, past ones too, for suggestions when a search word is misspelled.
search_words = table("search_words", Column("word", Key(40), primary_key=True))

book_covers = table(
    "book_covers",
    Column("name", Key(60), primary_key=True),
    Column("book_id", Id, ForeignKey("books.id"), nullable=False, index=True),
    Column("file_id", Id, ForeignKey("files.id"), nullable=False, index=True),
)
