"""A real browser in front of a store that really runs."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import BrowserContext, async_playwright

from tests.e2e.programs import Embedded

CHROMIUM = "/usr/bin/chromium"
#: No sandbox, because tests may run as root; and nothing that a browser asks for by itself.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: Milliseconds: the machine may be busy.
PATIENCE = 15_000


@pytest.fixture(scope="module")
def store() -> Iterator[Embedded]:
    """The whole store in one process, with the sample catalogue."""
    with Embedded() as store:
        yield store


class Complaints(list[str]):
    """What a browser complained about, and every request that left the store."""

    def watch(self, context: BrowserContext, home: str) -> None:
        context.on("request", lambda request: self._look(request.url, home))
        context.on("console", lambda message: self._hear(message.type, message.text))
        context.on("weberror", lambda error: self.append(str(error.error)))

    def _look(self, url: str, home: str) -> None:
        if not url.startswith((f"{home}/", "data:")):
            self.append(f"asked elsewhere: {url}")

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.append(text)


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    """Empty at the end of the test, or it has failed."""
    found = Complaints()
    yield found
    assert found == []


@pytest.fixture
async def visit(store: Embedded, complaints: Complaints) -> AsyncIterator[Callable]:
    """Opens a window of a visitor who was never here."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)

        @asynccontextmanager
        async def visit(*, width: int = 1280, **options):
            context = await chromium.new_context(
                base_url=store.url, viewport={"width": width, "height": 900}, **options
            )
            context.set_default_timeout(PATIENCE)
            complaints.watch(context, store.url)
            yield await context.new_page()
            await context.close()

        yield visit
        await chromium.close()
