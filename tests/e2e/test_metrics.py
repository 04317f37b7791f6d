"""The metrics of several web processes and workers, and the queries for them."""

import asyncio
import json
import math
import re
import subprocess
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.programs import ROOT, Program, Web, Workers
from tests.e2e.shopper import Shopper
from tests.servers.process import find, free_port, wait_until
from tests.servers.prometheus import Prometheus

DEPLOY = ROOT / "config" / "deploy"
OURS = re.compile(r"\bbookstore_\w+")
#: The samples that operators rely on, with their labels.
PROMISED = {
    "bookstore_http_requests_total": {"method", "route", "status"},
    "bookstore_http_request_duration_seconds_count": {"method", "route"},
    "bookstore_orders": {"status"},
    "bookstore_tasks": {"task", "state"},
    "bookstore_oldest_task_age_seconds": {"task"},
    "bookstore_relay_heartbeat_age_seconds": set(),
    "bookstore_checkout_group_orders_count": set(),
    "bookstore_actor_list_ids_count": {"actor"},
    "bookstore_actor_duration_seconds_count": {"actor"},
    "bookstore_web_database_connections": set(),
    "bookstore_email_attempts_total": {"result"},
}


class TwoWebs(Web):
    """Two processes on one port."""

    command = ("-m", "bookstore.cli", "web", "--processes", "2")


class Exposition(Program):
    """`bookstore metrics`: the metrics of the workers."""

    name = "metrics"

    def __init__(self, settings):
        self.port = free_port()
        super().__init__(settings)
        self.command = ("-m", "bookstore.cli", "metrics", "--port", str(self.port))

    def _answers(self):
        try:
            return bool(fetch(self.port))
        except OSError:
            return False


def fetch(port):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read().decode()


def samples(text):
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(text, name, **labels):
    found = [
        sample.value
        for sample in samples(text)
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return sum(found)


def confirmed(text):
    return value(text, "bookstore_orders", status="confirmed")


@pytest.fixture
def settings(mariadb, rabbitmq, smtp_sink, tmp_path):
    (tmp_path / "workers").mkdir()
    yield {
        "BOOKSTORE_DATABASE_URL": mariadb.create_database("metrics"),
        "BOOKSTORE_BROKER_URL": rabbitmq.create_vhost("metrics"),
        "BOOKSTORE_SMTP_URL": smtp_sink.url,
    }
    rabbitmq.delete_vhost("metrics")


def shown():
    """The queries of the Grafana dashboard."""
    board = json.loads((DEPLOY / "grafana" / "bookstore.json").read_text())
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def alerts():
    """The queries of the alerts."""
    return re.findall(
        r"expr: (?:\|\n)?(.*?)\n +for:",
        (DEPLOY / "prometheus" / "alerts.yml").read_text(),
        re.DOTALL,
    )


async def test_every_process_is_counted_and_every_question_has_an_answer(settings, tmp_path):
    shared = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "workers")}
    web = TwoWebs(settings)
    assert web.run("db", "upgrade").returncode == 0
    assert web.run("sample-data").returncode == 0
    with web, Workers({**settings, **shared}), Exposition({**settings, **shared}) as exposition:
        async with Shopper(web.url) as guest:
            await guest.fill_cart({1: 1})
            await guest.order(email="guest@example.com")
        wait_until(lambda: value(fetch(exposition.port), "bookstore_email_attempts_total") >= 2)
        for port in (web.port, exposition.port):  # Cached for some seconds, to spare the database.
            wait_until(lambda port=port: confirmed(fetch(port)) == 1)
        for _ in range(20):  # On separate connections, which the kernel distributes.
            fetch(web.port)

        pages, work = fetch(web.port), fetch(exposition.port)

    # Any process reports the requests of both.
    assert value(pages, "bookstore_http_requests_total", route="/metrics") >= 20
    assert value(pages, "bookstore_http_requests_total", route="/api/v1/orders", status="202") == 1
    assert value(pages, "bookstore_checkout_group_orders_count") == 1
    assert value(work, "bookstore_actor_messages_total", actor="process_orders") >= 1
    assert value(work, "bookstore_email_attempts_total", result="sent") == 2
    for text in (pages, work):
        assert value(text, "bookstore_tasks") == 0
        assert value(text, "bookstore_relay_heartbeat_age_seconds") < 60
        assert promtool("metrics", typed=text) == ""
    both = [sample for text in (pages, work) for sample in samples(text)]
    known = {sample.name for sample in both}
    assert {it.name: {*it.labels} for it in both if it.name in PROMISED} == PROMISED
    assert {it.labels["state"] for it in both if it.name == "bookstore_tasks"} >= {"dead"}
    asked = {name for query in alerts() for name in OURS.findall(query)}
    assert asked - known == set()
    assert len(asked) > 4


async def test_everything_that_the_dashboard_shows_has_figures(settings, tmp_path):
    shared = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "workers")}
    web = TwoWebs(settings)
    assert web.run("db", "upgrade").returncode == 0
    assert web.run("sample-data").returncode == 0
    with web, Workers({**settings, **shared}), Exposition({**settings, **shared}) as exposition:
        ports = {"bookstore-web": web.port, "bookstore-workers": exposition.port}
        with Prometheus(ports, DEPLOY / "prometheus" / "alerts.yml") as prometheus:
            silent = shown()
            async with asyncio.timeout(100):
                while silent:  # Rates need two scrapes.
                    async with Shopper(web.url) as guest:
                        await guest.fill_cart({1: 1})
                        await guest.order(email="guest@example.com")
                    await asyncio.sleep(1)
                    silent = [it for it in silent if not figures(prometheus, it)]

            assert prometheus.rules().keys() >= {"BookstoreOrdersWait", "BookstoreNoRelay"}
            assert {*prometheus.rules().values()} == {"ok"}


def figures(prometheus, query):
    return [value for _, value in prometheus.ask(query) if math.isfinite(value)]


def test_promtool_takes_the_settings_and_the_rules():
    for kind, name in (("config", "prometheus.yml"), ("rules", "alerts.yml")):
        said = promtool(kind, DEPLOY / "prometheus" / name)
        assert "SUCCESS" in said
        assert "FAILED" not in said


def test_promtool_finds_what_is_wrong():
    with pytest.raises(subprocess.CalledProcessError):
        promtool("metrics", typed="# TYPE bookstore_orders counter\nbookstore_orders 1\n")


def promtool(kind, *files, typed=""):
    """The output of `promtool check`, which fails if it finds an error."""
    return subprocess.run(
        [find("promtool"), "check", kind, *files],
        input=typed,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
