"""Typed keys for what the application and a request carry."""

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
#: The rules for parcels to each country, and those that are shown until one is chosen.
TARIFF = web.AppKey("tariff", CountryTable)
RATES = web.AppKey("rates", Rates)
#: Offers tasks to the actors right after a commit.
PUBLISHER = web.AppKey[Publisher]("publisher")
#: Says, right after a commit, to which orders something happened.
NOTIFY = web.AppKey[Callable[[list[int]], None]]("tell")
SESSION_LOOKUP = web.AppKey("visits", SessionLookup)
CART_WRITES = web.AppKey("filling", SharedWrites)
CHECKOUTS = web.AppKey("checkouts", Checkouts)
#: Set when the process stops: what would go on for ever ends.
CLOSING = web.AppKey("closing", asyncio.Event)

#: For how long the request waited for the database to say whose it is.
WAITED_S = web.RequestKey("waited_s", float)
REQUEST_ID = web.RequestKey("request_id", str)
#: Whoever is signed in, or None.
USER = web.RequestKey[User | None]("user")
#: The personal token that the request has shown, or None.
TOKEN = web.RequestKey[ApiToken | None]("token")
#: Set for staff who have no second factor yet and need one: until then they are customers.
ENROLS = web.RequestKey("enrols", bool)
