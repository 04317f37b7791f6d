"""Renders the pages of the dashboard: each template extends `base.html`."""

from collections.abc import Awaitable, Callable, Container, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import aiohttp_jinja2
from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp_session import get_session
from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined
from markupsafe import Markup
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import assets, formatting
from bookstore.backoffice import reports
from bookstore.database.documents import is_damaged
from bookstore.errors import BookstoreError, Invalid, NotFound, PasswordNeeded
from bookstore.users.permissions import Permission, is_staff, permits
from config.settings import Settings
from web.auth.sessions import current_user
from web.server.keys import USER
from web.server.problems import from_store_error
from web.server.request_context import now
from web.server.transactions import read, write
from web.store import assets as store_files
from web.store import display_settings, flash, forms
from web.store.formatting import FILTERS
from web.store.rendering import install_translations

TEMPLATES = web.AppKey("admin_templates", Environment)
ROOT = "/admin"


class NavItem(NamedTuple):
    """A link of the navigation.

    `counter` names the field of `reports.ToDo` whose number stands beside the link.  The number is
    highlighted where it is `urgent`.
    """

    path: str
    label: str
    icon: str
    permission: Permission
    counter: str | None = None
    urgent: bool = False


#: The links of the navigation, in groups.
NAVIGATION = (
    (
        NavItem("", "Home", "home", Permission.OPEN_DASHBOARD),
        NavItem("/orders", "Orders", "orders", Permission.SEE_ORDERS, "to_pack"),
        NavItem("/books", "Books", "books", Permission.CHANGE_STOCK),
        NavItem("/categories", "Categories", "categories", Permission.CHANGE_CATEGORIES),
        NavItem("/authors", "Authors", "authors", Permission.CHANGE_BOOKS),
        NavItem("/imports", "Imports", "imports", Permission.IMPORT_BOOKS),
    ),
    (
        NavItem(
            "/notifications",
            "E-mails",
            "emails",
            Permission.SEE_NOTIFICATIONS,
            "emails_failed",
            urgent=True,
        ),
        NavItem("/queues", "Tasks", "queues", Permission.SEE_TASKS, "dead_tasks", urgent=True),
    ),
    (
        NavItem("/users", "Users", "users", Permission.SEE_USERS),
        NavItem("/texts", "Texts", "texts", Permission.CHANGE_TEXTS),
        NavItem("/audit", "Audit log", "audit", Permission.SEE_AUDIT),
    ),
)


class FormError(NamedTuple):
    """Why a form was not accepted, and what was typed into it, so that its page can show both.

    `field` is the suffix of the field's id on the page.  It is empty where the page shows no such
    field; what was typed is then shown below the message.  `values` has the text of each field.
    `invalid` is true if the field itself has a wrong value.
    """

    field: str = ""
    values: Mapping[str, str] = MappingProxyType({})
    message: str = ""
    invalid: bool = False

    @classmethod
    def from_error(
        cls, error: BookstoreError, field: str, values: Mapping[str, str]
    ) -> "FormError":
        """The form error that shows `error` at this field."""
        return cls(field, values, str(error), isinstance(error, Invalid))

    def value(self, field: str, default: str = "") -> str:
        """The text of a field: what was typed, or `default` on a page that is opened anew."""
        return self.values.get(field, default)

    def for_fields(self, fields: Container[str]) -> "FormError":
        """The same error for a page with these fields: the field may no longer be there."""
        if self.field in fields:
            return self
        return FormError("", {"": self.value(self.field)}, self.message)


#: The page is opened anew: no form failed.
NO_ERROR = FormError()


def setup(app: web.Application, settings: Settings) -> None:
    """Set the templates of the dashboard up."""
    environment = aiohttp_jinja2.setup(
        app,
        app_key=TEMPLATES,
        default_helpers=False,
        loader=ChoiceLoader(
            [PackageLoader("admin"), PrefixLoader({"store": PackageLoader("web.store")})]
        ),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        filters=FILTERS | formatting.FILTERS,
    )
    install_translations(environment)
    environment.tests["damaged"] = is_damaged
    environment.globals |= {
        "own_file": assets.url,
        "cover_of": formatting.cover_of,
        "currency": settings.currency,
        "file": store_files.url,
        "store_name": settings.store_name,
    }


async def page(
    request: web.Request,
    template: str,
    *,
    status: int = 200,
    form_error: FormError = NO_ERROR,
    **content: Any,
) -> web.Response:
    """The page for this member of staff; its status is 422 if a form on it failed."""
    user = current_user(request)
    to_do = await read(request, reports.to_do)

    def may(permission: str) -> bool:
        return permits(user.role, Permission(permission))

    html = aiohttp_jinja2.render_string(
        template,
        request,
        {
            "here": request.path_qs if request.method in ("GET", "HEAD") else ROOT,
            "may": may,
            "moment": now(),
            "notices": flash.pop_notices(await get_session(request)),
            "path": request.path.removeprefix(ROOT),
            "navigation": [
                [item for item in group if permits(user.role, item.permission)]
                for group in NAVIGATION
            ],
            "form_error": form_error,
            "theme": display_settings.of(request),
            "to_do": to_do,
            "user": user,
        }
        | content,
        app_key=TEMPLATES,
    )
    return web.Response(
        text=html,
        status=422 if form_error.message else status,
        content_type="text/html",
        headers={"Cache-Control": "no-store"},
    )


def part(request: web.Request, template: str, content: Mapping[str, Any]) -> Markup:
    """A part of a page, in the current language.  The template escapes its values."""
    html = aiohttp_jinja2.render_string(template, request, content, app_key=TEMPLATES)
    return Markup(html)  # noqa: S704


@web.middleware
async def error_page(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Show errors to staff on a page of the dashboard."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        shown: BookstoreError = NotFound()
    except PasswordNeeded:
        raise  # The site asks for the password, then returns to this address.
    except BookstoreError as error:
        shown = error
    user = request[USER]
    if user is None or not is_staff(user.role):
        raise shown
    return await page(
        request, "error.html", status=from_store_error(shown).status, detail=str(shown)
    )


async def run_action(
    request: web.Request, work: Callable[[AsyncConnection], Awaitable[str]]
) -> None:
    """Run `work` in one transaction, and show its result as a message on the next page.

    `work` returns the message.  If it raises an error of the store, the error is the message.
    """
    if error := await run_form(request, work):
        await flash.add(request, "bad", str(error))


async def run_form(
    request: web.Request, work: Callable[[AsyncConnection], Awaitable[str]]
) -> BookstoreError | None:
    """Run `work` in one transaction; returns the error, for the caller to show at the form.

    `work` returns the message for the next page.
    """
    try:
        message = await write(request, work)
    except BookstoreError as error:
        return error
    await flash.add(request, "ok", message)
    return None


def back_to(form_address: str | None, default: str) -> str:
    """The address of the list that a form was sent from; `default` if it is no such address."""
    address = forms.local(form_address, default)
    return address if address.split("?", 1)[0].startswith(default) else default
