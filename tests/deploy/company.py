"""Two web hosts and two worker hosts with one MariaDB and one RabbitMQ, set up by the guide."""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Protocol

from tests.deploy import guide, units
from tests.deploy.hosts import Host, HostProgram, Network
from tests.deploy.machines import Machine
from tests.e2e.programs import ROOT
from tests.servers.mariadb import MariaDBServer
from tests.servers.rabbitmq import RabbitMQServer
from tests.servers.smtp import SmtpSink

SYSTEMD = ROOT / "config" / "deploy" / "systemd"
#: The password typed in when an account is created.
PASSWORD = "eleven blue lanterns\n"
#: A value that occurs only in the guide.
REPOSITORY = "https://git.example.com/bookstore.git"


def bundle() -> bytes:
    """The committed repository as a git bundle: the machines cannot reach a server."""
    command = ["git", "bundle", "create", "--quiet", "-", "HEAD"]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout


class Site(Protocol):
    """A host on which the steps of the guide are executed."""

    host: Host

    def install(self, settings: str, script: str) -> None:
        """Steps 3 and 4 of the guide."""

    def run(self, script: str) -> None:
        """Run a command as root; it must succeed."""

    def start(self, names: Sequence[str]) -> None:
        """Step 6 of the guide: `systemctl enable --now` for these units."""

    @property
    def folder(self) -> Path:
        """The working directory of `run`."""

    @property
    def well(self) -> bool:
        """Whether all started programs are running."""


class Checkout:
    """A host that shares the files of this machine: `make` has done step 4, and the commands of the
    units are started without systemd.
    """

    def __init__(self, stack: ExitStack, host: Host, folder: Path) -> None:
        self.host = host
        self.folder = folder
        self._stack = stack
        self._programs: list[HostProgram] = []
        #: Paths and addresses of the guide that differ here.
        self.places = {
            "/opt/bookstore/bin/bookstore": f"{sys.executable} -m bookstore.cli",
            "/etc/bookstore/env": str(folder / "env"),
        }

    def install(self, settings: str, script: str) -> None:
        (self.folder / "env").write_text(settings)

    def run(self, script: str) -> None:
        done = subprocess.run(
            self.host.command("sh", "-euc", guide.put_in(script, self.places)),
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            cwd=self.folder,
            input=PASSWORD,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"

    def start(self, names: Sequence[str]) -> None:
        for name in names:
            template, _, instance = name.partition("@")
            unit = units.read(SYSTEMD / f"{template}{'@' if instance else ''}.service")
            env = {**self._settings(), "PYTHONPATH": str(ROOT), **unit.env}
            env["PROMETHEUS_MULTIPROC_DIR"] = str(self.folder)
            words = unit.words(self.places["/opt/bookstore/bin/bookstore"])
            ready = {
                "bookstore-web": "listening",
                "bookstore-worker": "worker started: ",
                "bookstore-emails": "worker started: ",
            }
            program = HostProgram(self.host, env, words, ready.get(template, ""))
            self._stack.callback(program.close)
            program.start()
            self._programs.append(program)

    @property
    def well(self) -> bool:
        return all(program.running for program in self._programs)

    def _settings(self) -> dict[str, str]:
        lines = (self.folder / "env").read_text().splitlines()
        pairs = (line.partition("=") for line in lines)
        return {name: value.strip("'") for name, _, value in pairs}


class Installed:
    """A clean machine on which every line of the guide is executed."""

    def __init__(self, stack: ExitStack, host: Host, folder: Path) -> None:
        self.host = host
        self.machine = Machine(host, folder)
        self._stack = stack
        self._started: list[str] = []
        self.machine.power_on()
        stack.callback(self.machine.cut_power)

    @property
    def folder(self) -> Path:
        return self.machine.files / "root"

    def install(self, settings: str, script: str) -> None:
        (self.folder / "env").write_text(settings)
        (self.folder / "bookstore.bundle").write_bytes(bundle())
        self.machine.run(script.replace(REPOSITORY, "/root/bookstore.bundle"), network=False)

    def run(self, script: str) -> None:
        self.machine.run(script, said=PASSWORD)

    def start(self, names: Sequence[str]) -> None:
        self.machine.run(f"systemctl enable --now {' '.join(names)}")
        self._started += names

    @property
    def well(self) -> bool:
        states = self.machine.run(f"systemctl is-active {' '.join(self._started)} || true")
        return states.split() == ["active"] * len(self._started)


class Company:
    """The hosts and their shared servers."""

    def __init__(
        self, stack: ExitStack, folder: Path, kind: Callable[[ExitStack, Host, Path], Any]
    ) -> None:
        network = stack.enter_context(Network())
        address = network.address
        options = [f"--bind-address=127.0.0.1,{address}"]
        self.mariadb = stack.enter_context(MariaDBServer(options=options))
        self.rabbitmq = stack.enter_context(RabbitMQServer("0.0.0.0"))
        self.sink = stack.enter_context(SmtpSink(address=address))
        names = ("web1", "web2", "worker1", "worker2")
        sites = [kind(stack, network.host(name), folder) for name in names]
        self.webs, self.workers = sites[:2], sites[2:]
        self._places = {
            "db.internal": f"{address}:{self.mariadb.port}",
            "mq.internal": f"{address}:{self.rabbitmq.port}",
            "smtp+starttls://store:a-secret-of-the-mail-server@mail.internal:587": self.sink.url,
            "10.0.0.": f"{network.prefix}.",
            "a-secret-that-openssl-rand-prints": secrets.token_hex(32),
            "mariadb <": f"mariadb --no-defaults --socket={self.mariadb.folder}/socket -u root <",
            "users create you": "users create --password-stdin you",
        }

    @property
    def sites(self) -> list[Any]:
        return [*self.webs, *self.workers]

    def set_up(self) -> None:
        """Execute steps 1 to 6 of the guide."""
        sql, queues, settings, install, tables, grants, account, *start = [
            guide.put_in(text, self._places) for _, text in guide.blocks("Install on many")
        ]
        with closing(self.mariadb.client.connect()) as conn, conn.cursor() as cursor:
            for statement in filter(str.strip, sql.split(";\n")):
                cursor.execute(statement)
        for line in queues.splitlines():
            assert line.startswith("rabbitmqctl ")
            self.rabbitmq.ctl(*[word.strip("'") for word in line.split()[1:]])
        for site in self.sites:
            site.install(settings, install)
        first = self.webs[0]
        first.run(tables)
        # The administrator account is created on the host of the database.
        subprocess.run(["sh", "-euc", grants], cwd=first.folder, check=True)
        first.run(account)
        for text, sites in zip(start, (self.webs, self.workers), strict=True):
            words = text.split()
            assert words[:3] == ["systemctl", "enable", "--now"]
            for site in sites:
                site.start(words[3:])

    def rows(self, query: str) -> list[Any]:
        """The rows of a query."""
        with closing(self.mariadb.client.connect("bookstore")) as conn, conn.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())
