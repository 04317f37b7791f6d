"""The command line, as operators and scripts use it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, text, update

from bookstore import __version__
from bookstore.cli.main import main
from bookstore.database.tables import book_stock, tasks
from tests import planted

GOOD = "9780439023481,The Hunger Games,Suzanne Collins,12.90,EUR,5,2008,en,Young Adult"
BAD = "9780439023482,The Hunger Games,Suzanne Collins,12.90,EUR,5,2008,en,Young Adult"
HEADER = "isbn,title,authors,price,currency,stock,year,language,category"


@pytest.fixture
def bookstore(database_url, tmp_path, monkeypatch):
    """Runs `bookstore ...` with its own settings; returns stdout, stderr and exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOOKSTORE_DATABASE_URL", database_url)
    monkeypatch.setenv("BOOKSTORE_VAR_DIR", str(tmp_path / "var"))

    def run(*arguments, stdin=None):
        result = CliRunner().invoke(main, arguments, input=stdin)
        planted.LEDGER.search(result.output, "the output of the command line")
        return result

    return run


@pytest.fixture
def catalogue(tmp_path):
    path = tmp_path / "catalogue.csv"
    path.write_text("\n".join([HEADER, GOOD, BAD, ""]))
    return str(path)


def last_json(result):
    return json.loads(result.stdout.splitlines()[-1])


def test_an_import_lists_the_refused_rows_with_their_lines(bookstore, catalogue):
    result = bookstore("import", "books", catalogue)

    assert result.exit_code == 3
    assert "2 read, 1 created, 0 updated, 0 unchanged, 1 refused" in result.stdout
    assert "line 3, isbn '9780439023482'" in result.stderr
    assert "it would be 1" in result.stderr


def test_a_second_import_of_the_same_file_changes_nothing(bookstore, catalogue):
    bookstore("import", "books", catalogue)

    result = bookstore("import", "books", catalogue, "--json")

    assert last_json(result) == {
        "read": 2,
        "created": 0,
        "updated": 0,
        "unchanged": 1,
        "refused": 1,
    }


def test_a_dry_run_prints_the_same_numbers_and_changes_nothing(bookstore, catalogue):
    dry = last_json(bookstore("import", "books", catalogue, "--dry-run", "--json"))

    assert dry == last_json(bookstore("import", "books", catalogue, "--json"))
    assert dry["created"] == 1


def test_a_file_that_is_not_a_catalogue_is_refused_with_one_line(bookstore, tmp_path):
    path = tmp_path / "cover.csv"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")

    result = bookstore("import", "books", str(path))

    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1


def test_an_account_is_created_once(bookstore):
    created = bookstore(
        "users", "create", "boss@example.com", "--role", "admin", "--password-stdin",
        stdin=f"{planted.CUSTOMER}\n",
    )  # fmt: skip
    again = bookstore(
        "users", "create", "BOSS@example.com", "--password-stdin", stdin=f"{planted.CUSTOMER}\n"
    )

    assert (created.exit_code, again.exit_code) == (0, 1)
    assert "already" in again.stderr


def test_a_password_that_is_too_short_is_refused(bookstore):
    result = bookstore("users", "create", "a@example.com", "--password-stdin", stdin="short\n")

    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_lost_second_factor_is_removed(bookstore):
    bookstore("users", "create", "a@example.com", "--password-stdin", stdin=f"{planted.CUSTOMER}\n")

    removed = bookstore("users", "remove-second-factor", "A@example.com")
    unknown = bookstore("users", "remove-second-factor", "b@example.com")

    assert removed.exit_code == 0
    assert "a@example.com now signs in with the password only" in removed.stderr
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "This user could not be found." in unknown.stderr


def test_the_tables_are_at_the_newest_revision(bookstore):
    assert bookstore("db", "upgrade").exit_code == 0
    assert bookstore("db", "check").exit_code == 0
    assert bookstore("db", "current").stdout.strip().isdigit()


def test_the_grants_for_the_database_account_are_printed(bookstore, database_url):
    granted = bookstore("db", "grants", "store@10.0.0.%")

    if database_url.startswith("sqlite"):
        assert (granted.exit_code, granted.stdout) == (2, "")
        return
    lines = granted.stdout.splitlines()
    assert all(
        line.startswith("GRANT ") and line.endswith(" TO 'store'@'10.0.0.%';") for line in lines
    )
    assert bookstore("db", "grants", "'x' WITH GRANT OPTION").exit_code == 2


def test_the_doctor_finds_nothing_in_a_healthy_store(bookstore):
    bookstore("sample-data")

    result = bookstore("doctor", "--json")

    assert result.exit_code == 0
    assert last_json(result) == {"findings": []}


