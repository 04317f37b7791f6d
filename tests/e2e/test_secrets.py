"""S-39: secrets of a store are found only where they belong."""

import re
import sqlite3
from contextlib import closing
from email import message_from_bytes, policy

import pyotp

from tests.e2e.programs import Embedded
from tests.e2e.shopper import Shopper
from tests.servers.process import wait_until

KEY = "a-secret-key-that-signs-links-and-derives-seeds"
ROOT = "seven stone bridges upstream"
FIRST, SECOND, WRONG = "nineteen grey herons", "forty clay teacups", "not-my-password-at-all"


def links(store, folder):
    """The secrets in the links of the e-mails."""
    found = set()
    for path in store.mail.glob("*.eml"):
        text = message_from_bytes(path.read_bytes(), policy=policy.default)
        body = text.get_body(("plain",)).get_content()
        found |= set(re.findall(rf"/{folder}/(\S+)", body))
    return found


async def test_s39_secrets_stay_secret():
    with Embedded({"BOOKSTORE_SECRET_KEY": KEY, "BOOKSTORE_ADMIN_PASSWORD": ROOT}) as store:
        secrets = {"key": KEY, "administrator": ROOT}
        seen = []
        async with Shopper(store.url) as guest, Shopper(store.url) as shopper:
            await guest.fill_cart({1: 1})
            placed = await guest.order(email="guest@example.com")
            secrets["guest's link"] = placed["access_token"]
            account = {"email": "mira@example.com", "name": "Mira", "password": FIRST}
            await shopper.ask("POST", "users", account, expect=201)
            secrets |= {"password": FIRST, "next password": SECOND, "wrong password": WRONG}
            for body in ({**account, "password": WRONG}, {"email": "x", "password": WRONG}):
                async with guest.http.post("session", json=body) as answer:
                    seen.append(await answer.text())
            async with guest.http.post("session", data=f'{{"password": "{WRONG}"') as answer:
                seen.append(await answer.text())
            cookies = {c.key: c.value for c in shopper.http.cookie_jar}
            secrets["session"] = cookies["sid"]
            made = await shopper.ask("POST", "users/me/tokens", {"name": "till"}, expect=201)
            secrets["token"] = made["token"]
            factor = await shopper.ask("POST", "users/me/totp")
            secrets["seed"] = factor["secret"]
            code = {"code": pyotp.TOTP(factor["secret"]).now()}
            codes = await shopper.ask("PUT", "users/me/totp", code)
            secrets["recovery code"] = next(iter(codes.values()))[0]
            seen.append(str(await shopper.ask("GET", "users/me/export")))
            await guest.ask("POST", "password-resets", {"email": account["email"]}, expect=202)
            wait_until(lambda: links(store, "reset-password"))
            [secrets["reset link"]] = links(store, "reset-password")
            await guest.ask(
                "PUT",
                f"password-resets/{secrets['reset link']}",
                {"password": SECOND},
                expect=204,
            )
            secrets["verification link"] = links(store, "verify-email").pop()
            for path in ("/metrics", "/readyz", "/api/openapi.json", "/no/such/page"):
                async with guest.http.get(store.url + path) as answer:
                    seen.append(await answer.text())
        seen += [store.run(*command).stdout for command in (("config", "show"), ("tasks", "list"))]
        with closing(sqlite3.connect(store.folder / "var" / "bookstore.db")) as conn:
            kept = "\n".join(conn.iterdump())
        seen.append(store.output())

    assert len(secrets) == 12
    for text in [*seen, kept]:
        assert {name for name, secret in secrets.items() if secret in text} == set()
