"""Import of a long list of books: all new, all changed, none changed."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bookstore.cli.terminal import PARTLY
from tests.benchmarks.site import Site
from tests.catalogues import catalogue
from tests.e2e.programs import ROOT

ROWS = 20_000
LIMIT_S, LIMIT_MB = 60, 150


def imports(site: Site, rounds: int) -> None:
    """`bookstore import books` on both databases; `rounds` is 1."""
    site.clear()
    print(f"\nimports: {ROWS:,} rows, within {LIMIT_S} s and {LIMIT_MB} MB")
    with tempfile.TemporaryDirectory() as folder:
        new, changed = Path(folder, "new.csv"), Path(folder, "changed.csv")
        new.write_bytes(catalogue(ROWS))
        changed.write_bytes(catalogue(ROWS, seed=2))
        for database, url in (
            ("SQLite", f"sqlite+aiosqlite:///{folder}/bookstore.db"),
            ("MariaDB", site.database_url),
        ):
            settings = {**site.settings, "BOOKSTORE_DATABASE_URL": url}
            _run(settings, "db", "upgrade")
            for name, file in (("new", new), ("changed", changed), ("the same", changed)):
                took_s, most_mb = _run(settings, "import", "books", str(file))
                fine = took_s <= LIMIT_S and most_mb <= LIMIT_MB
                print(
                    f"{database:8} {name:9} {took_s:5.1f} s, {ROWS / took_s:6,.0f} rows/s,"
                    f" at most {most_mb:4.0f} MB: {'within' if fine else 'BEYOND'}",
                    flush=True,
                )


def _run(settings: Mapping[str, str], *command: str) -> tuple[float, float]:
    """Run `bookstore ...`; returns its seconds and its peak memory in MB."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "bookstore.cli", *command],
        env={**os.environ, "PYTHONPATH": str(ROOT), **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, PARTLY):
        raise SystemExit(f"bookstore {' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - begun, used.ru_maxrss / 1024
