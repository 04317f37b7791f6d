"""The programs of the checkers, in build/judges."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / "build" / "judges"
NODE = FOLDER / "node_modules"
PYTHON = FOLDER / "venv" / "bin"
#: No tool downloads a browser or sends telemetry.
_QUIET = {
    "PUPPETEER_SKIP_DOWNLOAD": "1",
    "REDOCLY_TELEMETRY": "off",
    "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true",
    "CHROME_PATH": "/usr/bin/chromium",
}


def install() -> None:
    """Install what is missing or has another version."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    lock, stamp = HERE / "package-lock.json", FOLDER / ".installed-node"
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, FOLDER / name)
        _must(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"])
        shutil.copy(lock, stamp)
    wanted, stamp = HERE / "requirements.txt", FOLDER / ".installed-python"
    if not stamp.exists() or stamp.read_bytes() != wanted.read_bytes():
        venv.create(PYTHON.parent, with_pip=True, clear=True)
        _must([PYTHON / "pip", "install", "--quiet", "--requirement", wanted])
        shutil.copy(wanted, stamp)


def ask(
    command: list[str | Path], *, timeout_s: float = 300, env: Mapping[str, str] | None = None
) -> str:
    """The output of a failed checker; empty if it succeeded."""
    try:
        ended = _run(command, timeout_s, env)
    except subprocess.TimeoutExpired:
        return f"{command[0]} took more than {timeout_s:.0f} s"
    return (ended.stdout + ended.stderr) if ended.returncode else ""


def node(name: str) -> Path:
    """A program installed by npm."""
    return NODE / ".bin" / name


def ours(name: str) -> Path:
    """A program of the virtual environment of the tests."""
    return Path(sys.executable).with_name(name)


def _must(command: list[str | Path]) -> None:
    ended = _run(command, 900, None)
    if ended.returncode:
        sys.exit(f"{command[0]} failed:\n{ended.stdout}{ended.stderr}")


def _run(
    command: list[str | Path], timeout_s: float, env: Mapping[str, str] | None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        cwd=FOLDER,
        env={**os.environ, **_QUIET, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )
