"""Links and pictures in the documents exist."""

import re
import subprocess

import pytest

from tests.e2e.programs import ROOT

DOCUMENTS = [
    ROOT / path
    for path in subprocess.run(
        ["git", "ls-files", "*.md", ":!bookstore/templates"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
]
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def prose(path):
    return _FENCED.sub("", path.read_text())


def anchors(path):
    """The anchors of the headings, as GitHub makes them."""
    for heading in _HEADING.findall(prose(path)):
        plain = re.sub(r"[^\w\s-]", "", heading.lower().replace("`", ""))
        yield plain.strip().replace(" ", "-")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_has_a_target(path):
    broken = []
    for link in _LINK.findall(prose(path)):
        name, _, anchor = link.partition("#")
        if re.match(r"\w+:", name):
            continue  # An external link.
        target = path.parent / name if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


def test_every_document_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text()

    missing = [path.name for path in DOCUMENTS if path.parent == ROOT / "docs"]
    missing = [name for name in missing if name != "README.md" and f"({name}" not in index]

    assert missing == []


def test_every_picture_is_shown():
    shown = "".join(path.read_text() for path in DOCUMENTS)

    pictures = [path.name for path in (ROOT / "docs").glob("*.png")]

    assert [name for name in pictures if name not in shown] == []
