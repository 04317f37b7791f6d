"""The form to add and edit a book."""

import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from admin import form_values
from admin.rendering import NO_ERROR, FormError, page
from bookstore.catalogue import books, categories
from bookstore.catalogue.books import Book
from bookstore.catalogue.validation import ROLES, BookInput
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import BookstoreError, Invalid, IsbnTaken, Stale
from bookstore.regional import money
from bookstore.users.permissions import Permission, permits
from web.auth.sessions import current_user
from web.server.keys import ENGINE
from web.server.request_context import now
from web.store import flash, forms

_NUMBERS = ("year", "pages")
#: The labels of the fields, also in error messages.
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
    "on_sale_from": "On sale from",
    "stock": "Stock",
    "categories": "Categories",
    "description": "Description",
}
#: Fields whose text is stored as entered.
_TEXTS = LABELS.keys() - {*_NUMBERS, "authors", "price_cents", "stock", "categories"}
_WITH_ROLE = re.compile(r"(.*\S)\s*\(([a-z]+)\)")


async def show_new(request: web.Request) -> web.Response:
    """GET /admin/books/new."""
    return await _page(request, None, {}, [])


async def create(request: web.Request) -> web.Response:
    """POST /admin/books/new: add a book to the catalogue."""
    form, chosen = await _read_form(request)
    errors: dict[str, str] = {}
    values = _field_values(form, errors)
    values["categories"] = chosen
    _parse("price_cents", form_values.parse_cents, form, values, errors)
    _parse(
        "stock",
        form_values.parse_integer,
        {"stock": form.get("stock", "").strip() or "0"},
        values,
        errors,
    )

    async def work() -> Book:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await books.create(
                conn, BookInput(**values), user_id=current_user(request).id, now=now()
            )

    if not errors:
        try:
            book = await retry_transaction(work)
        except (Invalid, IsbnTaken) as error:
            _add_error(error, errors)
    if errors:
        return await _page(request, None, form, chosen, errors=errors, status=422)
    await flash.add(request, "ok", f"{book.title} was added to the catalogue.")
    raise web.HTTPSeeOther(f"/admin/books/{book.id}")


async def show(request: web.Request, form_error: FormError = NO_ERROR) -> web.Response:
    """GET /admin/books/{book_id}."""
    async with reading(request.config_dict[ENGINE]) as conn:
        book = await books.get(conn, int(request.match_info["book_id"]), withdrawn=True)
    if book.withdrawn_at is not None:
        form_error = form_error.for_fields([])
    chosen = [it.slug for it in book.categories]
    return await _page(request, book, _form_values(book), chosen, form_error=form_error)


async def change(request: web.Request) -> web.Response:
    """POST /admin/books/{book_id}: concurrent changes are shown, not overwritten."""
    book_id = int(request.match_info["book_id"])
    form, chosen = await _read_form(request)
    version = form.get("version", "")
    errors: dict[str, str] = {}
    values = _field_values(form, errors)
    if permits(current_user(request).role, Permission.CHANGE_PRICES):
        _parse("price_cents", form_values.parse_cents, form, values, errors)

    async def work() -> Book:
        # Text that is no version never matches the current one.
        seen = int(version) if form_values.is_id(version) else 0
        changes = dict(values)
        async with transaction(request.config_dict[ENGINE]) as conn:
            before = [it.slug for it in (await books.get(conn, book_id)).categories]
            # The first category determines the colour of the cover, so the others keep their order.
            kept = [slug for slug in before if slug in chosen]
            changes["categories"] = kept + [slug for slug in chosen if slug not in kept]
            return await books.change(
                conn, book_id, seen, changes, user_id=current_user(request).id, now=now()
            )

    status = 422
    if not errors:
        try:
            book = await retry_transaction(work)
        except Stale:
            status = 409
        except (Invalid, IsbnTaken) as error:
            _add_error(error, errors)
        else:
            await flash.add(request, "ok", f"{book.title} is saved.")
            raise web.HTTPSeeOther(f"/admin/books/{book_id}")
    async with reading(request.config_dict[ENGINE]) as conn:
        latest = await books.get(conn, book_id, withdrawn=True)
    conflicts = {}
    if status == 409:
        conflicts = {
            name: value
            for name, value in _form_values(latest).items()
            if _differs(name, form, value)
        }
    return await _page(
        request, latest, form, chosen, errors=errors, conflicts=conflicts, status=status
    )


async def _page(
    request: web.Request,
    book: Book | None,
    typed: Mapping[str, str],
    chosen: list[str],
    *,
    errors: Mapping[str, str] | None = None,
    conflicts: Mapping[str, str] | None = None,
    form_error: FormError = NO_ERROR,
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
        conflicts=conflicts or {},
        is_stale=status == 409,
        errors=errors or {},
        labels=LABELS,
        form_error=form_error,
        roles=ROLES,
        tree=tree,
        typed=typed,
    )


def _form_values(book: Book) -> dict[str, str]:
    """The values of the form's fields for a book."""
    typed = {name: str(getattr(book, name) or "") for name in (*_TEXTS, *_NUMBERS)}
    typed["authors"] = "\n".join(
        person.name if person.role == "author" else f"{person.name} ({person.role})"
        for person in book.authors
    )
    typed["price_cents"] = money.plain(book.price_cents)
    return typed


def _field_values(form: Mapping[str, str], errors: dict[str, str]) -> dict[str, Any]:
    """The entered values of a book, except its categories, price and stock."""
    values: dict[str, Any] = {name: form.get(name, "") for name in _TEXTS}
    for name in _NUMBERS:
        if form.get(name, "").strip():
            _parse(name, form_values.parse_integer, form, values, errors)
        else:
            values[name] = None
    values["authors"] = [
        _author(line.strip()) for line in form.get("authors", "").splitlines() if line.strip()
    ]
    return values


def _author(line: str) -> dict[str, str]:
    """Parses `Edith Grossman (translator)`, or a name without a role."""
    found = _WITH_ROLE.fullmatch(line)
    if found is not None and found[2] in ROLES:
        return {"name": found[1], "role": found[2]}
    return {"name": line}


def _parse(
    name: str,
    read: Any,
    form: Mapping[str, str],
    values: dict[str, Any],
    errors: dict[str, str],
) -> None:
    try:
        values[name] = read(name, form.get(name, ""))
    except Invalid as error:
        errors[name] = str(error)


def _add_error(error: BookstoreError, errors: dict[str, str]) -> None:
    errors[error.field if isinstance(error, Invalid) else "isbn13"] = str(error)


def _differs(name: str, form: Mapping[str, str], value: str) -> bool:
    typed = form.get(name)
    return typed is not None and typed.split() != value.split()


async def _read_form(request: web.Request) -> tuple[Mapping[str, str], list[str]]:
    """The fields of the form, and the slugs of all selected categories."""
    sent = await forms.sent(request, forms.LONG)
    chosen = [value for value in sent.getall("categories", []) if isinstance(value, str)]
    return forms.once(sent), chosen
