"""The steps of the Dockerfile without a container engine: `python -m tests.deploy.image`, as root.

A debootstrap of Debian 12 replaces the base image (the same distribution and Python). Each `RUN`
and `COPY` is executed in its own root directory, as an engine does. Then the services run from the
image: as its user, with a file system that is read-only except for the volume and /tmp. One order
is placed and processed. It takes some minutes and 800 MB in build/image, and needs debootstrap and
the network; DEBIAN_MIRROR selects a Debian mirror.
"""

import asyncio
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from tests.deploy import debian, dockerfile
from tests.deploy.dockerfile import Stage
from tests.e2e.programs import ROOT, Web
from tests.e2e.shopper import Shopper, some_books
from tests.servers.mariadb import MariaDBServer
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.smtp import SmtpSink

FOLDER = ROOT / "build" / "image"
#: Files of this machine for the steps that need the network.
BORROWED = ("/etc/resolv.conf", "/etc/ssl/certs")
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
#: Starts a process with private mounts, which end with it.
ISOLATED = ("unshare", "--mount", "--propagation=private", "sh", "-euc")
#: Ends with the process that started it, and has the permissions of the image's user.
_INSIDE = """
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"
mount --bind /dev "$1/dev"
mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm"
mount --bind "$2" "$1$3"
mount -o remount,ro,bind "$1"
folder=$3 user=$4 root=$1
shift 4
exec chroot "$root" setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs \\
    --pdeathsig KILL env -C "$folder" "$@"
"""


def main() -> int:
    """Build the image, run it and check it; returns 1 if a check fails."""
    stages = dockerfile.read(ROOT / "Dockerfile")
    roots: dict[str, Path] = {}
    for number, stage in enumerate(stages):
        root = FOLDER / (stage.name or "image")
        _build(stage, root, roots)
        roots[stage.name or str(number)] = root
        print(f"built {root.name}: {len(stage.steps)} steps", flush=True)
    image = Image(stages[-1], FOLDER / "image")
    with MariaDBServer() as mariadb, RabbitMQServer() as rabbitmq, SmtpSink() as sink:
        settings = {
            "BOOKSTORE_DATABASE_URL": mariadb.client.create_database("image"),
            "BOOKSTORE_BROKER_URL": rabbitmq.client.create_vhost("image"),
            "BOOKSTORE_SMTP_URL": sink.url,
        }
        _apart(image, settings, sink)
    _whole(image)
    return 0


