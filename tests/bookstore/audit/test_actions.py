"""The list of audit actions is complete: other actions would be shown as unknown."""

import ast
from pathlib import Path

from bookstore.audit import AuditAction

ROOT = Path(__file__).parents[3]
PACKAGES = ("bookstore", "web", "admin", "actors")
RECORDERS = {"audit.record", "audit.record_many", "_audit"}


def recorded_actions():
    """Every literal action that the code passes to the audit log."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if not (isinstance(node, ast.Call) and ast.unparse(node.func) in RECORDERS):
                    continue
                if len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
                    yield node.args[1].value


def test_every_recorded_action_is_listed():
    # `accounts.change_role` and `change_disabled` share the call that records their actions.
    found = {*recorded_actions(), "change-role", "enable", "disable"}

    assert found == {*map(str, AuditAction)}
