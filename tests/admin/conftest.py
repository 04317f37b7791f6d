"""The dashboard is tested in the same application, with the same clients, as all other pages."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from html.parser import HTMLParser

import pytest
from aiohttp import ClientResponse, FormData
from aiohttp.test_utils import TestServer
from sqlalchemy.ext.asyncio import AsyncConnection

from bookstore.database.engine import transaction
from tests.web.conftest import Visitor, client, password_hash, server, settings, visitor
from web.server.keys import ENGINE

__all__ = ["client", "password_hash", "server", "settings", "visitor"]


class Document(HTMLParser):
    """A parsed page: its text, its elements, and its forms that are sent with POST."""

    def __init__(self, html: str, status: int, path: str) -> None:
        super().__init__()
        self.html, self.status, self.path = html, status, path
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.forms: dict[str, dict[str, str]] = {}
        self._form: dict[str, str] | None = None
        self._text_parts: list[str] = []
        self.feed(html)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._text_parts).split())

    @property
    def links(self) -> list[str]:
        return [attributes["href"] or "" for name, attributes in self.elements if name == "a"]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag == "form" and attributes.get("method") == "post":
            self._form = self.forms.setdefault(attributes.get("action") or "", {})
        elif tag == "input" and self._form is not None and attributes.get("type") != "checkbox":
            self._form[attributes.get("name") or ""] = attributes.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None

    def handle_data(self, data: str) -> None:
        self._text_parts.append(data)


async def read(client: Visitor, path: str) -> Document:
    """The page at this path, after redirects."""
    answer = await client.get(path)
    return Document(await answer.text(), answer.status, str(answer.url.relative()))


async def send(client: Visitor, path: str, **fields: str) -> Document:
    """The page that follows a form sent with POST, after redirects."""
    answer = await client.post(path, data=fields)
    return Document(await answer.text(), answer.status, str(answer.url.relative()))


async def upload(
    client: Visitor, path: str, files: Mapping[str, bytes], **fields: str
) -> ClientResponse:
    """The response to a multipart form with these files and fields, after redirects."""
    data = FormData()
    for name, value in fields.items():
        data.add_field(name, value)
    for name, content in files.items():
        data.add_field(name, content, filename="sent")
    return await client.post(path, data=data)


@pytest.fixture
def database(server: TestServer) -> Callable[[], AbstractAsyncContextManager[AsyncConnection]]:
    """Opens a transaction on the application's database and commits it at the end."""
    return lambda: transaction(server.app[ENGINE])
