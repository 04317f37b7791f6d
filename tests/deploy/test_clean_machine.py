"""The README's way from nothing to an order, on a machine with nothing but a Debian."""

import re

import pytest

from tests.deploy import machines
from tests.deploy.company import bundle
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


def test_a_clean_machine_has_the_store_after_one_command(tmp_path):
    (needed,) = re.findall(r"On a Debian 12 machine with `([^`]+)`:", README)
    (order,) = re.findall(r"```sh\n(api=http://127.0.0.1:8080.*?)```", README, re.DOTALL)
    machines.prepare()
    with Network() as network:
        machine = Machine(network.host("shop"), tmp_path)
        machine.power_on()
        try:
            # curl is for the order, not for the store.
            packages = f"apt-get update && apt-get install --yes curl {needed}"
            machine.run(packages, network=False)
            (machine.files / "root" / "bookstore.bundle").write_bytes(bundle())
            # `make run` begins with this; the machine itself has no way out of the house.
            machine.run("git clone bookstore.bundle shop && cd shop && make install", network=False)

            machine.run("cd shop && systemd-run --collect --working-directory=$PWD make run")

            wait_until(lambda: machine.run(f"{ANSWERS} 2>&1 && echo yes || true") == "yes\n", 120)
            assert ".eml" in machine.run(f"cd shop && {order}")
            assert "All is well" in machine.run("cd shop && .venv/bin/bookstore doctor 2>&1")
        finally:
            machine.cut_power()
