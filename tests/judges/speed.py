"""Lighthouse: speed, accessibility and SEO of pages on a slow phone.

Speed is the median of three runs on an idle machine.
"""

import gzip
import json
import re
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.judges.store import Judged
from tests.judges.tools import FOLDER, ask, node

LOOKS = 3
#: Retries if Lighthouse fails: it sometimes misses the start of a page.
STUMBLES = 2
#: The categories of Lighthouse that are checked.
PERFORMANCE = 0.95
LCP_MS = 2000
HTML_BYTES, CSS_BYTES = 30_000, 20_000


@dataclass(frozen=True, slots=True)
class Looked:
    """A page, its user, and whether speed and SEO are checked."""

    path: str
    who: str = ""
    quick: bool = True
    found: bool = False


PAGES = [
    Looked("/", found=True),
    Looked("/books", found=True),
    Looked("/books/{book}", found=True),
    Looked("/cart", "customer"),
    Looked("/checkout", "customer"),
    Looked("/sign-in", quick=False),
    Looked("/api/docs", quick=False),
    *(
        Looked(path, "staff", quick=False)
        for path in ("/admin", "/admin/orders", "/admin/orders/{order}", "/admin/books", "{import}")
    ),
]


def lighthouse(store: Judged) -> str:
    """Lighthouse: full scores, and fast on a slow phone for pages of the store."""
    found = []
    for page in PAGES:
        cookie = store.cookies.get(page.who, "")
        found += _weight(store, page, cookie)
        looks: list[dict[str, Any]] = []
        wanted = LOOKS if page.quick else 1
        for _ in range(wanted + STUMBLES):
            said = "" if len(looks) == wanted else _look(store.at(page.path), page, cookie, looks)
        if said:
            found.append(f"{page.path}: {said}")
        if looks:
            found += [f"{page.path}: {it}" for it in [*_marks(looks), *_speed(page, looks)]]
    return "\n".join(found)


def _look(address: str, page: Looked, cookie: str, looks: list[dict[str, Any]]) -> str:
    categories = ["accessibility", "best-practices"]
    categories += ["performance"] if page.quick else []
    categories += ["seo"] if page.found else []
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        report, headers = Path(folder) / "report.json", Path(folder) / "headers.json"
        headers.write_text(json.dumps({"Cookie": cookie} if cookie else {}))
        said = ask(
            [
                node("lighthouse"),
                address,
                "--quiet",
                "--chrome-flags=--headless=new --no-sandbox --disable-gpu",
                f"--only-categories={','.join(categories)}",
                f"--extra-headers={headers}",
                "--output=json",
                f"--output-path={report}",
            ]
        )
        if not said:
            looks.append(json.loads(report.read_text()))
    return said


def _marks(looks: list[dict[str, Any]]) -> list[str]:
    """The categories without a full score, without speed."""
    return sorted(
        {
            look["audits"][part["id"]]["title"]
            for look in looks
            for name, category in look["categories"].items()
            if name != "performance"
            for part in category["auditRefs"]
            if part["weight"] and look["audits"][part["id"]]["score"] not in (None, 1)
        }
    )


def _speed(page: Looked, looks: list[dict[str, Any]]) -> list[str]:
    if not page.quick:
        return []
    marks = statistics.median(look["categories"]["performance"]["score"] for look in looks)
    lcp_ms = _median(looks, "largest-contentful-paint")
    shift = max(look["audits"]["cumulative-layout-shift"]["numericValue"] for look in looks)
    print(f"    {page.path}: performance {marks:.2f}, LCP {lcp_ms:.0f} ms, CLS {shift}", flush=True)
    slow = []
    if marks < PERFORMANCE:
        slow.append(f"performance {marks:.2f}, not {PERFORMANCE}")
    if lcp_ms > LCP_MS:
        slow.append(f"the largest part is there after {lcp_ms:.0f} ms, not {LCP_MS}")
    if shift:
        slow.append(f"it shifts by {shift}")
    return slow


def _median(looks: list[dict[str, Any]], audit: str) -> float:
    return statistics.median(look["audits"][audit]["numericValue"] for look in looks)


def _weight(store: Judged, page: Looked, cookie: str) -> list[str]:
    """Pages and style sheets whose compressed size exceeds the limit."""
    html = store.page(page.path, cookie)
    heavy = []
    if page.quick and (size := len(gzip.compress(html))) > HTML_BYTES:
        heavy.append(f"{page.path}: {size} bytes of HTML, compressed")
    for sheet in re.findall(rb'<link rel="stylesheet" href="([^"]+)"', html):
        if page.quick and (size := len(gzip.compress(store.page(sheet.decode())))) > CSS_BYTES:
            heavy.append(f"{page.path}: {size} bytes of CSS, compressed")
    return heavy
