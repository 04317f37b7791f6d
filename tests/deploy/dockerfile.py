"""Reads a Dockerfile into its stages, with the metadata that an engine stores beside the files."""

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Stage:
    """One stage: its instructions in order, and the defaults of its containers."""

    base: str
    name: str
    #: (instruction, arguments)
    steps: list[tuple[str, str]] = field(default_factory=list)
    #: Variables set by `ENV`, at the end of the stage.
    env: dict[str, str] = field(default_factory=dict)
    user: str = "root"
    folder: str = "/"
    volumes: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)


def read(path: Path) -> list[Stage]:
    """The stages of a Dockerfile; the last one is the image.

    Raises:
        ValueError: it has an unsupported instruction.
    """
    stages: list[Stage] = []
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE)
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if not line.strip():
            continue
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append(Stage(base, name))
            continue
        _add(stages[-1], instruction, rest.strip())
    return stages


def _add(stage: Stage, instruction: str, rest: str) -> None:
    stage.steps.append((instruction, rest))
    match instruction:
        case "ENV":
            for pair in shlex.split(rest):
                name, _, value = pair.partition("=")
                stage.env[name] = value
        case "USER":
            stage.user = rest
        case "WORKDIR":
            stage.folder = rest
        case "VOLUME":
            stage.volumes.append(rest)
        case "CMD":
            stage.command = json.loads(rest)
        case "HEALTHCHECK":
            stage.health = json.loads(rest.partition("CMD ")[2])
        case "RUN" | "COPY" | "EXPOSE":
            pass
        case _:
            raise ValueError(f"{instruction} is not known here.")
