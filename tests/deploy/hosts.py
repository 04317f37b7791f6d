"""Hosts on one machine: network namespaces on a bridge, whose cables can be pulled."""

import os
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.e2e.programs import Program


def ip(*words: str) -> None:
    """`ip ...`, or a CalledProcessError."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


def possible() -> bool:
    """Whether this machine lets us make hosts."""
    if os.geteuid():
        return False
    try:
        ip("netns", "add", "bookstore-try")
        ip("netns", "delete", "bookstore-try")
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


class Network:
    """A bridge; this machine is `.1` on it, the hosts are numbered as they come."""

    def __init__(self) -> None:
        # Two that run at once must not meet: names and addresses go by the process.
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
    """A network of its own, on one cable."""

    def __init__(self, namespace: str, cable: str, address: str) -> None:
        self.namespace = namespace
        self.cable = cable
        self.address = address

    def pull(self) -> None:
        """Disconnect the host silently."""
        ip("link", "set", self.cable, "down")

    def plug(self) -> None:
        """Let it be reached again."""
        ip("link", "set", self.cable, "up")

    def command(self, *words: str) -> list[str]:
        """What runs this on the host."""
        return ["ip", "netns", "exec", self.namespace, *words]


class HostProgram(Program):
    """What a unit starts on a host; it has no other variables than those of the unit."""

    def __init__(self, host: Host, env: Mapping[str, str], words: list[str], ready: str) -> None:
        """`ready` is what stands in the log of a program that is."""
        super().__init__({})
        self.settings = dict(env)
        self._command = host.command(*words)
        self._ready_line = ready

    def _spawn(self) -> "subprocess.Popen[bytes]":
        return self._popen(self._command, env={"PATH": os.environ["PATH"], **self.settings})

    def _answers(self) -> bool:
        return self._ready_line in self.output()


def folder_of(program: Program, name: str) -> Path:
    """A folder of this name that goes with the program."""
    path = program.folder / name
    path.mkdir(exist_ok=True)
    return path
