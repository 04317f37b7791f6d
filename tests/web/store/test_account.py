from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from bookstore.users.permissions import Role
from tests.web.conftest import PASSWORD
from tests.web.store.pages import Browser
from web.app import make_app


async def test_registration_signs_in_and_keeps_the_cart(browser, dune):
    await browser.go(f"/books/{dune.id}")
    await browser.press("Add to cart")
    await browser.go("/register?next=/cart")

    await browser.press("Create account", name="Mira", email="mira@example.com", password=PASSWORD)

    assert browser.path == "/cart"
    assert "Dune was added to your cart." in browser.text
    assert "Mira" in browser.page.links


async def test_a_wrong_password_keeps_the_entered_email(visitor, browser):
    await visitor(Role.CUSTOMER, "mira@example.com")
    await browser.go("/sign-in")

    await browser.press("Sign in", email="mira@example.com", password="wrong")

    assert browser.status == 401
    assert "is incorrect" in browser.text
    assert browser.form("Sign in").fields["email"] == "mira@example.com"


async def test_repeated_wrong_passwords_are_throttled(settings):
    async with TestClient(
        TestServer(await make_app(replace(settings, rate_limits=True)))
    ) as client:
        browser = Browser(client)
        await browser.go("/sign-in")
        for _ in range(6):
            await browser.press("Sign in", email="mira@example.com", password="wrong")

    assert browser.status == 429
    assert "Please wait" in browser.text


async def test_registration_errors_link_to_the_field(browser):
    await browser.go("/register")

    await browser.press("Create account", name="Mira", email="mira@example.com", password="short")

    assert browser.status == 422
    assert browser.form("Create account").fields["email"] == "mira@example.com"
    assert "#field-password" in browser.page.links.values()


async def test_signing_in_returns_to_the_requested_page(visitor, browser):
    await visitor(Role.CUSTOMER, "mira@example.com")

    await browser.go("/account")
    assert browser.path == "/sign-in?next=/account"
    await browser.press("Sign in", email="mira@example.com", password=PASSWORD)

    assert (browser.path, browser.title) == ("/account", "Your account")


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "/\t/evil.example", "evil"],
)
async def test_signing_in_never_redirects_to_another_site(visitor, browser, elsewhere):
    await visitor(Role.CUSTOMER, "mira@example.com")
    await browser.go("/sign-in?next=/cart")

    form = browser.form("Sign in")
    form.fields["next"] = elsewhere
    await browser.press("Sign in", email="mira@example.com", password=PASSWORD)

    assert browser.path == "/account"


async def test_a_user_changes_the_name_and_signs_out(visitor):
    browser = Browser(await visitor(Role.CUSTOMER, "mira@example.com"))
    await browser.go("/account")

    await browser.press("Save", name="Mira <b>S</b>")
    assert "Your name is now Mira <b>S</b>." in browser.text
    await browser.press("Sign out")

    assert browser.path == "/"
    assert "Sign in" in browser.page.links


async def test_the_dark_theme_is_remembered(browser, dune):
    await browser.go("/books")

    await browser.press("Dark")

    assert browser.path == "/books"
    assert 'data-theme="dark"' in browser.html
    assert 'data-theme="dark"' in (await browser.go("/")).html
