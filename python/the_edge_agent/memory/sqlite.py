"""The default long-term memory: one SQLite file with a full-text index, standard library only."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any, TypeVar

from the_edge_agent.memory._results import (
    CLOSED,
    Result,
    check_key,
    dump_json,
    failure,
    metadata_matches,
    row_limit,
)
from the_edge_agent.memory.base import LTMBackend, LTMTransaction, Operation

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS ltm_store (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    metadata TEXT,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
CREATE VIRTUAL TABLE IF NOT EXISTS ltm_fts USING fts5(
    key, value, metadata, content='ltm_store', content_rowid='rowid'
);
CREATE TRIGGER IF NOT EXISTS ltm_ai AFTER INSERT ON ltm_store BEGIN
    INSERT INTO ltm_fts(rowid, key, value, metadata) VALUES (new.rowid, new.key, new.value, new.metadata);
END;
CREATE TRIGGER IF NOT EXISTS ltm_ad AFTER DELETE ON ltm_store BEGIN
    INSERT INTO ltm_fts(ltm_fts, rowid, key, value, metadata)
    VALUES ('delete', old.rowid, old.key, old.value, old.metadata);
END;
CREATE TRIGGER IF NOT EXISTS ltm_au AFTER UPDATE ON ltm_store BEGIN
    INSERT INTO ltm_fts(ltm_fts, rowid, key, value, metadata)
    VALUES ('delete', old.rowid, old.key, old.value, old.metadata);
    INSERT INTO ltm_fts(rowid, key, value, metadata) VALUES (new.rowid, new.key, new.value, new.metadata);
END;
"""

# A writer waits this long in SQLite's own busy handler, and the statement is then tried again: with many
# writing processes the handler is not fair and can starve one of them.
_BUSY_TIMEOUT_MS = 5000
_BUSY_RETRIES = 5


