"""The long-term memory interface, its default transaction, and the registry of backends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Literal, TypeVar

from the_edge_agent.memory._availability import has_package
from the_edge_agent.memory._results import Result, failure

Backend = TypeVar("Backend", bound="LTMBackend")
Transaction = TypeVar("Transaction", bound="LTMTransaction")


class LTMBackend(ABC):
    """Key/value store that outlives a process.

    Operations answer result dictionaries and do not raise for operational failures: a failure is
    ``{"success": False, "error": str, "error_type": str}``. Constructors raise.
    """

    @abstractmethod
    def store(self, key: str, value: Any, metadata: dict[str, Any] | None = None) -> Result:
        """Insert or replace ``key``. ``value`` is any JSON value.

        Success: ``{"success": True, "stored": True, "key": str, "created": bool}``.
        """

    @abstractmethod
    def retrieve(self, key: str, default: Any = None) -> Result:
        """Read ``key``.

        Success: ``{"success": True, "value", "found": bool, "metadata": dict | None}``; an unknown key gives
        ``default`` with ``found`` False.
        """

    @abstractmethod
    def delete(self, key: str) -> Result:
        """Remove ``key``. Success: ``{"success": True, "deleted": bool, "key": str}``."""

    @abstractmethod
    def search(
        self, query: str | None = None, metadata_filter: dict[str, Any] | None = None, limit: int = 10
    ) -> Result:
        """Find entries by text and by equality of top-level metadata keys.

        Success: ``{"success": True, "results": [{"key", "value", "metadata", "score"}], "count": int}``.
        """

    @abstractmethod
    def close(self) -> None:
        """Release connections. May be called more than once."""

    def iterate_all(self) -> Iterator[tuple[str, Any, dict[str, Any] | None]]:
        """Yield ``(key, value, metadata)`` of every entry; a failing search yields nothing."""
        found = self.search(limit=10000)
        if found.get("success"):
            for row in found["results"]:
                yield row["key"], row["value"], row["metadata"]

    def transaction(self) -> LTMTransaction:
        """Return a transaction that collects writes and applies them at commit."""
        return LTMTransaction(self)

    def __enter__(self: Backend) -> Backend:
        return self

    def __exit__(self, *exc_info: object) -> Literal[False]:
        self.close()
        return False


LongTermMemoryBackend = LTMBackend

Operation = tuple[str, str, Any, dict[str, Any] | None]


class LTMTransaction:
    """Queue of writes that ``commit`` replays through the backend in order.

    As a context manager it commits when the block ends and rolls back when the block raises; the exception
    propagates.
    """

    def __init__(self, backend: LTMBackend) -> None:
        self._backend = backend
        self._operations: list[Operation] = []
        self._committed = False
        self._rolled_back = False

    def store(self, key: str, value: Any, metadata: dict[str, Any] | None = None) -> None:
        """Queue a store."""
        self._operations.append(("store", key, value, metadata))

    def delete(self, key: str) -> None:
        """Queue a delete."""
        self._operations.append(("delete", key, None, None))

    def commit(self) -> Result:
        """Apply the queue. Success: ``{"success": True, "operations": n}``.

        The default replays every operation even after one failed; a failure lists the failed results under
        ``errors``.
        """
        finished = self._finished()
        if finished is not None:
            return finished
        self._committed = True
        errors = self._apply(self._operations)
        if errors:
            return failure(f"Transaction had {len(errors)} failed operations", "query_error", errors=errors)
        return {"success": True, "operations": len(self._operations)}

    def rollback(self) -> Result:
        """Drop the queue. Success: ``{"success": True, "discarded": n}``."""
        if self._committed:
            return failure("Already committed", "validation_error")
        discarded = len(self._operations)
        self._operations.clear()
        self._rolled_back = True
        return {"success": True, "discarded": discarded}

    def _finished(self) -> Result | None:
        if self._committed:
            return failure("Already committed", "validation_error")
        if self._rolled_back:
            return failure("Already rolled back", "validation_error")
        return None

    def _apply(self, operations: list[Operation]) -> list[Result]:
        """Run the operations and return the failed results."""
        failed = []
        for name, key, value, metadata in operations:
            if name == "store":
                result = self._backend.store(key, value, metadata)
            else:
                result = self._backend.delete(key)
            if not result.get("success"):
                failed.append(result)
        return failed

    def __enter__(self: Transaction) -> Transaction:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *exc_info: object) -> Literal[False]:
        if exc_type is not None:
            self.rollback()
        else:
            self.commit()
        return False


class Registry:
    """Names to classes, in registration order; classes of this package are imported at first use.

    ``key`` maps a given name to the stored one (for instance ``str.lower``).
    """

    def __init__(self, key: Callable[[str], str] = str.lower) -> None:
        self.entries: dict[str, type[Any] | str] = {}
        self._key = key

    def add(self, name: str, cls: type[Any] | str) -> None:
        """Register a class, or the text ``module:Class`` that stands for one; replaces an earlier entry."""
        self.entries[self._key(name)] = cls

    def names(self) -> list[str]:
        """Return the registered names in registration order."""
        return list(self.entries)

    def get(self, name: str) -> type[Any] | None:
        """Return the class registered under ``name``, or None."""
        found = self.entries.get(self._key(name))
        if isinstance(found, str):
            module, _, attribute = found.partition(":")
            cls: type[Any] = getattr(import_module(module), attribute)
            self.entries[self._key(name)] = cls
            return cls
        return found


_backends = Registry()


def register_backend(name: str, cls: type[Any]) -> None:
    """Register a long-term memory class under ``name`` (case is ignored); replaces an earlier one."""
    _backends.add(name, cls)


def get_registered_backends() -> list[str]:
    """Return the registered backend names in registration order."""
    return _backends.names()


def get_backend_class(name: str) -> type[Any] | None:
    """Return the class registered under ``name`` (case is ignored), or None."""
    return _backends.get(name)


def create_ltm_backend(backend_type: str = "sqlite", **kwargs: Any) -> Any:
    """Create the backend registered under ``backend_type`` with exactly the given keywords.

    Raises ``ValueError`` for an unknown name, ``ImportError`` when the backend's library is missing, and
    whatever the constructor raises.
    """
    cls = _backends.get(backend_type)
    if cls is None:
        known = ", ".join(get_registered_backends()) or "none"
        raise ValueError(f"Unknown backend type: '{backend_type}'. Available backends: {known}")
    return cls(**kwargs)


def _register_own_backends() -> None:
    here = "the_edge_agent.memory"
    _backends.add("sqlite", f"{here}.sqlite:SQLiteBackend")
    _backends.add("litestream", f"{here}.litestream:LitestreamBackend")
    _backends.add("blob-sqlite", f"{here}.blob_sqlite:BlobSQLiteBackend")
    _backends.add("postgres", f"{here}.postgres:PostgresBackend")
    if has_package("sqlalchemy"):
        _backends.add("sqlalchemy", f"{here}.sqlalchemy_backend:SQLAlchemyBackend")
    _backends.add("duckdb", f"{here}.duckdb_ltm:DuckDBLTMBackend")
    if has_package("fsspec") and has_package("sqlalchemy"):
        _backends.add("hierarchical", f"{here}.hierarchical_ltm:HierarchicalLTMBackend")


_register_own_backends()
