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


def test_a_line_has_our_fields_and_no_others():
    record = logging.LogRecord("bookstore", logging.INFO, "", 0, "worked off", (), None)
    record.count, record.email = 3, "mira@example.com"

    line = json.loads(log.formatter(pretty=False).format(record))

    assert (line["event"], line["count"], "email" in line) == ("worked off", 3, False)


@pytest.mark.parametrize("pretty", [True, False])
@pytest.mark.parametrize(
    "said",
    [
        """(1062, "Duplicate entry 'Mira O'OHara' for key 'name'")""",
        """(1366, "Incorrect integer value: 'Mira O'OHara' for column `shop`.`x`.`y` at row 1")""",
        """(1366, "Incorrect integer value: 'Mira O'OHara' for column 'y' at row 1")""",
        "no such account: <OHara@example.com>",
        "cannot connect to mysql+aiomysql://shop:OHara@localhost/shop",
    ],
)
def test_a_traceback_tells_what_went_wrong_and_not_of_whom(pretty, said):
    try:
        whose = "Mira O'OHara"  # noqa: F841 - some renderers show what is in the variables
        raise ValueError(said)
    except ValueError:
        record = logging.LogRecord("bookstore", logging.ERROR, "", 0, "failed", (), sys.exc_info())

    line = log.formatter(pretty=pretty).format(record)

    assert "ValueError" in line
    assert "OHara" not in line
