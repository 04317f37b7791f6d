"""Settings: read once from the environment and `.env`, then passed as values."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from environs import Env, EnvError

from config.variables import COUNTRY, PREFIX, SECRET_LENGTH, VARIABLES, Variable

WEAK_ACCOUNTS = {"guest", "root"}


class InvalidSettings(Exception):
    """At least one setting is invalid; `problems` has sentences for each variable's name."""

    def __init__(self, problems: Mapping[str, list[str]]) -> None:
        lines = [f"{name}: {' '.join(reasons)}" for name, reasons in sorted(problems.items())]
        super().__init__("Invalid settings.\n" + "\n".join(lines))
        self.problems = dict(problems)


class ShippingRate(NamedTuple):
    """The shipping costs to a country, and the tax that prices include there."""

    shipping_cents: int
    free_shipping_from_cents: int
    tax_basis_points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of an operator; `repr` hides those that contain secrets."""

    env: str
    var_dir: Path
    database_url: str = field(repr=False)
    #: The longest time that a request waits for the database; after that the response is a 503.
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
    country: str
    shipping_cents: int
    free_shipping_from_cents: int
    tax_basis_points: int
    #: By country (ISO 3166-1 alpha-2), or `*` for all others; None if the store does not ship
    #: there.
    countries: Mapping[str, ShippingRate | None] = field(default_factory=dict)
    #: The largest numbers of database connections of a process.
    web_connections: int = 51
    worker_connections: int = 24
    #: The time zone of the store (IANA); "" is that of the machine.
    time_zone: str = ""
    #: Sites whose pages may call the API from a browser.
    cors_origins: tuple[str, ...] = ()
    #: Seconds between SIGTERM and the end of `bookstore web`'s port, for load balancers.
    stop_delay_s: float = 0.0
    #: The largest number of copies of one title in an order.
    max_per_title: int = 20
    #: The years for which the law requires the store to archive invoices.
    invoices_kept_years: int = 10

    @property
    def production(self) -> bool:
        return self.env == "production"

    @property
    def embedded(self) -> bool:
        """Whether the broker and the workers run inside the web process."""
        return self.broker_url == "memory:"

    @property
    def broker_urls(self) -> list[str]:
        """One URL for each node of the RabbitMQ cluster."""
        return [url for url in self.broker_url.split(";") if url]


def read_settings(env_file: Path | None = None) -> Settings:
    """The settings of this process.

    Raises:
        InvalidSettings: at least one variable is invalid; it names all of them.
    """
    env = Env(eager=False)
    env.read_env(str(env_file or Path.cwd() / ".env"), recurse=False)
    with env.prefixed(PREFIX):
        var_dir: Path = env.path("VAR_DIR", Path("var"))
        found = {it.attribute: _read(env, it, var_dir) for it in VARIABLES}
    try:
        env.seal()
    except EnvError as error:
        problems = getattr(error, "error_messages", None) or {"BOOKSTORE_*": [str(error)]}
        raise InvalidSettings(problems) from None
    found["trusted_proxies"] = tuple(found["trusted_proxies"])
    found["cors_origins"] = tuple(found["cors_origins"])
    found["rate_limits"] = found["rate_limits"] == "on"
    found["countries"] = dict(_country(entry) for entry in found["countries"])
    found["base_url"] = found["base_url"] or f"http://{found['host']}:{found['port']}"
    settings = Settings(**found)
    if settings.production and (problems := _unfit_for_production(settings)):
        raise InvalidSettings(problems)
    if not settings.secret_key:
        found["secret_key"] = _stored_secret(settings.var_dir)
    return Settings(**found)


def _read(env: Env, variable: Variable, var_dir: Path) -> Any:
    default = variable.default
    if isinstance(default, str):
        default = default.format(var_dir=var_dir)
    read = getattr(env, variable.kind)
    return read(variable.name, default, validate=variable.validate)


def _country(entry: str) -> tuple[str, ShippingRate | None]:
    """`AT:490/6000/1000`, or `CU:no` if the store does not ship there."""
    match = COUNTRY.fullmatch(entry.strip())
    assert match is not None  # It was validated when it was read.
    if match[2] == "no":
        return match[1], None
    return match[1], ShippingRate(*map(int, match[2].split("/")))


def _unfit_for_production(settings: Settings) -> dict[str, list[str]]:
    problems: dict[str, list[str]] = {}
    if len(settings.secret_key) < SECRET_LENGTH:
        problems["BOOKSTORE_SECRET_KEY"] = [f"Set a key of at least {SECRET_LENGTH} characters."]
    if not settings.base_url.startswith("https://"):
        problems["BOOKSTORE_BASE_URL"] = ["It must begin with https:// in production."]
    if not settings.rate_limits:
        problems["BOOKSTORE_RATE_LIMITS"] = ["Rate limits cannot be off in production."]
    if os.environ.get("BOOKSTORE_FAILPOINT"):
        problems["BOOKSTORE_FAILPOINT"] = ["This variable is for tests only."]
    for name, url in (
        ("BOOKSTORE_DATABASE_URL", settings.database_url),
        *(("BOOKSTORE_BROKER_URL", url) for url in settings.broker_urls),
    ):
        if urlsplit(url).username in WEAK_ACCOUNTS:
            problems[name] = ["Use a dedicated account, not guest or root."]
    return problems


def _stored_secret(var_dir: Path) -> str:
    """The secret key of an embedded store, generated at its first start."""
    path = var_dir / "secret_key"
    if not path.exists():
        var_dir.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    return path.read_text().strip()
