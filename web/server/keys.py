"""Typed keys for the state of the application and of a request."""

import asyncio
from collections.abc import Callable

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore.carts import SharedWrites
from bookstore.orders import Checkouts
from bookstore.pricing import CountryTable, Rates
from bookstore.tasks.publisher import Publisher
from bookstore.users.accounts import User
from bookstore.users.api_tokens import ApiToken
from bookstore.users.session_lookup import SessionLookup
from config.settings import Settings

SETTINGS = web.AppKey("settings", Settings)
ENGINE = web.AppKey("engine", AsyncEngine)
#: Shipping and tax rules by country, and the default rules shown before a country is chosen.
TARIFF = web.AppKey("tariff", CountryTable)
RATES = web.AppKey("rates", Rates)
#: Publishes tasks to the actors right after a commit.
PUBLISHER = web.AppKey[Publisher]("publisher")
#: Called right after a commit with the ids of the orders that have new events.
NOTIFY = web.AppKey[Callable[[list[int]], None]]("notify")
SESSION_LOOKUP = web.AppKey("session_lookup", SessionLookup)
CART_WRITES = web.AppKey("cart_writes", SharedWrites)
CHECKOUTS = web.AppKey("checkouts", Checkouts)
#: Set when the process shuts down; endless streams then end.
SHUTTING_DOWN = web.AppKey("shutting_down", asyncio.Event)

#: Seconds that this request waited for the session lookup in the database.
SESSION_WAIT_S = web.RequestKey("session_wait_s", float)
#: The `Expect` header of the request.
EXPECTED = web.RequestKey("expected", str)
REQUEST_ID = web.RequestKey("request_id", str)
#: The signed-in user, or None for a guest.
USER = web.RequestKey[User | None]("user")
#: Whether the session that this request starts replaces another one of the same visitor.
SESSION_RENEWED = web.RequestKey("session_renewed", bool)
#: The personal API token of the request, or None.
TOKEN = web.RequestKey[ApiToken | None]("token")
#: Set for staff who must still set up a second factor; until then they have the role of a customer.
ENROLMENT_REQUIRED = web.RequestKey("enrolment_required", bool)
