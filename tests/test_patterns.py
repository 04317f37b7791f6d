"""S-33: no regular expression of the program is slow on hostile input (ReDoS)."""

import ast
import importlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hostile_texts import hostile_texts

ROOT = Path(__file__).parents[1]
PACKAGES = ("bookstore", "actors", "web", "admin", "config")
SOURCES = {
    path: path.read_text()
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if "migrations" not in path.parts
}
#: Characters.  A pattern with quadratic runtime needs minutes for this length.
LENGTH = 50_000
#: A linear pattern needs a hundredth of this, also on a busy machine.
LIMIT_S = 1.0
METHODS = {
    "match": re.Pattern.match,
    "search": re.Pattern.search,
    "fullmatch": re.Pattern.fullmatch,
    "split": re.Pattern.split,
    "findall": re.Pattern.findall,
    "finditer": lambda pattern, text: list(pattern.finditer(text)),
    "sub": lambda pattern, text: pattern.sub(text[:0], text),
    "subn": lambda pattern, text: pattern.subn(text[:0], text),
}


def test_patterns_are_made_with_the_module_re_only():
    other_imports = [
        str(path.relative_to(ROOT))
        for path, source in SOURCES.items()
        if re.search(r"^\s*(from re import|import re as|import regex|from regex)", source, re.M)
    ]

    assert other_imports == []


def found_patterns() -> Iterator[Any]:
    for path, source in SOURCES.items():
        for assigned, call in calls_of_re(ast.parse(source)):
            pattern = evaluated(path, call)
            place = f"{path.relative_to(ROOT)}:{call.lineno}"
            yield pytest.param(pattern, uses_of(call, assigned, source), id=place)


def calls_of_re(tree: ast.Module) -> Iterator[tuple[str | None, ast.Call]]:
    """Each call of a function of `re`, with the constant that it is assigned to, if any."""
    names = {
        id(node.value): node.targets[0].id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr=name)) if (
                name in METHODS or name == "compile"
            ):
                yield names.get(id(node)), node


def evaluated(path: Path, call: ast.Call) -> re.Pattern[Any]:
    """The pattern of a call.  It consists of constants of the module, or this raises NameError."""
    names: dict[str, Any] = {"re": re}
    if path.relative_to(ROOT).parts[0] != "actors":  # Importing the actors creates their broker.
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        names |= vars(importlib.import_module(module))
    flags = [keyword for keyword in call.keywords if keyword.arg == "flags"]
    arguments = call.args if function_of(call) == "compile" else call.args[:1]
    compile_ = ast.Attribute(ast.Name("re", ast.Load()), "compile", ast.Load())
    expression = ast.fix_missing_locations(ast.Expression(ast.Call(compile_, arguments, flags)))
    return eval(compile(expression, str(path), "eval"), names)


def function_of(call: ast.Call) -> str:
    """The name of the function of `re` that is called."""
    assert isinstance(call.func, ast.Attribute)
    return call.func.attr


def uses_of(call: ast.Call, assigned: str | None, source: str) -> list[str]:
    """The methods that are called with the pattern; all of them when that cannot be seen."""
    if (function := function_of(call)) in METHODS:
        return [function]
    if assigned:
        texts = SOURCES.values() if not assigned.startswith("_") else [source]
        called = re.compile(rf"\b{assigned}\.(\w+)\(")
        uses = {use for text in texts for use in called.findall(text)} & METHODS.keys()
    else:
        uses = set(re.findall(r"\.(\w+)\(", source)) & {"match", "search", "fullmatch"}
    return sorted(uses or METHODS)


@pytest.mark.parametrize(("pattern", "uses"), list(found_patterns()))
def test_s33_no_pattern_is_slow(pattern, uses):
    check(pattern, uses, LENGTH)


def check(pattern: re.Pattern[Any], uses: list[str], length: int) -> None:
    for text in hostile_texts(pattern, length):
        subject = text.encode("latin-1", "replace") if isinstance(pattern.pattern, bytes) else text
        for use in uses:
            started = time.process_time()
            METHODS[use](pattern, subject)
            assert time.process_time() - started < LIMIT_S, (text[:80], text[-1], use)


@pytest.mark.parametrize(
    ("pattern", "use", "length"),
    [
        (r"\(.*\)|\[.*\]", "sub", 50_000),
        (r"\s+$", "search", 50_000),
        (r"name\s*=\s*\s*x", "match", 50_000),
        (r"<b>.*</b>", "findall", 150_000),
        (r"(?:a|aa)+;", "match", 36),
    ],
)
def test_slow_patterns_are_recognised(pattern, use, length):
    compiled = re.compile(pattern)

    with pytest.raises(AssertionError, match="process_time"):
        check(compiled, [use], length)