def test_the_doctor_lists_its_findings_and_fails(bookstore, database_url):
    bookstore("sample-data")
    engine = create_engine(database_url.replace("+aiosqlite", "").replace("aiomysql", "pymysql"))
    with engine.begin() as conn:
        conn.execute(update(book_stock).values(stock=book_stock.c.stock + 1))
    engine.dispose()

    result = bookstore("doctor", "--json")

    assert result.exit_code == 1
    found = {finding["invariant"] for finding in last_json(result)["findings"]}
    assert found == {"stock is the sum of its movements"}


@pytest.mark.parametrize(
    "command", [("doctor",), ("tasks", "list"), ("sample-data",), ("tasks", "show", "1")]
)
def test_a_database_without_tables_gives_one_line_with_the_remedy(
    bookstore, tmp_path, command, monkeypatch
):
    monkeypatch.setenv("BOOKSTORE_DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path}/empty.db")

    result = bookstore(*command)

    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "run `bookstore db upgrade` first" in result.stderr


def test_outdated_tables_give_one_line_with_the_remedy(bookstore, database_url):
    url = database_url.replace("aiosqlite", "pysqlite").replace("aiomysql", "pymysql")
    engine = create_engine(url)
    with engine.begin() as conn:
        conn.execute(text("ALTER TABLE tasks RENAME COLUMN publish_count TO old_publish_count"))
    try:
        result = bookstore("tasks", "list")
    finally:
        with engine.begin() as conn:
            conn.execute(text("ALTER TABLE tasks RENAME COLUMN old_publish_count TO publish_count"))
        engine.dispose()

    assert result.exit_code == 1
    assert "run `bookstore db upgrade` first" in result.stderr