class Image:
    """A root directory from which containers are started."""

    def __init__(self, stage: Stage, root: Path) -> None:
        self.stage = stage
        self.user = _user_id(root, stage.user)
        self._root = root

    def command(self, volume: Path, *command: str) -> list[str]:
        """The command that starts this in a container with that folder as its volume."""
        os.chown(volume, self.user, self.user)
        return [
            *ISOLATED,
            _INSIDE,
            "sh",
            str(self._root),
            str(volume),
            self.stage.folder,
            str(self.user),
            *command,
        ]

    def env(self, settings: Mapping[str, str]) -> dict[str, str]:
        return {**self.stage.env, **settings}

    def run(self, volume: Path, settings: Mapping[str, str], *command: str) -> str:
        """Run this in a container; returns its output.

        Raises:
            CalledProcessError: it failed.
        """
        return subprocess.run(
            self.command(volume, *command),
            env=_path(self.env(settings)),
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout


class Contained(Web):
    """A service in a container, started as in compose.yaml."""

    def __init__(self, image: Image, settings: Mapping[str, str], *command: str) -> None:
        super().__init__(settings)
        self._image = image
        self.command = command
        self.volume = self.folder / "volume"
        self.volume.mkdir()

    def healthy(self) -> None:
        """Run the health check of the image.

        Raises:
            CalledProcessError: the service is not healthy.
        """
        self._image.run(self.volume, self.settings, *self._image.stage.health)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        command = self._image.command(self.volume, *self.command)
        return self._popen(command, env=_path(self._image.env(self.settings)))


class ContainedWorkers(Contained):
    """Workers have no health endpoint; they log when they are ready."""

    def _answers(self) -> bool:
        return self.output().count("worker started: ") == int(
            self.command[self.command.index("-p") + 1]
        )


def _apart(image: Image, settings: Mapping[str, str], sink: SmtpSink) -> None:
    """Migration, web and workers from the same image process an order."""
    web = Contained(image, settings, "bookstore", "web")
    workers = ContainedWorkers(image, settings, "bookstore", "worker", "-p", "2", "-t", "4")
    with closing(web), closing(workers):
        assert int(image.run(web.volume, {}, "id", "-u")) == image.user != 0
        for place in ("/opt/bookstore", "/usr/bin", "/etc", "/"):
            assert _refused(image, web.volume, place), f"{place} can be written to"
        image.run(web.volume, settings, "touch", "/tmp/here", f"{image.stage.folder}/here")
        print("runs as", image.user, "and writes to its volume and /tmp alone", flush=True)
        image.run(web.volume, web.settings, "bookstore", "db", "upgrade")
        image.run(web.volume, web.settings, "bookstore", "sample-data")
        for program in (web, workers):
            program.start()
        for program in (web, workers):
            program.wait()
        web.healthy()
        asyncio.run(_order(web.url))
        sink.wait_for(2)
        assert (web.stop(), workers.stop()) == (0, 0)
    print("migration, web and workers: an order was confirmed, two e-mails came", flush=True)


def _whole(image: Image) -> None:
    """Run the image without a command."""
    with Contained(image, {"BOOKSTORE_BROKER_URL": "memory:"}, *image.stage.command) as whole:
        whole.healthy()
        asyncio.run(_order(whole.url))
        emails = list((whole.volume / "mail").glob("*.eml"))
        assert whole.stop() == 0
    print(f"the whole store in one container: an order, {len(emails)} e-mails", flush=True)


async def _order(url: str) -> None:
    async with Shopper(url) as guest:
        (book,) = await some_books(guest, 1)
        await guest.fill_cart({book["id"]: 1})
        order = await guest.decided(await guest.order(email="guest@example.com"))
        assert order["status"] == "confirmed", order


def _refused(image: Image, volume: Path, place: str) -> bool:
    try:
        image.run(volume, {}, "touch", f"{place}/not-here")
    except subprocess.CalledProcessError:
        return True
    return False


def _build(stage: Stage, root: Path, roots: Mapping[str, Path]) -> None:
    base = FOLDER / "base"
    debian.make(base, "python3,python3-venv,ca-certificates")
    python = base / "usr/local/bin/python"  # The name in the official image.
    if not python.is_symlink():
        python.symlink_to("/usr/bin/python3")
    if root.exists():
        shutil.rmtree(root)
    subprocess.run(["cp", "-a", "--reflink=auto", base, root], check=True)
    env, folder = {"PATH": PATH}, "/"
    for instruction, rest in stage.steps:
        if instruction == "RUN":
            _run(root, env, folder, rest)
        elif instruction == "COPY":
            _copy(root, folder, shlex.split(rest), roots)
        elif instruction == "ENV":
            for pair in shlex.split(rest):
                name, _, value = pair.partition("=")
                env[name] = value.replace("$PATH", env["PATH"])
        elif instruction == "WORKDIR":
            folder = rest
            (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
    stage.env |= env


def _run(root: Path, env: Mapping[str, str], folder: str, command: str) -> None:
    mounts = "".join(
        f'mount --bind {place} "$1{place}"\n' for place in BORROWED if Path(place).exists()
    )
    script = f'{mounts}mount -t proc proc "$1/proc"\nexec chroot "$1" env -C "$2" sh -c "$3"'
    for place in BORROWED:
        there = root / place.lstrip("/")
        if not there.exists() and Path(place).is_file():
            there.touch()
    subprocess.run(
        [*ISOLATED, script, "sh", str(root), folder, command],
        env=env,
        check=True,
    )


def _copy(root: Path, folder: str, words: Sequence[str], roots: Mapping[str, Path]) -> None:
    source = ROOT
    if words[0].startswith("--from="):
        source, words = roots[words[0].removeprefix("--from=")], words[1:]
    *names, target = words
    into = root / folder.lstrip("/") / target if target[0] != "/" else root / target[1:]
    for name in names:
        there = source / name.lstrip("/")
        if there.is_dir():
            shutil.copytree(
                there, into, symlinks=True, dirs_exist_ok=True, ignore=_unless(source == ROOT)
            )
        else:
            shutil.copy2(there, into / there.name if into.is_dir() else into)


def _unless(context: bool) -> "shutil._IgnoreFn | None":
    # The rules of .dockerignore.
    return shutil.ignore_patterns("__pycache__", "*.egg-info") if context else None


def _user_id(root: Path, name: str) -> int:
    accounts = [line.split(":") for line in (root / "etc/passwd").read_text().splitlines()]
    return next(int(account[2]) for account in accounts if account[0] == name)


def _path(env: dict[str, str]) -> dict[str, str]:
    """PATH with the programs that start a container; the programs of the image come first."""
    return {**env, "PATH": f"{env['PATH']}:{PATH}"}


if __name__ == "__main__":
    if os.geteuid():
        sys.exit("Mounting needs root.")
    sys.exit(main())
