"""Settings: defaults, validation, and the reference."""

import os
import re
from dataclasses import fields
from pathlib import Path

import pytest

from config.settings import InvalidSettings, Settings, read_settings
from config.variables import VARIABLES, reference

SECRET = "5b1f" * 16
PRODUCTION = {
    "BOOKSTORE_ENV": "production",
    "BOOKSTORE_SECRET_KEY": SECRET,
    "BOOKSTORE_BASE_URL": "https://books.example.com",
}


@pytest.fixture
def read(monkeypatch, tmp_path):
    """Reads settings from these variables, without a file."""

    def read_with(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return read_settings(tmp_path / "none")

    return read_with


def test_production_accepts_safe_settings(read):
    assert read(**PRODUCTION).production


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BOOKSTORE_SECRET_KEY", ""),
        ("BOOKSTORE_SECRET_KEY", "short"),
        ("BOOKSTORE_BASE_URL", "http://books.example.com"),
        ("BOOKSTORE_BASE_URL", ""),
        ("BOOKSTORE_RATE_LIMITS", "off"),
        ("BOOKSTORE_FAILPOINT", "P1:1:kill"),
        ("BOOKSTORE_DATABASE_URL", "mysql+aiomysql://root:x@db/bookstore"),
        ("BOOKSTORE_BROKER_URL", "amqp://guest:guest@mq/bookstore"),
        ("BOOKSTORE_BROKER_URL", "amqp://shop:x@mq1/;amqp://guest:guest@mq2/"),
    ],
)
def test_s45_production_refuses_unsafe_settings(read, name, value):
    with pytest.raises(InvalidSettings) as caught:
        read(**{**PRODUCTION, name: value})

    assert list(caught.value.problems) == [name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BOOKSTORE_TRUSTED_PROXIES", "10.0.0.0/8,proxy"),
        ("BOOKSTORE_PORT", "http"),
        ("BOOKSTORE_DATABASE_URL", "postgresql://db/bookstore"),
        ("BOOKSTORE_BROKER_URL", "redis://mq"),
        ("BOOKSTORE_SMTP_URL", "mailto:a@example.com"),
        ("BOOKSTORE_CURRENCY", "euro"),
        ("BOOKSTORE_BASE_URL", "books.example.com"),
    ],
)
def test_all_invalid_settings_are_named(read, name, value):
    with pytest.raises(InvalidSettings) as caught:
        read(**{name: value, "BOOKSTORE_SHIPPING_CENTS": "-1"})

    assert sorted(caught.value.problems) == sorted([name, "BOOKSTORE_SHIPPING_CENTS"])


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("env", "development"),
        ("database_url", "sqlite+aiosqlite:///var/bookstore.db"),
        ("broker_url", "memory:"),
        ("smtp_url", "file:var/mail"),
        ("base_url", "http://127.0.0.1:8080"),
        ("host", "127.0.0.1"),
        ("port", 8080),
        ("currency", "EUR"),
        ("queue_type", "classic"),
        ("trusted_proxies", ()),
        ("rate_limits", True),
        ("broker_admin_url", None),
        ("var_dir", Path("var")),
        ("admin_email", None),
        ("admin_password", None),
        ("database_timeout_s", 2.0),
        ("shipping_cents", 290),
        ("free_shipping_from_cents", 4000),
        ("tax_basis_points", 700),
        ("invoices_kept_years", 10),
    ],
)
def test_settings_have_defaults(read, monkeypatch, tmp_path, name, default):
    monkeypatch.chdir(tmp_path)
    for variable in [it for it in os.environ if it.startswith("BOOKSTORE_")]:
        monkeypatch.delenv(variable)

    assert getattr(read(), name) == default


def test_a_missing_secret_key_is_generated_once_and_stored(read, monkeypatch, tmp_path):
    monkeypatch.delenv("BOOKSTORE_SECRET_KEY", raising=False)

    first, second = [read(BOOKSTORE_VAR_DIR=str(tmp_path / "var")).secret_key for _ in range(2)]
    other = read(BOOKSTORE_VAR_DIR=str(tmp_path / "other")).secret_key

    assert first == second != other
    assert len(first) == 64
    stored = tmp_path / "var" / "secret_key"
    assert stored.read_text() == first
    assert stored.stat().st_mode & 0o077 == 0


def test_the_page_of_settings_is_the_printed_reference():
    page = Path(__file__).parents[2] / "docs" / "settings.md"

    # To update it: bookstore config reference > docs/settings.md
    assert page.read_text("utf-8") == reference()


def test_the_reference_lists_exactly_the_settings():
    listed = re.findall(r"^\| `BOOKSTORE_([A-Z_]+)`", reference(), re.MULTILINE)

    assert sorted(listed) == sorted(field.name.upper() for field in fields(Settings))


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda it: it.name)
def test_the_reference_has_the_actual_defaults(read, monkeypatch, tmp_path, variable):
    monkeypatch.chdir(tmp_path)
    for name in [it for it in os.environ if it.startswith("BOOKSTORE_")]:
        monkeypatch.delenv(name)
    (row,) = re.findall(rf"^\| `BOOKSTORE_{variable.name}` \| (.*?) \|", reference(), re.MULTILINE)

    current = getattr(read(), variable.attribute)

    if not variable.computed_default:
        shown = {True: "on", None: "", (): ""}.get(current, current) if current != {} else ""
        assert row == (f"`{shown}`" if shown != "" else "")


def test_s39_secrets_are_not_shown_with_other_settings(read):
    settings = read(
        BOOKSTORE_SECRET_KEY=SECRET,
        BOOKSTORE_DATABASE_URL="mysql+aiomysql://shop:db-password@db/bookstore",
        BOOKSTORE_BROKER_URL="amqp://shop:mq-password@mq/bookstore",
        BOOKSTORE_BROKER_ADMIN_URL="http://shop:admin-password@mq:15672",
        BOOKSTORE_SMTP_URL="smtp://shop:smtp-password@mail",
        BOOKSTORE_ADMIN_PASSWORD="first-password",
    )

    shown = f"{settings} {settings!r}"

    assert "password@" not in shown
    assert "first-password" not in shown
    assert SECRET not in shown
