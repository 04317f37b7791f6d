"""Creates a Debian 12 by debootstrap."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.servers.process import find

SUITE = "bookworm"
#: The package mirror; None means debootstrap's default.
MIRROR = "DEBIAN_MIRROR"


def make(root: Path, packages: str) -> None:
    """Create it unless it exists; packages are separated by commas. Needs the network and root.

    Raises:
        CalledProcessError: debootstrap failed; the reason is on stderr.
    """
    if root.exists():
        return
    root.parent.mkdir(parents=True, exist_ok=True)
    part = root.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)  # Left by an interrupted run.
    command = [find("debootstrap"), "--variant=minbase", f"--include={packages}", SUITE, part]
    if mirror := os.environ.get(MIRROR):
        command.append(mirror)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    part.rename(root)
