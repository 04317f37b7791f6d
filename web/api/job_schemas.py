"""JSON schemas of imports and exports."""

from typing import Any

from marshmallow import Schema, fields, validate

from bookstore.exports import Format
from bookstore.tasks.jobs import Job, JobKind, JobLine, JobState, LineOutcome
from web.api.field_types import UtcDateTime
from web.api.schemas import PageQuery, Text, page_of

#: The kinds of exports by their names in the API.
LISTS = {"books": JobKind.EXPORT_BOOKS, "orders": JobKind.EXPORT_ORDERS}


class JobOut(Schema):
    id = fields.Integer(required=True)
    state = fields.Enum(JobState, by_value=True, required=True)
    progress = fields.Float(
        required=True, metadata={"description": "The completed share, from 0 to 1."}
    )
    error = Text(
        allow_none=True, metadata={"description": "Why the whole job was refused or failed."}
    )
    user_id = fields.Integer(required=True, allow_none=True)
    created_at = UtcDateTime(required=True)
    started_at = UtcDateTime(required=True, allow_none=True)
    updated_at = UtcDateTime(required=True)
    finished_at = UtcDateTime(required=True, allow_none=True)


class ImportOut(JobOut):
    dry_run = fields.Boolean(required=True)
    read = fields.Integer(
        required=True,
        metadata={
            "description": "The number of rows read: the sum of `created`, `updated`, `unchanged`"
            " and `refused`."
        },
    )
    created = fields.Integer(required=True)
    updated = fields.Integer(required=True)
    unchanged = fields.Integer(required=True)
    refused = fields.Integer(required=True)
    format = Text(
        allow_none=True,
        validate=validate.OneOf(["csv", "xlsx", "onix"]),
        metadata={
            "description": "Detected from the content of the file; null until the file is opened."
        },
    )
    encoding = Text(
        allow_none=True, metadata={"description": "The character encoding of a CSV file."}
    )
    separator = Text(
        allow_none=True, metadata={"description": "The column separator of a CSV file."}
    )
    columns = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata={
            "description": "The recognised columns: our name for each, and the name in the file."
        },
    )
    ignored_columns = fields.List(fields.String(), required=True)
    rules = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "How the format and columns were detected, as sentences."},
    )


class ImportQuery(PageQuery):
    state = fields.Enum(JobState, by_value=True, load_default=None)


class ImportLineOut(Schema):
    position = fields.Integer(required=True)
    line = fields.Integer(
        required=True, metadata={"description": "The line number in the file, from 1."}
    )
    outcome = fields.Enum(LineOutcome, by_value=True, required=True)
    isbn13 = Text(allow_none=True)
    column = Text(allow_none=True)
    value = Text(allow_none=True)
    reason = Text(allow_none=True)


class ImportLineQuery(PageQuery):
    outcome = fields.Enum(LineOutcome, by_value=True, load_default=None)


class ExportIn(Schema):
    list = fields.String(required=True, validate=validate.OneOf([*LISTS]))
    format = fields.Enum(Format, by_value=True, load_default=Format.CSV)


class ExportOut(JobOut):
    list = Text(validate=validate.OneOf([*LISTS]))
    format = Text(validate=validate.OneOf([*Format]))
    rows = fields.Integer(
        required=True, metadata={"description": "The number of rows written so far."}
    )
    file_url = Text(
        allow_none=True,
        metadata={
            "description": "The URL of the file; null until the export is finished, and after the"
            " file is deleted one week later."
        },
    )


ImportPage = page_of(ImportOut)
ImportLinePage = page_of(ImportLineOut)
ExportPage = page_of(ExportOut)


def import_content(job: Job) -> dict[str, Any]:
    """The content of an `ImportOut`."""
    found = job.findings
    return _job_content(job) | {
        "dry_run": job.options["dry_run"],
        **{
            name: getattr(job, name)
            for name in ("read", *(outcome.value for outcome in LineOutcome))
        },
        **{name: found.get(name) for name in ("format", "encoding", "separator")},
        "columns": found.get("columns", {}),
        "ignored_columns": found.get("ignored_columns", []),
        "rules": found.get("rules", []),
    }


def export_content(job: Job) -> dict[str, Any]:
    """The content of an `ExportOut`."""
    (name,) = (name for name, kind in LISTS.items() if kind is job.kind)
    return _job_content(job) | {
        "list": name,
        "format": job.options["format"],
        "rows": job.done,
        "file_url": None if job.result_id is None else f"/api/v1/exports/{job.id}/file",
    }


def line_content(line: JobLine) -> dict[str, Any]:
    """The content of an `ImportLineOut`."""
    return {name: getattr(line, name) for name in JobLine.__slots__ if name != "cells"}


def _job_content(job: Job) -> dict[str, Any]:
    names = ("id", "state", "error", "user_id")
    moments = ("created_at", "started_at", "updated_at", "finished_at")
    return {name: getattr(job, name) for name in (*names, *moments)} | {
        "progress": round(job.share, 4)
    }
