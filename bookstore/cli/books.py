"""`bookstore import` and `bookstore export`: files with books and orders."""

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
from bookstore.cli import terminal
from bookstore.cli.terminal import as_json, asynchronous, database, messages
from bookstore.exports import Format, rejected_rows
from bookstore.imports import encodings, importer
from bookstore.imports.columns import COLUMNS
from bookstore.imports.formats import Options
from bookstore.tasks.jobs import Job, JobKind, JobState
from config.settings import read_settings

#: The numbers of an import's summary.
COUNTS = ("read", "created", "updated", "unchanged", "refused")


@click.group("import")
def import_group() -> None:
    """Import files."""


@import_group.command("books")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", "-n", is_flag=True, help="Check the file without changing anything.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="COLUMN=NAME",
    help="The file's name for a column, if it is not recognized; may be repeated.",
)
@click.option(
    "--encoding",
    type=click.Choice(encodings.CHOICES, case_sensitive=False),
    help="The encoding of a CSV file that is not UTF-8; detected where possible.",
)
@as_json
@asynchronous
async def import_books(
    file: Path, dry_run: bool, columns: tuple[str, ...], encoding: str | None, as_json: bool
) -> None:
    """Import books from FILE: CSV, an Excel workbook (XLSX) or ONIX 3.

    A second import of the same file changes nothing.  Each row is imported completely or refused
    completely.  Refused rows are listed on stderr with line, column, value and reason; then the
    exit code is 3.
    """
    options = Options(_mapping(columns), encoding)
    settings = read_settings()
    with _bar() as bar:
        progress = bar.add_task(file.name, total=1.0, counts="")

        async def on_progress(job: Job) -> None:
            counts = f"{job.read:,} read, {job.refused:,} refused"
            bar.update(progress, completed=job.share, counts=counts)

        async with database() as engine:
            with file.open("rb") as stream:
                job = await importer.import_file(
                    engine,
                    stream,
                    name=file.name,
                    currency=settings.currency,
                    country=settings.country,
                    dry_run=dry_run,
                    options=options,
                    clock=lambda: datetime.now(UTC),
                    on_progress=on_progress,
                )
            bar.stop()
            await _print_refused(engine, job)
    _print_findings(job)
    if dry_run:
        click.echo("This was a dry run: nothing was changed.", err=True)
    counts = {name: getattr(job, name) for name in COUNTS}
    if as_json:
        terminal.print_json(counts)
    else:
        click.echo(", ".join(f"{number:,} {name}" for name, number in counts.items()))
    if job.state is not JobState.DONE:
        click.echo(job.error or f"The import is {job.state}.", err=True)
        sys.exit(terminal.FAILED)
    sys.exit(terminal.PARTLY if job.refused else 0)


def _mapping(columns: tuple[str, ...]) -> Mapping[str, str]:
    mapping = {}
    for column in columns:
        name, equals, file_name = column.partition("=")
        if not equals or name not in COLUMNS:
            known = ", ".join(COLUMNS)
            raise click.UsageError(f"{column!r} is not COLUMN=NAME with a COLUMN of {known}.")
        mapping[name] = file_name
    return mapping


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[counts]}"),
        console=messages,
        transient=True,
        disable=not messages.is_terminal,
    )


async def _print_refused(engine: AsyncEngine, job: Job) -> None:
    async for found in rejected_rows.pages(engine, job):
        for line in found:
            cell = f", {line.column} {line.value!r}" if line.column else ""
            click.echo(f"line {line.line}{cell}: {line.reason}", err=True)


def _print_findings(job: Job) -> None:
    """Print how the file was interpreted, so that the user can check it."""
    for rule in job.findings.get("rules", []):
        click.echo(rule, err=True)
    if ignored := job.findings.get("ignored_columns"):
        click.echo(f"Ignored columns: {', '.join(ignored)}", err=True)


@click.group("export")
def export_group() -> None:
    """Export files."""


_formats = click.Choice([each.value for each in Format])
_format = click.option("--format", "chosen", type=_formats, default="csv", show_default=True)
_output = click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; default: stdout.",
)


@export_group.command("books")
@_format
@_output
@asynchronous
async def export_books(chosen: str, output: Path | None) -> None:
    """Export all books on sale; `bookstore import books` can read the file."""
    await _export(JobKind.EXPORT_BOOKS, Format(chosen), output)


@export_group.command("orders")
@_format
@_output
@asynchronous
async def export_orders(chosen: str, output: Path | None) -> None:
    """Export all orders, with one row for each book of an order."""
    await _export(JobKind.EXPORT_ORDERS, Format(chosen), output)


async def _export(kind: JobKind, chosen: Format, output: Path | None) -> None:
    with _bar() as bar, tempfile.TemporaryFile() as file:
        progress = bar.add_task(kind, total=1.0, counts="")

        async def on_progress(written: int, total: int) -> None:
            bar.update(progress, completed=written / total, counts=f"{written:,} rows")

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
    """Copy the complete export to its destination, so that a failed export keeps the old file."""
    file.seek(0)
    if output is None:
        shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    else:
        with output.open("wb") as target:
            shutil.copyfileobj(file, target)
