"""Sign-in and security: links in e-mails, passwords, devices, API tokens, second factor."""

import re

import pyotp
import pytest

from bookstore.users.permissions import Role
from tests.web.conftest import PASSWORD
from tests.web.mailbox import kinds_to, token_to
from tests.web.store.pages import Browser

MIRA = "mira@example.com"
NEW_PASSWORD = "eight wells deep"


@pytest.fixture
async def mira(visitor):
    return Browser(await visitor(Role.CUSTOMER, MIRA))


async def sign_in(browser, password=PASSWORD, following="/account"):
    await browser.go(f"/sign-in?next={following}")
    return await browser.press("Sign in", email=MIRA, password=password)


async def test_a_forgotten_password_is_reset_by_email(server, browser, mira):
    await browser.go("/sign-in")
    await browser.follow("Forgotten your password?")
    await browser.press("Send e-mail", email=MIRA)
    assert browser.title == "Check your e-mail"
    token = await token_to(server, MIRA, "reset-password")

    await browser.go(f"/reset-password/{token}")
    await browser.press("Set password", password=NEW_PASSWORD)

    assert browser.path == "/sign-in"
    assert "Your new password is set" in browser.text
    await browser.press("Sign in", email=MIRA, password=NEW_PASSWORD)
    assert browser.title == "Your account"
    assert (await mira.go("/account")).path == "/sign-in?next=/account"


async def test_the_reset_page_does_not_reveal_accounts(browser, mira):
    pages = []
    for email in (MIRA, "nobody@example.com"):
        await browser.go("/forgot-password")
        await browser.press("Send e-mail", email=email)
        pages.append((browser.status, browser.text.replace(email, "")))

    assert pages[0] == pages[1]


async def test_s08_all_invalid_links_have_the_same_page(server, browser, mira):
    await browser.go("/forgot-password")
    await browser.press("Send e-mail", email=MIRA)
    token = await token_to(server, MIRA, "reset-password")
    await browser.go(f"/reset-password/{token}")
    await browser.press("Set password", password=NEW_PASSWORD)

    pages = []
    for path in (f"/reset-password/{token}", "/reset-password/1-x", "/verify-email/x"):
        await browser.go(path)
        pages.append((browser.status, browser.text))

    assert pages == [pages[0]] * 3
    assert pages[0][0] == 404
    assert browser.title == "This link is no longer valid"


async def test_an_invalid_new_password_has_an_error_message(server, browser, mira):
    await browser.go("/forgot-password")
    await browser.press("Send e-mail", email=MIRA)
    await browser.go(f"/reset-password/{await token_to(server, MIRA, 'reset-password')}")

    await browser.press("Set password", password="short")

    assert browser.status == 422
    assert "Use 8 to 128 characters." in browser.text
    await browser.press("Set password", password=NEW_PASSWORD)
    assert browser.path == "/sign-in"


async def test_pages_with_a_secret_url_send_no_referrer(server, browser, mira):
    await browser.go("/forgot-password")
    await browser.press("Send e-mail", email=MIRA)
    token = await token_to(server, MIRA, "reset-password")

    answer = await browser.client.get(f"/reset-password/{token}")

    assert answer.headers["Referrer-Policy"] == "no-referrer"


async def test_opening_a_link_does_not_use_it(server, browser):
    await browser.go("/register")
    await browser.press("Create account", name="Mira", email=MIRA, password=PASSWORD)
    path = f"/verify-email/{await token_to(server, MIRA, 'welcome')}"

    await browser.go(path)
    await browser.go(path)
    assert "You have not confirmed" in (await browser.go("/account")).text
    await browser.go(path)
    await browser.press("Confirm address")

    assert f"{MIRA} is confirmed" in browser.text
    assert "You have not confirmed" not in browser.text


async def test_the_confirmation_email_is_sent_again(server, mira):
    await mira.go("/account")

    await mira.press("Send the confirmation e-mail again")

    assert "We are sending an e-mail" in mira.text
    assert await kinds_to(server, MIRA) == ["verify-email"]


async def test_the_address_is_changed(server, mira):
    await mira.go("/account/email")
    await mira.press("Send e-mail", email="m@example.com", password="a guess")
    assert "This password is incorrect." in mira.text
    assert mira.form("Send e-mail").fields["email"] == "m@example.com"

    await mira.press("Send e-mail", email="m@example.com", password=PASSWORD)
    assert "Confirm the change with the link in it." in mira.text
    await mira.go(f"/verify-email/{await token_to(server, 'm@example.com', 'confirm-email')}")
    await mira.press("Use this address")

    assert "m@example.com is confirmed" in mira.text


