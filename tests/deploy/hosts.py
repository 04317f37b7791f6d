"""Hosts on one machine: network namespaces on a bridge that can be disconnected."""

import os
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.e2e.programs import Program


def ip(*words: str) -> None:
    """Run `ip ...`; raises CalledProcessError."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


def possible() -> bool:
    """Whether this machine allows network namespaces."""
    if os.geteuid():
        return False
    try:
        ip("netns", "add", "bookstore-try")
        ip("netns", "delete", "bookstore-try")
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


class Network:
    """A bridge. This machine has the address `.1`; the hosts are numbered in order of creation."""

    def __init__(self) -> None:
        # Names and addresses contain the process id, so concurrent runs do not conflict.
        number = os.getpid() % 60_000
        self.prefix = f"10.{number // 250}.{number % 250}"
        self.address = f"{self.prefix}.1"
        self._name = f"bs{number}"
        self._open = ExitStack()
        self._hosts = 0

    def __enter__(self) -> Self:
        ip("link", "add", self._name, "type", "bridge")
        self._open.callback(ip, "link", "delete", self._name)
        ip("address", "add", f"{self.address}/24", "dev", self._name)
        ip("link", "set", self._name, "up")
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def host(self, name: str) -> "Host":
        """A new host on the bridge."""
        self._hosts += 1
        host = Host(
            f"{self._name}-{name}",
            f"{self._name}h{self._hosts}",
            f"{self.prefix}.{10 + self._hosts}",
        )
        ip("netns", "add", host.namespace)
        self._open.callback(ip, "netns", "delete", host.namespace)
        ip("link", "add", host.cable, "type", "veth", "peer", "eth0", "netns", host.namespace)
        ip("link", "set", host.cable, "master", self._name, "up")
        ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "eth0")
        ip("-n", host.namespace, "link", "set", "eth0", "up")
        ip("-n", host.namespace, "link", "set", "lo", "up")
        return host


class Host:
    """A network namespace with one connection."""

    def __init__(self, namespace: str, cable: str, address: str) -> None:
        self.namespace = namespace
        self.cable = cable
        self.address = address

    def pull(self) -> None:
        """Disconnect the host silently."""
        ip("link", "set", self.cable, "down")

    def plug(self) -> None:
        """Connect the host again."""
        ip("link", "set", self.cable, "up")

    def command(self, *words: str) -> list[str]:
        """The command that runs this on the host."""
        return ["ip", "netns", "exec", self.namespace, *words]


class HostProgram(Program):
    """The program of a unit on a host, with the environment variables of the unit only."""

    def __init__(self, host: Host, env: Mapping[str, str], words: list[str], ready: str) -> None:
        """`ready` is the text that the program logs when it is ready."""
        super().__init__({})
        self.settings = dict(env)
        self._command = host.command(*words)
        self._ready_line = ready

    def _spawn(self) -> "subprocess.Popen[bytes]":
        return self._popen(self._command, env={"PATH": os.environ["PATH"], **self.settings})

    def _answers(self) -> bool:
        return self._ready_line in self.output()


def folder_of(program: Program, name: str) -> Path:
    """A folder of this name that is deleted with the program."""
    path = program.folder / name
    path.mkdir(exist_ok=True)
    return path
