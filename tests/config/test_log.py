"""What our logs look like to machines that read them."""

import io
import json
import logging

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
def lines(monkeypatch):
    """What `bookstore.test` writes to stderr from here on."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    root, logger = logging.getLogger(), logging.getLogger("bookstore.test")
    handlers, level = root.handlers[:], root.level
    log.set_up()
    # To our handler and no other: pytest keeps what reaches the root, and cannot tell of halves
    # of letters.
    logger.handlers, logger.propagate = root.handlers[:], False
    root.handlers, root.level = handlers, level
    logger.setLevel(logging.INFO)
    yield lambda: stream.getvalue().splitlines()
    logger.handlers, logger.propagate = [], True


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_s40_a_log_line_is_one_line_whatever_is_in_it(lines, text):
    logging.getLogger("bookstore.test").warning("said: %s", text)

    [line] = lines()
    assert line.isprintable()
    assert json.loads(line)["event"].startswith("said: ")


def test_s40_a_traceback_is_one_line_too(lines):
    try:
        raise ValueError("one\ntwo")
    except ValueError:
        logging.getLogger("bookstore.test").exception("failed")

    [line] = lines()
    assert "ValueError" in json.loads(line)["exception"]
