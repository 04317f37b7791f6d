"""A pytest plugin that searches the output of all tests for secrets (`tests/planted.py`).

It checks the program's log, every response to an HTTP client in the test processes, and the
captured output. The test helpers for programs, mail servers and brokers pass in their output.
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

#: The servers of this test run, shared by all tests.
SERVERS = pytest.StashKey[list[Server]]()

_COOKIES = {"sid", "__Host-sid"}
#: `(end of the path, field)` of responses that issue a secret, once.
_ISSUED = {
    ("/users/me/tokens", "token"): TOKEN,
    ("/users/me/totp", "secret"): SEED,
    ("/users/me/totp", "recovery_codes"): CODE,
    ("/orders", "access_token"): GUEST,
}
_LOGGERS = ("bookstore", "actors", "web", "admin", "config")


class _LogSearch(logging.Handler):
    """Searches the JSON log for secrets, independent of log settings in tests."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(log.formatter(pretty=False))

    def emit(self, record: logging.LogRecord) -> None:
        LEDGER.search(self.format(record), f"the log of {record.name}")


class Guard:
    """The plugin."""

    def __init__(self) -> None:
        self._log_search = _LogSearch()
        self._late: list[str] = []

    def pytest_sessionstart(self) -> None:
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.INFO)
        _watch_clients()

    def pytest_runtest_setup(self) -> None:
        # A test that runs the command line in this process reconfigures the log.
        logging.getLogger().addHandler(self._log_search)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Fail a test during which a secret leaked, whatever else it checked."""
        report = yield
        if report.when == "teardown":
            for title, text in report.sections:
                LEDGER.search(text, title)
            leaks = LEDGER.take_leaks()
            if leaks and not report.failed:
                report.outcome, report.longrepr = "failed", "\n".join(leaks)
        return report

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Search the logs of the shared servers."""
        for server in session.config.stash.get(SERVERS, []):
            LEDGER.file(server.log)
        self._late = LEDGER.take_leaks()
        if self._late:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for leak in self._late:
            terminalreporter.write_line(f"FAILED {leak}", red=True)


def _watch_clients() -> None:
    """Pass every response to a client of this process to the ledger."""
    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(_on_response)
    trace.on_request_redirect.append(_on_response)
    trace.on_response_chunk_received.append(_on_chunk)
    original_init = aiohttp.ClientSession.__init__

    def init(self: aiohttp.ClientSession, *args: Any, **named: Any) -> None:
        original_init(
            self, *args, **{**named, "trace_configs": [*(named.get("trace_configs") or ()), trace]}
        )

    aiohttp.ClientSession.__init__ = init  # type: ignore[method-assign]


async def _on_response(
    session: aiohttp.ClientSession,
    context: SimpleNamespace,
    params: aiohttp.TraceRequestEndParams | aiohttp.TraceRequestRedirectParams,
) -> None:
    response = params.response
    for name, cookie in response.cookies.items():
        if name in _COOKIES and cookie.value:
            LEDGER.learn(SESSION, cookie.value)
    context.status = response.status
    context.export = "attachment" in response.headers.get("Content-Disposition", "")
    if response.status >= 400:
        await response.read()  # The test may not read it.


async def _on_chunk(
    session: aiohttp.ClientSession,
    context: SimpleNamespace,
    params: aiohttp.TraceResponseChunkReceivedParams,
) -> None:
    check_response(params.chunk, params.method, str(params.url), context)


def check_response(body: bytes, method: str, url: str, context: Any) -> None:
    """Search a response. Errors and exports must contain no secret; others may issue theirs."""
    path = urlsplit(url).path
    place = f"the response {context.status} to {method} {without_words(path)}"
    if context.status >= 400:
        LEDGER.search(body.decode("latin-1"), place, own=url)
    elif context.export or path.endswith("/export"):
        LEDGER.content(body, place)
    elif method in {"POST", "PUT"}:
        _learn_issued(body, path)


def _learn_issued(body: bytes, path: str) -> None:
    for (end, field), kind in _ISSUED.items():
        if path.endswith(end):
            try:
                issued = json.loads(body).get(field)
            except ValueError:  # An HTML page.
                return
            for secret in [issued] if isinstance(issued, str) else issued or ():
                LEDGER.learn(kind, secret)
