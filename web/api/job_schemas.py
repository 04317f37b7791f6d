"""Imports and exports as the API shows them."""

from typing import Any

from marshmallow import Schema, fields, validate

from bookstore.exports import Format
from bookstore.tasks.jobs import Job, Kind, Line, Outcome, State
from web.api.field_types import Moment
from web.api.schemas import PageQuery, Text, page_of

#: What the API calls the kinds of exports.
LISTS = {"books": Kind.EXPORT_BOOKS, "orders": Kind.EXPORT_ORDERS}


class JobOut(Schema):
    id = fields.Integer(required=True)
    state = fields.Enum(State, by_value=True, required=True)
    progress = fields.Float(
        required=True, metadata={"description": "How much is done, from 0 to 1."}
    )
    error = Text(
        allow_none=True, metadata={"description": "Why all of it was refused or given up."}
    )
    user_id = fields.Integer(required=True, allow_none=True)
    created_at = Moment(required=True)
    started_at = Moment(required=True, allow_none=True)
    updated_at = Moment(required=True)
    finished_at = Moment(required=True, allow_none=True)


class ImportOut(JobOut):
    dry_run = fields.Boolean(required=True)
    read = fields.Integer(
        required=True, metadata={"description": "The sum of the four numbers that follow."}
    )
    created = fields.Integer(required=True)
    updated = fields.Integer(required=True)
    unchanged = fields.Integer(required=True)
    refused = fields.Integer(required=True)
    format = Text(
        allow_none=True,
        validate=validate.OneOf(["csv", "xlsx", "onix"]),
        metadata={"description": "Found out by what is in the file; null until it was opened."},
    )
    encoding = Text(allow_none=True, metadata={"description": "Of a CSV file."})
    separator = Text(allow_none=True, metadata={"description": "Of a CSV file."})
    columns = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata={"description": "The file's name for each of our columns that it has."},
    )
    ignored_columns = fields.List(fields.String(), required=True)
    rules = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "What decided how the file was read, in sentences."},
    )


class ImportQuery(PageQuery):
    state = fields.Enum(State, by_value=True, load_default=None)


class ImportLineOut(Schema):
    position = fields.Integer(required=True)
    line = fields.Integer(required=True, metadata={"description": "In the file, from 1."})
    outcome = fields.Enum(Outcome, by_value=True, required=True)
    isbn13 = Text(allow_none=True)
    column = Text(allow_none=True)
    value = Text(allow_none=True)
    reason = Text(allow_none=True)


class LineQuery(PageQuery):
    outcome = fields.Enum(Outcome, by_value=True, load_default=None)


class ExportIn(Schema):
    list = fields.String(required=True, validate=validate.OneOf([*LISTS]))
    format = fields.Enum(Format, by_value=True, load_default=Format.CSV)


class ExportOut(JobOut):
    list = Text(validate=validate.OneOf([*LISTS]))
    format = fields.Enum(Format, by_value=True, required=True)
    rows = fields.Integer(required=True, metadata={"description": "Written so far."})
    file_url = Text(
        allow_none=True,
        metadata={"description": "Where the file is, once it is done and until it is a week old."},
    )


ImportPage = page_of(ImportOut)
LinePage = page_of(ImportLineOut)
ExportPage = page_of(ExportOut)


def shown_import(job: Job) -> dict[str, Any]:
    """An import in the words of `ImportOut`."""
    found = job.findings
    return _shown(job) | {
        "dry_run": job.options["dry_run"],
        **{name: getattr(job, name) for name in ("read", *(each.value for each in Outcome))},
        **{name: found.get(name) for name in ("format", "encoding", "separator")},
        "columns": found.get("columns", {}),
        "ignored_columns": found.get("ignored_columns", []),
        "rules": found.get("rules", []),
    }


def shown_export(job: Job) -> dict[str, Any]:
    """An export in the words of `ExportOut`."""
    (name,) = (name for name, kind in LISTS.items() if kind is job.kind)
    return _shown(job) | {
        "list": name,
        "format": Format(job.options["format"]),
        "rows": job.done,
        "file_url": None if job.result_id is None else f"/api/v1/exports/{job.id}/file",
    }


def shown_line(line: Line) -> dict[str, Any]:
    """A line in the words of `ImportLineOut`."""
    return {name: getattr(line, name) for name in Line.__slots__ if name != "cells"}


def _shown(job: Job) -> dict[str, Any]:
    names = ("id", "state", "error", "user_id")
    moments = ("created_at", "started_at", "updated_at", "finished_at")
    return {name: getattr(job, name) for name in (*names, *moments)} | {
        "progress": round(job.share, 4)
    }
