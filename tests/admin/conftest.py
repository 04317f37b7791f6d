"""The dashboard is tried in the same site, by the same visitors, as all other pages."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from html.parser import HTMLParser

import pytest
from aiohttp.test_utils import TestServer
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.engine import transaction
from tests.web.conftest import Visitor, client, password_hash, server, settings, visitor
from web.server.keys import ENGINE

__all__ = ["client", "password_hash", "server", "settings", "visitor"]


class Document(HTMLParser):
    """A page as a browser sees it: its words, its elements, its forms."""

    def __init__(self, html: str, status: int, path: str) -> None:
        super().__init__()
        self.html, self.status, self.path = html, status, path
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.forms: dict[str, dict[str, str]] = {}
        self._form: dict[str, str] | None = None
        self._words: list[str] = []
        self.feed(html)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._words).split())

    @property
    def links(self) -> list[str]:
        return [facts["href"] or "" for name, facts in self.elements if name == "a"]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = dict(attrs)
        self.elements.append((tag, facts))
        if tag == "form" and facts.get("method") == "post":
            self._form = self.forms.setdefault(facts.get("action") or "", {})
        elif tag == "input" and self._form is not None and facts.get("type") != "checkbox":
            self._form[facts.get("name") or ""] = facts.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None

    def handle_data(self, data: str) -> None:
        self._words.append(data)


async def read(client: Visitor, path: str) -> Document:
    """The page at this address."""
    answer = await client.get(path)
    return Document(await answer.text(), answer.status, str(answer.url.relative()))


async def send(client: Visitor, path: str, **fields: str) -> Document:
    """The page that comes after sending a form."""
    answer = await client.post(path, data=fields)
    return Document(await answer.text(), answer.status, str(answer.url.relative()))


@pytest.fixture
def database(server: TestServer) -> Callable[[], AbstractAsyncContextManager[AsyncConnection]]:
    """Opens a transaction on the site's database, committed at its end."""
    return lambda: transaction(server.app[ENGINE])
