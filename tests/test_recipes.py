"""The recipes of docs/contributing.md work, and each of their blocks is needed.

A recipe is applied to a copy of the source, and `tests/recipe_checks.py` uses the result in a
separate process.
"""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "contributing.md"
MIGRATIONS = ROOT / "bookstore" / "migrations" / "versions"
NEWEST_MIGRATION = max(path.name[:4] for path in MIGRATIONS.glob("[0-9]*.py"))
FOLDERS = ("actors", "admin", "bookstore", "config", "tests", "web")
RECIPES = {
    "setting": "Add a setting",
    "actor": "Add an actor",
    "payment_provider": "Add a payment provider",
    "email": "Add an e-mail",
    "admin_list": "Add an admin list",
    "book_field": "Add a field to a book",
}
_BLOCK = re.compile(
    r"(?:In `(?P<path>[^`]+)`, (?P<where>after|before|instead of) `(?P<line>[^\n]+)`"
    r"|(?P<end>At the end of)\s`(?P<last>[^`]+)`"
    r"|New file `(?P<new>[^`]+)`):\n\n```\w+\n(?P<text>.*?)```\n",
    re.DOTALL,
)


class Step(NamedTuple):
    """One block of a recipe: `text` goes to the place `where`, beside `line`."""

    path: str
    where: str
    line: str
    text: str


def steps(title):
    """The blocks of the recipe with this title."""
    section = DOCUMENT.read_text().split(f"### {title}\n")[1]
    section = re.split(r"^##", section, flags=re.MULTILINE)[0]
    found = []
    for block in _BLOCK.finditer(section):
        path = block["path"] or block["last"] or block["new"]
        where = block["where"] or ("at the end" if block["end"] else "new")
        found.append(Step(path, where, block["line"] or "", block["text"]))
    assert len(found) == section.count("```") / 2, "a block without a sentence that says where"
    return found


def copy(folder):
    """The source in this folder; its files are links until a step changes them."""
    for name in FOLDERS:
        subprocess.run(["cp", "-rs", ROOT / name, folder], check=True)


def apply(folder, step):
    path = folder / step.path
    text = step.text
    if step.where == "new":
        path.write_text(text.replace('"newest"', f'"{NEWEST_MIGRATION}"'))
        return
    lines = path.read_text().splitlines(keepends=True)
    path.unlink()
    if step.where == "at the end":
        path.write_text("".join(lines) + text)
        return
    position = next(n for n, line in enumerate(lines) if line.strip() == step.line)
    indent = lines[position][: -len(lines[position].lstrip())]
    block = [indent + line if line.strip() else line for line in text.splitlines(keepends=True)]
    replaced = 1 if step.where == "instead of" else 0
    position += step.where == "after"
    lines[position : position + replaced] = block
    path.write_text("".join(lines))


def check(folder, name):
    """What the check of a recipe printed, and whether it succeeded."""
    return subprocess.run(
        [sys.executable, "-m", "tests.recipe_checks", name],
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_works(name, tmp_path):
    copy(tmp_path)
    for step in steps(RECIPES[name]):
        apply(tmp_path, step)

    done = check(tmp_path, name)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", RECIPES)
def test_each_block_is_needed(name, tmp_path):
    found = steps(RECIPES[name])

    def without(omitted):
        folder = tmp_path / str(omitted)
        folder.mkdir()
        copy(folder)
        for number, step in enumerate(found):
            if number != omitted:
                apply(folder, step)
        return check(folder, name)

    with ThreadPoolExecutor(2) as pool:
        complete, *done = pool.map(without, [None, *range(len(found))])

    assert complete.returncode == 0, complete.stderr
    assert [found[n].path for n, it in enumerate(done) if it.returncode == 0] == []


def test_a_forgotten_place_of_a_book_field_is_named(tmp_path):
    copy(tmp_path)
    for step in steps(RECIPES["book_field"]):
        if step.path != "bookstore/exports/exporter.py":
            apply(tmp_path, step)

    done = check(tmp_path, "book_field")

    assert "bookstore/exports/exporter.py: BOOK_COLUMNS: series" in done.stderr
