"""Reads systemd units, for machines without systemd."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Unit:
    """The command of a unit, its user, and its variables besides those of its file."""

    command: str
    user: str
    env: dict[str, str] = field(default_factory=dict)

    def words(self, program: str) -> list[str]:
        """The command with its variables expanded as systemd does, for another program."""
        words = []
        for word in shlex.split(self.command)[1:]:
            # `$NAME` as a separate word is split into words; an empty value gives none.
            words += shlex.split(self.env.get(word[1:], "")) if word.startswith("$") else [word]
        return [*shlex.split(program), *words]


def read(path: Path) -> Unit:
    """A unit with one `ExecStart`."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    (command,), (user,) = found["ExecStart"], found["User"]
    pairs = [shlex.split(each)[0].partition("=") for each in found.get("Environment", [])]
    return Unit(command, user, {name: value for name, _, value in pairs})
