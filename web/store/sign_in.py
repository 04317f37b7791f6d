"""Sign-in, sign-out and registration."""

from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from bookstore import i18n
from bookstore.catalogue.validation import single_line
from bookstore.errors import BadCode, BadCredentials, BookstoreError, EmailTaken, Invalid
from bookstore.users import accounts
from bookstore.users.accounts import User
from web.auth import credentials, guest_cart, session_storage, sessions
from web.auth.login_throttle import throttle_registration
from web.server import languages
from web.server.errors import TooManyAttempts
from web.server.keys import ENGINE, SETTINGS, USER
from web.server.request_context import now
from web.server.transactions import read
from web.store import flash, forms
from web.store.rendering import form_page

LONGEST_NAME = 200
_START = "/account"


async def show(request: web.Request) -> web.Response:
    """GET /sign-in; `next` is the page to continue with."""
    _redirect_if_signed_in(request)
    return await _page(request, "sign_in.html", request.query.get("next"))


async def sign_in(request: web.Request) -> web.Response:
    """POST /sign-in."""
    form = await forms.read(request)
    following = form.get("next")
    try:
        user = await credentials.check_password(
            request, form.get("email", ""), form.get("password", "")
        )
    except (BadCredentials, TooManyAttempts) as error:
        return await _page(request, "sign_in.html", following, error, fields={}, typed=form)
    if user.second_factor:
        await sessions.start_code_step(request, user)
        raise web.HTTPSeeOther(_with_next("/sign-in/code", following))
    await _complete_sign_in(request, user)
    raise web.HTTPSeeOther(_after(request, user, following))


async def show_code(request: web.Request) -> web.Response:
    """GET /sign-in/code: the second step, after the password."""
    following = request.query.get("next")
    await _user_awaiting_code(request, following)
    return await _page(request, "sign_in_code.html", following)


async def give_code(request: web.Request) -> web.Response:
    """POST /sign-in/code."""
    form = await forms.read(request)
    following = form.get("next")
    user = await _user_awaiting_code(request, following)
    try:
        await credentials.check_code(request, user, form.get("code", ""))
    except (BadCode, TooManyAttempts) as error:
        return await _page(request, "sign_in_code.html", following, error, fields={})
    await _complete_sign_in(request, user)
    raise web.HTTPSeeOther(_after(request, user, following))


async def show_registration(request: web.Request) -> web.Response:
    """GET /register."""
    _redirect_if_signed_in(request)
    return await _page(request, "register.html", request.query.get("next"))


async def register(request: web.Request) -> web.Response:
    """POST /register: create the account and sign in."""
    form = await forms.read(request)
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
    except (Invalid, EmailTaken, TooManyAttempts) as error:
        return await _page(request, "register.html", form.get("next"), error, typed=form)
    await _complete_sign_in(request, user)
    raise web.HTTPSeeOther(forms.local(form.get("next"), _START))


async def sign_out(request: web.Request) -> web.Response:
    """POST /sign-out."""
    await sessions.sign_out(request)
    # The next person at this browser must not see the account with the back button.
    raise web.HTTPSeeOther("/", headers={"Clear-Site-Data": '"cache", "storage"'})


def _redirect_if_signed_in(request: web.Request) -> None:
    if request[USER] is not None:
        raise web.HTTPSeeOther(forms.local(request.query.get("next"), _START))


async def _complete_sign_in(request: web.Request, user: User) -> None:
    """Sign the user in and show what happened to the guest cart."""
    for sentence in await guest_cart.sign_in(request, user):
        await flash.add(request, "ok", i18n.translated(sentence))


async def _page(
    request: web.Request,
    template: str,
    following: str | None,
    error: BookstoreError | None = None,
    **content: Any,
) -> web.Response:
    """A page whose form leads to the page `following`; see `form_page`."""
    return await form_page(request, template, error, next=forms.local(following, ""), **content)


async def _user_awaiting_code(request: web.Request, following: str | None) -> User:
    """The user who has entered the password and owes a code; without one, redirect to sign-in."""
    user_id = await sessions.pending_code_user_id(request)
    if user_id is not None:
        user = await read(request, accounts.get, user_id)
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
