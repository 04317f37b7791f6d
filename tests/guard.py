"""The plugin that has all tests searched for planted secrets (`tests/planted.py`).

It hears our own log, sees what every client in the tests' processes is answered, and reads what
was captured; programs, mail servers and brokers of the tests hand in what they have themselves.
"""

import json
import logging
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from config import log
from tests.planted import CODE, GUEST, LEDGER, SEED, SESSION, TOKEN, without_words
from tests.servers.process import Server

#: What one run of all tests starts, and all its tests share.
SERVERS = pytest.StashKey[list[Server]]()

_COOKIES = {"sid", "__Host-sid"}
#: `(end of the path, field)` of answers that give a secret out, once.
_GIVEN = {
    ("/users/me/tokens", "token"): TOKEN,
    ("/users/me/totp", "secret"): SEED,
    ("/users/me/totp", "recovery_codes"): CODE,
    ("/orders", "access_token"): GUEST,
}
_OURS = ("bookstore", "actors", "web", "admin", "config")


class _Ear(logging.Handler):
    """Hears our own log as machines read it, whatever the tests do with it."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(log.formatter(pretty=False))

    def emit(self, record: logging.LogRecord) -> None:
        LEDGER.search(self.format(record), f"the log of {record.name}")


class Guard:
    """The plugin."""

    def __init__(self) -> None:
        self._ear = _Ear()
        self._late: list[str] = []

    def pytest_sessionstart(self) -> None:
        for name in _OURS:
            logging.getLogger(name).setLevel(logging.INFO)
        _watch_clients()

    def pytest_runtest_setup(self) -> None:
        # Whoever runs our command line in this process has the log set up anew.
        logging.getLogger().addHandler(self._ear)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """A test that made a store tell a secret has failed, whatever else it showed."""
        report = yield
        if report.when == "teardown":
            for title, text in report.sections:
                LEDGER.search(text, title)
            leaks = LEDGER.told()
            if leaks and not report.failed:
                report.outcome, report.longrepr = "failed", "\n".join(leaks)
        return report

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """The servers that all tests share have logs, too."""
        for server in session.config.stash.get(SERVERS, []):
            LEDGER.file(server.log)
        self._late = LEDGER.told()
        if self._late:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for leak in self._late:
            terminalreporter.write_line(f"FAILED {leak}", red=True)


def _watch_clients() -> None:
    """Have every client of this process note what it is answered."""
    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(_answered)
    trace.on_request_redirect.append(_answered)
    trace.on_response_chunk_received.append(_read)
    make = aiohttp.ClientSession.__init__

    def made(self: aiohttp.ClientSession, *args: Any, **named: Any) -> None:
        make(
            self, *args, **{**named, "trace_configs": [*(named.get("trace_configs") or ()), trace]}
        )

    aiohttp.ClientSession.__init__ = made  # type: ignore[method-assign]


async def _answered(
    session: aiohttp.ClientSession,
    context: SimpleNamespace,
    answer: aiohttp.TraceRequestEndParams | aiohttp.TraceRequestRedirectParams,
) -> None:
    response = answer.response
    for name, cookie in response.cookies.items():
        if name in _COOKIES and cookie.value:
            LEDGER.learn(SESSION, cookie.value)
    context.status = response.status
    context.export = "attachment" in response.headers.get("Content-Disposition", "")
    if response.status >= 400:
        await response.read()  # No test has to.


async def _read(
    session: aiohttp.ClientSession,
    context: SimpleNamespace,
    answer: aiohttp.TraceResponseChunkReceivedParams,
) -> None:
    heard(answer.chunk, answer.method, str(answer.url), context)


def heard(body: bytes, method: str, url: str, context: Any) -> None:
    """Note an answer: refusals and exports may tell nothing, others give out what they must."""
    path = urlsplit(url).path
    place = f"the answer {context.status} to {method} {without_words(path)}"
    if context.status >= 400:
        LEDGER.search(body.decode("latin-1"), place, own=url)
    elif context.export or path.endswith("/export"):
        LEDGER.content(body, place)
    elif method in {"POST", "PUT"}:
        _given(body, path)


def _given(body: bytes, path: str) -> None:
    for (end, field), kind in _GIVEN.items():
        if path.endswith(end):
            try:
                given = json.loads(body).get(field)
            except ValueError:  # It is a page.
                return
            for secret in [given] if isinstance(given, str) else given or ():
                LEDGER.learn(kind, secret)
