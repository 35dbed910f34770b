"""Catalog in PostgreSQL through psycopg 3 and its connection pool."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from the_edge_agent.memory._catalog_sql import Cursor, SQLCatalog

ConnectionPool: Any
try:
    from psycopg_pool import ConnectionPool
except ImportError:
    ConnectionPool = None


class PostgresCatalog(SQLCatalog):
    """Catalog in a PostgreSQL database; safe for threads and processes.

    ``connection_string`` is a libpq URL or keyword string; the pool keeps ``min_size`` to ``max_size``
    connections. ``auto_migrate`` creates missing tables, ``lazy`` connects at the first use. Raises
    ``ImportError`` without psycopg and ``psycopg_pool.PoolTimeout`` when the server cannot be reached within
    30 seconds.
    """

    mark = "%s"

    def __init__(
        self,
        connection_string: str,
        min_size: int = 1,
        max_size: int = 10,
        auto_migrate: bool = True,
        lazy: bool = False,
    ) -> None:
        if ConnectionPool is None:
            raise ImportError(
                "psycopg not installed. Install with: pip install 'psycopg[binary]' psycopg_pool"
            )
        self._connection_string = connection_string
        self._min_size = min_size
        self._max_size = max_size
        self._auto_migrate = auto_migrate
        self._lock = threading.RLock()
        self._closed = False
        self._pool: Any = None
        if not lazy:
            self._open()

    def _open(self) -> Any:
        with self._lock:
            if self._closed:
                raise RuntimeError("Catalog is closed")
            if self._pool is None:
                pool: Any = ConnectionPool(
                    self._connection_string, min_size=self._min_size, max_size=self._max_size, open=True
                )
                try:
                    if self._auto_migrate:
                        self._migrate(pool)
                except BaseException:
                    pool.close()
                    raise
                self._pool = pool
            return self._pool

    def _migrate(self, pool: Any) -> None:
        e = self.entries_table
        with pool.connection() as conn, conn.cursor() as cursor:
            # Serialises processes that start at once; IF NOT EXISTS alone can fail in that case.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (e,))
            for statement in self._schema("JSONB", "TIMESTAMPTZ", cascade="snapshots"):
                cursor.execute(statement)
            cursor.execute(f"CREATE INDEX IF NOT EXISTS idx_{e}_metadata ON {e} USING gin (metadata)")
            cursor.execute(
                f"CREATE INDEX IF NOT EXISTS idx_{e}_expires_set ON {e}(expires_at)"
                " WHERE expires_at IS NOT NULL"
            )

    @contextmanager
    def _transaction(self, write: bool) -> Iterator[Cursor]:
        with self._open().connection() as conn, conn.cursor() as cursor:
            yield cursor

    def _insert_sql(self) -> str:
        # Two processes may insert one key at once; the later one updates. The id follows from the key, and
        # its index is the first in which the database meets the other row.
        columns = ("content_hash", "storage_uri", "byte_size", "inlined_value", "metadata", "expires_at")
        changes = ", ".join(f"{c} = EXCLUDED.{c}" for c in (*columns, "updated_at"))
        return super()._insert_sql() + f" ON CONFLICT (id) DO UPDATE SET {changes}"

    def _rows(self, cursor: Cursor) -> Iterator[Any]:
        yield from cursor.fetchall()

    def _json_out(self, stored: Any) -> Any:
        return stored

    def close(self) -> None:
        """Close the pool. Later operations raise ``RuntimeError``."""
        with self._lock:
            self._closed = True
            if self._pool is not None:
                self._pool.close()
                self._pool = None
