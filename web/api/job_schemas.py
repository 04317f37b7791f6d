"""JSON schemas of imports and exports."""

from dataclasses import asdict
from typing import Any

from marshmallow import Schema, fields, pre_dump, validate

from bookstore.exports import Format
from bookstore.tasks.jobs import Job, JobKind, JobState, LineOutcome
from web.api.field_types import UtcDateTime, described
from web.api.schemas import PageQuery, Text, page_of

#: The kinds of exports by their names in the API.
LISTS = {"books": JobKind.EXPORT_BOOKS, "orders": JobKind.EXPORT_ORDERS}


class _Share(fields.Float):
    """A share from 0 to 1, with four decimal places."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return round(value, 4)


class JobOut(Schema):
    """The content of a `Job`."""

    id = fields.Integer(required=True)
    state = fields.Enum(JobState, by_value=True, required=True)
    progress = described(
        "The completed share, from 0 to 1.", _Share(required=True, attribute="share")
    )
    error = described("Why the whole job was refused or failed.", Text(allow_none=True))
    user_id = fields.Integer(required=True, allow_none=True)
    created_at = UtcDateTime(required=True)
    started_at = UtcDateTime(required=True, allow_none=True)
    updated_at = UtcDateTime(required=True)
    finished_at = UtcDateTime(required=True, allow_none=True)


def _finding(name: str, **options: Any) -> fields.String:
    """A text that the import detected; null until then."""
    return Text(allow_none=True, attribute=f"findings.{name}", dump_default=None, **options)


class ImportOut(JobOut):
    dry_run = fields.Boolean(required=True, attribute="options.dry_run")
    read = described(
        "The number of rows read: the sum of `created`, `updated`, `unchanged` and `refused`.",
        fields.Integer(required=True),
    )
    created = fields.Integer(required=True)
    updated = fields.Integer(required=True)
    unchanged = fields.Integer(required=True)
    refused = fields.Integer(required=True)
    format = described(
        "Detected from the content of the file; null until the file is opened.",
        _finding("format", validate=validate.OneOf(["csv", "xlsx", "onix"])),
    )
    encoding = described("The character encoding of a CSV file.", _finding("encoding"))
    separator = described("The column separator of a CSV file.", _finding("separator"))
    columns = described(
        "The recognised columns: our name for each, and the name in the file.",
        fields.Dict(
            keys=fields.String(),
            values=fields.String(),
            required=True,
            attribute="findings.columns",
            dump_default={},
        ),
    )
    ignored_columns = fields.List(
        fields.String(), required=True, attribute="findings.ignored_columns", dump_default=[]
    )
    rules = described(
        "How the format and columns were detected, as sentences.",
        fields.List(fields.String(), required=True, attribute="findings.rules", dump_default=[]),
    )


class ImportQuery(PageQuery):
    state = fields.Enum(JobState, by_value=True, load_default=None)


class ImportLineOut(Schema):
    position = fields.Integer(required=True)
    line = described("The line number in the file, from 1.", fields.Integer(required=True))
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
    format = Text(validate=validate.OneOf([*Format]), attribute="options.format")
    rows = described(
        "The number of rows written so far.", fields.Integer(required=True, attribute="done")
    )
    file_url = described(
        "The URL of the file; null until the export is finished, and after the file is deleted one"
        " week later.",
        Text(allow_none=True),
    )

    @pre_dump
    def _describe_list_and_file(self, job: Job, **_options: Any) -> dict[str, Any]:
        (name,) = (name for name, kind in LISTS.items() if kind is job.kind)
        file_url = None if job.result_id is None else f"/api/v1/exports/{job.id}/file"
        return asdict(job) | {"share": job.share, "list": name, "file_url": file_url}


ImportPage = page_of(ImportOut)
ImportLinePage = page_of(ImportLineOut)
ExportPage = page_of(ExportOut)
