"""Settings: read once from the environment and `.env`, then passed on as values."""

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from environs import Env, EnvError, validate
from marshmallow import ValidationError

#: A secret shorter than this is refused in production (256 bits in hexadecimal are 64).
SECRET_LENGTH = 32
_COUNTRY = re.compile(r"([A-Z]{2}|\*):(no|[0-9]{1,8}/[0-9]{1,8}/[0-9]{1,5})")
WEAK_ACCOUNTS = {"guest", "root"}


class WrongSettings(Exception):
    """Everything that is wrong with the settings: a sentence for each variable's name."""

    def __init__(self, problems: Mapping[str, list[str]]) -> None:
        lines = [f"{name}: {' '.join(why)}" for name, why in sorted(problems.items())]
        super().__init__("Wrong settings.\n" + "\n".join(lines))
        self.problems = dict(problems)


class Delivery(NamedTuple):
    """What parcels to a country cost, and the tax that prices contain there."""

    shipping_cents: int
    free_shipping_from_cents: int
    tax_basis_points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator may choose; what holds a secret is not shown with the rest."""

    env: str
    var_dir: Path
    database_url: str = field(repr=False)
    #: No customer waits longer for the database than this; then it is a 503.
    database_timeout_s: float
    broker_url: str = field(repr=False)
    smtp_url: str = field(repr=False)
    secret_key: str = field(repr=False)
    base_url: str
    host: str
    port: int
    queue_type: str
    trusted_proxies: tuple[str, ...]
    rate_limits: bool
    broker_admin_url: str | None = field(repr=False)
    admin_email: str | None
    admin_password: str | None = field(repr=False)
    store_name: str
    mail_from: str
    currency: str
    shipping_cents: int
    free_shipping_from_cents: int
    tax_basis_points: int
    #: By country (ISO 3166-1 alpha-2) or `*` for all others; None where no parcel goes.
    countries: Mapping[str, Delivery | None] = field(default_factory=dict)
    #: How many years the law wants invoices to be kept.
    invoices_kept_years: int = 10

    @property
    def production(self) -> bool:
        return self.env == "production"

    @property
    def embedded(self) -> bool:
        """Whether messages stay in this process, and with them the workers."""
        return self.broker_url == "memory:"

    @property
    def broker_urls(self) -> list[str]:
        """One address for each node of the RabbitMQ cluster."""
        return [url for url in self.broker_url.split(";") if url]


def read_settings(env_file: Path | None = None) -> Settings:
    """The settings of this process.

    Raises:
        WrongSettings: at least one variable is wrong; it names all that are.
    """
    env = Env(eager=False)
    env.read_env(str(env_file or Path.cwd() / ".env"), recurse=False)
    with env.prefixed("BOOKSTORE_"):
        var_dir: Path = env.path("VAR_DIR", Path("var"))
        found: dict[str, Any] = {
            "env": env.str(
                "ENV",
                "development",
                validate=validate.OneOf(["development", "production"]),
            ),
            "var_dir": var_dir,
            "database_url": env.str(
                "DATABASE_URL",
                f"sqlite+aiosqlite:///{var_dir}/bookstore.db",
                validate=_database,
            ),
            "database_timeout_s": env.float(
                "DATABASE_TIMEOUT_S", 2.0, validate=validate.Range(0.1, 60)
            ),
            "broker_url": env.str("BROKER_URL", "memory:", validate=_broker),
            "smtp_url": env.str("SMTP_URL", f"file:{var_dir}/mail", validate=_smtp),
            "secret_key": env.str("SECRET_KEY", ""),
            "host": env.str("HOST", "127.0.0.1"),
            "port": env.int("PORT", 8080, validate=validate.Range(0, 65535)),
            "base_url": env.str("BASE_URL", "", validate=_base),
            "queue_type": env.str(
                "QUEUE_TYPE", "classic", validate=validate.OneOf(["classic", "quorum"])
            ),
            "trusted_proxies": env.list("TRUSTED_PROXIES", [], validate=_networks),
            "rate_limits": env.str("RATE_LIMITS", "on", validate=validate.OneOf(["on", "off"])),
            "broker_admin_url": env.str("BROKER_ADMIN_URL", None),
            "admin_email": env.str("ADMIN_EMAIL", None),
            "admin_password": env.str("ADMIN_PASSWORD", None),
            "store_name": env.str("STORE_NAME", "Ampersand Books"),
            "mail_from": env.str("MAIL_FROM", "Ampersand Books <orders@localhost>"),
            "currency": env.str("CURRENCY", "EUR", validate=validate.Regexp("^[A-Z]{3}$")),
            "shipping_cents": env.int("SHIPPING_CENTS", 290, validate=validate.Range(0)),
            "free_shipping_from_cents": env.int(
                "FREE_SHIPPING_FROM_CENTS", 4000, validate=validate.Range(0)
            ),
            "tax_basis_points": env.int(
                "TAX_BASIS_POINTS", 700, validate=validate.Range(0, 10_000)
            ),
            "countries": env.list("COUNTRIES", [], validate=_countries),
            "invoices_kept_years": env.int(
                "INVOICES_KEPT_YEARS", 10, validate=validate.Range(0, 100)
            ),
        }
    try:
        env.seal()
    except EnvError as error:
        problems = getattr(error, "error_messages", None) or {"BOOKSTORE_*": [str(error)]}
        raise WrongSettings(problems) from None
    found["trusted_proxies"] = tuple(found["trusted_proxies"])
    found["rate_limits"] = found["rate_limits"] == "on"
    found["countries"] = dict(_country(entry) for entry in found["countries"])
    found["base_url"] = found["base_url"] or f"http://{found['host']}:{found['port']}"
    settings = Settings(**found)
    if settings.production and (problems := _unfit_for_production(settings)):
        raise WrongSettings(problems)
    if not settings.secret_key:
        found["secret_key"] = _kept_secret(settings.var_dir)
    return Settings(**found)


def _countries(entries: list[str]) -> None:
    countries = [_country(entry)[0] for entry in entries]
    if len(set(countries)) < len(countries):
        raise ValidationError("A country is in it twice.")


def _country(entry: str) -> tuple[str, Delivery | None]:
    """`AT:490/6000/1000`, or `CU:no` where no parcel goes."""
    match = _COUNTRY.fullmatch(entry.strip())
    if match is None:
        raise ValidationError(
            f"{entry.strip()!r} is neither COUNTRY:SHIPPING/FREE_FROM/TAX (cents, cents, hundredths"
            " of a per cent) nor COUNTRY:no; * stands for all others."
        )
    if match[2] == "no":
        return match[1], None
    delivery = Delivery(*map(int, match[2].split("/")))
    if delivery.tax_basis_points > 10_000:
        raise ValidationError(f"{match[1]}: a tax of more than 100 %.")
    return match[1], delivery


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


def _unfit_for_production(settings: Settings) -> dict[str, list[str]]:
    problems: dict[str, list[str]] = {}
    if len(settings.secret_key) < SECRET_LENGTH:
        problems["BOOKSTORE_SECRET_KEY"] = [f"Set one of at least {SECRET_LENGTH} characters."]
    if not settings.base_url.startswith("https://"):
        problems["BOOKSTORE_BASE_URL"] = ["It must begin with https:// in production."]
    if not settings.rate_limits:
        problems["BOOKSTORE_RATE_LIMITS"] = ["They cannot be off in production."]
    if os.environ.get("BOOKSTORE_CRASHPOINT"):
        problems["BOOKSTORE_CRASHPOINT"] = ["It is for tests only."]
    for name, url in (
        ("BOOKSTORE_DATABASE_URL", settings.database_url),
        *(("BOOKSTORE_BROKER_URL", url) for url in settings.broker_urls),
    ):
        if urlsplit(url).username in WEAK_ACCOUNTS:
            problems[name] = ["Use an account of its own, not guest or root."]
    return problems


def _kept_secret(var_dir: Path) -> str:
    """The secret of an embedded store, made at its first start."""
    path = var_dir / "secret_key"
    if not path.exists():
        var_dir.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    return path.read_text().strip()
