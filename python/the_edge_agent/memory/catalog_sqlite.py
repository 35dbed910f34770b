"""Catalog in a SQLite file, standard library only."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from the_edge_agent.memory import sqlite as _sqlite
from the_edge_agent.memory._catalog_sql import Cursor, SQLCatalog


class SQLiteCatalog(SQLCatalog):
    """Catalog in one SQLite database; safe for threads and for several processes.

    ``path`` is a file whose directory exists, or ":memory:" for a private database. ``lazy`` opens it at the
    first use. Raises ``sqlite3.Error`` when it cannot be opened.
    """

    def __init__(self, path: str = ":memory:", lazy: bool = False) -> None:
        self.path = os.fspath(path)
        self._lock = threading.RLock()
        self._closed = False
        self._conn: sqlite3.Connection | None = None
        if not lazy:
            self._open()

    def _open(self) -> sqlite3.Connection:
        if self._closed:
            raise RuntimeError("Catalog is closed")
        if self._conn is None:
            conn = _sqlite.connect(self.path)
            try:
                _sqlite.retry_busy(lambda: self._create(conn))
            except BaseException:
                conn.close()
                raise
            self._conn = conn
        return self._conn

    def _create(self, conn: sqlite3.Connection) -> None:
        _sqlite.configure(conn, self.path)
        tables = (self.entries_table, self.snapshots_table, self.snapshot_entries_table)
        ready = conn.execute("SELECT count(*) FROM sqlite_master WHERE name IN (?, ?, ?)", tables).fetchone()[
            0
        ]
        if ready < len(tables):
            conn.executescript("BEGIN IMMEDIATE;" + ";".join(self._schema("TEXT", "TIMESTAMP")) + ";COMMIT;")

    @contextmanager
    def _transaction(self, write: bool) -> Iterator[Cursor]:
        with self._lock:
            conn = self._open()
            if not write:
                yield conn.cursor()
                return
            _sqlite.begin(conn)
            try:
                yield conn.cursor()
                conn.execute("COMMIT")
            except BaseException:
                if conn.in_transaction:
                    conn.execute("ROLLBACK")
                raise

    def _time_in(self, moment: datetime | None) -> Any:
        # A fixed width keeps the text in the order of time.
        return None if moment is None else moment.astimezone(timezone.utc).isoformat(timespec="microseconds")

    def _time_out(self, stored: Any) -> datetime | None:
        if stored is None:
            return None
        moment = datetime.fromisoformat(stored)
        return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)

    def _json_out(self, stored: Any) -> Any:
        return json.loads(stored)

    def close(self) -> None:
        """Close the database. Later operations raise ``RuntimeError``."""
        with self._lock:
            self._closed = True
            if self._conn is not None:
                self._conn.close()
                self._conn = None
