"""Query engine on an in-process DuckDB database, with a connection pool and a circuit breaker."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from the_edge_agent.memory._availability import has_package
from the_edge_agent.memory._results import failure
from the_edge_agent.memory.query.base import (
    CircuitBreakerConfig,
    CircuitState,
    QueryConfig,
    QueryEngine,
    Result,
)

DUCKDB_AVAILABLE = has_package("duckdb")

_EXTENSION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_REMOTE = re.compile(r"\b(?:https?|s3|gs|gcs|r2)://", re.IGNORECASE)
_COMMUNITY = frozenset({"duckpgq", "fts", "vss"})
_TRANSIENT = re.compile(
    r"httpfs|http|connection|timeout|s3|gcs|storage|network|socket|ssl|tls|certificate", re.IGNORECASE
)


class CircuitBreaker:
    """Stops calls to a failing service for a while. Safe for threads.

    Times are seconds of ``time.time()``.
    """

    def __init__(self, config: CircuitBreakerConfig | None = None) -> None:
        self.config = config or CircuitBreakerConfig()
        self.state = CircuitState.CLOSED
        self.failures: list[float] = []
        self.last_failure_time: float | None = None
        self.last_success_time: float | None = None
        self._lock = threading.Lock()

    def can_execute(self) -> bool:
        """Tell whether a call may go through; after the recovery time an open circuit becomes half-open."""
        with self._lock:
            if self.state is CircuitState.OPEN:
                waited = time.time() - (self.last_failure_time or 0.0)
                if waited < self.config.recovery_timeout_sec:
                    return False
                self.state = CircuitState.HALF_OPEN
            return True

    def record_success(self) -> None:
        """Note a success; a half-open circuit closes."""
        with self._lock:
            self.last_success_time = time.time()
            if self.state is CircuitState.HALF_OPEN:
                self.state = CircuitState.CLOSED
                self.failures.clear()

    def record_failure(self) -> None:
        """Note a failure; the circuit opens when there were too many in the window, or when half-open."""
        with self._lock:
            self.last_failure_time = time.time()
            self.failures.append(self.last_failure_time)
            self._drop_old()
            if self.state is CircuitState.HALF_OPEN or (
                self.state is CircuitState.CLOSED and len(self.failures) >= self.config.failure_threshold
            ):
                self.state = CircuitState.OPEN

    def reset(self) -> None:
        """Close the circuit and forget the failures."""
        with self._lock:
            self.state = CircuitState.CLOSED
            self.failures.clear()

    def get_state(self) -> Result:
        """Return ``{"state", "failure_count", "failure_threshold", "last_failure", "last_success"}``."""
        with self._lock:
            self._drop_old()
            return {
                "state": self.state.value,
                "failure_count": len(self.failures),
                "failure_threshold": self.config.failure_threshold,
                "last_failure": self.last_failure_time,
                "last_success": self.last_success_time,
            }

    def _drop_old(self) -> None:
        oldest = time.time() - self.config.window_size_sec
        self.failures[:] = [moment for moment in self.failures if moment >= oldest]


class _MissingSetting(Exception):
    """A statement needs a setting that is not there; trying again is useless."""


class DuckDBQueryEngine(QueryEngine):
    """At most ``max_connections`` connections to one private in-memory DuckDB database.

    All connections see the same tables. ``enable_httpfs`` lets statements that name a remote file load
    DuckDB's ``httpfs`` extension when they run; ``enable_vss`` loads ``vss`` with the first connection.
    Nothing is opened before the first use. Raises ``ImportError`` without the duckdb package.
    """

    def __init__(
        self,
        max_connections: int = 3,
        circuit_config: CircuitBreakerConfig | None = None,
        enable_httpfs: bool = True,
        enable_vss: bool = False,
        fallback_bucket: str | None = None,
    ) -> None:
        if not DUCKDB_AVAILABLE:
            raise ImportError("duckdb not installed. Install with: pip install duckdb")
        if max_connections < 1:
            raise ValueError(f"max_connections must be at least 1, got {max_connections}")
        self._max_connections = max_connections
        self._enable_httpfs = enable_httpfs
        self._enable_vss = enable_vss
        self._fallback_bucket = fallback_bucket or os.environ.get("FIREBASE_STORAGE_BUCKET")
        self._circuit = CircuitBreaker(circuit_config)
        self._available = threading.Condition()
        self._idle: list[Any] = []
        self._opened = 0
        self._root: Any = None
        self._closed = False
        self._extensions: list[str] = []

    def _connect(self) -> Any:
        """Open one more connection; the caller holds the condition."""
        if self._root is None:
            import duckdb

            self._root = duckdb.connect(":memory:")
            if self._enable_vss:
                self._load(self._root, "vss", None)
        connection = self._root.cursor()
        self._opened += 1
        return connection

    @contextmanager
    def _connection(self, timeout: float) -> Iterator[Any]:
        """Lend a connection, waiting up to ``timeout`` seconds; raises ``TimeoutError``."""
        deadline = time.monotonic() + timeout
        with self._available:
            while True:
                if self._closed:
                    raise TimeoutError("Query engine is closed")
                if self._idle:
                    connection = self._idle.pop()
                    break
                if self._opened < self._max_connections:
                    connection = self._connect()
                    break
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not self._available.wait(remaining):
                    raise TimeoutError("No available connections")
        try:
            yield connection
        finally:
            with self._available:
                if self._closed:
                    connection.close()
                else:
                    self._idle.append(connection)
                self._available.notify()

    def execute(
        self, sql: str, params: Sequence[Any] | None = None, config: QueryConfig | None = None
    ) -> Result:
        """Run one statement with ``?`` parameters.

        Success: ``{"success": True, "columns": [names], "rows": [tuples], "row_count", "fallback": False}``.
        ``error_type`` is ``circuit_open``, ``connection_error`` or ``query_error``. Network failures are
        tried again. The time and row limits apply when a ``config`` is given.
        """

        def work(connection: Any) -> Result:
            cursor = connection.execute(sql, list(params)) if params else connection.execute(sql)
            columns = [column[0] for column in cursor.description or ()]
            rows: list[Any] = []
            if columns:
                rows = cursor.fetchall() if config is None else cursor.fetchmany(config.max_rows)
            return {
                "success": True,
                "columns": columns,
                "rows": rows,
                "row_count": len(rows),
                "fallback": False,
            }

        return self._run(sql, work, config)

    def execute_many(
        self, sql: str, params_list: Sequence[Sequence[Any]], config: QueryConfig | None = None
    ) -> Result:
        """Run one statement for each parameter row, all of them or none."""

        def work(connection: Any) -> Result:
            connection.execute("BEGIN TRANSACTION")
            try:
                if params_list:
                    connection.executemany(sql, [list(row) for row in params_list])
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            count = len(params_list)
            return {"success": True, "executed": count, "row_count": count, "fallback": False}

        return self._run(sql, work, config)

    def _run(self, sql: str, work: Callable[[Any], Result], config: QueryConfig | None) -> Result:
        if not self._circuit.can_execute():
            return failure("Circuit breaker is open", "circuit_open")
        settings = config or QueryConfig()
        attempt = 0
        while True:
            try:
                with self._connection(settings.timeout_sec) as connection:
                    self._prepare(connection, sql)
                    with _interrupt_after(connection, None if config is None else config.timeout_sec):
                        result = work(connection)
                self._circuit.record_success()
                return result
            except TimeoutError as error:
                return failure(str(error), "connection_error")
            except _MissingSetting as error:
                return failure(str(error), "query_error")
            except Exception as error:
                if "interrupted" in str(error).lower():
                    return failure(f"Query exceeded {settings.timeout_sec} seconds", "query_error")
                # A local statement has no network to fail, whatever words its error text contains.
                if not _REMOTE.search(sql) or not _TRANSIENT.search(str(error)):
                    return failure(str(error), "query_error")
                if attempt >= settings.max_retries:
                    self._circuit.record_failure()
                    return failure(str(error), "connection_error")
            time.sleep(min(settings.retry_max_wait, settings.retry_min_wait * 2**attempt))
            attempt += 1

    def _prepare(self, connection: Any, sql: str) -> None:
        if not self._enable_httpfs or not _REMOTE.search(sql):
            return
        self._load(connection, "httpfs", None)
        key, secret = os.environ.get("GCS_ACCESS_KEY_ID"), os.environ.get("GCS_SECRET_ACCESS_KEY")
        if re.search(r"\bgc?s://", sql, re.IGNORECASE):
            if not key or not secret:
                raise _MissingSetting(
                    "gs:// needs the environment variables GCS_ACCESS_KEY_ID and GCS_SECRET_ACCESS_KEY"
                )
            quoted = [part.replace("'", "''") for part in (key, secret)]
            connection.execute(
                f"CREATE OR REPLACE SECRET tea_gcs (TYPE gcs, KEY_ID '{quoted[0]}', SECRET '{quoted[1]}')"
            )

    def load_extension(self, name: str, from_community: bool | None = None) -> Result:
        """Load a DuckDB extension, installing it (a download) when it is not there.

        ``{"success": True, "extension", "already_installed"}`` or an ``extension_error``.
        """
        if not isinstance(name, str) or not _EXTENSION_NAME.match(name):
            return failure(f"Invalid extension name: {name!r}", "extension_error")
        try:
            with self._connection(QueryConfig().timeout_sec) as connection:
                installed = self._load(connection, name, from_community)
        except Exception as error:
            return failure(f"Failed to load extension '{name}': {error}", "extension_error")
        return {"success": True, "extension": name, "already_installed": installed}

    def _load(self, connection: Any, name: str, from_community: bool | None) -> bool:
        """Load an extension; return whether it was installed before."""
        installed = True
        if name not in self._extensions:
            try:
                connection.execute(f"LOAD {name}")
            except Exception:
                installed = False
                community = name in _COMMUNITY if from_community is None else from_community
                connection.execute(f"INSTALL {name}{' FROM community' if community else ''}")
                connection.execute(f"LOAD {name}")
            self._extensions.append(name)
        return installed

    def get_loaded_extensions(self) -> Result:
        """Return the names of loaded and enabled extensions."""
        names = list(self._extensions)
        for name, enabled in (("httpfs", self._enable_httpfs), ("vss", self._enable_vss)):
            if enabled and name not in names:
                names.append(name)
        return {"success": True, "extensions": names}

    def warmup(self, count: int = 1) -> Result:
        """Open ``count`` connections (at most the maximum) ahead of use."""
        with self._available:
            if self._closed:
                return failure("Query engine is closed", "connection_error")
            while self._opened < min(count, self._max_connections):
                self._idle.append(self._connect())
            return {"success": True, "warmed": self._opened}

    def get_pool_stats(self) -> Result:
        """Return ``{"total_connections", "available_connections", "max_connections", "initialized"}``."""
        with self._available:
            return {
                "total_connections": self._opened,
                "available_connections": len(self._idle),
                "max_connections": self._max_connections,
                "initialized": self._opened > 0,
            }

    def get_circuit_state(self) -> Result:
        """Return the state of the circuit breaker; see ``CircuitBreaker.get_state``."""
        return self._circuit.get_state()

    def reset_circuit(self) -> Result:
        """Close the circuit."""
        self._circuit.reset()
        return {"success": True, "state": CircuitState.CLOSED.value}

    def can_execute(self) -> bool:
        """Tell whether the circuit lets a query through."""
        return self._circuit.can_execute()

    def health_check(self) -> Result:
        """Run ``SELECT 1`` and return pool, circuit and settings."""
        return {
            "success": True,
            "healthy": bool(self.verify_connection()["success"]),
            "pool": self.get_pool_stats(),
            "circuit_breaker": self.get_circuit_state(),
            "config": {
                "max_connections": self._max_connections,
                "enable_httpfs": self._enable_httpfs,
                "enable_vss": self._enable_vss,
            },
        }

    def close(self) -> None:
        """Close idle connections now and lent ones when they come back."""
        with self._available:
            self._closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()
            self._opened = 0
            if self._root is not None:
                self._root.close()
                self._root = None
            self._available.notify_all()


@contextmanager
def _interrupt_after(connection: Any, seconds: float | None) -> Iterator[None]:
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
