"""The `bookstore` command line.

Data goes to stdout and messages to stderr, so that programs can read the data.  Exit codes: 0
success, 1 failed, 2 wrong use, 3 partly (some rows were refused).
"""

import asyncio
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import make_msgid
from operator import attrgetter
from pathlib import Path

import click
from click.shell_completion import get_completion_class
from sqlalchemy import make_url

from bookstore import __version__
from bookstore.backoffice import tasks
from bookstore.cli import books, sample, terminal
from bookstore.cli.terminal import as_json, asynchronous, database, print_facts, print_json
from bookstore.database import engine as db
from bookstore.errors import Invalid, NotFound
from bookstore.notifications import smtp
from bookstore.notifications.mime import OutgoingEmail
from bookstore.operations import db_grants, doctor, metrics, startup_checks
from bookstore.tasks import outbox
from bookstore.users import accounts, sessions, two_factor
from bookstore.users.permissions import Role
from config import log, private_files, variables
from config.settings import InvalidSettings, read_settings

#: Settings shown as three stars; URLs are shown without their passwords.
SECRETS = {"secret_key", "admin_password"}


@click.group(cls=terminal.CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(version)s")
def main() -> None:
    """An online bookstore: web shop, REST API, dashboard and workers.

    \b
    bookstore run                      everything in one process on one machine
    bookstore web, bookstore worker    separate processes, on one or many machines
    """
    log.set_up()
    private_files.create_private()


# Serving


@main.command()
@asynchronous
async def run() -> None:
    """Run the whole store in one process, including the workers.

    The first start creates the tables, loads the sample catalogue and creates an administrator's
    account, whose password is printed once.
    """
    from web import serve

    settings = read_settings()
    if not settings.embedded:
        raise click.UsageError(
            "A message broker is configured: start `bookstore web` and `bookstore worker` instead."
        )
    private_files.make_private(settings.var_dir)
    async with database() as engine:
        await sample.prepare(engine, settings, echo=click.echo)
    await serve.serve(settings, ready=lambda: click.echo(f"Open {settings.base_url}"))


@main.command()
@click.option("--host", help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port to listen on.")
@click.option("--processes", type=click.IntRange(1, 64), default=1, show_default=True)
def web(host: str | None, port: int | None, processes: int) -> None:
    """Serve the pages and the API.  Start workers with `bookstore worker`."""
    from web import serve

    if host:
        os.environ["BOOKSTORE_HOST"] = host
    if port is not None:
        os.environ["BOOKSTORE_PORT"] = str(port)
    startup_checks.start(read_settings())
    sys.exit(serve.serve_processes(processes))


@main.command()
@click.option("--processes", "-p", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option("--threads", "-t", type=click.IntRange(1, 64), default=8, show_default=True)
@click.option("--queues", "-Q", multiple=True, help="Only these queues.")
def worker(processes: int, threads: int, queues: tuple[str, ...]) -> None:
    """Process orders, e-mails, imports and exports (`dramatiq actors` with our log format)."""
    if read_settings().embedded:
        raise click.UsageError("Without a message broker the workers run inside `bookstore run`.")
    startup_checks.start(read_settings())
    command = ["-m", "actors.json_logs", "actors", "-p", str(processes), "-t", str(threads)]
    command += ["--worker-shutdown-timeout", "30000"]
    if queues:
        command += ["--queues", *queues]
    os.execv(sys.executable, [sys.executable, *command])  # noqa: S606 - this is dramatiq


@main.command("metrics")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=9180, show_default=True)
def show_metrics(host: str, port: int) -> None:
    """Serve the metrics of this machine's workers to Prometheus.

    PROMETHEUS_MULTIPROC_DIR must name the same folder for this command and for the workers.
    """
    from web import serve

    if not Path(os.environ.get(metrics.FOLDER, "nowhere")).is_dir():
        raise click.UsageError(f"{metrics.FOLDER} must name a folder, for the workers too.")
    asyncio.run(serve.serve_metrics(read_settings(), host, port))


# The database


@main.group("db")
def database_group() -> None:
    """Create, upgrade and check the database tables."""


@database_group.command()
@click.option(
    "--grant",
    "account",
    help="Then grant this database account (NAME or NAME@HOST) the privileges that it needs.",
)
@asynchronous
async def upgrade(account: str | None) -> None:
    """Upgrade the tables to the newest revision."""
    statements = _grants(account) if account else []
    async with database() as engine:
        await db.upgrade(engine)
        if statements:
            async with db.transaction(engine) as conn:
                await db_grants.execute_grants(conn, statements)


@database_group.command()
@asynchronous
async def current() -> None:
    """Print the revision of the tables."""
    async with database() as engine, db.reading(engine) as conn:
        revision, _ = await db.revisions(conn)
    click.echo(revision or "none")


@database_group.command()
@asynchronous
async def check() -> None:
    """Fail if the tables are not at the newest revision."""
    async with database() as engine, db.reading(engine) as conn:
        revision, newest = await db.revisions(conn)
    if revision != newest:
        raise click.ClickException(f"The tables are at {revision}, the newest is {newest}.")


@database_group.command("grants")
@click.argument("account")
def print_grants(account: str) -> None:
    """Print the GRANT statements for the store's database ACCOUNT (NAME or NAME@HOST).

    A database administrator runs them after each upgrade:
    bookstore db grants bookstore@10.0.0.% | mariadb
    """
    for statement in _grants(account):
        click.echo(statement)


def _grants(account: str) -> list[str]:
    url = make_url(read_settings().database_url)
    if url.get_backend_name() == "sqlite":
        raise click.UsageError("SQLite has no accounts.")
    try:
        return db_grants.grant_statements(url.database or "", account)
    except Invalid as refusal:
        raise click.BadParameter(str(refusal)) from None


# Users


@main.group("users")
def users_group() -> None:
    """Create and change user accounts."""


@users_group.command("create")
@click.argument("email")
@click.option("--role", type=click.Choice([role.value for role in Role]), default="customer")
@click.option("--name", default="", help="The name; default: the part of the address before @.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")
@asynchronous
async def create_user(email: str, role: str, name: str, password_stdin: bool) -> None:
    """Create an account for EMAIL."""
    if password_stdin:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    async with database() as engine:
        user = await accounts.sign_up(
            engine,
            email=email,
            name=name or email.partition("@")[0],
            password=password,
            role=Role(role),
            now=datetime.now(UTC),
        )
    click.echo(f"Account created: {user.email}, role {user.role}.", err=True)


@users_group.command("remove-second-factor")
@click.argument("email")
@asynchronous
async def remove_second_factor(email: str) -> None:
    """Turn two-factor authentication off for EMAIL, and end all sessions of the account.

    For users who have lost their authenticator and their recovery codes.  The user is notified by
    e-mail.
    """
    now = datetime.now(UTC)
    async with database() as engine, db.transaction(engine) as conn:
        found = await accounts.credentials(conn, email)
        if found is None:
            raise NotFound("This user")
        user, _ = found
        await two_factor.remove(conn, user.id, by=None, now=now)
        await sessions.end_all(conn, user.id)
    click.echo(f"{user.email} now signs in with the password only.", err=True)


# Books


main.add_command(books.import_group)
main.add_command(books.export_group)


@main.command("sample-data")
@asynchronous
async def sample_data() -> None:
    """Load a small catalogue of well-known books for trying out the store."""
    async with database() as engine:
        settings = read_settings()
        report = await sample.load(
            engine, settings.currency, settings.country, now=datetime.now(UTC)
        )
    click.echo(f"{report.created} books created, {report.unchanged} already existed.", err=True)


# Tasks


@main.group("tasks")
def tasks_group() -> None:
    """Background tasks that are waiting or dead."""


@tasks_group.command("list")
@click.option(
    "--state", type=click.Choice(["waiting", "dead"]), help="Show only tasks in this state."
)
@as_json
@asynchronous
async def list_tasks(state: str | None, as_json: bool) -> None:
    """List waiting and dead tasks, the oldest first."""
    dead = None if state is None else state == "dead"
    async with database() as engine, db.reading(engine) as conn:
        found = await outbox.find(conn, dead=dead)
    if as_json:
        print_json({"items": [asdict(row) for row in found]})
    else:
        titles = ("id", "task", "of", "due", "attempts", "dead", "error")
        fields = attrgetter("id", "task", "ref_id", "due_at", "attempts", "dead_at", "error")
        terminal.print_table(titles, map(fields, found))


@tasks_group.command("show")
@click.argument("task_id", type=int)
@as_json
@asynchronous
async def show_task(task_id: int, as_json: bool) -> None:
    """Show all details of one task."""
    async with database() as engine, db.reading(engine) as conn:
        row = await outbox.get(conn, task_id)
    print_facts(asdict(row), as_json=as_json)


@tasks_group.command("replay")
@click.argument("task_id", type=int)
@asynchronous
async def replay_task(task_id: int) -> None:
    """Run a task again, with a new count of attempts."""
    async with database() as engine, db.transaction(engine) as conn:
        await outbox.replay(conn, task_id, user_id=None, now=datetime.now(UTC))


@tasks_group.command("discard")
@click.argument("task_id", type=int)
@click.option(
    "--reason", required=True, help="The reason. The customer of a rejected order reads it."
)
@asynchronous
async def discard_task(task_id: int, reason: str) -> None:
    """Discard a dead task: its order is rejected; its e-mail or job fails."""
    async with database() as engine, db.transaction(engine) as conn:
        await tasks.discard(conn, task_id, reason, user_id=None, now=datetime.now(UTC))


@main.command("doctor")
@as_json
@asynchronous
async def examine(as_json: bool) -> None:
    """Check the data for inconsistencies, and list the rows that have any."""
    async with database() as engine, db.reading(engine) as conn:
        findings = [finding async for finding in doctor.examine(conn, now=datetime.now(UTC))]
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            click.echo(f"{finding.invariant}: {finding.row}")
    if not findings:
        click.echo("No problems found.", err=True)
    sys.exit(terminal.FAILED if findings else 0)


# E-mail, settings and the rest


@main.group("mail")
def mail_group() -> None:
    """Check the e-mail setup."""


@mail_group.command("test")
@click.argument("address")
@as_json
@asynchronous
async def test_mail(address: str, as_json: bool) -> None:
    """Send a test e-mail to ADDRESS and print the mail server's answer."""
    settings = read_settings()
    message = EmailMessage()
    message["From"], message["To"] = settings.mail_from, address
    message["Date"], message["Message-ID"] = datetime.now(UTC), make_msgid(domain="bookstore")
    message["Subject"] = f"Test e-mail from {settings.store_name}"
    message.set_content("If you can read this, the store can send e-mails.\n")
    mailer = smtp.make_mailer(settings.smtp_url)
    try:
        answer = await mailer.send(OutgoingEmail.of(message))
    finally:
        await mailer.close()
    if as_json:
        print_json({"answer": answer})
    else:
        click.echo(answer)


@main.command()
@asynchronous
async def openapi() -> None:
    """Print the OpenAPI document of the REST API."""
    from web.api.openapi import describe
    from web.app import make_app

    print_json(describe(await make_app(read_settings())))


@main.group("config")
def config_group() -> None:
    """Show and check the settings."""


@config_group.command("show")
@as_json
def show_config(as_json: bool) -> None:
    """Print the current settings, without secrets."""
    shown = {name: _shown(name, value) for name, value in asdict(read_settings()).items()}
    print_facts(shown, as_json=as_json)


@config_group.command("check")
@as_json
@asynchronous
async def check_config(as_json: bool) -> None:
    """Fail if settings are wrong, and list them; warn about settings that put data at risk."""
    try:
        settings = read_settings()
    except InvalidSettings as wrong:
        if as_json:
            print_json({"problems": wrong.problems, "warnings": []})
        raise
    warnings = await startup_checks.check(settings)
    for warning in warnings:
        click.echo(f"Warning: {warning}", err=True)
    if as_json:
        print_json({"problems": {}, "warnings": warnings})
    click.echo("The settings are valid.", err=True)


@config_group.command("reference")
def print_reference() -> None:
    """Print all settings with their defaults and descriptions (docs/settings.md)."""
    click.echo(variables.reference(), nl=False)


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL, to be evaluated in its startup file."""
    of_shell = get_completion_class(shell)
    assert of_shell is not None
    click.echo(of_shell(main, {}, "bookstore", "_BOOKSTORE_COMPLETE").source())


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


def _shown(name: str, value: object) -> object:
    if name in SECRETS and value:
        return "***"
    if isinstance(value, str) and "@" in value and "://" in value:
        return ";".join(_without_password(url) for url in value.split(";"))
    return value


def _without_password(url: str) -> str:
    scheme, _, remainder = url.partition("://")
    account, at, host = remainder.rpartition("@")
    user, colon, _ = account.partition(":")
    return f"{scheme}://{user}{colon and ':***'}{at}{host}"
