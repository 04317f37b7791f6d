"""E-mails in the queue of a store, rendered as text."""

import re

from aiohttp.test_utils import TestServer
from sqlalchemy import select

from bookstore.database.engine import reading
from bookstore.database.tables import notifications as table
from bookstore.notifications import emails, notifications
from bookstore.notifications.emails import StoreFacts
from web.server.keys import ENGINE, SETTINGS


async def emails_to(server: TestServer, email: str) -> list[tuple[str, str]]:
    """Kind and text of each e-mail to this address, in queue order."""
    store = StoreFacts.of(server.app[SETTINGS])
    async with reading(server.app[ENGINE]) as conn:
        query = select(table.c.id).where(table.c.recipient == email).order_by(table.c.id)
        ids = list(await conn.scalars(query))
        found = await notifications.load_emails(conn, ids)
    return [(found[id_].kind, emails.plain(found[id_], store)) for id_ in ids]


async def kinds_to(server: TestServer, email: str) -> list[str]:
    """The kinds of the e-mails to this address, in queue order."""
    return [kind for kind, _ in await emails_to(server, email)]


async def token_to(server: TestServer, email: str, kind: str) -> str:
    """The token of the link in the last e-mail of this kind."""
    text = [text for each, text in await emails_to(server, email) if each == kind][-1]
    [token] = re.findall(
        r"^http://127\.0\.0\.1:8080/(?:verify-email|reset-password)/(\S+)$", text, re.M
    )
    return token
