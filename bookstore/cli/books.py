"""`bookstore import` and `bookstore export`: lists of books and orders, in and out."""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from sqlalchemy.ext.asyncio import AsyncEngine

from bookstore import exports
from bookstore.cli.terminal import (
    FAILED,
    PARTLY,
    as_json,
    asynchronous,
    database,
    messages,
    print_json,
)
from bookstore.database import engine as db
from bookstore.exports import Format
from bookstore.imports import encodings, importer
from bookstore.imports.columns import COLUMNS
from bookstore.imports.formats import Options
from bookstore.tasks import jobs
from bookstore.tasks.jobs import Job, Kind, Line, Outcome, State
from config.settings import read_settings

#: What is told of an import.
COUNTS = ("read", "created", "updated", "unchanged", "refused")
#: Refused lines are read so many at a time.
_PAGE = 500


@click.group("import")
def import_group() -> None:
    """Files into the store."""


@import_group.command("books")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", "-n", is_flag=True, help="Only say what would be done.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="COLUMN=NAME",
    help="What the file calls a column, where it is not clear; may be repeated.",
)
@click.option(
    "--encoding",
    type=click.Choice(encodings.CHOICES, case_sensitive=False),
    help="Of a CSV file that is not UTF-8; found out where that is possible.",
)
@as_json
@asynchronous
async def import_books(
    file: Path, dry_run: bool, columns: tuple[str, ...], encoding: str | None, as_json: bool
) -> None:
    """Read books from a FILE: CSV, an Excel workbook (XLSX) or ONIX 3.

    A second run of the same file changes nothing.  Each row is taken whole or refused whole;
    the refused ones are listed on stderr with line, column, value and reason, and make the
    exit code 3.
    """
    options = Options(_mapping(columns), encoding)
    with _bar() as bar:
        shown = bar.add_task(file.name, total=1.0, told="")

        async def watch(job: Job) -> None:
            told = f"{job.read:,} read, {job.refused:,} refused"
            bar.update(shown, completed=job.share, told=told)

        async with database() as engine:
            with file.open("rb") as stream:
                job = await importer.take_in(
                    engine,
                    stream,
                    name=file.name,
                    currency=read_settings().currency,
                    dry_run=dry_run,
                    options=options,
                    clock=lambda: datetime.now(UTC),
                    watch=watch,
                )
            bar.stop()
            await _tell_refused(engine, job)
    _tell_findings(job)
    if dry_run:
        click.echo("This was a dry run: nothing was changed.", err=True)
    counts = {name: getattr(job, name) for name in COUNTS}
    if as_json:
        print_json(counts)
    else:
        click.echo(", ".join(f"{number:,} {name}" for name, number in counts.items()))
    if job.state is not State.DONE:
        click.echo(job.error or f"The import is {job.state}.", err=True)
        sys.exit(FAILED)
    sys.exit(PARTLY if job.refused else 0)


def _mapping(columns: tuple[str, ...]) -> Mapping[str, str]:
    mapping = {}
    for column in columns:
        name, equals, given = column.partition("=")
        if not equals or name not in COLUMNS:
            raise click.UsageError(f"{column!r} is not one of {', '.join(COLUMNS)}, = and a name.")
        mapping[name] = given
    return mapping


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[told]}"),
        console=messages,
        transient=True,
        disable=not messages.is_terminal,
    )


async def _tell_refused(engine: AsyncEngine, job: Job) -> None:
    after = -1
    while True:
        async with db.reading(engine) as conn:
            found = await jobs.lines(
                conn, job.id, outcome=Outcome.REFUSED, after=after, limit=_PAGE
            )
        for line in found:
            click.echo(_told(line), err=True)
        if len(found) < _PAGE:
            return
        after = found[-1].position


def _told(line: Line) -> str:
    where = f"line {line.line}"
    if line.column:
        where += f", {line.column} {line.value!r}"
    return f"{where}: {line.reason}"


def _tell_findings(job: Job) -> None:
    """What a person has to know to trust the reading of the file."""
    for rule in job.findings.get("rules", []):
        click.echo(rule, err=True)
    if ignored := job.findings.get("ignored_columns"):
        click.echo(f"Columns without a meaning here: {', '.join(ignored)}", err=True)


@click.group("export")
def export_group() -> None:
    """Lists out of the store."""


_format = click.option(
    "--format",
    "chosen",
    type=click.Choice([each.value for each in Format]),
    default="csv",
    show_default=True,
)
_output = click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write; stdout without it.",
)


@export_group.command("books")
@_format
@_output
@asynchronous
async def export_books(chosen: str, output: Path | None) -> None:
    """Write all books that are sold; `bookstore import books` reads them again."""
    await _export(Kind.EXPORT_BOOKS, Format(chosen), output)


@export_group.command("orders")
@_format
@_output
@asynchronous
async def export_orders(chosen: str, output: Path | None) -> None:
    """Write all orders, a row for each book of an order."""
    await _export(Kind.EXPORT_ORDERS, Format(chosen), output)


async def _export(kind: Kind, chosen: Format, output: Path | None) -> None:
    with _bar() as bar, tempfile.TemporaryFile() as file:
        shown = bar.add_task(kind, total=1.0, told="")

        async def on_progress(written: int, total: int) -> None:
            bar.update(shown, completed=written / total, told=f"{written:,} rows")

        async with database() as engine:
            written = await exports.write(
                engine,
                exports.SOURCES[kind],
                chosen,
                file,
                currency=read_settings().currency,
                on_progress=on_progress,
            )
        await asyncio.to_thread(_deliver, file, output)
    click.echo(f"{written:,} rows.", err=True)


def _deliver(file: BinaryIO, output: Path | None) -> None:
    """Only what is whole: what fails half-way leaves an older file as it was."""
    file.seek(0)
    if output is None:
        shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    else:
        with output.open("wb") as target:
            shutil.copyfileobj(file, target)
