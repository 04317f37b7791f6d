"""The letters that a store is about to send, as their readers would get them."""

import re

from aiohttp.test_utils import TestServer
from sqlalchemy import select

from bookstore.database.engine import reading
from bookstore.database.tables import notifications as table
from bookstore.notifications import emails, notifications
from bookstore.notifications.emails import Store
from web.server.keys import ENGINE, SETTINGS


async def letters_to(server: TestServer, email: str) -> list[tuple[str, str]]:
    """The kind and the text of each letter to this address, in the order they were queued."""
    store = Store.of(server.app[SETTINGS])
    async with reading(server.app[ENGINE]) as conn:
        query = select(table.c.id).where(table.c.recipient == email).order_by(table.c.id)
        ids = list(await conn.scalars(query))
        found = await notifications.letters_of(conn, ids)
    return [(found[id_].kind, emails.plain(found[id_], store)) for id_ in ids]


async def kinds_to(server: TestServer, email: str) -> list[str]:
    """What these letters are about."""
    return [kind for kind, _ in await letters_to(server, email)]


async def token_to(server: TestServer, email: str, kind: str) -> str:
    """The end of the link in the last letter of this kind."""
    text = [text for each, text in await letters_to(server, email) if each == kind][-1]
    [token] = re.findall(
        r"^http://127\.0\.0\.1:8080/(?:verify-email|reset-password)/(\S+)$", text, re.M
    )
    return token