async def test_the_password_is_changed(server, visitor, mira):
    elsewhere = Browser(await visitor())
    await sign_in(elsewhere)
    await mira.go("/account/password")

    for current, password, message in [
        ("a guess", NEW_PASSWORD, "This password is incorrect."),
        (PASSWORD, "short", "Use 8 to 128 characters."),
    ]:
        await mira.press("Change password", current=current, password=password)
        assert (mira.status, message in mira.text) == (422, True)
    await mira.press("Change password", current=PASSWORD, password=NEW_PASSWORD)

    assert "Your password is changed." in mira.text
    assert (await elsewhere.go("/account")).path == "/sign-in?next=/account"
    assert "password-changed" in await kinds_to(server, MIRA)


async def test_devices_are_signed_out(visitor, mira):
    first, second = Browser(await visitor()), Browser(await visitor())
    await sign_in(first)
    await sign_in(second)
    await mira.go("/account/sessions")
    assert mira.html.count("this device") == 1

    button = next(name for form in mira.page.forms for name in form.buttons if name == "Sign out")
    await mira.press(button)
    assert "The device is signed out." in mira.text
    await mira.press("Sign out all others")

    assert {(await each.go("/account")).path for each in (first, second)} == {
        "/sign-in?next=/account"
    }
    assert (await mira.go("/account")).path == "/account"


async def test_a_token_is_created_and_revoked(visitor, mira):
    program = await visitor()
    await mira.go("/account/tokens")
    await mira.press("Create token", name="Backup <b>")
    [token] = re.findall(r"bks_[\w-]{43}", mira.html)
    headers = {"Authorization": f"Bearer {token}"}

    assert (await program.get("/api/v1/users/me", headers=headers)).status == 200
    await mira.go("/account/tokens")
    assert token not in mira.html
    assert "Backup <b>" in mira.text
    await mira.press("Revoke")

    assert (await program.get("/api/v1/users/me", headers=headers)).status == 401


async def test_a_token_needs_a_name_and_a_scope(mira):
    await mira.go("/account/tokens")
    form = mira.form("Create token")

    await mira.press("Create token", name=" ")
    assert (mira.status, "#field-name" in mira.html) == (422, True)
    form = mira.form("Create token")
    form.fields.pop("scope-read")
    await mira.press("Create token", name="Backup")

    assert "A token needs at least one scope." in mira.text


async def secret_of(browser):
    await browser.go("/account/second-factor")
    await browser.press("Set up")
    return re.findall(r"<code>([A-Z2-7]{32})</code>", browser.html)[0]


async def test_a_second_factor_is_set_up_used_and_removed(server, visitor, mira):
    secret = await secret_of(mira)
    assert '<svg width="' in mira.html
    assert "style=" not in mira.html
    await mira.press("Turn on", code="000000")
    assert (mira.status, "This code is wrong" in mira.text) == (422, True)
    await mira.press("Turn on", code=pyotp.TOTP(secret).now())
    codes = re.findall(r"<code>([a-z2-7-]{19})</code>", mira.html)
    assert len(set(codes)) == 10

    browser = Browser(await visitor())
    await sign_in(browser, following="/cart")
    assert browser.path == "/sign-in/code?next=/cart"
    await browser.press("Sign in", code=codes[0].upper().replace("-", " "))
    assert browser.path == "/cart"
    again = Browser(await visitor())
    await sign_in(again)
    await again.press("Sign in", code=codes[0])
    assert (again.status, "This code is wrong" in again.text) == (401, True)
    await mira.go("/account/second-factor")
    assert "9 recovery codes left" in mira.text
    await mira.press("Remove the second factor", password=PASSWORD)

    assert "now requires only the password" in mira.text
    assert (await sign_in(again)).path == "/account"
    kinds = await kinds_to(server, MIRA)
    assert [kind for kind in kinds if kind != "new-device"] == [
        "second-factor-on",
        "second-factor-off",
    ]


async def test_a_code_alone_opens_nothing(browser):
    assert (await browser.go("/sign-in/code?next=/cart")).path == "/sign-in?next=/cart"


async def test_a_password_without_its_code_opens_nothing(visitor, mira):
    await mira.press("Turn on", code=pyotp.TOTP(await secret_of(mira)).now())
    browser = Browser(await visitor())

    await sign_in(browser)

    assert (await browser.go("/account")).path == "/sign-in?next=/account"


async def test_the_password_confirmation_leads_to_the_next_page(server, mira):
    await mira.go("/account/confirm?next=/account/tokens")
    await mira.press("Continue", password="a guess")
    assert (mira.status, "This password is incorrect." in mira.text) == (401, True)

    await mira.press("Continue", password=PASSWORD)

    assert mira.path == "/account/tokens"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "//e",
        "/\\e",
        "https:e",
        "%2f%2fe",
        "/%2fe",
        "/%5Ce",
        "/%09/e",
        "javascript:alert(1)",
        "https://e.example/",
        "e",
        "\t//e",
    ],
)
async def test_s26_confirmation_never_redirects_to_another_site(mira, elsewhere):
    await mira.go("/account/confirm?next=/cart")
    mira.form("Continue").fields["next"] = elsewhere

    await mira.press("Continue", password=PASSWORD)

    assert mira.path == "/account"
