"""Typed keys for what the application and a request carry."""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.api_tokens import ApiToken
from bookstore.checkout import Checkouts
from bookstore.filling import Filling
from bookstore.messages import Publisher
from bookstore.pricing import CountryTable, Rates
from bookstore.users import User
from bookstore.visits import Visits
from config.settings import Settings
from web.access import Access
from web.bounds import Bounds

if TYPE_CHECKING:  # They use these keys themselves.
    from web.feed import Feed
    from web.finished import Finished
    from web.health import Readiness
    from web.hub import Hub
    from web.kept import Kept
    from web.limits import Limits
    from web.metrics import Metrics
    from web.problems import ErrorPage

SETTINGS = web.AppKey("settings", Settings)
BOUNDS = web.AppKey("bounds", Bounds)
ENGINE = web.AppKey("engine", AsyncEngine)
#: The rules for parcels to each country, and those that are shown until one is chosen.
TARIFF = web.AppKey("tariff", CountryTable)
RATES = web.AppKey("rates", Rates)
#: Offers tasks to the actors right after a commit.
PUBLISHER = web.AppKey[Publisher]("publisher")
#: Says, right after a commit, to which orders something happened.
TELL = web.AppKey[Callable[[list[int]], None]]("tell")
VISITS = web.AppKey("visits", Visits)
FILLING = web.AppKey("filling", Filling)
CHECKOUTS = web.AppKey("checkouts", Checkouts)
#: Tells those who watch orders what happens to them, and staff what happens to all.
HUB: "web.AppKey[Hub]" = web.AppKey("hub")
FEED: "web.AppKey[Feed]" = web.AppKey("feed")
METRICS: "web.AppKey[Metrics]" = web.AppKey("metrics")
#: What `/readyz` looks at.
READINESS: "web.AppKey[Readiness]" = web.AppKey("readiness")
#: Who may come in at which address.
ACCESS = web.AppKey[Mapping[web.AbstractRoute, Access]]("access")
#: What guests are answered, for a second.
KEPT: "web.AppKey[Kept]" = web.AppKey("kept")
#: The same, as it was sent.
FINISHED: "web.AppKey[Finished]" = web.AppKey("finished")
#: The requests of the last minute, counted.
LIMITS: "web.AppKey[Limits]" = web.AppKey("limits")
#: Set when the process stops: what would go on for ever ends.
CLOSING = web.AppKey("closing", asyncio.Event)
#: Shows problems to people; without it they get the document that programs get.
ERROR_PAGE: "web.AppKey[ErrorPage]" = web.AppKey("error_page")

#: For how long the request waited for the database to say whose it is.
WAITED_S = web.RequestKey("waited_s", float)
REQUEST_ID = web.RequestKey("request_id", str)
#: Whoever is signed in, or None.
USER = web.RequestKey[User | None]("user")
#: The personal token that the request has shown, or None.
TOKEN = web.RequestKey[ApiToken | None]("token")
#: Set for staff who have no second factor yet and need one: until then they are customers.
ENROLS = web.RequestKey("enrols", bool)
