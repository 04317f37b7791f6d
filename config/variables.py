"""Every setting: how it is read, its valid values, and its description for operators.

`read_settings` and the reference in `docs/settings.md` both follow from this list.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from babel import Locale
from babel.numbers import get_territory_currencies
from environs import validate
from marshmallow import ValidationError

PREFIX = "BOOKSTORE_"
#: A shorter secret key is refused in production (256 bits in hexadecimal are 64 characters).
SECRET_LENGTH = 32
COUNTRY = re.compile(r"([A-Z]{2}|\*):(no|[0-9]{1,8}/[0-9]{1,8}/[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Variable:
    """One setting, read from the environment variable `BOOKSTORE_` + `name`."""

    name: str
    #: Its type: the name of a method of environs.
    kind: Literal["str", "int", "float", "path", "list"]
    #: `{var_dir}` in it is replaced by the folder of the embedded store.
    default: Any
    #: For the reference, in Markdown.
    meaning: str
    validate: Callable[[Any], object] | None = None
    #: Shown in the reference instead of the default, if the default is computed.
    computed_default: str = ""

    @property
    def attribute(self) -> str:
        """The name of the attribute of `Settings`."""
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


def _origins(origins: list[str]) -> None:
    for origin in origins:
        if not re.fullmatch(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?", origin):
            raise ValidationError(f"{origin!r} is not an origin such as https://app.example.com.")


def _base(url: str) -> None:
    if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
        raise ValidationError("It must begin with http:// or https:// and name a host.")


def _currency(code: str) -> None:
    in_use = {
        it for country in Locale("en").territories for it in get_territory_currencies(str(country))
    }
    if code not in in_use:
        raise ValidationError("It must be a currency code of three letters, such as EUR or JPY.")


def _country(code: str) -> None:
    if not re.fullmatch("[A-Z]{2}", code) or code not in Locale("en").territories:
        raise ValidationError("It must be a country code of two letters, such as DE or GB.")


def _time_zone(name: str) -> None:
    if name and name not in available_timezones():
        raise ValidationError("It must be a time zone such as Europe/Berlin.")


def _countries(entries: list[str]) -> None:
    seen = set()
    for entry in entries:
        match = COUNTRY.fullmatch(entry.strip())
        if match is None:
            raise ValidationError(
                f"{entry.strip()!r} is neither COUNTRY:SHIPPING/FREE_FROM/TAX (cents, cents,"
                " hundredths of a per cent) nor COUNTRY:no; * means all other countries."
            )
        if match[1] in seen:
            raise ValidationError("A country is listed twice.")
        seen.add(match[1])
        if match[2] != "no" and int(match[2].rpartition("/")[2]) > 10_000:
            raise ValidationError(f"{match[1]}: the tax is more than 100 %.")


#: The settings by topic, in the order of the reference.
SECTIONS: dict[str, tuple[Variable, ...]] = {
    "The program": (
        Variable(
            "ENV",
            "str",
            "development",
            "`production` refuses unsafe settings.",
            validate.OneOf(["development", "production"]),
        ),
        Variable(
            "VAR_DIR",
            "path",
            Path("var"),
            "The folder in which the embedded store stores all data.",
        ),
        Variable(
            "SECRET_KEY",
            "str",
            "",
            "Signs guests' links and links in e-mails, and derives the seeds of second factors."
            " After a change, links in old e-mails are invalid and staff need their recovery codes."
            " It must be the same on every host, and have at least"
            f" {SECRET_LENGTH} characters in production.",
            computed_default="generated once, stored in `var/`",
        ),
        Variable(
            "ADMIN_EMAIL",
            "str",
            None,
            "E-mail address of the administrator account that the first `bookstore run` creates.",
        ),
        Variable(
            "ADMIN_PASSWORD",
            "str",
            None,
            "Password of that account; if it is not set, a password is generated and printed.",
        ),
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
            "How many seconds a request waits for the database before the response is a `503`.",
            validate.Range(0.1, 60),
        ),
        Variable(
            "WEB_CONNECTIONS",
            "int",
            51,
            "The largest number of database connections of a web process: 3 for live updates, the"
            " rest for requests. With fewer than 51, requests wait for a connection under full"
            " load.",
            validate.Range(6, 1000),
        ),
        Variable(
            "WORKER_CONNECTIONS",
            "int",
            24,
            "The largest number of database connections of a worker process; 1.5 for each of its"
            " threads is enough.",
            validate.Range(3, 1000),
        ),
    ),
    "Broker": (
        Variable(
            "BROKER_URL",
            "str",
            "memory:",
            "`memory:` runs the workers inside the web process. Otherwise"
            " `amqp://USER:PASSWORD@HOST/VHOST` or `amqps://...`; several URLs are separated by"
            " `;` (put the value in quotes).",
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
    "E-mail": (
        Variable(
            "SMTP_URL",
            "str",
            "file:{var_dir}/mail",
            "How e-mails are sent: `file:FOLDER` writes them to files; `smtp://`, `smtp+starttls://`"
            " or `smtps://USER:PASSWORD@HOST:PORT` sends them to a mail server.",
            _smtp,
        ),
        Variable(
            "MAIL_FROM",
            "str",
            "Ampersand Books <orders@localhost>",
            "The sender of all e-mails.",
        ),
    ),
    "Web": (
        Variable("HOST", "str", "127.0.0.1", "The address on which the web process listens."),
        Variable(
            "PORT",
            "int",
            8080,
            "The port on which the web process listens.",
            validate.Range(0, 65535),
        ),
        Variable(
            "STOP_DELAY_S",
            "float",
            5.0,
            "How many seconds `bookstore web` still accepts connections after SIGTERM, while"
            " `/readyz` is a `503`: the time in which load balancers notice. `bookstore run` and"
            " Ctrl-C stop at once.",
            validate.Range(0, 300),
        ),
        Variable(
            "BASE_URL",
            "str",
            "",
            "The beginning of links in e-mails; `https://...` in production.",
            _base,
            computed_default="`http://HOST:PORT`",
        ),
        Variable(
            "TRUSTED_PROXIES",
            "list",
            [],
            "The proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are trusted: addresses and"
            " networks, separated by commas.",
            _networks,
        ),
        Variable(
            "CORS_ORIGINS",
            "list",
            [],
            "Other sites whose pages may call the API from a browser, such as"
            " `https://app.example.com`, separated by commas. They need tokens: cookies are not"
            " shared with them.",
            _origins,
        ),
        Variable(
            "RATE_LIMITS",
            "str",
            "on",
            "Limits requests to the API per minute for each address and token, and attempts at"
            " passwords, codes, registrations and e-mails with links. `off` in development only.",
            validate.OneOf(["on", "off"]),
        ),
    ),
    "The store": (
        Variable(
            "STORE_NAME", "str", "Ampersand Books", "The name of the store on pages and in e-mails."
        ),
        Variable(
            "CURRENCY",
            "str",
            "EUR",
            "The only currency of the store: three letters (ISO 4217).",
            _currency,
        ),
        Variable(
            "COUNTRY",
            "str",
            "DE",
            "The country of the store (ISO 3166-1 alpha-2). Of an ONIX record the prices, texts,"
            " dates and sales rights for this country are read.",
            _country,
        ),
        Variable(
            "TIME_ZONE",
            "str",
            "",
            "The time zone of the store (IANA), such as `Europe/Berlin`: of all dates on pages and"
            " in e-mails, and of every day in reports.",
            _time_zone,
            computed_default="the zone of the machine",
        ),
        Variable(
            "SHIPPING_CENTS",
            "int",
            290,
            "Shipping costs in cents, or the smallest unit of another currency, unless"
            " `BOOKSTORE_COUNTRIES` has others for the country.",
            validate.Range(0),
        ),
        Variable(
            "FREE_SHIPPING_FROM_CENTS",
            "int",
            4000,
            "Shipping is free from this subtotal, in cents.",
            validate.Range(0),
        ),
        Variable(
            "TAX_BASIS_POINTS",
            "int",
            700,
            "The tax included in the prices, in hundredths of a per cent: the rate for books, which"
            " is reduced in most countries. Shipping has the same rate.",
            validate.Range(0, 10_000),
        ),
        Variable(
            "COUNTRIES",
            "list",
            [],
            "Countries with other shipping costs, or without shipping. In"
            " `AT:490/6000/1000,CU:no,*:990/10000/0` the numbers are shipping costs, subtotal for"
            " free shipping, and tax; `no` means no shipping; `*` means all other countries.",
            _countries,
        ),
        Variable(
            "MAX_PER_TITLE",
            "int",
            20,
            "How many copies of one title an order may have, so that nobody reserves the whole"
            " stock with an unpaid order.",
            validate.Range(1, 99),
        ),
        Variable(
            "INVOICES_KEPT_YEARS",
            "int",
            10,
            "For how many years the law requires invoices to be archived, even after a customer's"
            " data was erased.",
            validate.Range(0, 100),
        ),
    ),
}
VARIABLES = tuple(variable for section in SECTIONS.values() for variable in section)


def reference() -> str:
    """The settings as a page of the documentation, in Markdown."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield "Settings are environment variables, or lines of a file `.env` in the current folder of"
    yield "the program. `bookstore config show` prints the current values without secrets."
    yield "`bookstore config check` lists all invalid settings; no program starts with one."
    yield ""
    yield "`bookstore config reference` prints this page."
    for title, variables in SECTIONS.items():
        yield ""
        yield f"## {title}"
        yield ""
        yield "| variable | default | valid values | meaning |"
        yield "|---|---|---|---|"
        for it in variables:
            yield f"| `{PREFIX}{it.name}` | {_default(it)} | {_values(it)} | {it.meaning} |"


def _default(variable: Variable) -> str:
    if variable.computed_default or variable.default in (None, []):
        return variable.computed_default
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
