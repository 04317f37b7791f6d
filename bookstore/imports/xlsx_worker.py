"""Unpack a workbook in a process with limited memory and CPU time.

Reads the workbook from stdin and writes JSON objects to stdout, one a line: a description of the
first visible sheet, its rows as text, then the end or an error.  Numbers are rounded to 15
significant digits, the precision of Excel.
"""

import io
import json
import resource
import sys
from typing import Any

from python_calamine import (
    CalamineError,
    CalamineWorkbook,
    PasswordError,
    SheetTypeEnum,
    SheetVisibleEnum,
    ZipError,
)

MEMORY_BYTES = 1024 * 1024 * 1024
CPU_S = 30
DAMAGED = "This workbook is damaged. Open it, save it again and try again."


def read() -> None:
    """Write the content of the workbook on stdin to stdout."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(sys.stdin.buffer.read()))
        sheets = [
            sheet.name
            for sheet in workbook.sheets_metadata
            if sheet.typ is SheetTypeEnum.WorkSheet and sheet.visible is SheetVisibleEnum.Visible
        ]
        if not sheets:
            _write({"error": "This workbook has no visible sheet."})
            return
        sheet = workbook.get_sheet_by_name(sheets[0])
        others = [name for name in workbook.sheet_names if name != sheets[0]]
        _write({"sheet": sheets[0], "others": others, "rows": sheet.total_height})
        for row in sheet.iter_rows():
            _write({"cells": [_text(cell) for cell in row]})
    except PasswordError:
        _write({"error": "This workbook is protected by a password. Save it without one."})
    except (CalamineError, ZipError, OSError, ValueError):
        _write({"error": DAMAGED})
    else:
        _write({"end": True})


def _write(content: Any) -> None:
    sys.stdout.write(json.dumps(content) + "\n")


def _text(cell: Any) -> str:
    """The cell as a user would type it."""
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else f"{cell:.15g}"
    return str(cell)


if __name__ == "__main__":
    read()
