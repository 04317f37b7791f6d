"""Checkers of the API: its description, generated clients, and invalid requests."""

import json
import shutil
from pathlib import Path

from tests.judges.store import Judged
from tests.judges.tools import FOLDER, HERE, PYTHON, ask, node, ours

#: Examples per operation.
EXAMPLES = 50
#: It ends the session that other requests need.
_ENDS = ["sign_out"]
#: A stream without an end.
_ENDLESS = ["stream_all_orders"]


def valid(store: Judged) -> str:
    """openapi-spec-validator: the document is valid OpenAPI 3.1."""
    return ask([ours("openapi-spec-validator"), _document(store)])


def spectral(store: Judged) -> str:
    """Spectral, `spectral:oas`: a warning is a finding."""
    rules = HERE / ".spectral.yaml"
    return ask(
        [node("spectral"), "lint", "--ruleset", rules, "--fail-severity=warn", _document(store)]
    )


def redocly(store: Judged) -> str:
    """Redocly, `recommended-strict`; three known findings are listed by location."""
    folder = (
        FOLDER / "redocly"
    )  # In a separate folder: openapi-typescript would use its configuration.
    folder.mkdir(exist_ok=True)
    shutil.copy(HERE / "redocly.yaml", folder / "redocly.yaml")
    shutil.copy(HERE / "redocly-ignored.yaml", folder / ".redocly.lint-ignore.yaml")
    return ask([node("redocly"), "lint", "--config", folder / "redocly.yaml", _document(store)])


def typescript(store: Judged) -> str:
    """openapi-typescript: `tsc --strict` accepts the types and code that uses them."""
    types, use = FOLDER / "api.ts", FOLDER / "use.ts"
    shutil.copy(HERE / "use.ts", use)
    return ask([node("openapi-typescript"), _document(store), "--output", types]) or ask(
        [node("tsc"), "--noEmit", "--strict", types, use]
    )


def python_client(store: Judged) -> str:
    """openapi-python-client: the generated client registers, fills a cart and places an order."""
    del store  # The test starts its own store.
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
