"""A private Prometheus that scrapes our programs once a second."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.servers.process import Server, find, free_port

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
{jobs}
"""
JOB = """
  - job_name: {name}
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""

#: Ignores a proxy that the environment names: all servers are on this machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Prometheus(Server):
    """It scrapes `{job: port}` and evaluates the rules in a file."""

    name = "prometheus"

    def __init__(self, ports: Mapping[str, int], rules: Path) -> None:
        super().__init__()
        self.port = free_port()
        jobs = "".join(JOB.format(name=name, port=port) for name, port in ports.items())
        self._config = self.folder / "prometheus.yml"
        self._config.write_text(CONFIG.format(rules=rules, jobs=jobs))

    def wipe(self) -> None:
        """Its data is not kept."""

    def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """The current result of a query: `[(labels, value), ...]`."""
        found = self._get(f"query?{urlencode({'query': query})}")["result"]
        return [(it["metric"], float(it["value"][1])) for it in found]

    def rules(self) -> dict[str, str]:
        """The health of each rule: `{name: health}`; "ok" if it can be evaluated."""
        groups = self._get("rules")["groups"]
        return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}

    def _get(self, path: str) -> Any:
        with _OPENER.open(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)["data"]

    def _spawn(self) -> "subprocess.Popen[bytes]":
        return self._popen(
            [
                find("prometheus"),
                f"--config.file={self._config}",
                f"--storage.tsdb.path={self.folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
        )

    def _answers(self) -> bool:
        try:
            return bool(self._get("query?query=1"))
        except OSError:
            return False
