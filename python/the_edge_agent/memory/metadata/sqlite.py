"""Document store in a SQLite file, standard library only."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable
from datetime import date, datetime, timezone
from typing import Any

from the_edge_agent.memory import sqlite as _sqlite
from the_edge_agent.memory._results import failure, same_json
from the_edge_agent.memory.metadata.base import (
    Filter,
    MetadataQuery,
    MetadataStore,
    OrderDirection,
    Result,
)

_SCHEMA = (
    "BEGIN IMMEDIATE;"
    "CREATE TABLE IF NOT EXISTS metadata_documents (collection TEXT NOT NULL, doc_id TEXT NOT NULL,"
    " data TEXT NOT NULL, PRIMARY KEY (collection, doc_id)) WITHOUT ROWID;"
    "COMMIT;"
)

_MISSING = object()


class _Change:
    """A field value that depends on the stored one."""

    def __init__(self, apply: Callable[[Any], Any]) -> None:
        self.apply = apply


class _NotFound(Exception):
    """An update of a transaction meets no document."""


class Transaction(list[dict[str, Any]]):
    """Writes that wait for the commit.

    Each is ``{"operation": "set" | "update" | "delete", "collection", "doc_id", "data", "merge"}``; callers
    may append such dictionaries or use the methods.
    """

    def set(self, collection: str, doc_id: str, data: dict[str, Any], merge: bool = False) -> None:
        """Queue a write."""
        self.append(
            {"operation": "set", "collection": collection, "doc_id": doc_id, "data": data, "merge": merge}
        )

    def update(self, collection: str, doc_id: str, data: dict[str, Any]) -> None:
        """Queue a change of fields; the document must exist at the commit."""
        self.append({"operation": "update", "collection": collection, "doc_id": doc_id, "data": data})

    def delete(self, collection: str, doc_id: str) -> None:
        """Queue a removal."""
        self.append({"operation": "delete", "collection": collection, "doc_id": doc_id})


class SQLiteMetadataStore(MetadataStore):
    """Documents in one SQLite database; safe for threads and processes.

    ``path`` is a file whose directory exists, or ":memory:" for a private database. Raises ``sqlite3.Error``
    when it cannot be opened.
    """

    def __init__(self, path: str = ":memory:") -> None:
        self.path = os.fspath(path)
        self._lock = threading.RLock()
        self._conn: sqlite3.Connection | None = _sqlite.connect(self.path)
        try:
            _sqlite.retry_busy(self._create)
        except BaseException:
            self._conn.close()
            raise

    def _create(self) -> None:
        conn = self._connection()
        _sqlite.configure(conn, self.path)
        if not conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'metadata_documents'").fetchone():
            conn.executescript(_SCHEMA)

    def _connection(self) -> sqlite3.Connection:
        if self._conn is None:
            raise sqlite3.ProgrammingError("Store is closed")
        return self._conn

    def _guarded(self, work: Callable[[sqlite3.Connection], Result], write: bool = False) -> Result:
        try:
            with self._lock:
                conn = self._connection()
                return self._in_transaction(conn, work) if write else work(conn)
        except _NotFound as error:
            return failure(str(error), "not_found")
        except sqlite3.Error as error:
            return failure(f"Database error: {error}", "connection_error")
        except (TypeError, ValueError) as error:
            return failure(f"Invalid document: {error}", "validation_error")

    @staticmethod
    def _in_transaction(conn: sqlite3.Connection, work: Callable[[sqlite3.Connection], Result]) -> Result:
        _sqlite.begin(conn)
        try:
            result = work(conn)
            conn.execute("COMMIT")
        except BaseException:
            if conn.in_transaction:
                conn.execute("ROLLBACK")
            raise
        return result

    def set_document(
        self, collection: str, doc_id: str, data: dict[str, Any], merge: bool = False, transaction: Any = None
    ) -> Result:
        """Write a document; with ``merge`` only the given fields change."""
        if transaction is not None:
            transaction.set(collection, doc_id, data, merge)
            return {"success": True, "doc_id": doc_id, "collection": collection, "created": False}
        return self._guarded(lambda conn: _set(conn, collection, doc_id, data, merge), write=True)

    def get_document(self, collection: str, doc_id: str) -> Result:
        """Read a document; see ``MetadataStore.get_document``."""

        def work(conn: sqlite3.Connection) -> Result:
            data = _load(conn, collection, doc_id)
            return {"success": True, "exists": data is not None, "data": data, "doc_id": doc_id}

        return self._guarded(work)

    def update_document(
        self, collection: str, doc_id: str, data: dict[str, Any], transaction: Any = None
    ) -> Result:
        """Change fields of a document that exists; a dot in a name reaches into objects."""
        if transaction is not None:
            transaction.update(collection, doc_id, data)
            return {"success": True, "doc_id": doc_id, "updated": True}
        return self._guarded(lambda conn: _update(conn, collection, doc_id, data), write=True)

    def delete_document(self, collection: str, doc_id: str, transaction: Any = None) -> Result:
        """Remove a document; see ``MetadataStore.delete_document``."""
        if transaction is not None:
            transaction.delete(collection, doc_id)
            return {"success": True, "doc_id": doc_id, "deleted": True}
        return self._guarded(lambda conn: _delete(conn, collection, doc_id), write=True)

    def document_exists(self, collection: str, doc_id: str) -> Result:
        """Look for a document; see ``MetadataStore.document_exists``."""
        found = self.get_document(collection, doc_id)
        return {k: found[k] for k in ("success", "exists", "doc_id")} if found["success"] else found

    def query(self, query_spec: MetadataQuery) -> Result:
        """Find documents; those without a field of a filter do not match, and sort before all others."""

        def work(conn: sqlite3.Connection) -> Result:
            rows = conn.execute(
                "SELECT doc_id, data FROM metadata_documents WHERE collection = ? ORDER BY doc_id",
                (query_spec.collection,),
            )
            found = []
            for doc_id, text in rows:
                data = json.loads(text)
                if all(_matches(data, condition) for condition in query_spec.filters or ()):
                    found.append({"doc_id": doc_id, "data": data})
            for name, direction in reversed(query_spec.order_by or ()):
                found.sort(
                    key=lambda row, name=name: _sort_key(_field(row["data"], name)),  # type: ignore[misc]
                    reverse=direction in (OrderDirection.DESCENDING, "desc"),
                )
            start = query_spec.offset or 0
            found = found[start : start + query_spec.limit if query_spec.limit is not None else None]
            if query_spec.select_fields is not None:
                for row in found:
                    row["data"] = {k: v for k, v in row["data"].items() if k in query_spec.select_fields}
            return {"success": True, "results": found, "count": len(found)}

        return self._guarded(work)

    def begin_transaction(self) -> Transaction:
        """Return an empty transaction."""
        return Transaction()

    def commit_transaction(self, transaction: Any) -> Result:
        """Apply the writes in order, all of them or none: ``{"success": True, "operations": n}``."""

        def work(conn: sqlite3.Connection) -> Result:
            for op in transaction:
                kind, collection, doc_id = op.get("operation"), op["collection"], op["doc_id"]
                if kind == "set":
                    _set(conn, collection, doc_id, op["data"], bool(op.get("merge")))
                elif kind == "update":
                    if not _update(conn, collection, doc_id, op["data"])["success"]:
                        raise _NotFound(f"Document not found: {collection}/{doc_id}")
                elif kind == "delete":
                    _delete(conn, collection, doc_id)
                else:
                    raise ValueError(f"unknown operation {kind!r}")
            return {"success": True, "operations": len(transaction)}

        return self._guarded(work, write=True)

    def run_transaction(self, callback: Callable[[Any], Any]) -> Any:
        """Call ``callback(transaction)``, commit, and return the callback's result; a failing commit answers
        its failure. What the callback raises is passed on, and nothing is written."""
        transaction = self.begin_transaction()
        result = callback(transaction)
        committed = self.commit_transaction(transaction)
        return result if committed["success"] else committed

    def server_timestamp(self) -> Any:
        """Return a value that becomes the time of the write, as ISO 8601 text in UTC."""
        return _Change(lambda old: datetime.now(timezone.utc).isoformat())

    def delete_field(self) -> Any:
        """Return a value that removes its field."""
        return _Change(lambda old: _MISSING)

    def increment(self, value: float = 1) -> Any:
        """Return a value that adds to a number; a missing one counts as 0."""
        return _Change(lambda old: (0 if old is _MISSING or old is None else old) + value)

    def array_union(self, elements: list[Any]) -> Any:
        """Return a value that adds the elements an array lacks."""

        def add(old: Any) -> list[Any]:
            items = list(old) if isinstance(old, list) else []
            for element in elements:
                if not any(same_json(element, item) for item in items):
                    items.append(element)
            return items

        return _Change(add)

    def array_remove(self, elements: list[Any]) -> Any:
        """Return a value that removes elements from an array."""

        def remove(old: Any) -> list[Any]:
            items = old if isinstance(old, list) else []
            return [item for item in items if not any(same_json(item, e) for e in elements)]

        return _Change(remove)

    def close(self) -> None:
        """Close the database. Later operations answer ``connection_error``."""
        with self._lock:
            if self._conn is not None:
                self._conn.close()
                self._conn = None


def _plain(value: Any) -> Any:
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    raise TypeError(f"a document cannot hold a value of type {type(value).__name__}")


def _load(conn: sqlite3.Connection, collection: str, doc_id: str) -> dict[str, Any] | None:
    row = conn.execute(
        "SELECT data FROM metadata_documents WHERE collection = ? AND doc_id = ?", (collection, doc_id)
    ).fetchone()
    if row is None:
        return None
    data: dict[str, Any] = json.loads(row[0])
    return data


def _save(conn: sqlite3.Connection, collection: str, doc_id: str, data: dict[str, Any]) -> None:
    conn.execute(
        "INSERT INTO metadata_documents VALUES (?, ?, ?)"
        " ON CONFLICT (collection, doc_id) DO UPDATE SET data = excluded.data",
        (collection, doc_id, json.dumps(data, default=_plain)),
    )


def _set(conn: sqlite3.Connection, collection: str, doc_id: str, data: dict[str, Any], merge: bool) -> Result:
    if not isinstance(data, dict):
        raise TypeError(f"a document must be an object, got {type(data).__name__}")
    present = _load(conn, collection, doc_id)
    _save(conn, collection, doc_id, _merged(present or {} if merge else {}, data))
    return {"success": True, "doc_id": doc_id, "collection": collection, "created": present is None}


def _update(conn: sqlite3.Connection, collection: str, doc_id: str, data: dict[str, Any]) -> Result:
    present = _load(conn, collection, doc_id)
    if present is None:
        return failure(f"Document not found: {collection}/{doc_id}", "not_found")
    for name, value in data.items():
        *parents, last = name.split(".")
        target = present
        for parent in parents:
            inner = target.get(parent)
            if not isinstance(inner, dict):
                inner = target[parent] = {}
            target = inner
        _put(target, last, value)
    _save(conn, collection, doc_id, present)
    return {"success": True, "doc_id": doc_id, "updated": True}


def _delete(conn: sqlite3.Connection, collection: str, doc_id: str) -> Result:
    removed = conn.execute(
        "DELETE FROM metadata_documents WHERE collection = ? AND doc_id = ?", (collection, doc_id)
    ).rowcount
    return {"success": True, "doc_id": doc_id, "deleted": removed > 0}


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in changes.items():
        if isinstance(value, dict) and isinstance(merged.get(name), dict):
            merged[name] = _merged(merged[name], value)
        elif isinstance(value, dict):
            merged[name] = _merged({}, value)
        else:
            _put(merged, name, value)
    return merged


def _put(target: dict[str, Any], name: str, value: Any) -> None:
    if isinstance(value, _Change):
        value = value.apply(target.get(name, _MISSING))
    if value is _MISSING:
        target.pop(name, None)
    else:
        target[name] = value


def _field(data: Any, name: str) -> Any:
    if isinstance(data, dict) and name in data:
        return data[name]
    for part in name.split("."):
        if not isinstance(data, dict) or part not in data:
            return _MISSING
        data = data[part]
    return data


def _matches(data: dict[str, Any], condition: Filter) -> bool:
    name, op, wanted = condition
    value = _field(data, name)
    if value is _MISSING:
        return False
    if isinstance(wanted, (datetime, date)):
        wanted = wanted.isoformat()
    if op == "==":
        return same_json(value, wanted)
    if op == "!=":
        return not same_json(value, wanted)
    if op == "in":
        return any(same_json(value, item) for item in wanted)
    if op == "not-in":
        return not any(same_json(value, item) for item in wanted)
    if op == "array-contains":
        return isinstance(value, list) and any(same_json(item, wanted) for item in value)
    if op == "array-contains-any":
        return isinstance(value, list) and any(same_json(a, b) for a in value for b in wanted)
    left, right = _sort_key(value), _sort_key(wanted)
    if left[0] != right[0]:
        return False  # values of different kinds have no order
    if op == "<":
        return left < right
    if op == "<=":
        return left <= right
    if op == ">":
        return left > right
    if op == ">=":
        return left >= right
    raise ValueError(f"unknown operator {op!r}")


def _sort_key(value: Any) -> tuple[int, Any]:
    """Order of mixed values: missing, None, booleans, numbers, text, the rest by JSON text."""
    if value is _MISSING:
        return 0, 0
    if value is None:
        return 1, 0
    if isinstance(value, bool):
        return 2, value
    if isinstance(value, (int, float)):
        return 3, value
    if isinstance(value, str):
        return 4, value
    return 5, json.dumps(value, sort_keys=True, default=str)
