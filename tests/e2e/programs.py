"""The programs of the store, each a process that can be killed."""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests import planted
from tests.servers.process import Server, free_port

ROOT = Path(__file__).parents[2]
ADMIN = {"email": "admin@example.com", "password": planted.ADMINISTRATOR}

#: Ignores a proxy that the environment names: all servers are on this machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Program(Server):
    """A program of the store, with its settings."""

    name = "program"
    command: tuple[str, ...]

    def __init__(self, settings: Mapping[str, str]) -> None:
        super().__init__()
        self.settings = {
            # A busy machine must not look like an outage.
            "BOOKSTORE_DATABASE_TIMEOUT_S": "20",
            # All customers of a test are in one network, and order more than any guest may.
            "BOOKSTORE_RATE_LIMITS": "off",
            # No load balancer has to notice a stop.
            "BOOKSTORE_STOP_DELAY_S": "0",
            "BOOKSTORE_SECRET_KEY": planted.SECRET_KEY,
            "BOOKSTORE_ADMIN_EMAIL": ADMIN["email"],
            "BOOKSTORE_ADMIN_PASSWORD": ADMIN["password"],
            **settings,
        }

    def wipe(self) -> None:
        """It has no data of its own: everything is in the database."""

    def stop(self, timeout_s: float = 60) -> int:
        """Ask it to stop and wait; returns its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(timeout_s)
        self._process = None
        return code

    def kill(self) -> None:
        """Send SIGKILL to it and its child processes."""
        if self._process is not None:
            with suppress(ProcessLookupError):  # It is dead, and so are its child processes.
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None

    @property
    def hurt(self) -> bool:
        """Whether it or one of its child processes is dead.

        Dramatiq's first process waits forever for a child that is killed exactly while it reports
        its start: the child dies holding a lock of `multiprocessing`.
        """
        if not self.running:
            return True
        task = Path("/proc", str(self.pid), "task", str(self.pid))
        with suppress(FileNotFoundError, ProcessLookupError):  # It has just ended.
            children = task.joinpath("children").read_text().split()
            states = [Path("/proc", child, "stat").read_text() for child in children]
            return any(state.rpartition(") ")[2].startswith("Z") for state in states)
        return True

    def hand_in(self) -> None:
        planted.LEDGER.folder(self.folder)

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run `bookstore ...` with the same settings and wait for it."""
        done = subprocess.run(
            [sys.executable, "-m", "bookstore.cli", *command],
            env=self._env(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        planted.LEDGER.search(done.stdout + done.stderr, f"what `bookstore {command[0]}` printed")
        return done

    def output(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def _env(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), **self.settings}

    def _spawn(self) -> "subprocess.Popen[bytes]":
        return self._popen([sys.executable, *self.command], env=self._env())


class Web(Program):
    """The web program: `bookstore web`."""

    name = "web"
    command = ("-m", "bookstore.cli", "web")

    def __init__(self, settings: Mapping[str, str]) -> None:
        self.port = free_port()
        super().__init__({**settings, "BOOKSTORE_PORT": str(self.port)})
        self.url = f"http://127.0.0.1:{self.port}"

    def _answers(self) -> bool:
        try:
            with _OPENER.open(f"{self.url}/readyz", timeout=2):
                return True
        except urllib.error.HTTPError:
            return False
        except OSError:
            return False


class Embedded(Web):
    """The whole store in one process: `bookstore run`."""

    name = "embedded"
    command = ("-m", "bookstore.cli", "run")

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(settings or {})
        self.settings["BOOKSTORE_VAR_DIR"] = str(self.folder / "var")

    @property
    def mail(self) -> Path:
        return self.folder / "var" / "mail"


class SlowEmbedded(Embedded):
    """The same, with slow order processing."""

    command = ("-m", "tests.e2e.slow_store", "run")


class Workers(Program):
    """The workers: `dramatiq actors -p 2 -t 8`."""

    name = "workers"
    command = ("-m", "dramatiq", "actors", "-p", "2", "-t", "8")

    #: Their CPU priority (`nice`).
    nice = 0

    def __init__(self, settings: Mapping[str, str]) -> None:
        super().__init__(settings)
        self._said_before = 0
        self._processes = int(self.command[self.command.index("-p") + 1])

    def _spawn(self) -> "subprocess.Popen[bytes]":
        self._said_before = self._at_work()
        process = super()._spawn()
        if self.nice:
            os.setpriority(os.PRIO_PROCESS, process.pid, self.nice)
            # Linux weighs sessions first, where it groups by them (sched(7)), and each program
            # has its own.
            with suppress(FileNotFoundError):
                Path("/proc", str(process.pid), "autogroup").write_text(str(self.nice))
        return process

    def _answers(self) -> bool:
        return self._at_work() == self._said_before + self._processes

    def _at_work(self) -> int:
        return self.output().count("worker started: ") if self.log.exists() else 0


class OrderWorkers(Workers):
    """Workers as in the operator's guide: orders, imports and exports, no e-mails."""

    name = "order workers"
    command = (*Workers.command, "-Q", "orders", "bulk")


class EmailWorkers(Workers):
    """Workers for e-mails only, at low CPU priority."""

    name = "e-mail workers"
    command = ("-m", "dramatiq", "actors", "-p", "1", "-t", "8", "-Q", "notifications")
    #: About the weight of CPUWeight=2.
    nice = 18
