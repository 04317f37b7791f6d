"""What our logs look like to machines that read them."""

import io
import json
import logging
import sys

import pytest

from config import log

HOSTILE = {
    "lines": "two\r\nlines",
    "JSON": '", "level": "critical", "x": "',
    "colours": "\x1b[31mred\x1b[0m",
    "control": "\x00\x07\x7f",
    "separators": "\u2028\u2029\u202e",
    "half a letter": "half \ud800 a letter",
    "formats": "{0.__class__} %s %n",
}


@pytest.fixture
def written(monkeypatch):
    """The lines that our handler makes of a record.

    It gets the record by hand: pytest keeps what goes through a logger, and cannot tell of
    halves of letters.
    """
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    log.set_up()
    [handler] = root.handlers
    root.handlers, root.level = handlers, level

    def write(text, *ids, exc_info=None):
        record = logging.LogRecord("bookstore", logging.WARNING, "", 0, text, ids, exc_info)
        handler.handle(record)
        return stream.getvalue().splitlines()

    return write


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_s40_a_log_line_is_one_line_whatever_is_in_it(written, text):
    [line] = written("said: %s", text)

    assert line.isprintable()
    assert json.loads(line)["event"].startswith("said: ")


def test_s40_a_traceback_is_one_line_too(written):
    try:
        raise ValueError("one\ntwo")
    except ValueError:
        [line] = written("failed", exc_info=sys.exc_info())

    assert "ValueError" in json.loads(line)["exception"]
