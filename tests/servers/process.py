"""A private server process: started, stopped, killed, wiped, and always cleaned up."""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Self

from tests.planted import LEDGER

#: Below the range of ports for outgoing connections, so that a restart finds the port free.
PORTS = range(20_000, 30_000)
#: Each test process has its own ports, because a server binds its port a second after the check.
OF_PROCESS = slice(
    int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")),
    None,
    int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")),
)
PREFIX = "bookstore-servers-"

# Used in turn, so that no port is returned again before its server has bound it.
_turns = cycle(random.sample(PORTS[OF_PROCESS], len(PORTS[OF_PROCESS])))


class ServerFailed(Exception):
    """A server ended early or was not ready in time; the message ends with its log."""


def free_port() -> int:
    """A free TCP port of this machine."""
    while True:
        port = next(_turns)
        with socket.socket() as probe:
            # As the servers do; without it, ports that were just released look used.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def new_folder(name: str) -> Path:
    """An empty temporary folder; folders of killed processes are removed."""
    base = Path(tempfile.gettempdir())
    for left in base.glob(f"{PREFIX}*"):
        pid = left.name.removeprefix(PREFIX).split("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-{name}-"))


def wait_until(answers: Callable[[], bool], timeout_s: float = 90) -> None:
    """Return when `answers()` is true.

    Raises:
        TimeoutError: it did not become true in time.
    """
    deadline = time.monotonic() + timeout_s
    while not answers():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.05)


class Server(ABC):
    """One server.  `start()` returns at once, `wait()` when the server answers.

    Call `start()` in a thread that lives as long as the server is needed: the kernel kills the
    server when that thread ends.
    """

    name: str

    def __init__(self) -> None:
        self.folder = new_folder(self.name)
        self.log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False

    def __enter__(self) -> Self:
        self.start()
        self.wait()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The id of its process, which runs or has just died."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it with its existing data, or with new data if there are none."""
        if self.running:
            return
        self._ready = False
        self._process = self._spawn()

    def wait(self, timeout_s: float = 90) -> None:
        """Return when the server answers.

        Raises:
            ServerFailed: it ended, or did not answer in time.
        """
        if self._ready and self.running:
            return
        try:
            wait_until(lambda: not self.running or self._answers(), timeout_s)
        except TimeoutError:
            raise ServerFailed(f"{self.name} is not ready.\n{self._end_of_log()}") from None
        if not self.running:
            raise ServerFailed(f"{self.name} ended.\n{self._end_of_log()}")
        self._ready = True

    def stop(self, timeout_s: float = 60) -> None:
        """Shut it down; the data stay."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout_s)
        self._process = None

    def kill(self) -> None:
        """Kill it, like a power failure (SIGKILL); data on disk stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def freeze(self) -> None:
        """Make it hang (SIGSTOP): connections are open, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue after `freeze()`."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill it and remove its files.  It cannot be started again."""
        self.kill()
        self.hand_in()
        shutil.rmtree(self.folder, ignore_errors=True)

    def hand_in(self) -> None:
        """Have its output searched for secrets."""
        if self.log.exists():
            LEDGER.file(self.log)

    @abstractmethod
    def wipe(self) -> None:
        """Erase its data.  The server must not be running."""

    @abstractmethod
    def _spawn(self) -> subprocess.Popen[bytes]: ...

    @abstractmethod
    def _answers(self) -> bool: ...

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _popen(
        self, command: Sequence[str | Path], env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        # A session of its own, so that Ctrl-C only interrupts pytest.
        with self.log.open("ab") as log:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                env=env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _end_of_log(self) -> str:
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-30:])


def find(program: str) -> str:
    """The path of a program; server programs are often not on PATH.

    Raises:
        ServerFailed: it is not installed.
    """
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise ServerFailed(f"{program} is missing: run tests/servers/install.sh")
    return found
