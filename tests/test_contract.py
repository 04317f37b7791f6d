"""The public contract besides the API: commands, make targets, database names."""

import re
import subprocess
from pathlib import Path

import pytest

from bookstore.cli.main import main
from bookstore.database.tables import metadata

ROOT = Path(__file__).parents[1]

COMMANDS = {
    "run": set(),
    "web": {"--host", "--port", "--processes"},
    "worker": {"--processes", "--threads"},
    "db upgrade": {"--grant"},
    "db current": set(),
    "db check": set(),
    "users create": {"EMAIL", "--role", "--password-stdin"},
    "import books": {"FILE", "--dry-run", "--json"},
    "export books": set(),
    "export orders": set(),
    "sample-data": set(),
    "tasks list": {"--json"},
    "tasks show": {"--json"},
    "tasks replay": set(),
    "tasks discard": {"--reason"},
    "doctor": {"--json"},
    "mail test": {"ADDRESS", "--json"},
    "openapi": set(),
    "config show": {"--json"},
    "config check": {"--json"},
    "version": set(),
}
TARGETS = {"install", "run", "test", "check", "faults", "bench", "judges", "help"}
TABLES = {
    "orders": {"id", "number", "status", "user_id", "total_cents"},
    "order_lines": {"order_id", "book_id", "quantity", "unit_price_cents"},
    "books": {"id", "isbn13", "price_cents"},
    "book_stock": {"book_id", "stock"},
    "stock_movements": {"book_id", "delta", "reason", "order_id"},
    "notifications": {"id", "user_id", "order_id", "kind", "status"},
    "tasks": {"id", "task", "ref_id", "due_at", "attempts", "dead_at"},
}


@pytest.mark.parametrize("path", COMMANDS)
def test_the_command_line_has_its_commands_and_options(path):
    command = main
    for name in path.split():
        command = command.commands[name]

    options = {option for parameter in command.params for option in parameter.opts}
    options |= {parameter.human_readable_name for parameter in command.params}
    assert COMMANDS[path] <= options


def test_make_help_lists_its_targets():
    help_text = subprocess.run(
        ["make", "--silent", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    assert {line.split()[1] for line in help_text.splitlines() if line} >= TARGETS


def test_ci_runs_check_and_test():
    script = (ROOT / ".ci" / "run").read_text()

    assert re.search(r"\bmake\b.*\bcheck test\b", script)


@pytest.mark.parametrize("name", TABLES)
def test_tables_have_the_names_that_reports_use(name):
    assert {column.name for column in metadata.tables[name].c} >= TABLES[name]
