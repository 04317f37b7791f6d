"""Unpacks a workbook, in a process of its own that cannot take more than its share.

Its stdin is the workbook; to its stdout it writes a JSON object for each line: what the first
visible sheet is, then its rows as text, then the end or an error.  A number counts with the 15
digits that Excel itself keeps.
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
DAMAGED = "This workbook is damaged. Open it, save it again and try once more."


def read() -> None:
    """Write what is in the workbook on stdin to stdout."""
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
            _tell({"error": "This workbook has no sheet that can be seen."})
            return
        sheet = workbook.get_sheet_by_name(sheets[0])
        others = [name for name in workbook.sheet_names if name != sheets[0]]
        _tell({"sheet": sheets[0], "others": others, "rows": sheet.total_height})
        for row in sheet.iter_rows():
            _tell({"cells": [_text(cell) for cell in row]})
    except PasswordError:
        _tell({"error": "This workbook is protected by a password. Save it without one."})
    except (CalamineError, ZipError, OSError, ValueError):
        _tell({"error": DAMAGED})
    else:
        _tell({"end": True})


def _tell(content: Any) -> None:
    sys.stdout.write(json.dumps(content) + "\n")


def _text(cell: Any) -> str:
    """A cell as a person would have typed it."""
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else f"{cell:.15g}"
    return str(cell)


if __name__ == "__main__":
    read()
