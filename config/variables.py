"""Every setting: how it is read, what it may be, and what an operator has to know about it.

Said once; `read_settings` and the reference in `docs/settings.md` both follow from it.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from environs import validate
from marshmallow import ValidationError

PREFIX = "BOOKSTORE_"
#: A secret shorter than this is refused in production (256 bits in hexadecimal are 64).
SECRET_LENGTH = 32
COUNTRY = re.compile(r"([A-Z]{2}|\*):(no|[0-9]{1,8}/[0-9]{1,8}/[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Variable:
    """One setting, read from the variable of this name after `BOOKSTORE_`."""

    name: str
    #: How it is read: the name of a method of environs.
    kind: Literal["str", "int", "float", "path", "list"]
    #: `{var_dir}` in it stands for the folder of the embedded store.
    default: Any
    #: For the reference, in Markdown.
    meaning: str
    validate: Callable[[Any], object] | None = None
    #: What the reference says in place of a default that is worked out.
    worked_out: str = ""

    @property
    def attribute(self) -> str:
        """What `Settings` calls it."""
        return self.name.lower()


def _database(url: str) -> None:
    if urlsplit(url).scheme not in ("sqlite+aiosqlite", "mysql+aiomysql"):
        raise ValidationError("It must begin with sqlite+aiosqlite:// or mysql+aiomysql://.")


def _broker(urls: str) -> None:
    for url in urls.split(";"):
        if url != "memory:" and urlsplit(url).scheme not in ("amqp", "amqps"):
            raise ValidationError("It must be memory: or begin with amqp:// or amqps://.")


def _smtp(url: str) -> None:
    if urlsplit(url).scheme not in ("file", "smtp", "smtp+starttls", "smtps"):
        raise ValidationError("It must begin with file:, smtp://, smtp+starttls:// or smtps://.")


def _networks(networks: list[str]) -> None:
    for network in networks:
        try:
            ip_network(network, strict=False)
        except ValueError:
            raise ValidationError(f"{network!r} is neither an address nor a network.") from None


def _base(url: str) -> None:
    if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
        raise ValidationError("It must begin with http:// or https:// and name a host.")


def _countries(entries: list[str]) -> None:
    seen = set()
    for entry in entries:
        match = COUNTRY.fullmatch(entry.strip())
        if match is None:
            raise ValidationError(
                f"{entry.strip()!r} is neither COUNTRY:SHIPPING/FREE_FROM/TAX (cents, cents,"
                " hundredths of a per cent) nor COUNTRY:no; * stands for all others."
            )
        if match[1] in seen:
            raise ValidationError("A country is in it twice.")
        seen.add(match[1])
        if match[2] != "no" and int(match[2].rpartition("/")[2]) > 10_000:
            raise ValidationError(f"{match[1]}: a tax of more than 100 %.")


#: By what they are about, in the order of the reference.
SECTIONS: dict[str, tuple[Variable, ...]] = {
    "The program": (
        Variable(
            "ENV",
            "str",
            "development",
            "`production` refuses what is unsafe there.",
            validate.OneOf(["development", "production"]),
        ),
        Variable("VAR_DIR", "path", Path("var"), "Where the embedded store keeps everything."),
        Variable(
            "SECRET_KEY",
            "str",
            "",
            "Signs guests' links and those in letters, and makes the seeds of second factors: with"
            " another one, links in letters open nothing and staff need their recovery codes. The"
            f" same on every host; at least {SECRET_LENGTH} characters in production.",
            worked_out="made once, kept in `var/`",
        ),
        Variable(
            "ADMIN_EMAIL",
            "str",
            None,
            "The administrator that the first `bookstore run` makes.",
        ),
        Variable("ADMIN_PASSWORD", "str", None, "Theirs; without one, one is made and printed."),
    ),
    "Database": (
        Variable(
            "DATABASE_URL",
            "str",
            "sqlite+aiosqlite:///{var_dir}/bookstore.db",
            "Or `mysql+aiomysql://USER:PASSWORD@HOST/DATABASE`.",
            _database,
        ),
        Variable(
            "DATABASE_TIMEOUT_S",
            "float",
            2.0,
            "How many seconds a request waits for the database before it is a `503`.",
            validate.Range(0.1, 60),
        ),
    ),
    "Broker": (
        Variable(
            "BROKER_URL",
            "str",
            "memory:",
            "`memory:` keeps the workers inside the one process; or"
            " `amqp://USER:PASSWORD@HOST/VHOST` or `amqps://...`, several separated by `;`.",
            _broker,
        ),
        Variable(
            "QUEUE_TYPE",
            "str",
            "classic",
            "`quorum` for clusters.",
            validate.OneOf(["classic", "quorum"]),
        ),
        Variable(
            "BROKER_ADMIN_URL",
            "str",
            None,
            "RabbitMQ's management API, for the dashboard: `http://USER:PASSWORD@HOST:15672`.",
        ),
    ),
    "Letters": (
        Variable(
            "SMTP_URL",
            "str",
            "file:{var_dir}/mail",
            "Where letters go: into files, or to `smtp://`, `smtp+starttls://` or"
            " `smtps://USER:PASSWORD@HOST:PORT`.",
            _smtp,
        ),
        Variable(
            "MAIL_FROM",
            "str",
            "Ampersand Books <orders@localhost>",
            "The sender of letters.",
        ),
    ),
    "Web": (
        Variable("HOST", "str", "127.0.0.1", "Where the web process listens."),
        Variable("PORT", "int", 8080, "And on which port.", validate.Range(0, 65535)),
        Variable(
            "BASE_URL",
            "str",
            "",
            "What links in letters begin with; `https://...` in production.",
            _base,
            worked_out="`http://HOST:PORT`",
        ),
        Variable(
            "TRUSTED_PROXIES",
            "list",
            [],
            "Whose `X-Forwarded-For` and `X-Forwarded-Proto` count: addresses and networks,"
            " separated by commas.",
            _networks,
        ),
        Variable(
            "RATE_LIMITS",
            "str",
            "on",
            "How much one address or token may ask of the API in a minute, and how often passwords,"
            " codes, registrations and letters with links are tried; `off` in development only.",
            validate.OneOf(["on", "off"]),
        ),
    ),
    "The store": (
        Variable("STORE_NAME", "str", "Ampersand Books", "The name on pages and letters."),
        Variable(
            "CURRENCY",
            "str",
            "EUR",
            "The one currency of the store, as three letters (ISO 4217).",
            validate.Regexp("^[A-Z]{3}$"),
        ),
        Variable(
            "SHIPPING_CENTS",
            "int",
            290,
            "Delivery, where the table of countries says nothing else.",
            validate.Range(0),
        ),
        Variable(
            "FREE_SHIPPING_FROM_CENTS",
            "int",
            4000,
            "Delivery is free from this subtotal on.",
            validate.Range(0),
        ),
        Variable(
            "TAX_BASIS_POINTS",
            "int",
            700,
            "The tax inside the prices, in hundredths of a per cent: the rate for books, which most"
            " countries have reduced; delivery is taxed like what it delivers.",
            validate.Range(0, 10_000),
        ),
        Variable(
            "COUNTRIES",
            "list",
            [],
            "Where parcels go for other rates, or not at all:"
            " `AT:490/6000/1000,CU:no,*:990/10000/0` is delivery, free from, tax; `*` stands for"
            " all others.",
            _countries,
        ),
        Variable(
            "INVOICES_KEPT_YEARS",
            "int",
            10,
            "How long the law wants invoices kept when a customer's data is erased.",
            validate.Range(0, 100),
        ),
    ),
}
VARIABLES = tuple(variable for section in SECTIONS.values() for variable in section)


def reference() -> str:
    """The settings as a page of the documents, in Markdown."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield "Environment variables, or lines of a file `.env` in the folder where a program starts."
    yield "`bookstore config show` prints those in force without their secrets. `bookstore config"
    yield "check` names all that are wrong at once, and no program starts with a wrong one."
    yield ""
    yield "This page is what `bookstore config reference` prints."
    for title, variables in SECTIONS.items():
        yield ""
        yield f"## {title}"
        yield ""
        yield "| variable | default | may be | meaning |"
        yield "|---|---|---|---|"
        for it in variables:
            yield f"| `{PREFIX}{it.name}` | {_default(it)} | {_values(it)} | {it.meaning} |"


def _default(variable: Variable) -> str:
    if variable.worked_out or variable.default in (None, []):
        return variable.worked_out
    return f"`{str(variable.default).format(var_dir='var')}`"


def _values(variable: Variable) -> str:
    match variable.validate:
        case validate.OneOf(choices=choices):
            return ", ".join(f"`{choice}`" for choice in choices)
        case validate.Range(min=least, max=None):
            return f"{least} and more"
        case validate.Range(min=least, max=most):
            return f"{least} to {most}"
    return {"list": "a list", "path": "a folder"}.get(variable.kind, "")
