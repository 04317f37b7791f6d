"""The guard goes red when a secret is told, wherever it is, and names it without notifying it."""

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
    """One that knows nothing yet; what the run's own has heard stays there."""
    ledger = Ledger()
    monkeypatch.setattr(guard, "LEDGER", ledger)
    return ledger


def letter(body, message_id="<1@example.com>"):
    written = EmailMessage()
    written["Message-ID"] = message_id
    written.set_content(body)
    return written


def test_there_are_twelve():
    assert len({*planted.KINDS}) == 12


@pytest.mark.parametrize(("secret", "kind"), planted.PLANTED.items(), ids=planted.PLANTED.values())
def test_what_was_planted_is_found_and_not_told_again(ledger, secret, kind):
    ledger.search(f"Connecting with {secret}@host", "store.log")

    assert ledger.told() == [f"The {kind} in store.log"]
    assert ledger.told() == []


def test_a_password_is_found_in_the_disguise_of_a_plain_sign_in(ledger):
    for user in ("a", "ab", "abc"):
        disguised = base64.b64encode(f"{user}:{planted.BROKER}".encode()).decode()
        ledger.search(f"Authorization: Basic {disguised}", "store.log")

        assert ledger.told() == ["The broker's password in store.log"]


@pytest.mark.parametrize("first", ["given", "told"])
def test_what_a_store_gives_out_is_found_whether_it_is_told_before_or_after(ledger, first):
    acts = [
        lambda: ledger.learn(planted.SESSION, SESSION),
        lambda: ledger.search(f"GET /?sid={SESSION}", "store.log"),
    ]
    for act in acts if first == "given" else reversed(acts):
        act()

    assert ledger.told() == ["The session in store.log"]


def test_a_link_belongs_into_one_letter(ledger):
    text = f"Open https://books.example/reset-password/{LINK}\n"
    ledger.letter(letter(text), "a.eml")
    ledger.letter(letter(text), "a.eml")
    assert ledger.told() == []

    ledger.letter(letter(text, "<2@example.com>"), "b.eml")
    ledger.search(text, "store.log")

    assert ledger.told() == [
        "The link in a letter in a second letter (b.eml)",
        "The link in a letter in store.log",
    ]


def test_a_session_belongs_into_no_letter(ledger):
    ledger.learn(planted.SESSION, SESSION)

    ledger.letter(letter(f"Your session: {SESSION}"), "a.eml")

    assert ledger.told() == ["The session in a.eml"]


@pytest.mark.parametrize("name", ["store.log", "orders.csv", "orders.xlsx", "bookstore.db"])
def test_files_are_searched(ledger, tmp_path, name):
    path = tmp_path / name
    if path.suffix == ".xlsx":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as workbook:
            workbook.writestr("sheet", f"<c>{planted.CUSTOMER}</c>")
    else:
        path.write_bytes(b"\0\xff" + planted.CUSTOMER.encode())

    ledger.folder(tmp_path)

    [leak] = ledger.told()
    assert leak.startswith(f"The customer's password in {name}")


def test_a_database_is_searched_though_nothing_stands_between_its_texts(ledger, tmp_path):
    ledger.learn(planted.TOKEN, SESSION)
    for name in ("bookstore.db", "bookstore.db-wal"):
        (tmp_path / name).write_bytes(f"\0Mira{SESSION}Quay".encode())

    ledger.folder(tmp_path)

    assert sorted(ledger.told()) == [
        "The API token in bookstore.db",
        "The API token in bookstore.db-wal",
    ]


def answered(body, url, method="GET", status=200, export=False):
    guard.heard(body, method, url, SimpleNamespace(status=status, export=export))


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("users/me/tokens", f'{{"token": "{SESSION}"}}', planted.TOKEN),
        ("users/me/totp", f'{{"secret": "{SESSION}"}}', planted.SEED),
        ("users/me/totp", f'{{"recovery_codes": ["{SESSION}"]}}', planted.CODE),
        ("orders", f'{{"access_token": "{SESSION}"}}', planted.GUEST),
    ],
)
def test_an_answer_that_gives_a_secret_out_is_the_only_one_with_it(ledger, path, body, kind):
    answered(body.encode(), f"http://shop/api/v1/{path}", "POST", 201)
    assert ledger.told() == []

    answered(body.encode(), "http://shop/api/v1/books", "GET", 500)
    answered(body.encode(), "http://shop/admin/orders.csv", export=True)

    assert ledger.told() == [
        f"The {kind} in the answer 500 to GET /api/v1/books",
        f"The {kind} in the answer 200 to GET /admin/orders.csv",
    ]


def test_a_refusal_may_repeat_the_address_that_was_asked_for(ledger):
    ledger.learn(planted.LINK, LINK)

    answered(LINK.encode(), f"http://shop/reset-password/{LINK}", status=410)
    assert ledger.told() == []
    answered(LINK.encode(), "http://shop/reset-password/other", status=410)

    assert ledger.told() == ["The link in a letter in the answer 410 to GET /reset-password/other"]


SPEAKING = """
import logging

from tests.planted import SECRET_KEY

def test_fine():
    print("a key of no importance")

def test_prints():
    print(SECRET_KEY)

def test_logs():
    logging.getLogger("bookstore").info("sealed with %s", SECRET_KEY)
"""


@pytest.mark.parametrize("processes", [(), ("-n", "1")])
def test_a_run_of_tests_that_tell_a_secret_is_red(tmp_path, processes):
    (tmp_path / "conftest.py").write_text(
        "from tests.guard import Guard\n"
        "def pytest_configure(config): config.pluginmanager.register(Guard())\n"
    )
    (tmp_path / "test_speaking.py").write_text(SPEAKING)
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


def test_this_very_run_is_searched(ledger):
    logging.getLogger("bookstore").info("session %s", SESSION)

    ledger.learn(planted.SESSION, SESSION)

    assert ledger.told() == ["The session in the log of bookstore"]
