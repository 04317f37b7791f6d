"""On a clean Debian: the commands of the README up to an order, and the systemd units."""

import re

import pytest

from tests.deploy import machines
from tests.deploy.company import SYSTEMD, bundle
from tests.deploy.hosts import Network
from tests.deploy.machines import Machine
from tests.e2e.programs import ROOT
from tests.faults.figures import FULL
from tests.servers.process import wait_until

pytestmark = [
    pytest.mark.skipif(not FULL, reason="it installs a machine: make machines"),
    pytest.mark.skipif(not machines.possible(), reason="machines need root and debootstrap"),
    pytest.mark.timeout(1200),
]

README = (ROOT / "README.md").read_text()
ANSWERS = "python3 -c \"import urllib.request as r; r.urlopen('http://127.0.0.1:8080/readyz')\""


@pytest.fixture
def machine(tmp_path):
    machines.prepare()
    with Network() as network:
        machine = Machine(network.host("shop"), tmp_path)
        machine.power_on()
        yield machine
        machine.cut_power()


def test_a_clean_machine_has_the_store_after_one_command(machine):
    (needed,) = re.findall(r"On a Debian 12 machine with `([^`]+)`:", README)
    (order,) = re.findall(r"```sh\n(api=http://127.0.0.1:8080.*?)```", README, re.DOTALL)
    # The test needs curl; the store does not.
    packages = f"apt-get update && apt-get install --yes curl {needed}"
    machine.run(packages, network=False)
    (machine.files / "root" / "bookstore.bundle").write_bytes(bundle())
    # The first step of `make run`. It needs the network, which the machine does not have.
    machine.run("git clone bookstore.bundle shop && cd shop && make install", network=False)

    machine.run("cd shop && systemd-run --collect --working-directory=$PWD make run")

    wait_until(lambda: machine.run(f"{ANSWERS} 2>&1 && echo yes || true") == "yes\n", 120)
    assert ".eml" in machine.run(f"cd shop && {order}")
    assert "No problems found" in machine.run("cd shop && .venv/bin/bookstore doctor 2>&1")


def test_enabled_units_start_with_the_machine_and_stop_together(machine):
    def active():
        return machine.run(f"systemctl is-active {' '.join(names)} || true").split()

    names = ["bookstore-web", "bookstore-worker@1", "bookstore-emails@1"]
    for path in sorted(SYSTEMD.iterdir()):
        # A command that never ends replaces the store, which is not installed.
        text = re.sub(
            "^ExecStart=.*", "ExecStart=/bin/sleep infinity", path.read_text(), flags=re.M
        )
        text = text.replace("User=bookstore\n", "")
        (machine.files / "etc/systemd/system" / path.name).write_text(text)
    machine.run("mkdir /etc/bookstore && touch /etc/bookstore/env && systemctl daemon-reload")

    machine.run(f"systemctl enable --now {' '.join(names[1:])}")

    assert active() == ["inactive", "active", "active"]
    machine.run("systemctl stop bookstore.target")
    assert active() == ["inactive"] * 3
    machine.cut_power()
    machine.power_on()
    wait_until(lambda: active() == ["inactive", "active", "active"], 30)
