"""compose.yaml, the Dockerfile and the systemd units contain valid commands and settings."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import closing
from itertools import chain, pairwise
from urllib.parse import urlsplit

import click
import pymysql
import pytest
import yaml
from dotenv import dotenv_values

from bookstore.cli.main import main
from bookstore.tasks.publisher import QUEUES
from tests.deploy import dockerfile, units
from tests.e2e.programs import ROOT
from tests.servers import rights
from tests.servers.mariadb import MariaDBServer
from web.api.routes import API, OPERATIONS
from web.store import routes as store_routes

IMAGE = "bookstore"
SERVICES = {
    name: service
    for name, service in yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].items()
    if service["image"] == IMAGE
}
DEPLOY = ROOT / "config" / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


#: Statements that the account of the store may not execute.
REFUSED = (
    "CREATE TABLE mine (id INT)",
    "DROP TABLE orders",
    "DELETE FROM audit_log",
    "UPDATE stock_movements SET delta = 0",
    "GRANT SELECT ON books TO bookstore@'%'",
)


@pytest.fixture
def accounts():
    """A MariaDB as its image initializes it; returns its port and the secrets of `.env`."""
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    secrets = {"MARIADB_PASSWORD": "first", "MARIADB_MAKER_PASSWORD": "second"}
    given = compose["services"]["mariadb"]["environment"]
    env = {name: secrets.get(value.strip("${}"), value) for name, value in given.items()}
    script = (DEPLOY / "mariadb" / "accounts.sh").read_text()
    printed = subprocess.run(
        ["bash", "-euc", f"docker_process_sql() {{ cat; }}\n{script}"],
        env={"PATH": os.environ["PATH"], **env},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    with (
        MariaDBServer() as server,
        closing(server.client.connect()) as conn,
        conn.cursor() as cursor,
    ):
        cursor.execute(f"CREATE DATABASE {env['MARIADB_DATABASE']}")
        for statement in filter(str.strip, printed.split(";\n")):
            cursor.execute(statement)
        # The account of the tests has the same name as the account of the store.
        cursor.execute("DROP USER bookstore@127.0.0.1")
        yield server.port, secrets


def connect(url):
    """Connect with the account of this URL."""
    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname,
        port=parts.port,
        user=parts.username,
        password=parts.password,
        database=parts.path.strip("/"),
    )


def understood(command):
    """Whether the command line accepts this; click reports errors."""
    program, *words = command
    assert program.rpartition("/")[2] == "bookstore"
    found = main
    while isinstance(found, click.Group):
        name, *words = words
        found = found.commands[name]
    found.make_context(name, list(words))
    return found.name


def test_compose_runs_one_image_for_migration_web_and_workers():
    assert {understood(service["command"]) for service in SERVICES.values()} == {
        "upgrade",
        "web",
        "worker",
    }


def test_compose_has_an_account_for_migrations_and_one_for_the_programs(accounts):
    port, secrets = accounts

    def bookstore(service, *command):
        url = SERVICES[service]["environment"]["BOOKSTORE_DATABASE_URL"]
        url = re.sub(r"\$\{([A-Z_]+)[^}]*\}", lambda match: secrets[match[1]], url)
        url = url.replace("mariadb:3306", f"127.0.0.1:{port}")
        return url, rights.run(url, *command)

    # Again: it runs with every release.
    for _ in range(2):
        bookstore("migrate", *SERVICES["migrate"]["command"][1:])
    url, _ = bookstore("web", "sample-data")
    _, findings = bookstore("worker", "doctor", "--json")

    assert json.loads(findings) == {"findings": []}
    with closing(connect(url)) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM books")
        assert cursor.fetchone()[0] > 100
        for statement in REFUSED:
            with pytest.raises(pymysql.err.OperationalError, match="denied"):
                cursor.execute(statement)


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_writes_only_to_memory_and_its_volume_and_has_no_privileges(name):
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in service  # The settings of the image.


def test_the_image_runs_unprivileged_and_has_a_health_check():
    *_, image = dockerfile.read(ROOT / "Dockerfile")

    assert image.user == "bookstore"
    assert image.volumes == [image.folder]
    assert "/healthz" in image.health[-1]
    assert understood(image.command) == "run"


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_starts_an_existing_command(path):
    unit = units.read(path)

    assert understood(shlex.split(unit.command)) in {"web", "worker", "metrics"}
    assert unit.user == "bookstore"


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_an_enabled_unit_starts_with_the_machine(path):
    wanted = [line for line in path.read_text().splitlines() if line.startswith("WantedBy=")]

    assert wanted == ["WantedBy=multi-user.target bookstore.target"]


def test_a_unit_of_workers_is_one_process():
    paths = [path for path in UNITS if "@" in path.name]

    assert len(paths) == 2
    assert all("--processes 1 " in units.read(path).command for path in paths)


@pytest.mark.parametrize(
    "commands",
    [
        [shlex.split(units.read(path).command) for path in UNITS],
        [service["command"] for service in SERVICES.values()],
    ],
    ids=["systemd", "compose"],
)
def test_emails_have_separate_workers_and_every_queue_has_workers(commands):
    workers = [command for command in commands if "worker" in command]
    served = [{queue for flag, queue in pairwise(command) if flag == "-Q"} for command in workers]

    assert {"notifications"} in served
    assert sorted(chain(*served)) == sorted(QUEUES.values())


def test_email_workers_have_the_lowest_cpu_priority():
    unit = (DEPLOY / "systemd" / "bookstore-emails@.service").read_text()
    weights = {name: service.get("cpu_shares", 1024) for name, service in SERVICES.items()}

    assert "\nCPUWeight=2\n" in unit
    assert min(weights, key=weights.__getitem__) == "emails"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_units(tmp_path):
    for path in (DEPLOY / "systemd").iterdir():
        # On the machine of the tests the program is in another directory.
        content = path.read_text().replace("/opt/bookstore/bin/bookstore", sys.executable)
        (tmp_path / path.name).write_text(content)

    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(tmp_path.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.stderr == ""
    assert found.returncode == 0


def settings_blocks():
    """Blocks of the documents that are files of settings: NAME=VALUE lines and comments."""
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for text in re.findall(r"^```\w*\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL):
            lines = [line for line in text.splitlines() if line and not line.startswith("#")]
            if lines and all(re.match("[A-Z_]+=", line) for line in lines):
                yield pytest.param(text, id=f"{path.name}-{lines[-1].partition('=')[0]}")


@pytest.mark.parametrize("text", list(settings_blocks()))
def test_a_shell_reads_a_file_of_settings_as_the_program_does(text, tmp_path):
    path = tmp_path / "env"
    path.write_text(text)
    names = re.findall("^([A-Z_]+)=", text, re.MULTILINE)
    show = "".join(f'printf "%s\\n" "${name}";' for name in names)
    read = subprocess.run(
        ["sh", "-euc", f"set -a; . ./env; set +a; {show}"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        check=True,
        capture_output=True,
        text=True,
    )

    assert read.stderr == ""
    assert dict(zip(names, read.stdout.splitlines(), strict=True)) == dotenv_values(path)


def test_the_log_of_nginx_has_no_tokens():
    """Links of guests and of e-mails are in the path, the query and the referrer."""
    text = (DEPLOY / "nginx" / "bookstore.conf").read_text()
    [log_format] = re.findall("log_format bookstore (.*?);", text, re.DOTALL)
    logged = set(re.findall(r"\$(\w+)", log_format))
    masked = re.findall(r"~\^(/\S*?)\(\?<page>([a-z|-]+)\)/", text)
    paths = {f"{start}{page}/" for start, pages in masked for page in pages.split("|")}
    with_token = {
        path.partition("{token}")[0]
        for path in (
            *(path for path, *_ in store_routes._PAGES),
            *(f"{API}{route.path}" for route in OPERATIONS),
        )
        if "{token}" in path
    }

    assert not logged & {"request", "request_uri", "args", "query_string", "uri", "http_referer"}
    assert paths == with_token
    assert all(it.endswith((" bookstore;", " off;")) for it in re.findall("access_log .*", text))
    assert re.findall("error_log .* (.*);", text) == ["crit"]
