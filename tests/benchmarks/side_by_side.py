"""Runs one command several times at once, each with its own file."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.programs import ROOT


def start(command: Sequence[str], files: Sequence[Path]) -> "subprocess.Popen[str]":
    """Run the command for all files at the same time; `{}` in it is replaced by the file.

    The process ends when all commands have ended, with an error code if one of them failed.
    """
    running = subprocess.Popen(
        ["xargs", f"--max-procs={len(files)}", "-I{}", *command],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stdin is not None
    running.stdin.write("\n".join(map(str, files)))
    running.stdin.close()
    return running
