"""Signing in and out, and making an account."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from bookstore import users
from bookstore.drafts import plain
from bookstore.errors import BadCredentials, BookstoreError, EmailTaken, Invalid
from bookstore.users import User
from web import carts, sessions
from web.keys import ENGINE, USER
from web.refusals import TooManyAttempts
from web.requests import now
from web.store import forms, notices
from web.store.page import page
from web.throttle import guessing

LONGEST_NAME = 200
_START = "/account"


async def show(request: web.Request) -> web.Response:
    """GET /sign-in; `next` is where the visitor wanted to go."""
    _pass_on(request)
    return await _sign_in_page(request, {}, request.query.get("next"))


async def sign_in(request: web.Request) -> web.Response:
    """POST /sign-in."""
    form = await forms.read(request)
    email, password = form.get("email", ""), form.get("password", "")
    try:
        with guessing(request, email):
            user = await users.sign_in(request.config_dict[ENGINE], email, password)
    except BadCredentials as error:
        return await _sign_in_page(request, form, form.get("next"), refusal=error, status=401)
    except TooManyAttempts as error:
        response = await _sign_in_page(request, form, form.get("next"), refusal=error, status=429)
        response.headers["Retry-After"] = str(error.retry_after_s)
        return response
    await _enter(request, user)
    raise web.HTTPSeeOther(forms.local(form.get("next"), _START))


async def show_registration(request: web.Request) -> web.Response:
    """GET /register."""
    _pass_on(request)
    return await _registration_page(request, {}, request.query.get("next"))


async def register(request: web.Request) -> web.Response:
    """POST /register: the new user is signed in."""
    form = await forms.read(request)
    faults: dict[str, str] = {}
    try:
        name = plain("name", form.get("name", ""), LONGEST_NAME)
        user = await users.sign_up(
            request.config_dict[ENGINE],
            email=form.get("email", ""),
            name=name,
            password=form.get("password", ""),
            now=now(),
        )
    except Invalid as error:
        faults[error.field] = str(error)
    except EmailTaken as error:
        faults["email"] = str(error)
    if faults:
        return await _registration_page(request, form, form.get("next"), faults=faults, status=422)
    await _enter(request, user)
    raise web.HTTPSeeOther(forms.local(form.get("next"), _START))


async def sign_out(request: web.Request) -> web.Response:
    """POST /sign-out."""
    await sessions.sign_out(request)
    # Back must not show an account to whoever sits here next.
    raise web.HTTPSeeOther("/", headers={"Clear-Site-Data": '"cache", "storage"'})


def _pass_on(request: web.Request) -> None:
    if request[USER] is not None:
        raise web.HTTPSeeOther(forms.local(request.query.get("next"), _START))


async def _enter(request: web.Request, user: User) -> None:
    """Sign the user in and tell what became of the cart that was filled before."""
    for sentence in await carts.sign_in(request, user):
        await notices.leave(request, "ok", sentence)


async def _sign_in_page(
    request: web.Request,
    typed: Mapping[str, str],
    following: str | None,
    *,
    refusal: BookstoreError | None = None,
    status: int = 200,
) -> web.Response:
    content: dict[str, Any] = {
        "typed": {"email": typed.get("email", "")},
        "next": forms.local(following, ""),
        "refusal": refusal,
    }
    return await page(request, "sign_in.html", status=status, **content)


async def _registration_page(
    request: web.Request,
    typed: Mapping[str, str],
    following: str | None,
    *,
    faults: Mapping[str, str] | None = None,
    status: int = 200,
) -> web.Response:
    content: dict[str, Any] = {
        "typed": {name: typed.get(name, "") for name in ("email", "name")},
        "next": forms.local(following, ""),
        "faults": faults or {},
    }
    return await page(request, "register.html", status=status, **content)
