"""Imports: a package is used only by what it shows, and no test file imports another."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOPS = ("bookstore", "actors", "web", "admin", "config")
#: They put the programs together: web/app.py mounts the dashboard, the command starts programs.
COMPOSITION_ROOTS = {"web.app", "bookstore.cli.main"}
#: The wire: the only modules of `bookstore` that know a message broker or SMTP.
WIRE = {
    "bookstore.tasks.publisher": {"dramatiq", "aio_pika"},
    "bookstore.notifications.smtp": {"aiosmtplib"},
    "bookstore.notifications.smtp_pipelining": {"aiosmtplib"},
}
TRANSPORTS = {"aiohttp", "dramatiq", "aio_pika", "aiormq", "pika", "aiosmtplib"}
#: Test files that need the test functions of other files, with the package of those files.
READS_TESTS = {"tests/bookstore/database/test_failpoints.py": "tests.faults"}
FACE_LINES = 40
BOOKSTORE_ENTRIES = 27


@cache
def modules() -> dict[str, Path]:
    found = {}
    for path in (path for top in TOPS for path in (ROOT / top).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text("utf-8"))


def is_package(module: str) -> bool:
    return modules()[module].name == "__init__.py"


def package_of(module: str) -> str:
    """The innermost package that a module belongs to; a package belongs to itself."""
    return module if is_package(module) else module.rpartition(".")[0]


def imports(module: str) -> Iterator[tuple[str, str | None, int]]:
    """Every import of ours, wherever it stands: module, the name taken from it, the line."""
    return imports_in(tree(module))


def imports_in(parsed: ast.Module) -> Iterator[tuple[str, str | None, int]]:
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield node.module, alias.name, node.lineno


@cache
def shown(package: str) -> frozenset[str]:
    """The names that a package's face binds."""
    return frozenset(
        alias.asname or alias.name
        for node in tree(package).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    )


def faces() -> list[str]:
    return sorted(
        name for name in modules() if is_package(name) and "." in name and "migrations" not in name
    )


@pytest.mark.parametrize("package", faces())
def test_a_face_has_imports_and_nothing_else(package):
    docstring, *rest = tree(package).body
    assert isinstance(docstring, ast.Expr)
    assert all(isinstance(node, ast.ImportFrom) for node in rest)
    assert len(modules()[package].read_text("utf-8").splitlines()) < FACE_LINES


def outsiders(module: str) -> list[str]:
    """Imports of a module that go past the face of another package, or through its own."""
    wrong = []
    for target, name, line in imports(module):
        if target.partition(".")[0] not in TOPS or target in TOPS:
            continue
        assert target in modules(), f"{module}:{line} imports {target}, which is not there"
        reached = f"{target}.{name}" if f"{target}.{name}" in modules() else target
        problem = crossing(module, target, name, reached)
        if problem:
            wrong.append(f"{module}:{line} {problem} ({target}, {name})")
    return wrong


def crossing(module: str, target: str, name: str | None, reached: str) -> str | None:
    inside = package_of(module)
    packages = [
        ".".join(parts[:depth])
        for parts in [reached.split(".")]
        for depth in range(2, len(parts) + 1)
        if is_package(".".join(parts[:depth]))
    ]
    for package in packages:
        if package == inside or inside.startswith(f"{package}."):
            continue
        rest = reached.removeprefix(package).lstrip(".").split(".")[0]
        if rest and rest not in shown(package):
            return f"reaches past the face of {package}"
        if not rest and name and target == package and name not in shown(package):
            return f"takes what {package} does not show"
    if target == inside and inside != module and reached == target and "." in inside:
        return "imports its own package's face"
    return None


@pytest.mark.parametrize("module", sorted(set(modules()) - COMPOSITION_ROOTS))
def test_other_packages_are_imported_by_their_face(module):
    assert outsiders(module) == []


@pytest.mark.parametrize("module", [name for name in modules() if name.startswith("bookstore.")])
def test_only_the_wire_knows_brokers_and_smtp(module):
    known = {target.partition(".")[0] for target, _, _ in imports(module)} & TRANSPORTS
    assert known <= WIRE.get(module, set())


def test_bookstore_is_seen_at_a_glance():
    entries = [path for path in (ROOT / "bookstore").iterdir() if path.name != "__pycache__"]
    assert len(entries) <= BOOKSTORE_ENTRIES


def test_every_module_imports_alone():
    """Each in a fresh process, in which nothing else of ours is loaded: a circle shows there."""
    names = [name for name in modules() if "migrations" not in name and "__main__" not in name]
    libraries = {
        target
        for name in names
        for target, _, _ in imports(name)
        if target.partition(".")[0] not in TOPS
    }
    packages = {
        package: [name for name in names if name != package and package_of(name) == package]
        for package in names
        if is_package(package)
    }
    ended = subprocess.run(
        [sys.executable, "-m", "tests.import_alone"],
        cwd=ROOT,
        input=json.dumps({"libraries": sorted(libraries), "packages": packages}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stderr == ""
    assert sorted(ended.stdout.splitlines()) == sorted(f"{name} imported" for name in names)


def imported_tests(parsed: ast.Module) -> Iterator[str]:
    """The names of all test files, and functions of them, that are imported."""
    for module, name, _ in imports_in(parsed):
        for target in (module, f"{module}.{name}"):
            if target.startswith("tests.") and target.rpartition(".")[2].startswith("test_"):
                yield target
                break


def test_no_test_imports_another_test_file():
    found = {}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        wrong = {
            target
            for target in imported_tests(ast.parse(path.read_text("utf-8")))
            if target.rpartition(".")[0] != READS_TESTS.get(name)
        }
        if wrong:
            found[name] = wrong

    assert found == {}


def test_the_checker_sees_what_goes_past_a_face():
    module = "web.store.home"
    for target, name in (
        ("bookstore.catalogue.search_terms", "words"),
        ("bookstore.catalogue", "search_terms"),
        ("bookstore.catalogue.covers.uploaded", "put"),
        ("bookstore.orders.checkout", "Checkouts"),
        ("web.store", "forms_of_others"),
    ):
        full = f"{target}.{name}"
        assert crossing(module, target, name, full if full in modules() else target), full
    for target, name in (("bookstore.catalogue", "books"), ("bookstore.catalogue.books", "get")):
        full = f"{target}.{name}"
        assert not crossing(module, target, name, full if full in modules() else target), full
