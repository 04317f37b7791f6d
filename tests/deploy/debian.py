"""A Debian 12 from nothing, by debootstrap."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.servers.process import find

SUITE = "bookworm"
#: Where packages come from, if not from where debootstrap looks by itself.
MIRROR = "DEBIAN_MIRROR"


def make(root: Path, packages: str) -> None:
    """Make it, once; packages are separated by commas.  Needs the network, and root.

    Raises:
        CalledProcessError: debootstrap failed; it says why on stderr.
    """
    if root.exists():
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    part = root.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)  # Of a run that was stopped.
    command = [find("debootstrap"), "--variant=minbase", f"--include={packages}", SUITE, part]
    if mirror := os.environ.get(MIRROR):
        command.append(mirror)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    part.rename(root)
