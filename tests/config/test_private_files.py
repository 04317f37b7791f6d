"""Files of the program, readable by its own user only."""

import os
import subprocess
import sys

import pytest

from config import private_files
from tests.e2e.programs import ROOT


def mode(path):
    return path.stat().st_mode & 0o777


def test_files_of_an_earlier_release_become_private(tmp_path):
    var = tmp_path / "var"
    (var / "mail").mkdir(parents=True)
    (var / "bookstore.db").write_text("")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("")
    (var / "link").symlink_to(elsewhere)
    for path in (var, var / "mail", var / "bookstore.db", elsewhere):
        path.chmod(0o755)

    private_files.make_private(var)

    assert [mode(path) for path in (var, var / "mail", var / "bookstore.db")] == [0o700] * 3
    assert mode(elsewhere) == 0o755


def test_a_missing_folder_is_no_error(tmp_path):
    private_files.make_private(tmp_path / "var")


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_a_command_creates_only_private_files(tmp_path, umask):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "BOOKSTORE_VAR_DIR": str(tmp_path / "var")}
    command = [sys.executable, "-m", "bookstore.cli", "db", "upgrade"]

    subprocess.run(command, env=env, cwd=tmp_path, check=True, umask=umask)

    found = {path.name: mode(path) for path in (tmp_path / "var", *(tmp_path / "var").iterdir())}
    assert found["bookstore.db"] == 0o600
    assert not {name for name, bits in found.items() if bits & 0o077}
