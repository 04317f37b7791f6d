"""The guard fails a test when a secret leaks, and does not repeat the secret."""

import base64
import logging
import subprocess
import sys
import zipfile
from email.message import EmailMessage
from types import SimpleNamespace

import pytest

from tests import guard, planted
from tests.planted import Ledger

SESSION = "9fVq2xT0sWmJ8kLrYbN4cPzEhA6uGdRi1oXt5w7QeB3"
LINK = f"12-{SESSION}"


@pytest.fixture
def ledger(monkeypatch):
    """An empty ledger in place of that of the test run."""
    ledger = Ledger()
    monkeypatch.setattr(guard, "LEDGER", ledger)
    return ledger


def email(body, message_id="<1@example.com>"):
    message = EmailMessage()
    message["Message-ID"] = message_id
    message.set_content(body)
    return message


def test_there_are_twelve_kinds_of_secrets():
    assert len({*planted.KINDS}) == 12


@pytest.mark.parametrize(("secret", "kind"), planted.PLANTED.items(), ids=planted.PLANTED.values())
def test_a_planted_secret_is_found_and_reported_once(ledger, secret, kind):
    ledger.search(f"Connecting with {secret}@host", "store.log")

    assert ledger.take_leaks() == [f"The {kind} in store.log"]
    assert ledger.take_leaks() == []


def test_a_password_is_found_in_base64(ledger):
    for user in ("a", "ab", "abc"):
        disguised = base64.b64encode(f"{user}:{planted.BROKER}".encode()).decode()
        ledger.search(f"Authorization: Basic {disguised}", "store.log")

        assert ledger.take_leaks() == ["The broker's password in store.log"]


@pytest.mark.parametrize("first", ["issued", "seen"])
def test_an_issued_secret_is_found_before_and_after_it_is_learned(ledger, first):
    acts = [
        lambda: ledger.learn(planted.SESSION, SESSION),
        lambda: ledger.search(f"GET /?sid={SESSION}", "store.log"),
    ]
    for act in acts if first == "issued" else reversed(acts):
        act()

    assert ledger.take_leaks() == ["The session in store.log"]


def test_a_link_must_occur_in_one_email_only(ledger):
    text = f"Open https://books.example/reset-password/{LINK}\n"
    ledger.email(email(text), "a.eml")
    ledger.email(email(text), "a.eml")
    assert ledger.take_leaks() == []

    ledger.email(email(text, "<2@example.com>"), "b.eml")
    ledger.search(text, "store.log")

    assert ledger.take_leaks() == [
        "The link in an e-mail in a second e-mail (b.eml)",
        "The link in an e-mail in store.log",
    ]


def test_a_session_must_not_occur_in_an_email(ledger):
    ledger.learn(planted.SESSION, SESSION)

    ledger.email(email(f"Your session: {SESSION}"), "a.eml")

    assert ledger.take_leaks() == ["The session in a.eml"]


@pytest.mark.parametrize("name", ["store.log", "orders.csv", "orders.xlsx", "bookstore.db"])
def test_files_are_searched(ledger, tmp_path, name):
    path = tmp_path / name
    if path.suffix == ".xlsx":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as workbook:
            workbook.writestr("sheet", f"<c>{planted.CUSTOMER}</c>")
    else:
        path.write_bytes(b"\0\xff" + planted.CUSTOMER.encode())

    ledger.folder(tmp_path)

    [leak] = ledger.take_leaks()
    assert leak.startswith(f"The customer's password in {name}")


def test_a_database_is_searched_although_it_has_no_separators(ledger, tmp_path):
    ledger.learn(planted.TOKEN, SESSION)
    for name in ("bookstore.db", "bookstore.db-wal"):
        (tmp_path / name).write_bytes(f"\0Mira{SESSION}Quay".encode())

    ledger.folder(tmp_path)

    assert sorted(ledger.take_leaks()) == [
        "The API token in bookstore.db",
        "The API token in bookstore.db-wal",
    ]


def respond(body, url, method="GET", status=200, export=False):
    guard.check_response(body, method, url, SimpleNamespace(status=status, export=export))


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("users/me/tokens", f'{{"token": "{SESSION}"}}', planted.TOKEN),
        ("users/me/totp", f'{{"secret": "{SESSION}"}}', planted.SEED),
        ("users/me/totp", f'{{"recovery_codes": ["{SESSION}"]}}', planted.CODE),
        ("orders", f'{{"access_token": "{SESSION}"}}', planted.GUEST),
    ],
)
def test_only_the_response_that_issues_a_secret_may_contain_it(ledger, path, body, kind):
    respond(body.encode(), f"http://shop/api/v1/{path}", "POST", 201)
    assert ledger.take_leaks() == []

    respond(body.encode(), "http://shop/api/v1/books", "GET", 500)
    respond(body.encode(), "http://shop/admin/orders.csv", export=True)

    assert ledger.take_leaks() == [
        f"The {kind} in the response 500 to GET /api/v1/books",
        f"The {kind} in the response 200 to GET /admin/orders.csv",
    ]


def test_an_error_may_repeat_the_requested_path(ledger):
    ledger.learn(planted.LINK, LINK)

    respond(LINK.encode(), f"http://shop/reset-password/{LINK}", status=410)
    assert ledger.take_leaks() == []
    respond(LINK.encode(), "http://shop/reset-password/other", status=410)

    assert ledger.take_leaks() == [
        "The link in an e-mail in the response 410 to GET /reset-password/other"
    ]


LEAKING_TESTS = """
import logging

from tests.planted import SECRET_KEY

def test_fine():
    print("not a secret")

def test_prints():
    print(SECRET_KEY)

def test_logs():
    logging.getLogger("bookstore").info("signed with %s", SECRET_KEY)
"""


@pytest.mark.parametrize("processes", [(), ("-n", "1")])
def test_a_run_with_leaking_tests_fails(tmp_path, processes):
    (tmp_path / "conftest.py").write_text(
        "from tests.guard import Guard\n"
        "def pytest_configure(config): config.pluginmanager.register(Guard())\n"
    )
    (tmp_path / "test_leaking.py").write_text(LEAKING_TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "--show-capture=no", *processes]
    run = subprocess.run(
        [*command, "--rootdir", tmp_path, "-p", "no:cacheprovider", tmp_path],
        env={"PYTHONPATH": ".", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    assert "3 passed, 2 errors" in run.stdout
    assert "The secret key in Captured stdout call" in run.stdout
    assert "The secret key in the log of bookstore" in run.stdout
    assert planted.SECRET_KEY not in run.stdout


def test_the_current_run_is_searched(ledger):
    logging.getLogger("bookstore").info("session %s", SESSION)

    ledger.learn(planted.SESSION, SESSION)

    assert ledger.take_leaks() == ["The session in the log of bookstore"]
