"""What every template of the store and the dashboard keeps to."""

import re
from pathlib import Path

import pytest

import admin
import web

# An attribute's value, and what Jinja computes, may have a ">" of their own.
_BUTTON = re.compile(r"""<button\b((?:\{\{.*?\}\}|\{%.*?%\}|"[^"]*"|[^>"])*)>""", re.DOTALL)
_TEMPLATES = [
    path
    for package in (admin, web)
    for path in sorted(Path(str(package.__file__)).parent.rglob("*.html"))
]


@pytest.mark.parametrize("path", _TEMPLATES, ids=lambda path: f"{path.parts[-3]}/{path.name}")
def test_every_button_says_what_it_does(path):
    buttons = _BUTTON.findall(path.read_text())

    untyped = [each for each in buttons if not re.search(r'\stype="(submit|button|reset)"', each)]

    assert untyped == []


def test_the_search_for_buttons_finds_them():
    assert sum(len(_BUTTON.findall(path.read_text())) for path in _TEMPLATES) > 100
