"""A client's own journal of its requests and their answers."""

import asyncio
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from tests.e2e.shopper import ADDRESS, Shopper

log = logging.getLogger(__name__)

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Promise:
    """The answers to one key that accepted the order."""

    answers: list[Mapping[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as the client received it; no status if there was none."""

    status: int | None
    retry_after: str | None
    asked_at: float
    took_s: float


class Journal:
    """Appended and synced line by line, so that it has everything that the client has received.

    Written in a thread, so that a slow disk does not look like a slow store.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)

    def close(self) -> None:
        self._file.close()

    async def request(self, key: str, email: str) -> None:
        await asyncio.to_thread(self._write, key=key, email=email)

    async def answer(self, key: str, answer: Mapping[str, Any]) -> None:
        await asyncio.to_thread(self._write, key=key, answer=answer)

    @property
    def promises(self) -> dict[str, Promise]:
        """Every request by its key, with all its 2xx answers."""
        promises: dict[str, Promise] = {}
        for entry in self._entries():
            promise = promises.setdefault(entry["key"], Promise())
            if "answer" in entry:
                promise.answers.append(entry["answer"])
        return promises

    def _entries(self) -> Iterator[dict[str, Any]]:
        with self._path.open("rb") as lines:
            yield from map(json.loads, lines)

    def _write(self, **entry: Any) -> None:
        self._file.write(json.dumps(entry).encode() + b"\n")
        os.fsync(self._file.fileno())


class Customer(Shopper):
    """A guest with a full cart and one key, who repeats the request until it is answered."""

    def __init__(self, url: str, journal: Journal) -> None:
        super().__init__(url)
        number = f"{os.getpid()}-{next(_numbers)}"
        self.key = f"customer-{number}"
        self.email = f"customer-{number}@example.com"
        #: The order, after it was accepted.
        self.accepted: dict[str, Any] | None = None
        self.answers: list[Answer] = []
        self._journal = journal

    async def ask_for_order(self) -> int | None:
        """Send the order (again); returns the status of the answer, or None."""
        await self._journal.request(self.key, self.email)
        body = {"shipping_address": ADDRESS, "email": self.email}
        status, answer = await self._post("orders", body, {"Idempotency-Key": self.key})
        if status == 202:
            await self._journal.answer(self.key, answer)
            self.accepted = answer
        return status

    async def ask_to_cancel(self) -> int | None:
        """Cancel the order (again); returns the status of the answer, or None."""
        status, _ = await self._post(self._path("/cancel"), {}, {})
        return status

    async def order_now(self) -> dict[str, Any]:
        """The current order, read from the store."""
        found: dict[str, Any] = await self.ask("GET", self._path())
        return found

    def _path(self, what: str = "") -> str:
        assert self.accepted is not None
        return (
            f"orders/{self.accepted['number']}{what}?access_token={self.accepted['access_token']}"
        )

    async def _post(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> tuple[int | None, Any]:
        asked_at = time.monotonic()
        status, content, retry_after = None, None, None
        try:
            async with self.http.post(path, json=body, headers=headers) as answer:
                content = await answer.json(content_type=None)
                status, retry_after = answer.status, answer.headers.get("Retry-After")
        except (aiohttp.ClientError, ConnectionError, TimeoutError, json.JSONDecodeError) as error:
            log.debug("no answer: %r", error)
        self.answers.append(Answer(status, retry_after, asked_at, time.monotonic() - asked_at))
        return status, content
