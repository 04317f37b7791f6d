"""A private RabbitMQ, with an epmd and a management API of its own."""

import base64
import json
import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests import planted
from tests.servers.process import Server, ServerFailed, find, free_port

USER = "bookstore"
PASSWORD = planted.BROKER

#: The scripts themselves: Debian's wrapper in /usr/sbin changes to the user `rabbitmq`.
SCRIPTS = Path("/usr/lib/rabbitmq/bin")

CONFIG = f"""
default_user = {USER}
default_pass = {PASSWORD}
default_vhost = bookstore
management.tcp.ip = 127.0.0.1
management.tcp.port = {{management_port}}
"""

#: The queue that receives a copy of all messages, and its largest length.
EAR, OVERHEARD = "overheard", 2000

#: Ignores a proxy that the environment names: all servers are on this machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class RabbitMQ:
    """A running RabbitMQ: its address, and helpers for tests."""

    port: int
    management_port: int

    def url(self, vhost: str = "bookstore") -> str:
        """The value for `BOOKSTORE_BROKER_URL`."""
        return f"amqp://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    @property
    def admin_url(self) -> str:
        """The value for `BOOKSTORE_BROKER_ADMIN_URL`."""
        return f"http://{USER}:{PASSWORD}@127.0.0.1:{self.management_port}"

    def answers(self) -> bool:
        try:
            # RabbitMQ opens the AMQP port last; plugins open theirs a little later.
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            self.ask("GET", "overview")
        except OSError:
            return False
        return True

    def create_vhost(self, name: str, *, overheard: bool = True) -> str:
        """Create an empty virtual host, replacing one of this name; returns its URL.

        With `overheard`, a copy of every published message is kept until the host is deleted.
        """
        self.delete_vhost(name)
        vhost = quote(name, safe="")
        self.ask("PUT", f"vhosts/{vhost}", {"tracing": overheard})
        if overheard:
            # RabbitMQ's firehose, https://www.rabbitmq.com/docs/firehose
            queue = {"durable": False, "arguments": {"x-max-length": OVERHEARD}}
            self.ask("PUT", f"queues/{vhost}/{EAR}", queue)
            published = {"routing_key": "publish.#"}
            self.ask("POST", f"bindings/{vhost}/e/amq.rabbitmq.trace/q/{EAR}", published)
        return self.url(name)

    def overheard(self, name: str) -> list[str]:
        """The messages published in a virtual host created with `overheard`."""
        wanted = {"count": OVERHEARD, "ackmode": "ack_requeue_false", "encoding": "auto"}
        try:
            found = self.ask("POST", f"queues/{quote(name, safe='')}/{EAR}/get", wanted)
        except urllib.error.HTTPError as error:
            if error.code not in (401, 404):  # A virtual host that does not exist cannot be read.
                raise
            return []
        return [json.dumps([it["properties"], it["payload"]]) for it in found]

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host with its queues and messages, and close its connections."""
        for message in self.overheard(name):
            planted.LEDGER.search(message, "a message of the broker")
        try:
            self.ask("DELETE", f"vhosts/{quote(name, safe='')}")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Call the management API; `path` is the part after `/api/`."""
        account = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.management_port}/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Basic {account}",
                "Content-Type": "application/json",
            },
        )
        with _OPENER.open(request, timeout=10) as response:
            answer = response.read()
        return json.loads(answer) if answer else None


class RabbitMQServer(Server):
    """The server behind a `RabbitMQ`."""

    name = "rabbitmq"

    def __init__(self, address: str = "127.0.0.1") -> None:
        """`address` is the address of the AMQP port; `0.0.0.0` means all."""
        super().__init__()
        self.port = free_port()
        self.management_port = free_port()
        self._epmd_port = free_port()
        self._epmd: subprocess.Popen[bytes] | None = None
        (self.folder / "rabbitmq.conf").write_text(
            CONFIG.format(management_port=self.management_port)
        )
        (self.folder / "plugins").write_text("[rabbitmq_management].\n")
        self._env = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_NODENAME": f"bookstore{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": address,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_LOGS": "-",
            # An epmd that Erlang starts itself would never be stopped.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"
            ),
            # With `exec`, the script becomes the server instead of its parent.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    @property
    def client(self) -> RabbitMQ:
        return RabbitMQ(self.port, self.management_port)

    def wipe(self) -> None:
        shutil.rmtree(self.folder / "mnesia", ignore_errors=True)

    def close(self) -> None:
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None
        super().close()

    def cut_connections(self) -> None:
        """Close all client connections, like a network failure."""
        self.ctl("close_all_connections", "cut by a test")

    def ctl(self, *arguments: str) -> str:
        """The output of `rabbitmqctl`; takes about a second."""
        return subprocess.run(
            [SCRIPTS / "rabbitmqctl", "--quiet", *arguments],
            env=self._env,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def _spawn(self) -> subprocess.Popen[bytes]:
        if not (SCRIPTS / "rabbitmq-server").exists():
            raise ServerFailed("rabbitmq-server is missing: run tests/servers/install.sh")
        if self._epmd is None:
            self._epmd = self._popen([find("epmd")], self._env)
        return self._popen([SCRIPTS / "rabbitmq-server"], self._env)

    def _answers(self) -> bool:
        return self.client.answers()