COMPLETE = """
eval "$(bookstore completion bash)"
COMP_WORDS=(bookstore %s) COMP_CWORD=%d
_bookstore_completion bookstore
printf '%%s\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("tas", ["tasks"]),
        ("tasks re", ["replay"]),
        ("users create me@example.com --role ma", ["manager"]),
        ("completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_bash_completes_commands_options_and_choices(words, expected):
    script = COMPLETE % (words or "''", words.count(" ") + 1)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    typed = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (typed.stderr, typed.stdout.split()) == ("", expected)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_scripts_exist_for_other_shells(bookstore, shell):
    result = bookstore("completion", shell)

    assert result.exit_code == 0
    assert f"_BOOKSTORE_COMPLETE={shell}_complete" in result.stdout


def test_the_version_is_that_of_the_package(bookstore):
    result = bookstore("version")

    assert (result.exit_code, result.stdout) == (0, f"{__version__}\n")


def test_tasks_can_be_listed_shown_replayed_and_discarded(bookstore, database_url):
    bookstore("users", "create", "a@example.com", "--password-stdin", stdin=f"{planted.CUSTOMER}\n")
    (task,) = last_json(bookstore("tasks", "list", "--json"))["items"]
    number = str(task["id"])

    assert task["task"] == "send_notifications"
    assert bookstore("tasks", "show", number).exit_code == 0
    shown = last_json(bookstore("tasks", "show", number, "--json"))
    assert {name: shown[name] for name in task} == task
    assert bookstore("tasks", "replay", number).exit_code == 0
    refused = bookstore("tasks", "discard", number, "--reason", "a test")
    assert (refused.exit_code, "Only dead tasks" in refused.stderr) == (1, True)
    engine = create_engine(database_url.replace("+aiosqlite", "").replace("aiomysql", "pymysql"))
    with engine.begin() as conn:
        conn.execute(update(tasks).values(dead_at=tasks.c.created_at))
    engine.dispose()
    assert bookstore("tasks", "discard", number, "--reason", "a test").exit_code == 0
    assert bookstore("tasks", "show", number).exit_code == 1
    assert last_json(bookstore("tasks", "list", "--json"))["items"] == []


def test_a_test_email_is_sent(bookstore, tmp_path):
    result = bookstore("mail", "test", "me@example.com")

    assert result.exit_code == 0
    assert len(list((tmp_path / "var" / "mail").glob("*.eml"))) == 1


def test_programs_can_read_the_mail_servers_answer(bookstore):
    answer = last_json(bookstore("mail", "test", "me@example.com", "--json"))

    assert answer["answer"].startswith("Written to ")


def test_programs_can_read_the_invalid_settings(bookstore, monkeypatch):
    bookstore("db", "upgrade")
    fine = bookstore("config", "check", "--json")
    monkeypatch.setenv("BOOKSTORE_PORT", "http")
    wrong = bookstore("config", "check", "--json")

    assert (fine.exit_code, last_json(fine)) == (0, {"problems": {}, "warnings": []})
    assert (wrong.exit_code, [*last_json(wrong)["problems"]]) == (2, ["BOOKSTORE_PORT"])


def test_an_invalid_database_account_is_refused_before_the_upgrade(bookstore, monkeypatch):
    monkeypatch.setenv("BOOKSTORE_DATABASE_URL", "mysql+aiomysql://nobody@127.0.0.1:1/nothing")

    assert bookstore("db", "upgrade", "--grant", "store'; DROP").exit_code == 2
    monkeypatch.setenv("BOOKSTORE_DATABASE_URL", "sqlite+aiosqlite:///nowhere.db")
    assert bookstore("db", "upgrade", "--grant", "store").exit_code == 2


def test_the_openapi_document_is_printed(bookstore):
    assert last_json(bookstore("openapi"))["openapi"].startswith("3.1")


def test_settings_are_shown_without_secrets(bookstore, monkeypatch):
    monkeypatch.setenv("BOOKSTORE_SECRET_KEY", "planted-secret")
    monkeypatch.setenv("BOOKSTORE_BROKER_URL", "amqp://shop:planted-password@mq/;amqp://mq2/")
    monkeypatch.setenv("BOOKSTORE_SMTP_URL", "smtps://shop:planted-password@mail.example.com")

    shown = bookstore("config", "show", "--json")

    assert "planted" not in shown.output
    assert last_json(shown)["broker_url"] == "amqp://shop:***@mq/;amqp://mq2/"


def test_all_invalid_settings_are_listed(bookstore, monkeypatch):
    monkeypatch.setenv("BOOKSTORE_PORT", "http")
    monkeypatch.setenv("BOOKSTORE_CURRENCY", "euro")
    monkeypatch.setenv("BOOKSTORE_SMTP_URL", "ftp://mail")

    result = bookstore("config", "check")

    assert result.exit_code == 2
    for name in ("BOOKSTORE_PORT", "BOOKSTORE_CURRENCY", "BOOKSTORE_SMTP_URL"):
        assert name in result.stderr
    assert "Traceback" not in result.output


def test_production_refuses_unsafe_settings(bookstore, monkeypatch):
    monkeypatch.setenv("BOOKSTORE_ENV", "production")
    monkeypatch.setenv("BOOKSTORE_SECRET_KEY", "short")
    monkeypatch.setenv("BOOKSTORE_BROKER_URL", "amqp://guest:guest@mq/")
    monkeypatch.setenv("BOOKSTORE_RATE_LIMITS", "off")

    result = bookstore("config", "check")

    assert result.exit_code == 2
    for name in ("SECRET_KEY", "BASE_URL", "BROKER_URL", "RATE_LIMITS"):
        assert f"BOOKSTORE_{name}" in result.stderr


def test_worker_without_a_broker_and_run_with_one_are_wrong_use(bookstore, monkeypatch):
    assert bookstore("worker").exit_code == 2
    monkeypatch.setenv("BOOKSTORE_BROKER_URL", "amqp://127.0.0.1:1/")
    assert bookstore("run").exit_code == 2


def test_an_unreachable_database_gives_one_line_on_stderr(bookstore, monkeypatch):
    monkeypatch.setenv("BOOKSTORE_DATABASE_URL", "mysql+aiomysql://nobody@127.0.0.1:1/nothing")

    result = bookstore("doctor")

    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1


def test_every_command_has_help():
    def names(command, path=()):
        yield path
        for name, sub in getattr(command, "commands", {}).items():
            yield from names(sub, (*path, name))

    for path in names(main):
        result = CliRunner().invoke(main, [*path, "--help"])
        assert result.exit_code == 0
        assert result.stdout.startswith("Usage:")


def test_exported_books_can_be_imported_again(bookstore, tmp_path):
    bookstore("sample-data")
    for chosen in ("csv", "xlsx"):
        file = tmp_path / f"books.{chosen}"

        written = bookstore("export", "books", "--format", chosen, "-o", str(file))
        read = bookstore("import", "books", str(file), "--json")

        assert (written.exit_code, read.exit_code) == (0, 0)
        assert last_json(read)["unchanged"] == last_json(read)["read"] == 193
    orders = bookstore("export", "orders")
    assert orders.stdout.startswith("number,placed_at,")


def test_columns_and_encoding_can_be_given(bookstore, tmp_path):
    file = tmp_path / "books.csv"
    file.write_bytes("a;b;c;d\n0441172717;Дюна;F;1,00\n".encode("cp1251"))
    columns = [
        f"--column={name}" for name in ("isbn=a", "title=b", "authors=c", "price=d", "stock=")
    ]

    result = bookstore("import", "books", str(file), "--encoding", "windows-1251", *columns)

    assert (result.exit_code, result.stdout) == (
        0,
        "1 read, 1 created, 0 updated, 0 unchanged, 0 refused\n",
    )
    assert bookstore("import", "books", str(file), "--column", "colour=a").exit_code == 2


def test_importing_another_kind_of_file_fails(bookstore, tmp_path):
    file = tmp_path / "books.csv"
    file.write_bytes(b"%PDF-1.7")

    result = bookstore("import", "books", str(file), "--json")

    assert result.exit_code == 1
    assert last_json(result)["read"] == 0
    assert "This is a PDF" in result.stderr
