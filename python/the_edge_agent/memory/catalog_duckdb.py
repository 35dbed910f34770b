"""Catalog in a DuckDB database; no DuckDB extension is needed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from the_edge_agent.memory._availability import has_package
from the_edge_agent.memory._catalog_sql import Cursor, SQLCatalog

DUCKDB_AVAILABLE = has_package("duckdb")


class DuckDBCatalog(SQLCatalog):
    """Catalog in one DuckDB database; safe for threads. One process at a time can open a DuckDB file.

    ``path`` is a file or ":memory:"; ``connection`` is an open DuckDB connection to use instead, which
    ``close`` leaves open. ``shared`` marks the database as one that others use too. ``lazy`` opens it at the
    first use. Raises ``ValueError`` when both a path and a connection are given, ``ImportError`` without the
    duckdb package.
    """

    entries_table = "ltm_catalog"
    snapshots_table = "ltm_catalog_snapshots"
    snapshot_entries_table = "ltm_catalog_snapshot_entries"

    def __init__(
        self, path: str = ":memory:", connection: Any = None, lazy: bool = False, shared: bool = False
    ) -> None:
        if connection is not None and path != ":memory:":
            raise ValueError(
                "Cannot provide both 'path' and 'connection'; the connection has its own database"
            )
        if not DUCKDB_AVAILABLE:
            raise ImportError("duckdb not installed. Install with: pip install duckdb")
        self.path = path
        self._external = connection
        self._shared = shared or connection is not None
        self._lock = threading.RLock()
        self._closed = False
        self._initialized = False
        self._conn: Any = None
        if not lazy:
            self._open()

    @property
    def connection(self) -> Any:
        """The DuckDB connection, opened at first use."""
        with self._lock:
            return self._open()

    @property
    def shared_mode(self) -> bool:
        """True when the database is used by others than this catalog."""
        return self._shared

    def _open(self) -> Any:
        if self._closed:
            raise RuntimeError("Catalog is closed")
        if self._conn is None:
            conn = self._external
            if conn is None:
                import duckdb

                conn = duckdb.connect(self.path)
            try:
                for statement in self._schema("JSON", "TIMESTAMP"):
                    conn.execute(statement)
            except BaseException:
                if conn is not self._external:
                    conn.close()
                raise
            self._conn = conn
            self._initialized = True
        return self._conn

    @contextmanager
    def _transaction(self, write: bool) -> Iterator[Cursor]:
        with self._lock:
            conn = self._open()
            if not write:
                yield conn
                return
            conn.execute("BEGIN TRANSACTION")
            try:
                yield conn
                conn.execute("COMMIT")
            except BaseException:
                conn.execute("ROLLBACK")
                raise

    def _time_in(self, moment: datetime | None) -> Any:
        return None if moment is None else moment.astimezone(timezone.utc).replace(tzinfo=None)

    def _json_out(self, stored: Any) -> Any:
        return json.loads(stored)

    def close(self) -> None:
        """Close an own connection; an external one stays open. Later operations raise ``RuntimeError``."""
        with self._lock:
            self._closed = True
            if self._conn is not None and self._external is None:
                self._conn.close()
            self._conn = None
            self._initialized = False
