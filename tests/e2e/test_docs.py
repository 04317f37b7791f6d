"""The commands in the documents exist and are run, or the documents say why not."""

import os
import re
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import click
import pytest

from bookstore.cli.main import main
from tests.e2e.programs import ROOT, Embedded

#: The commands of the tutorial depend on each other and have their own test: test_tutorial.py.
PAGES = [
    ROOT / "README.md",
    *sorted({*(ROOT / "docs").glob("*.md")} - {ROOT / "docs/api-tutorial.md"}),
]
BLOCK = re.compile(
    r"^(?:<!-- (untested: [^>]+?|run(?: by [^>]+?)?) -->\n)?```(sh|console|sql)\n(.*?)^```$",
    re.M | re.S,
)
#: `bookstore tasks show 17` in the middle of a sentence or alone on a line of a block.
COMMAND = re.compile(r"(?:`|^|bin/)(bookstore|make) ([a-z][^`|#\n]*)", re.M)
CATALOGUE = """isbn,title,authors,price,currency,stock,year,language,category
9780439023481,The Hunger Games,Suzanne Collins,12.90,EUR,5,2008,en,Young Adult
"""
TARGETS = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.M))


def blocks():
    for page in PAGES:
        for mark, language, text in BLOCK.findall(page.read_text()):
            yield page.name, mark, language, text


def commands():
    """Commands in blocks and between backticks, once each."""
    for page in PAGES:
        text = page.read_text()
        typed = [block for *_, block in BLOCK.findall(text)]
        said = re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))
        for piece in [*typed, *(f"`{it}`" for it in said)]:
            for program, rest in COMMAND.findall(piece):
                yield page.name, program, rest.strip()


@pytest.mark.parametrize(("page", "program", "rest"), sorted({*commands()}))
def test_a_command_that_a_page_names_exists(page, program, rest):
    words = shlex.split(rest.replace("...", ""))
    if program == "make":
        assert words[0] in TARGETS
        return
    unknown = missing(words)

    assert unknown == []


def missing(words):
    """The words that the command line does not know."""
    command, unknown = main, []
    while isinstance(command, click.Group) and words:
        known = [command.commands.get(name) for name in words.pop(0).split("|")]
        if None in known:
            return [words]
        command = known[0]
    options = {name for it in command.params for name in (*it.opts, *it.secondary_opts)}
    for word in words:
        name = word.partition("=")[0]
        if name.startswith("-") and name not in {*options, "--help", "-h"}:
            unknown.append(name)
    return unknown


def test_unknown_commands_are_found():
    assert missing(["tasks", "show", "17"]) == []
    assert missing(["tasks", "shew", "17"]) != []
    assert missing(["tasks", "list", "--stat", "dead"]) == ["--stat"]


def test_every_block_is_run_or_says_why_not():
    silent = [(page, text) for page, mark, language, text in blocks() if not mark]

    assert silent == []


def test_tests_that_blocks_name_exist():
    said = {mark.removeprefix("run by ") for _, mark, *_ in blocks() if mark.startswith("run by ")}

    assert said
    assert [path for path in said if not (ROOT / path).is_file()] == []


def test_the_blocks_work(tmp_path):
    to_run = [text for _, mark, _, text in blocks() if mark == "run"]
    assert len(to_run) >= 4
    online = [it for it in to_run if "http://" in it]
    (tmp_path / "catalogue.csv").write_text(CATALOGUE)
    with Embedded() as store:
        for text in online:
            typed = type_in(text.replace("http://127.0.0.1:8080", store.url), store, store.folder)
            assert ".eml" in typed.stdout
        # No worker may process the task before it was replayed and discarded.
        store.stop()
        for text in to_run:
            if "tasks show 17" in text:
                dead_tasks(store)
            if text not in online:
                type_in(text, store, tmp_path)
        assert (tmp_path / "books.csv").read_text().count("The Hunger Games") == 1


def dead_tasks(store):
    """Add two placed orders whose tasks 17 and 18 are dead."""
    with closing(sqlite3.connect(store.folder / "var" / "bookstore.db")) as conn, conn:
        conn.row_factory = sqlite3.Row
        order = dict(conn.execute("SELECT * FROM orders LIMIT 1").fetchone())
        for task_id in (17, 18):
            order |= {"id": 1000 + task_id, "number": f"DEAD-{task_id}", "cart_id": task_id}
            order["status"] = "placed"
            columns, marks = ", ".join(order), ", ".join("?" * len(order))
            conn.execute(f"INSERT INTO orders ({columns}) VALUES ({marks})", [*order.values()])
            conn.execute(
                "INSERT INTO tasks (id, task, ref_id, due_at, publish_count, attempts, error,"
                " dead_at, created_at) VALUES (?, 'process_orders', ?, ?, 1, 5, 'a bug', ?, ?)",
                (task_id, order["id"], *["2026-01-01 00:00:00.000000"] * 3),
            )


def type_in(text, store, folder):
    """Run a block unchanged, in a shell that stops at the first error."""
    bin_folder = Path(sys.executable).parent
    typed = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text.replace(".venv/bin/", "")],
        cwd=folder,
        env={**os.environ, **store.settings, "PATH": f"{bin_folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert typed.returncode == 0, text + typed.stdout + typed.stderr
    return typed
