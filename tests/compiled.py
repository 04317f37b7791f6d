"""Compiled templates and SQL statements, shared by the applications and engines of all tests."""

from types import CodeType
from typing import Any

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from sqlalchemy.util import LRUCache


class CompiledTemplates(BytecodeCache):
    """Compiled templates of all applications in this process."""

    def __init__(self) -> None:
        self._code: dict[str, CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Fill the bucket if its template was compiled before."""
        bucket.code = self._code.get(bucket.key)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Store the content of the bucket."""
        assert bucket.code is not None
        self._code[bucket.key] = bucket.code


class CompiledStatements(LRUCache[Any, Any]):
    """Compiled SQL of all engines in this process, for SQLAlchemy's option `compiled_cache`.

    SQLAlchemy's key begins with the dialect object, and each engine has its own.  Here, dialects
    of the same database server share their statements.
    """

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_shared(key), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        super().__setitem__(_shared(key), compiled)


def _shared(key: Any) -> Any:
    dialect, *rest = key
    return (dialect.name, dialect.server_version_info, *rest)
