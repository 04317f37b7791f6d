"""Sign-in, sign-out and registration."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from bookstore import i18n
from bookstore.catalogue.validation import single_line
from bookstore.database.engine import reading
from bookstore.errors import BadCode, BadCredentials, BookstoreError, EmailTaken, Invalid
from bookstore.users import accounts
from bookstore.users.accounts import User
from web.auth import credentials, guest_cart, session_storage, sessions
from web.auth.login_throttle import throttle_registration
from web.server import languages
from web.server.errors import TooManyAttempts
from web.server.keys import ENGINE, SETTINGS, USER
from web.server.problems import from_store_error
from web.server.request_context import now
from web.store import flash, forms
from web.store.rendering import page

LONGEST_NAME = 200
_START = "/account"


async def show(request: web.Request) -> web.Response:
    """GET /sign-in; `next` is the page to continue with."""
    _redirect_if_signed_in(request)
    return await _sign_in_page(request, {}, request.query.get("next"))


async def sign_in(request: web.Request) -> web.Response:
    """POST /sign-in."""
    form = await forms.read(request)
    email, password = form.get("email", ""), form.get("password", "")
    following = form.get("next")
    try:
        user = await credentials.check_password(request, email, password)
    except (BadCredentials, TooManyAttempts) as error:
        return await _sign_in_page(request, form, following, refusal=error)
    if user.second_factor:
        await sessions.start_code_step(request, user)
        raise web.HTTPSeeOther(_with_next("/sign-in/code", following))
    await _complete_sign_in(request, user)
    raise web.HTTPSeeOther(_after(request, user, following))


async def show_code(request: web.Request) -> web.Response:
    """GET /sign-in/code: the second step, after the password."""
    await _user_awaiting_code(request, request.query.get("next"))
    return await _code_page(request, request.query.get("next"))


async def give_code(request: web.Request) -> web.Response:
    """POST /sign-in/code."""
    form = await forms.read(request)
    following = form.get("next")
    user = await _user_awaiting_code(request, following)
    try:
        await credentials.check_code(request, user, form.get("code", ""))
    except (BadCode, TooManyAttempts) as error:
        return await _code_page(request, following, refusal=error)
    await _complete_sign_in(request, user)
    raise web.HTTPSeeOther(_after(request, user, following))


async def show_registration(request: web.Request) -> web.Response:
    """GET /register."""
    _redirect_if_signed_in(request)
    return await _registration_page(request, {}, request.query.get("next"))


async def register(request: web.Request) -> web.Response:
    """POST /register: create the account and sign in."""
    form = await forms.read(request)
    faults: dict[str, str] = {}
    try:
        name = single_line("name", form.get("name", ""), LONGEST_NAME)
        async with throttle_registration(request):
            user = await accounts.sign_up(
                request.config_dict[ENGINE],
                email=form.get("email", ""),
                name=name,
                password=form.get("password", ""),
                language=languages.email_language(request),
                now=now(),
            )
    except Invalid as error:
        faults[error.field] = error.translated()
    except EmailTaken as error:
        faults["email"] = error.translated()
    except TooManyAttempts as error:
        return refused(
            await _registration_page(request, form, form.get("next"), refusal=error), error
        )
    if faults:
        return await _registration_page(request, form, form.get("next"), faults=faults, status=422)
    await _complete_sign_in(request, user)
    raise web.HTTPSeeOther(forms.local(form.get("next"), _START))


async def sign_out(request: web.Request) -> web.Response:
    """POST /sign-out."""
    await sessions.sign_out(request)
    # The next person at this browser must not see the account with the back button.
    raise web.HTTPSeeOther("/", headers={"Clear-Site-Data": '"cache", "storage"'})


def refused(response: web.Response, error: BookstoreError) -> web.Response:
    """The form again, with the status of the error and `Retry-After`."""
    problem = from_store_error(error)
    response.set_status(problem.status)
    response.headers.update(problem.headers)
    return response


def _redirect_if_signed_in(request: web.Request) -> None:
    if request[USER] is not None:
        raise web.HTTPSeeOther(forms.local(request.query.get("next"), _START))


async def _complete_sign_in(request: web.Request, user: User) -> None:
    """Sign the user in and show what happened to the guest cart."""
    for sentence in await guest_cart.sign_in(request, user):
        await flash.add(request, "ok", i18n.translated(sentence))


async def _sign_in_page(
    request: web.Request,
    typed: Mapping[str, str],
    following: str | None,
    *,
    refusal: BookstoreError | None = None,
) -> web.Response:
    content: dict[str, Any] = {
        "typed": {"email": typed.get("email", "")},
        "next": forms.local(following, ""),
        "refusal": refusal,
    }
    response = await page(request, "sign_in.html", **content)
    return response if refusal is None else refused(response, refusal)


async def _code_page(
    request: web.Request, following: str | None, *, refusal: BookstoreError | None = None
) -> web.Response:
    response = await page(
        request, "sign_in_code.html", next=forms.local(following, ""), refusal=refusal
    )
    return response if refusal is None else refused(response, refusal)


async def _user_awaiting_code(request: web.Request, following: str | None) -> User:
    """The user who has entered the password and owes a code; without one, redirect to sign-in."""
    user_id = await sessions.pending_code_user_id(request)
    if user_id is not None:
        async with reading(request.config_dict[ENGINE]) as conn:
            user = await accounts.get(conn, user_id)
        if not user.disabled:
            return user
    raise web.HTTPSeeOther(_with_next("/sign-in", following))


def _after(request: web.Request, user: User, following: str | None) -> str:
    """The page after the sign-in.  Staff without a required second factor set it up first."""
    if session_storage.needs_enrolment(request.config_dict[SETTINGS], user):
        return "/account/second-factor"
    return forms.local(following, _START)


def _with_next(path: str, following: str | None) -> str:
    back = forms.local(following, "")
    return f"{path}?{urlencode({'next': back})}" if back else path


async def _registration_page(
    request: web.Request,
    typed: Mapping[str, str],
    following: str | None,
    *,
    faults: Mapping[str, str] | None = None,
    refusal: BookstoreError | None = None,
    status: int = 200,
) -> web.Response:
    content: dict[str, Any] = {
        "typed": {name: typed.get(name, "") for name in ("email", "name")},
        "next": forms.local(following, ""),
        "faults": faults or {},
        "refusal": refusal,
    }
    return await page(request, "register.html", status=status, **content)
