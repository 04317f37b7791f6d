"""Judges of the API: its description, the clients that are made of it, and how it takes abuse."""

import json
import shutil
from pathlib import Path

from tests.judges.store import Judged
from tests.judges.tools import FOLDER, HERE, PYTHON, ask, node, ours

#: How many examples of each operation are tried.
EXAMPLES = 50
#: Ends the session that the others need.
_ENDS = ["sign_out"]
#: Never ends by itself.
_ENDLESS = ["stream_all_orders"]


def valid(store: Judged) -> str:
    """openapi-spec-validator: it is OpenAPI 3.1."""
    return ask([ours("openapi-spec-validator"), _document(store)])


def spectral(store: Judged) -> str:
    """Spectral, `spectral:oas`: a warning is a finding."""
    rules = HERE / ".spectral.yaml"
    return ask(
        [node("spectral"), "lint", "--ruleset", rules, "--fail-severity=warn", _document(store)]
    )


def redocly(store: Judged) -> str:
    """Redocly, `recommended-strict`: three findings are known, by their places."""
    folder = FOLDER / "redocly"  # Of its own: openapi-typescript would take its rules for ours.
    folder.mkdir(exist_ok=True)
    shutil.copy(HERE / "redocly.yaml", folder / "redocly.yaml")
    shutil.copy(HERE / "redocly-ignored.yaml", folder / ".redocly.lint-ignore.yaml")
    return ask([node("redocly"), "lint", "--config", folder / "redocly.yaml", _document(store)])


def typescript(store: Judged) -> str:
    """openapi-typescript: the types are such that `tsc --strict` takes them and uses of them."""
    types, use = FOLDER / "api.ts", FOLDER / "use.ts"
    shutil.copy(HERE / "use.ts", use)
    return ask([node("openapi-typescript"), _document(store), "--output", types]) or ask(
        [node("tsc"), "--noEmit", "--strict", types, use]
    )


def python_client(store: Judged) -> str:
    """openapi-python-client: what it makes registers, fills a cart and orders."""
    del store  # The test starts one of its own.
    test = HERE.parent / "e2e" / "test_generated_client.py"
    return ask([ours("pytest"), "-q", "--rootdir", HERE.parents[1], test])


def as_guest(store: Judged) -> str:
    """schemathesis, without any credentials."""
    return _abuse(store, "")


def as_customer(store: Judged) -> str:
    """schemathesis, with a customer's session."""
    return _abuse(store, f"Cookie: {store.cookies['customer']}")


def as_admin(store: Judged) -> str:
    """schemathesis, with an administrator's session."""
    return _abuse(store, f"Cookie: {store.cookies['staff']}")


def _abuse(store: Judged, credentials: str) -> str:
    left_out = [*_ENDLESS, *(_ENDS if credentials else [])]
    return ask(
        [
            PYTHON / "schemathesis",
            "--config-file",
            HERE / "schemathesis.toml",
            "run",
            f"{store.url}/api/openapi.json",
            "--phases=examples,coverage,fuzzing,stateful",
            "--checks=all",
            f"--max-examples={EXAMPLES}",
            "--seed=1",
            "--request-timeout=10",
            "--no-color",
            *(part for name in left_out for part in ("--exclude-operation-id", name)),
            *(("--header", credentials) if credentials else ()),
        ],
        timeout_s=3600,
    )


def _document(store: Judged) -> Path:
    path = FOLDER / "openapi.json"
    path.write_text(json.dumps(json.loads(store.page("/api/openapi.json"))))
    return path


JUDGES = {
    "openapi-spec-validator": valid,
    "spectral": spectral,
    "redocly": redocly,
    "typescript": typescript,
    "python-client": python_client,
    "schemathesis-guest": as_guest,
    "schemathesis-customer": as_customer,
    "schemathesis-admin": as_admin,
}
