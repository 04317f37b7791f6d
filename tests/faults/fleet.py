"""A scaled-out store: two web programs, three workers, and a next version to upgrade to.

Its customers are behind a load balancer: a request without an answer goes to the other web program.
"""

import asyncio
import logging
import re
import shutil
import time
import urllib.error
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import aiohttp

from tests.e2e.programs import ROOT, Program, Web
from tests.e2e.shopper import ADDRESS
from tests.faults.journal import Answer, Customer, Journal
from tests.faults.store import OneWorker, ScaledOut
from tests.servers.mariadb import MariaDB
from tests.servers.rabbitmq import RabbitMQ

log = logging.getLogger(__name__)

WEBS, WORKERS = 2, 3
#: A customer fails after this time; the longest outage of a run is much shorter.
PATIENCE_S = 60
#: The timeout of a load balancer; the store itself answers 503 after two seconds.
TIMEOUT = aiohttp.ClientTimeout(total=15, sock_connect=2)
PACKAGES = ("bookstore", "actors", "web", "admin", "config")
#: The migration of the next release: a new column that the code before it does not know.
NEXT_VERSION = "99.0.0"
_MIGRATION = '''"""A release."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{before}"


def upgrade() -> None:
    op.add_column("orders", sa.Column("gift_message", sa.String(200)))
    op.create_index("ix_orders_gift_message", "orders", ["gift_message"])
'''


class Fleet(ScaledOut):
    """Each program is a process of its own, as on several hosts."""

    def __init__(self, mariadb: MariaDB, rabbitmq: RabbitMQ, folder: Path, name: str) -> None:
        # Restarting five programs makes a small machine slow, and slow is not an outage.
        settings = {"BOOKSTORE_DATABASE_TIMEOUT_S": "5"}
        super().__init__(mariadb, rabbitmq, folder, name, settings)
        self.webs = [self.web, *(Web(self._settings) for _ in range(WEBS - 1))]
        self.crew = [self.workers, *(OneWorker(self._settings) for _ in range(WORKERS - 1))]

    @property
    def programs(self) -> list[Program]:
        return [*self.webs, *self.crew]

    def __enter__(self) -> Self:
        super().__enter__()
        for program in self.programs:
            program.start()
        for program in self.programs:
            program.wait()
        return self

    def __exit__(self, *exc: object) -> None:
        for program in self.programs:
            program.close()
        super().__exit__(*exc)

    def release(self) -> Path:
        """Create the next version of the store in a folder of its own, with a migration."""
        new = self._folder / "release"
        for package in PACKAGES:
            shutil.copytree(ROOT / package, new / package)
        version = new / "bookstore" / "__init__.py"
        version.write_text(
            re.sub(r'__version__ = ".*"', f'__version__ = "{NEXT_VERSION}"', version.read_text())
        )
        versions = new / "bookstore" / "migrations" / "versions"
        last = max(path.name[:4] for path in versions.glob("[0-9]*.py"))
        (versions / "9999_a_release.py").write_text(_MIGRATION.format(before=last))
        return new


def install(program: Program, release: Path) -> None:
    """Let the program run this version from its next start on."""
    program.settings["PYTHONPATH"] = str(release)


class Visitor(Customer):
    """A guest who browses, orders, follows the order, and sometimes cancels it.

    Requests without an answer, or with a 503, are repeated; any other answer must be correct.
    """

    def __init__(self, urls: list[str], journal: Journal) -> None:
        super().__init__(urls[0], journal)
        self._urls = urls

    async def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Repeat the request until it is answered; returns status and content."""
        ends = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends:
            status, content = await self._once(method, path, body, headers or {})
            # 409 without an order: another request with this key is still running.
            under_way = status == 409 and content["code"] == "request-in-progress"
            if status not in (None, 503) and not under_way:
                assert status is not None
                return status, content
            self._urls = [*self._urls[1:], self._urls[0]]
            await asyncio.sleep(0.1)
        raise AssertionError(f"{method} {path}: no answer in {PATIENCE_S} s")

    async def shop(self, book_ids: list[int], *, cancel: bool) -> None:
        """From the list of books to an order that is confirmed, rejected or cancelled."""
        await self._fine("GET", "books")
        for book_id in book_ids:
            await self._fine("GET", f"books/{book_id}")
            await self._fine("POST", "cart/items", {"book_id": book_id, "quantity": 1})
        await self._journal.request(self.key, self.email)
        order = {"shipping_address": ADDRESS, "email": self.email}
        status, answer = await self.call("POST", "orders", order, {"Idempotency-Key": self.key})
        assert status == 202, answer
        await self._journal.answer(self.key, answer)
        self.accepted = answer
        if cancel:
            # 409: the first request, which got no answer, has cancelled it already.
            status, answer = await self.call("POST", self._path("/cancel"), {})
            assert status in (200, 409), answer
        await self._fine("GET", self._path())

    async def _fine(self, method: str, path: str, body: Any = None) -> None:
        status, content = await self.call(method, path, body)
        assert status == 200, f"{method} {path}: {status} {content}"

    async def _once(
        self, method: str, path: str, body: Any, headers: Mapping[str, str]
    ) -> tuple[int | None, Any]:
        asked_at = time.monotonic()
        status, content, retry_after = None, None, None
        address = f"{self._urls[0]}/api/v1/{path}"
        try:
            async with self.http.request(
                method, address, json=body, headers=headers, timeout=TIMEOUT
            ) as answer:
                content = await answer.json(content_type=None)
                status, retry_after = answer.status, answer.headers.get("Retry-After")
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            log.debug("no answer: %r", error)
        self.answers.append(Answer(status, retry_after, asked_at, time.monotonic() - asked_at))
        return status, content


def cut_connections(rabbitmq: RabbitMQ, vhost: str) -> int:
    """Close all connections to a virtual host, like a broker restart; returns their number."""
    cut = 0
    for connection in rabbitmq.ask("GET", f"vhosts/{vhost}/connections"):
        try:
            rabbitmq.ask("DELETE", f"connections/{quote(connection['name'], safe='')}")
        except urllib.error.HTTPError as error:
            if error.code != 404:  # It has ended already.
                raise
        else:
            cut += 1
    return cut
