"""Response times must not reveal whether an account exists."""

import http.client
import json
import statistics
import time
from collections.abc import Callable
from contextlib import closing

from tests.benchmarks.site import Site
from tests.e2e.programs import Web

PAIRS = 300
#: The allowed difference of the medians, absolute or as a fraction.
LIMIT_MS, LIMIT_PART = 5.0, 0.05
KNOWN, PASSWORD = "known@example.com", "seven wells deep"


def pairs(site: Site, rounds: int) -> None:
    """Alternate requests for an existing and a missing account; `rounds` is 1."""
    site.clear()
    print(f"\npairs: {PAIRS} of a known and an unknown address, the medians of their answers")
    with Web(site.settings) as web, closing(_connect(web.port)) as conn:
        new = {"email": KNOWN, "password": PASSWORD, "name": "Anna"}
        status, _ = _post(conn, "users", new)
        assert status in (201, 409), status
        guess = {"password": "a wrong guess"}
        _compare("sign-in", lambda email: _timed(conn, "session", {**guess, "email": email}, 401))
        _compare("reset", lambda email: _timed(conn, "password-resets", {"email": email}, 202))


def _compare(name: str, ask: Callable[[str], float]) -> None:
    for number in range(5):  # One-time work is done here.
        ask(KNOWN)
        ask(f"warm{number}@example.com")
    known, unknown = [], []
    for number in range(PAIRS):
        # Each is first as often as second.
        for mine in (True, False) if number % 2 else (False, True):
            (known if mine else unknown).append(ask(KNOWN if mine else f"no{number}@example.com"))
    ours, theirs = statistics.median(known), statistics.median(unknown)
    apart = abs(ours - theirs)
    fine = apart <= LIMIT_MS or apart <= LIMIT_PART * min(ours, theirs)
    print(
        f"{name:8} known {ours:7.2f} ms, unknown {theirs:7.2f} ms, apart {apart:5.2f} ms"
        f" ({apart / min(ours, theirs):.1%}): {'within' if fine else 'BEYOND'} {LIMIT_MS:.0f} ms"
        f" or {LIMIT_PART:.0%}",
        flush=True,
    )


def _connect(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=30)


def _timed(conn: http.client.HTTPConnection, path: str, body: dict[str, str], wanted: int) -> float:
    """The response time in milliseconds."""
    begun = time.perf_counter()
    status, _ = _post(conn, path, body)
    assert status == wanted, status
    return (time.perf_counter() - begun) * 1000


def _post(conn: http.client.HTTPConnection, path: str, body: dict[str, str]) -> tuple[int, bytes]:
    conn.request("POST", f"/api/v1/{path}", json.dumps(body), {"Content-Type": "application/json"})
    answer = conn.getresponse()
    return answer.status, answer.read()
