"""A real browser and a running store."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import BrowserContext, async_playwright

from tests.e2e.programs import Embedded

CHROMIUM = "/usr/bin/chromium"
#: No sandbox, because tests may run as root; no background requests of the browser.
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
    """Errors in the console of a browser, and requests to other hosts."""

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
    """Must be empty at the end of the test."""
    found = Complaints()
    yield found
    assert found == []


@pytest.fixture
async def visit(store: Embedded, complaints: Complaints) -> AsyncIterator[Callable]:
    """Opens a window of a new visitor."""
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
