"""Files of the program are readable by its own user only: they contain personal data."""

import os
from pathlib import Path

OTHERS = 0o077


def create_private() -> None:
    """Create all files and folders of this process and its child processes without rights for
    other users."""
    os.umask(OTHERS)


def make_private(folder: Path) -> None:
    """Remove other users' rights from this folder and its files, which an earlier release created
    with them.  Files of other users stay as they are."""
    if not folder.is_dir():
        return
    for path in (folder, *folder.iterdir()):
        status = path.lstat()
        is_ours = status.st_uid == os.getuid() and not path.is_symlink()
        if is_ours and status.st_mode & OTHERS:
            path.chmod(status.st_mode & 0o777 & ~OTHERS)
