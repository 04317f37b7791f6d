"""The commands of the operator's guide."""

import re
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.programs import ROOT

GUIDE = ROOT / "docs" / "operating.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(heading: str, path: Path = GUIDE) -> list[tuple[str, str]]:
    """Language and text of each code block under a second-level heading."""
    _, _, after = path.read_text().partition(f"\n## {heading}\n")
    section = re.split(r"^## ", after, maxsplit=1, flags=re.MULTILINE)[0]
    return [(language, text) for language, text in _BLOCK.findall(section)]


def put_in(text: str, places: Mapping[str, str]) -> str:
    """The text with the values that differ here."""
    for there, here in places.items():
        text = text.replace(there, here)
    return text
