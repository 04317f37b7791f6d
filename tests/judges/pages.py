"""Checkers of the pages. Add new pages to the lists.

`{book}`, `{order}` and `{user}` are replaced by ids of the checked store; `{import}`, `{job}` and
`{plan}` by the paths of a column assignment, a dry run and a preview of price changes.
"""

from collections.abc import Iterator
from pathlib import Path

from tests.judges.speed import lighthouse
from tests.judges.store import Judged
from tests.judges.tools import FOLDER, HERE, NODE, PYTHON, ask, node

#: The user of a page, and its path.
GUEST = [
    "/",
    "/books",
    "/books?q=dracula",
    "/books?q=nothing+like+this",
    "/books?in_stock=true&sort=price",
    "/books/{book}",
    "/authors/1",
    "/suggestions?q=dra",
    "/cart",
    "/orders",
    "/sign-in",
    "/register",
    "/forgot-password",
    "/imprint",
    "/terms",
    "/privacy",
    "/withdrawal",
    "/api/docs",
    "/api/docs/errors",
]
CUSTOMER = [
    "/cart",
    "/checkout",
    "/orders",
    "/orders/{order}",
    "/account",
    "/account/addresses",
    "/account/confirm",
    "/account/data",
    "/account/email",
    "/account/emails",
    "/account/notifications",
    "/account/password",
    "/account/second-factor",
    "/account/sessions",
    "/account/tokens",
]
STAFF = [
    "/admin",
    "/admin?days=30",
    "/admin/orders",
    "/admin/orders?status=confirmed&payment=unpaid&since=2026-01-01",
    "/admin/orders?q=nothing+like+this",
    "/admin/orders/{order}",
    "/admin/orders/slips?number={order}",
    "/admin/books",
    "/admin/books?view=low&sort=-price",
    "/admin/books/new",
    "/admin/books/{book}",
    "/admin/books/{book}/stock",
    "/admin/categories",
    "/admin/authors",
    "/admin/authors/7",
    "/admin/books?view=sold-out",
    "/admin/imports",
    "{import}",
    "{job}",
    "{plan}",
    "/admin/users",
    "/admin/users/{user}",
    "/admin/notifications",
    "/admin/notifications?email=1",
    "/admin/queues",
    "/admin/queues?state=waiting",
    "/admin/texts",
    "/admin/texts/terms/en",
    "/admin/audit",
]


def axe(store: Judged) -> str:
    """axe: WCAG 2.2 AA and best practice, light and dark, 1280 and 320 px wide."""
    (FOLDER / "axe.mjs").write_bytes((HERE / "axe.mjs").read_bytes())
    return "\n".join(
        ask(
            ["node", FOLDER / "axe.mjs", *(store.at(path) for path in paths)],
            env={"COOKIE": cookie},
            timeout_s=1200,
        )
        for cookie, paths in _visits(store)
    )


def nu(store: Judged) -> str:
    """The Nu HTML checker of the W3C: HTML, CSS and SVG."""
    jar = NODE / "vnu-jar" / "build" / "dist" / "vnu.jar"
    return ask(["java", "-Xss1m", "-jar", jar, "--also-check-css", *_saved(store)])


def html_validate(store: Judged) -> str:
    """html-validate: stricter on names and links."""
    return ask([node("html-validate"), "--preset", "standard,a11y", *_saved(store)])


def links(store: Judged) -> str:
    """linkchecker: no broken links."""
    checker = PYTHON / "linkchecker"
    return ask([checker, "--no-robots", "--no-status", "--no-warnings", "--output=csv", store.url])


def _visits(store: Judged) -> Iterator[tuple[str, list[str]]]:
    """The pages of each user."""
    yield "", GUEST
    yield store.cookies["customer"], CUSTOMER
    yield store.cookies["staff"], STAFF


def _saved(store: Judged) -> list[Path]:
    """The pages as files: the checkers refuse local URLs."""
    folder = FOLDER / "pages"
    folder.mkdir(exist_ok=True)
    files = []
    for cookie, paths in _visits(store):
        for path in paths:
            name = path.format_map(store.known).strip("/").replace("/", "_").replace("?", "_")
            file = folder / f"{len(files):02}_{name or 'home'}.html"
            file.write_bytes(store.page(path, cookie))
            files.append(file)
    return files


JUDGES = {
    "axe": axe,
    "nu": nu,
    "html-validate": html_validate,
    "links": links,
    "lighthouse": lighthouse,
}
