"""The format of log lines."""

import io
import json
import logging
import subprocess
import sys
from contextlib import redirect_stderr

import pytest

from config import log
from tests.e2e.programs import ROOT

HOSTILE = {
    "lines": "two\r\nlines",
    "JSON": '", "level": "critical", "x": "',
    "colours": "\x1b[31mred\x1b[0m",
    "control": "\x00\x07\x7f",
    "separators": "\u2028\u2029\u202e",
    "lone surrogate": "lone \ud800 surrogate",
    "formats": "{0.__class__} %s %n",
}


@pytest.fixture
def written():
    """The lines that our handler writes for a record.

    The record is passed to the handler directly: pytest captures records of loggers, and cannot
    print lone surrogates.
    """
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    log.set_up()
    [handler] = root.handlers
    root.handlers, root.level = handlers, level

    def write(text, *ids, exc_info=None):
        record = logging.LogRecord("bookstore", logging.WARNING, "", 0, text, ids, exc_info)
        with redirect_stderr(stream):
            handler.handle(record)
        return stream.getvalue().splitlines()

    return write


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_s40_any_text_is_logged_in_one_line(written, text):
    [line] = written("text: %s", text)

    assert line.isprintable()
    assert json.loads(line)["event"].startswith("text: ")


def test_s40_a_traceback_is_logged_in_one_line(written):
    try:
        raise ValueError("one\ntwo")
    except ValueError:
        [line] = written("failed", exc_info=sys.exc_info())

    assert "ValueError" in json.loads(line)["exception"]


def test_a_line_has_only_our_fields():
    record = logging.LogRecord("bookstore", logging.INFO, "", 0, "processed", (), None)
    record.count, record.email = 3, "mira@example.com"

    line = json.loads(log.formatter(pretty=False).format(record))

    assert (line["event"], line["count"], "email" in line) == ("processed", 3, False)


@pytest.mark.parametrize("pretty", [True, False])
@pytest.mark.parametrize(
    "message",
    [
        """(1062, "Duplicate entry 'Mira O'OHara' for key 'name'")""",
        """(1366, "Incorrect integer value: 'Mira O'OHara' for column `shop`.`x`.`y` at row 1")""",
        """(1366, "Incorrect integer value: 'Mira O'OHara' for column 'y' at row 1")""",
        "no such account: <OHara@example.com>",
        "cannot connect to mysql+aiomysql://shop:OHara@localhost/shop",
    ],
)
def test_a_traceback_has_no_personal_data(pretty, message):
    try:
        name = "Mira O'OHara"  # noqa: F841 - some renderers show local variables
        raise ValueError(message)
    except ValueError:
        record = logging.LogRecord("bookstore", logging.ERROR, "", 0, "failed", (), sys.exc_info())

    line = log.formatter(pretty=pretty).format(record)

    assert "ValueError" in line
    assert "OHara" not in line


def test_an_error_that_ends_the_process_and_a_warning_are_logged_in_one_line_each():
    program = (
        "import threading, warnings; from config import log; log.set_up();"
        "warnings.warn('careful');"
        "thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join();"
        "raise ValueError('gone')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )

    warning, of_thread, of_process = map(json.loads, done.stderr.splitlines())
    assert done.returncode == 1
    assert "careful" in warning["event"]
    assert "ZeroDivisionError" in of_thread["exception"]
    assert "ValueError" in of_process["exception"]
