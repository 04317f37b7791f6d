"""Rules for all templates of the store and the back office."""

import re
from pathlib import Path

import pytest

import admin
import web

# Attribute values and Jinja expressions may contain ">".
_BUTTON = re.compile(r"""<button\b((?:\{\{.*?\}\}|\{%.*?%\}|"[^"]*"|[^>"])*)>""", re.DOTALL)
_TEMPLATES = [
    path
    for package in (admin, web)
    for path in sorted(Path(str(package.__file__)).parent.rglob("*.html"))
]


@pytest.mark.parametrize("path", _TEMPLATES, ids=lambda path: f"{path.parts[-3]}/{path.name}")
def test_every_button_has_a_type(path):
    buttons = _BUTTON.findall(path.read_text())

    untyped = [each for each in buttons if not re.search(r'\stype="(submit|button|reset)"', each)]

    assert untyped == []


def test_the_search_for_buttons_finds_them():
    assert sum(len(_BUTTON.findall(path.read_text())) for path in _TEMPLATES) > 100
