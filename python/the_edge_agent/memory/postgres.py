"""Long-term memory in PostgreSQL through psycopg 3, with full-text search and JSONB filters."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

from the_edge_agent.memory._availability import has_packages
from the_edge_agent.memory._results import (
    CLOSED,
    Result,
    check_key,
    dump_json,
    failure,
    row_limit,
)
from the_edge_agent.memory.base import LTMBackend, LTMTransaction, Operation

PSYCOPG_AVAILABLE = has_packages("psycopg", "psycopg_pool")

# PostgreSQL refuses text whose words need more than 1 MiB in a tsvector; the rest of a longer text is kept in
# the entry and only not indexed.
_TSVECTOR_CHARACTERS = 200_000


class PostgresBackend(LTMBackend):
    """Long-term memory in one PostgreSQL table; safe for threads and processes.

    ``url`` is a libpq URL or keyword string; the pool keeps ``min_connections`` to ``max_connections``.
    ``search_config`` is a text search configuration of the server, such as "english" or "simple". Raises
    ``ImportError`` without psycopg, ``psycopg_pool.PoolTimeout`` when the server cannot be reached within 30
    seconds and ``psycopg.Error`` for an unknown configuration.
    """

    def __init__(
        self,
        url: str,
        min_connections: int = 1,
        max_connections: int = 10,
        table_name: str = "agent_memory",
        search_config: str = "english",
    ) -> None:
        if not PSYCOPG_AVAILABLE:
            raise ImportError(
                "psycopg not installed. Install with: pip install 'psycopg[binary]' psycopg_pool"
            )
        if not isinstance(table_name, str) or not table_name or "\0" in table_name:
            raise ValueError(f"table_name must be a non-empty string, got {table_name!r}")
        from psycopg import sql
        from psycopg_pool import ConnectionPool

        self._table_name = table_name
        self._search_config = search_config
        self._names = {
            "t": sql.Identifier(table_name),
            "search_index": sql.Identifier(f"idx_{table_name}_search"[:63]),
            "metadata_index": sql.Identifier(f"idx_{table_name}_metadata"[:63]),
        }
        self._closed = False
        self._lock = threading.Lock()
        self._pool: Any = ConnectionPool(url, min_size=min_connections, max_size=max_connections, open=False)
        try:
            self._pool.open(wait=True, timeout=30.0)
            self._create()
        except BaseException:
            self._pool.close()
            raise

    def _sql(self, text: str) -> Any:
        """Fill the quoted table and index names into a statement."""
        from psycopg import sql

        return sql.SQL(text).format(**self._names)

    def _create(self) -> None:
        with self._pool.connection() as conn:
            # Serialises processes that start at once; IF NOT EXISTS alone can fail in that case.
            conn.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (self._table_name,))
            conn.execute("SELECT %s::regconfig", (self._search_config,))
            for statement in (
                "CREATE TABLE IF NOT EXISTS {t} (key TEXT PRIMARY KEY, value JSONB NOT NULL, metadata JSONB,"
                " search_vector TSVECTOR, created_at TIMESTAMPTZ DEFAULT now(),"
                " updated_at TIMESTAMPTZ DEFAULT now())",
                "CREATE INDEX IF NOT EXISTS {search_index} ON {t} USING gin (search_vector)",
                "CREATE INDEX IF NOT EXISTS {metadata_index} ON {t} USING gin (metadata)",
            ):
                conn.execute(self._sql(statement))

    def _guarded(self, work: Callable[[Any], Result]) -> Result:
        """Run ``work(connection)`` in one transaction and map what it raises to a failure."""
        import psycopg
        from psycopg_pool import PoolTimeout

        if self._closed:
            return failure(CLOSED, "connection_error")
        try:
            for attempt in range(10):
                try:
                    with self._pool.connection() as conn:
                        return work(conn)
                except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                    if attempt == 9:
                        raise
            raise AssertionError("unreachable")
        except PoolTimeout as error:
            return failure(f"Database error: {error}", "connection_timeout")
        except psycopg.errors.QueryCanceled as error:
            return failure(f"Database error: {error}", "connection_timeout")
        except psycopg.OperationalError as error:
            return failure(f"Database error: {error}", "connection_error")
        except psycopg.errors.InsufficientPrivilege as error:
            return failure(f"Database error: {error}", "auth_failed")
        except Exception as error:
            return failure(f"Query failed: {error}", "query_error")

    def _prepare(self, key: str, value: Any, metadata: dict[str, Any] | None) -> tuple[Any, ...]:
        """Return the parameters of one store. Raises ``TypeError``/``ValueError`` for what is not JSON."""
        text = dump_json(value)
        meta = None if metadata is None else dump_json(metadata)
        words = " ".join(_words(key) + _words(value) + _words(metadata)).replace("\0", " ")
        return key, text, meta, self._search_config, words[:_TSVECTOR_CHARACTERS]

    def _upsert(self, conn: Any, parameters: tuple[Any, ...]) -> bool:
        """Write one entry; return whether it was created (the row then has no older version)."""
        row = conn.execute(
            self._sql(
                "INSERT INTO {t} (key, value, metadata, search_vector)"
                " VALUES (%s, %s::jsonb, %s::jsonb, to_tsvector(%s::regconfig, %s))"
                " ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value, metadata = EXCLUDED.metadata,"
                " search_vector = EXCLUDED.search_vector, updated_at = clock_timestamp()"
                " RETURNING (xmax = 0)"
            ),
            parameters,
        ).fetchone()
        return bool(row[0])

    def store(self, key: str, value: Any, metadata: dict[str, Any] | None = None) -> Result:
        """Insert or replace; see ``LTMBackend.store``. JSONB cannot hold NUL characters."""
        refused = check_key(key)
        if refused is not None:
            return refused
        key = str(key)
        try:
            parameters = self._prepare(key, value, metadata)
        except (TypeError, ValueError) as error:
            return failure(f"Failed to serialize value: {error}", "serialization_error")

        def work(conn: Any) -> Result:
            return {"success": True, "stored": True, "key": key, "created": self._upsert(conn, parameters)}

        return self._guarded(work)

    def retrieve(self, key: str, default: Any = None) -> Result:
        """Read one entry; see ``LTMBackend.retrieve``."""
        refused = check_key(key)
        if refused is not None:
            return refused

        def work(conn: Any) -> Result:
            row = conn.execute(
                self._sql("SELECT value, metadata FROM {t} WHERE key = %s"), (str(key),)
            ).fetchone()
            if row is None:
                return {"success": True, "value": default, "found": False, "metadata": None}
            return {"success": True, "value": row[0], "found": True, "metadata": row[1]}

        return self._guarded(work)

    def delete(self, key: str) -> Result:
        """Remove one entry; see ``LTMBackend.delete``."""
        refused = check_key(key)
        if refused is not None:
            return refused
        return self._guarded(lambda conn: self._remove(conn, str(key)))

    def _remove(self, conn: Any, key: str) -> Result:
        removed = conn.execute(self._sql("DELETE FROM {t} WHERE key = %s"), (key,)).rowcount
        return {"success": True, "deleted": removed > 0, "key": key}

    def search(
        self, query: str | None = None, metadata_filter: dict[str, Any] | None = None, limit: int = 10
    ) -> Result:
        """Find entries by words (all of them must occur; ``score`` is the rank) and metadata.

        Without a query the newest come first with ``score`` 0.0. ``limit`` counts entries that meet both
        conditions; a negative one means all.
        """

        def work(conn: Any) -> Result:
            conditions, parameters = [], []
            score, order = "0.0", ""
            if query:
                score = "ts_rank(search_vector, plainto_tsquery(%s::regconfig, %s))"
                parameters += [self._search_config, query]
                conditions.append("search_vector @@ plainto_tsquery(%s::regconfig, %s)")
                parameters += [self._search_config, query]
                order = "score DESC, "
            for name, value in (metadata_filter or {}).items():
                # The containment uses the index; the equality keeps nested values from matching in part.
                conditions.append("metadata @> %s::jsonb AND metadata -> %s = %s::jsonb")
                parameters += [dump_json({name: value}), str(name), dump_json(value)]
            where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
            statement = (
                f"SELECT key, value, metadata, {score} AS score FROM {{t}} {where}"
                f"ORDER BY {order}updated_at DESC, key LIMIT %s"
            )
            rows = conn.execute(self._sql(statement), [*parameters, row_limit(limit)]).fetchall()
            results = [{"key": r[0], "value": r[1], "metadata": r[2], "score": float(r[3])} for r in rows]
            return {"success": True, "results": results, "count": len(results)}

        return self._guarded(work)

    def iterate_all(self) -> Iterator[tuple[str, Any, dict[str, Any] | None]]:
        """Yield every entry in key order, reading 500 at a time; a closed backend yields nothing."""
        last: str | None = None
        while not self._closed:
            after = "" if last is None else "WHERE key > %s "
            statement = self._sql(f"SELECT key, value, metadata FROM {{t}} {after}ORDER BY key LIMIT 500")
            with self._pool.connection() as conn:
                rows = conn.execute(statement, None if last is None else (last,)).fetchall()
            yield from rows
            if len(rows) < 500:
                return
            last = rows[-1][0]

    def transaction(self) -> LTMTransaction:
        """Return a transaction whose commit is one database transaction: all of the writes or none."""
        return _PostgresTransaction(self)

    def _apply_atomically(self, operations: list[Operation]) -> list[Result]:
        failed: list[Result] = []
        prepared: list[tuple[str, tuple[Any, ...] | None]] = []
        for name, key, value, metadata in operations:
            refused = check_key(key)
            if refused is not None:
                failed.append(refused)
                continue
            try:
                parameters = None if name == "delete" else self._prepare(str(key), value, metadata)
            except (TypeError, ValueError) as error:
                failed.append(failure(f"Failed to serialize value: {error}", "serialization_error"))
                continue
            prepared.append((str(key), parameters))
        if failed:
            return failed

        def work(conn: Any) -> Result:
            for key, parameters in prepared:
                if parameters is None:
                    self._remove(conn, key)
                else:
                    self._upsert(conn, parameters)
            return {"success": True}

        result = self._guarded(work)
        return [] if result["success"] else [result]

    def close(self) -> None:
        """Close the pool. Later operations answer ``Backend is closed``."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._pool.close()


class _PostgresTransaction(LTMTransaction):
    def __init__(self, backend: PostgresBackend) -> None:
        super().__init__(backend)
        self._postgres = backend

    def _apply(self, operations: list[Operation]) -> list[Result]:
        return self._postgres._apply_atomically(operations)


def _words(value: Any) -> list[str]:
    """Return every string inside a JSON value; other scalars as JSON text."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [word for item in value.values() for word in _words(item)]
    if isinstance(value, (list, tuple)):
        return [word for item in value for word in _words(item)]
    return [] if value is None else [json.dumps(value)]