class SQLiteBackend(LTMBackend):
    """Long-term memory in one SQLite database (FTS5 needed); safe for threads and for several processes.

    ``db_path`` is a file whose directory exists, or ":memory:" for a private database. Raises ``ValueError``
    for a path that climbs out with ``..`` and ``sqlite3.Error`` when the file cannot be opened.
    """

    def __init__(self, db_path: str | None = ":memory:") -> None:
        path = ":memory:" if db_path is None else os.fspath(db_path)
        if path != ":memory:" and ".." in os.path.normpath(path):
            raise ValueError(f"Path traversal detected in: {path}")
        self.db_path = path
        self._closed = False
        self._lock = threading.RLock()
        self._conn: sqlite3.Connection | None = connect(path)
        try:
            retry_busy(self._set_up)
        except BaseException:
            self._conn.close()
            raise

    def _set_up(self) -> None:
        conn = self._connection()
        configure(conn, self.db_path)
        ready = conn.execute(
            "SELECT count(*) FROM sqlite_master"
            " WHERE name IN ('ltm_store', 'ltm_fts', 'ltm_ai', 'ltm_ad', 'ltm_au')"
        ).fetchone()[0]
        if ready < 5:
            conn.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}COMMIT;")

    def _connection(self) -> sqlite3.Connection:
        if self._closed or self._conn is None:
            raise RuntimeError(CLOSED)
        return self._conn

    def _guarded(self, work: Callable[[sqlite3.Connection], Result], write: bool = False) -> Result:
        """Run ``work`` under the lock, in one immediate transaction when it writes."""
        try:
            with self._lock:
                conn = self._connection()
                return self._in_transaction(conn, work) if write else work(conn)
        except sqlite3.Error as error:
            return failure(f"Database error: {error}", "connection_error")
        except Exception as error:
            return failure(f"Unexpected error: {error}", "query_error")

    @staticmethod
    def _in_transaction(conn: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
        begin(conn)
        try:
            result = work(conn)
            conn.execute("COMMIT")
        except BaseException:
            if conn.in_transaction:
                conn.execute("ROLLBACK")
            raise
        return result

    def store(self, key: str, value: Any, metadata: dict[str, Any] | None = None) -> Result:
        """Insert or replace; the value and the metadata must be JSON (``serialization_error`` otherwise)."""
        refused = check_key(key)
        if refused is not None:
            return refused
        key = str(key)
        try:
            text, meta = dump_json(value), dump_json(metadata) if metadata else None
        except (TypeError, ValueError) as error:
            return failure(f"Failed to serialize value: {error}", "serialization_error")
        return self._guarded(lambda conn: _upsert(conn, key, text, meta), write=True)

    def retrieve(self, key: str, default: Any = None) -> Result:
        """Read one entry; see ``LTMBackend.retrieve``."""
        refused = check_key(key)
        if refused is not None:
            return refused

        def work(conn: sqlite3.Connection) -> Result:
            row = conn.execute("SELECT value, metadata FROM ltm_store WHERE key = ?", (str(key),)).fetchone()
            if row is None:
                return {"success": True, "value": default, "found": False, "metadata": None}
            try:
                value, metadata = json.loads(row[0]), _load_metadata(row[1])
            except ValueError as error:
                return failure(f"Failed to deserialize value: {error}", "serialization_error")
            return {"success": True, "value": value, "found": True, "metadata": metadata}

        return self._guarded(work)

    def delete(self, key: str) -> Result:
        """Remove one entry; see ``LTMBackend.delete``."""
        refused = check_key(key)
        if refused is not None:
            return refused
        return self._guarded(lambda conn: _remove(conn, str(key)), write=True)

    def search(
        self, query: str | None = None, metadata_filter: dict[str, Any] | None = None, limit: int = 10
    ) -> Result:
        """Find entries whose key, value or metadata text contains ``query`` as a phrase, best match first
        (``score`` is BM25, lower is better); without a query the newest first (``score`` 0.0).

        ``limit`` counts matches of both conditions; a negative one means all.
        """

        def work(conn: sqlite3.Connection) -> Result:
            count = row_limit(limit)
            results: list[dict[str, Any]] = []
            if count == 0:
                return {"success": True, "results": results, "count": 0}
            rows = _search_rows(conn, query, -1 if metadata_filter or count is None else count)
            try:
                for key, value, meta, score in rows:
                    metadata = _load_metadata(meta)
                    if not metadata_matches(metadata, metadata_filter):
                        continue
                    results.append(
                        {"key": key, "value": json.loads(value), "metadata": metadata, "score": score}
                    )
                    if len(results) == count:
                        break
            except ValueError as error:
                return failure(f"Failed to deserialize value: {error}", "serialization_error")
            finally:
                rows.close()
            return {"success": True, "results": results, "count": len(results)}

        if query and not isinstance(query, str):
            return failure(
                f"Unexpected error: query must be a string, got {type(query).__name__}", "query_error"
            )
        return self._guarded(work)

    def iterate_all(self) -> Iterator[tuple[str, Any, dict[str, Any] | None]]:
        """Yield every entry in key order, reading 500 at a time; a closed backend yields nothing."""
        last: str | None = None
        while True:
            with self._lock:
                if self._closed or self._conn is None:
                    return
                rows = self._conn.execute(
                    "SELECT key, value, metadata FROM ltm_store"
                    " WHERE ? IS NULL OR key > ? ORDER BY key LIMIT 500",
                    (last, last),
                ).fetchall()
            if not rows:
                return
            for key, value, meta in rows:
                yield key, json.loads(value), _load_metadata(meta)
            last = rows[-1][0]

    def transaction(self) -> LTMTransaction:
        """Return a transaction whose commit is one SQLite transaction: all of the writes or none."""
        return _SQLiteTransaction(self)

    def _apply_atomically(self, operations: list[Operation]) -> list[Result]:
        failed: list[Result] = []
        prepared: list[tuple[str, str | None, str | None]] = []
        for name, key, value, metadata in operations:
            refused = check_key(key)
            if refused is not None:
                failed.append(refused)
            elif name == "delete":
                prepared.append((str(key), None, None))
            else:
                try:
                    prepared.append((str(key), dump_json(value), dump_json(metadata) if metadata else None))
                except (TypeError, ValueError) as error:
                    failed.append(failure(f"Failed to serialize value: {error}", "serialization_error"))
        if failed:
            return failed

        def work(conn: sqlite3.Connection) -> Result:
            for key, text, meta in prepared:
                if text is None:
                    _remove(conn, key)
                else:
                    _upsert(conn, key, text, meta)
            return {"success": True}

        result = self._guarded(work, write=True)
        return [] if result["success"] else [result]

    def close(self) -> None:
        """Close the connection. Later operations answer ``Backend is closed``."""
        with self._lock:
            self._closed = True
            if self._conn is not None:
                self._conn.close()
                self._conn = None


class _SQLiteTransaction(LTMTransaction):
    def __init__(self, backend: SQLiteBackend) -> None:
        super().__init__(backend)
        self._sqlite = backend

    def _apply(self, operations: list[Operation]) -> list[Result]:
        return self._sqlite._apply_atomically(operations)


def _now() -> str:
    # Microseconds keep "newest first" right for entries written within one second; the text sorts together
    # with the whole seconds that CURRENT_TIMESTAMP writes.
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")


def _load_metadata(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    metadata: dict[str, Any] | None = json.loads(text)
    return metadata


def _upsert(conn: sqlite3.Connection, key: str, text: str, meta: str | None) -> Result:
    now = _now()
    updated = conn.execute(
        "UPDATE ltm_store SET value = ?, metadata = ?, updated_at = ? WHERE key = ?", (text, meta, now, key)
    ).rowcount
    if not updated:
        conn.execute(
            "INSERT INTO ltm_store (key, value, metadata, created_at, updated_at) VALUES (?, ?, ?, ?, ?)",
            (key, text, meta, now, now),
        )
    return {"success": True, "stored": True, "key": key, "created": not updated}


def _remove(conn: sqlite3.Connection, key: str) -> Result:
    removed = conn.execute("DELETE FROM ltm_store WHERE key = ?", (key,)).rowcount
    return {"success": True, "deleted": removed > 0, "key": key}


def _search_rows(conn: sqlite3.Connection, query: str | None, limit: int) -> sqlite3.Cursor:
    if query:
        phrase = '"' + query.replace('"', '""') + '"'
        return conn.execute(
            "SELECT s.key, s.value, s.metadata, f.rank FROM ltm_fts f JOIN ltm_store s ON s.rowid = f.rowid"
            " WHERE ltm_fts MATCH ? ORDER BY f.rank LIMIT ?",
            (phrase, limit),
        )
    return conn.execute(
        "SELECT key, value, metadata, 0.0 FROM ltm_store ORDER BY updated_at DESC, rowid DESC LIMIT ?",
        (limit,),
    )


def connect(path: str) -> sqlite3.Connection:
    """Open a SQLite database in autocommit mode, for use by any thread under a lock of the caller."""
    return sqlite3.connect(
        path, check_same_thread=False, isolation_level=None, timeout=_BUSY_TIMEOUT_MS / 1000
    )


def configure(conn: sqlite3.Connection, path: str) -> None:
    """Set the waiting time, and for files the write-ahead log, which lets readers and a writer overlap."""
    conn.execute(f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}")
    if path != ":memory:":
        conn.execute("PRAGMA journal_mode=WAL")
        conn.execute("PRAGMA synchronous=NORMAL")


def begin(conn: sqlite3.Connection) -> None:
    """Start a writing transaction, waiting for other processes."""
    try:
        conn.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if not _is_busy(error):
            raise
        retry_busy(lambda: conn.execute("BEGIN IMMEDIATE"))


def _is_busy(error: sqlite3.OperationalError) -> bool:
    text = str(error)
    return "locked" in text or "busy" in text


def retry_busy(work: Callable[[], object]) -> None:
    """Run ``work`` again when another process holds the database, at most ``_BUSY_RETRIES`` more times."""
    for attempt in range(_BUSY_RETRIES + 1):
        try:
            work()
            return
        except sqlite3.OperationalError as error:
            if attempt == _BUSY_RETRIES or not _is_busy(error):
                raise
            # Opening in WAL mode can answer "locked" without waiting, so pause between the tries.
            time.sleep(0.05 * (attempt + 1))
