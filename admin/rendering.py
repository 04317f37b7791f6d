"""A page of the dashboard: its template within the frame that all have."""

from collections.abc import Awaitable, Callable, Container, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import aiohttp_jinja2
from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp_session import get_session
from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined
from sqlalchemy.ext.asyncio import AsyncConnection

from admin import assets, formatting
from bookstore.backoffice import reports
from bookstore.database.engine import reading, retry_transaction, transaction
from bookstore.errors import BookstoreError, Invalid, NotFound, PasswordNeeded
from bookstore.users.permissions import Permission, is_staff, permits
from config.settings import Settings
from web.auth.sessions import me
from web.server.keys import ENGINE, USER
from web.server.problems import of_refusal
from web.server.request_context import now
from web.store import assets as store_files
from web.store import display_settings, flash, forms
from web.store.formatting import FILTERS
from web.store.rendering import speak

TEMPLATES = web.AppKey("admin_templates", Environment)
ROOT = "/admin"


class Place(NamedTuple):
    """A link of the rail; `waits` names what does so there, `urgent` when it is stuck."""

    path: str
    word: str
    icon: str
    permission: Permission
    waits: str | None = None
    urgent: bool = False


#: The rail, in its groups.
RAIL = (
    (
        Place("", "Home", "home", Permission.OPEN_DASHBOARD),
        Place("/orders", "Orders", "orders", Permission.SEE_ORDERS, "to_pack"),
        Place("/books", "Books", "books", Permission.CHANGE_STOCK),
        Place("/categories", "Categories", "categories", Permission.CHANGE_CATEGORIES),
        Place("/authors", "Authors", "authors", Permission.CHANGE_BOOKS),
        Place("/imports", "Imports", "imports", Permission.IMPORT_BOOKS),
    ),
    (
        Place(
            "/notifications",
            "Letters",
            "letters",
            Permission.SEE_NOTIFICATIONS,
            "letters_failed",
            urgent=True,
        ),
        Place("/queues", "Queues", "queues", Permission.SEE_TASKS, "dead_tasks", urgent=True),
    ),
    (
        Place("/users", "Users", "users", Permission.SEE_USERS),
        Place("/texts", "Texts", "texts", Permission.CHANGE_TEXTS),
        Place("/audit", "Audit", "audit", Permission.SEE_AUDIT),
    ),
)


class Refusal(NamedTuple):
    """Why a form was not accepted, and what was typed into it, for its page to show again.

    `place` names the field among all of the page, as its id does; it is empty where no such field
    is shown, and what was typed there stands below the sentence. `typed` has the text of each
    place. `faulty` says that the field itself is wrong.
    """

    place: str = ""
    typed: Mapping[str, str] = MappingProxyType({})
    sentence: str = ""
    faulty: bool = False

    @classmethod
    def of(cls, error: BookstoreError, place: str, typed: Mapping[str, str]) -> "Refusal":
        """What the page says about the error."""
        return cls(place, typed, str(error), isinstance(error, Invalid))

    def text(self, place: str, otherwise: str = "") -> str:
        """What the field at this place has in it: what was typed, or what a new page has there."""
        return self.typed.get(place, otherwise)

    def among(self, places: Container[str]) -> "Refusal":
        """The same for a page with these places: the field may have gone meanwhile."""
        if self.place in places:
            return self
        return Refusal("", {"": self.text(self.place)}, self.sentence)


#: Nothing was refused: the page as it is first seen.
NO_REFUSAL = Refusal()


def prepare(app: web.Application, settings: Settings) -> None:
    """Let the dashboard make pages."""
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
    speak(environment)
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
    refusal: Refusal = NO_REFUSAL,
    **content: Any,
) -> web.Response:
    """The page, for this member of the staff; with 422 where a form on it was refused."""
    user = me(request)
    async with reading(request.config_dict[ENGINE]) as conn:
        duties = await reports.duties(conn)

    def may(permission: str) -> bool:
        return permits(user.role, Permission(permission))

    html = aiohttp_jinja2.render_string(
        template,
        request,
        {
            "duties": duties,
            "here": request.path_qs if request.method in ("GET", "HEAD") else ROOT,
            "may": may,
            "moment": now(),
            "notices": flash.taken(await get_session(request)),
            "path": request.path.removeprefix(ROOT),
            "rail": [
                [place for place in group if permits(user.role, place.permission)] for group in RAIL
            ],
            "refusal": refusal,
            "theme": display_settings.of(request),
            "user": user,
        }
        | content,
        app_key=TEMPLATES,
    )
    return web.Response(
        text=html,
        status=422 if refusal.sentence else status,
        content_type="text/html",
        headers={"Cache-Control": "no-store"},
    )


@web.middleware
async def refused(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Show staff within their own frame what cannot be done."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        refusal: BookstoreError = NotFound()
    except PasswordNeeded:
        raise  # The site asks for the password and comes back.
    except BookstoreError as error:
        refusal = error
    user = request[USER]
    if user is None or not is_staff(user.role):
        raise refusal
    return await page(
        request, "refused.html", status=of_refusal(refusal).status, detail=str(refusal)
    )


async def carry_out(
    request: web.Request, work: Callable[[AsyncConnection], Awaitable[str]]
) -> None:
    """Do the work in one transaction, and say on the next page what came of it.

    `work` gives the sentence to say; where it is refused, it is the refusal's.
    """
    if error := await attempt(request, work):
        await flash.leave(request, "bad", str(error))


async def attempt(
    request: web.Request, work: Callable[[AsyncConnection], Awaitable[str]]
) -> BookstoreError | None:
    """Do the work in one transaction; the refusal is the caller's to show.

    `work` gives the sentence to say on the next page.
    """

    async def whole() -> str:
        async with transaction(request.config_dict[ENGINE]) as conn:
            return await work(conn)

    try:
        said = await retry_transaction(whole)
    except BookstoreError as error:
        return error
    await flash.leave(request, "ok", said)
    return None


def back_to(form_address: str | None, default: str) -> str:
    """The list that a form was sent from, if it is one of the dashboard's."""
    address = forms.local(form_address, default)
    return address if address.split("?", 1)[0].startswith(default) else default
