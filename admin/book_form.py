"""One book: the form in which it is made and changed."""

import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from admin import form_values
from admin.rendering import NO_REFUSAL, Refusal, page
from bookstore.catalogue import books, categories
from bookstore.catalogue.books import Book
from bookstore.catalogue.validation import ROLES, Draft
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import BookstoreError, Invalid, IsbnTaken, Stale
from bookstore.users.permissions import Permission, permits
from web.auth.sessions import me
from web.server.keys import ENGINE
from web.server.request_context import now
from web.store import flash, forms
from web.store.formatting import plain_money

#: Fields that are typed as they are kept.
_TEXTS = ("isbn13", "title", "subtitle", "publisher", "language", "format", "description")
_NUMBERS = ("year", "pages")
#: How the fields are called where a fault is told.
LABELS = {
    "isbn13": "ISBN",
    "title": "Title",
    "subtitle": "Subtitle",
    "authors": "Authors",
    "publisher": "Publisher",
    "year": "Year",
    "language": "Language",
    "format": "Format",
    "pages": "Pages",
    "price_cents": "Price",
    "stock": "Copies",
    "categories": "Categories",
    "description": "Description",
}
_WITH_ROLE = re.compile(r"(.*\S)\s*\(([a-z]+)\)")


async def show_new(request: web.Request) -> web.Response:
    """GET /admin/books/new."""
    return await _page(request, None, {}, [])


async def create(request: web.Request) -> web.Response:
    """POST /admin/books/new: a book comes into the catalogue."""
    form, chosen = await _sent(request)
    faults: dict[str, str] = {}
    facts = _facts(form, faults)
    facts["categories"] = chosen
    _read("price_cents", form_values.cents, form, facts, faults)
    _read(
        "stock", form_values.whole, {"stock": form.get("stock", "").strip() or "0"}, facts, faults
    )

    async def work() -> Book:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await books.create(conn, Draft(**facts), user_id=me(request).id, now=now())

    if not faults:
        try:
            book = await retry_transaction(work)
        except (Invalid, IsbnTaken) as error:
            _note(error, faults)
    if faults:
        return await _page(request, None, form, chosen, faults=faults, status=422)
    await flash.leave(request, "ok", f"{book.title} is in the catalogue.")
    raise web.HTTPSeeOther(f"/admin/books/{book.id}")


async def show(request: web.Request, refusal: Refusal = NO_REFUSAL) -> web.Response:
    """GET /admin/books/{book_id}."""
    async with reading(request.config_dict[ENGINE]) as conn:
        book = await books.get(conn, int(request.match_info["book_id"]), withdrawn=True)
    if book.withdrawn_at is not None:
        refusal = refusal.among([])
    chosen = [it.slug for it in book.categories]
    return await _page(request, book, _typed(book), chosen, refusal=refusal)


async def change(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}: what was changed meanwhile is shown, not overwritten."""
    book_id = int(request.match_info["book_id"])
    form, chosen = await _sent(request)
    version = form.get("version", "")
    faults: dict[str, str] = {}
    facts = _facts(form, faults)
    if permits(me(request).role, Permission.CHANGE_PRICES):
        _read("price_cents", form_values.cents, form, facts, faults)

    async def work() -> Book:
        # One that is none is not the latest.
        seen = int(version) if form_values.is_id(version) else 0
        changes = dict(facts)
        async with transaction(request.config_dict[ENGINE]) as conn:
            before = [it.slug for it in (await books.get(conn, book_id)).categories]
            # The first category decides about the cover, so those that stay keep their place.
            kept = [slug for slug in before if slug in chosen]
            changes["categories"] = kept + [slug for slug in chosen if slug not in kept]
            return await books.change(
                conn, book_id, seen, changes, user_id=me(request).id, now=now()
            )

    status = 422
    if not faults:
        try:
            book = await retry_transaction(work)
        except Stale:
            status = 409
        except (Invalid, IsbnTaken) as error:
            _note(error, faults)
        else:
            await flash.leave(request, "ok", f"{book.title} is saved.")
            raise web.HTTPSeeOther(f"/admin/books/{book_id}")
    async with reading(request.config_dict[ENGINE]) as conn:
        latest = await books.get(conn, book_id, withdrawn=True)
    clashes = {}
    if status == 409:
        clashes = {
            name: value for name, value in _typed(latest).items() if _differs(name, form, value)
        }
    return await _page(request, latest, form, chosen, faults=faults, clashes=clashes, status=status)


async def _page(
    request: web.Request,
    book: Book | None,
    typed: Mapping[str, str],
    chosen: list[str],
    *,
    faults: Mapping[str, str] | None = None,
    clashes: Mapping[str, str] | None = None,
    refusal: Refusal = NO_REFUSAL,
    status: int = 200,
) -> web.Response:
    async with reading(request.config_dict[ENGINE]) as conn:
        tree = await categories.tree(conn, counted=False)
    return await page(
        request,
        "book.html",
        status=status,
        book=book,
        chosen=chosen,
        clashes=clashes or {},
        stale=status == 409,
        faults=faults or {},
        labels=LABELS,
        refusal=refusal,
        roles=ROLES,
        tree=tree,
        typed=typed,
    )


def _typed(book: Book) -> dict[str, str]:
    """The book as it stands in the form."""
    typed = {name: str(getattr(book, name) or "") for name in (*_TEXTS, *_NUMBERS)}
    typed["authors"] = "\n".join(
        person.name if person.role == "author" else f"{person.name} ({person.role})"
        for person in book.authors
    )
    typed["price_cents"] = plain_money(book.price_cents)
    return typed


def _facts(form: Mapping[str, str], faults: dict[str, str]) -> dict[str, Any]:
    """What the form says about a book, but for its categories, price and copies."""
    facts: dict[str, Any] = {name: form.get(name, "") for name in _TEXTS}
    for name in _NUMBERS:
        if form.get(name, "").strip():
            _read(name, form_values.whole, form, facts, faults)
        else:
            facts[name] = None
    facts["authors"] = [
        _author(line.strip()) for line in form.get("authors", "").splitlines() if line.strip()
    ]
    return facts


def _author(line: str) -> dict[str, str]:
    """`Edith Grossman (translator)`, or a name alone."""
    found = _WITH_ROLE.fullmatch(line)
    if found is not None and found[2] in ROLES:
        return {"name": found[1], "role": found[2]}
    return {"name": line}


def _read(
    name: str,
    read: Any,
    form: Mapping[str, str],
    facts: dict[str, Any],
    faults: dict[str, str],
) -> None:
    try:
        facts[name] = read(name, form.get(name, ""))
    except Invalid as error:
        faults[name] = str(error)


def _note(error: BookstoreError, faults: dict[str, str]) -> None:
    faults[error.field if isinstance(error, Invalid) else "isbn13"] = str(error)


def _differs(name: str, form: Mapping[str, str], value: str) -> bool:
    typed = form.get(name)
    return typed is not None and typed.split() != value.split()


async def _sent(request: web.Request) -> tuple[Mapping[str, str], list[str]]:
    """The fields of the form, and the slugs of all ticked categories."""
    sent = await forms.sent(request, forms.LONG)
    chosen = [value for value in sent.getall("categories", []) if isinstance(value, str)]
    return forms.once(sent), chosen
