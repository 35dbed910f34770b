"""What the memory layers ask of an SQL query engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, TypeVar

Result = dict[str, Any]
Engine = TypeVar("Engine", bound="QueryEngine")


@dataclass
class QueryConfig:
    """Limits of one call. Times in seconds; ``max_rows`` is the most rows returned."""

    timeout_sec: float = 30
    max_retries: int = 3
    retry_min_wait: float = 1.0
    retry_max_wait: float = 10.0
    max_rows: int = 1000
    enable_fallback: bool = True


@dataclass
class CircuitBreakerConfig:
    """The circuit opens after ``failure_threshold`` failures within ``window_size_sec`` seconds, and lets a
    trial through ``recovery_timeout_sec`` seconds after the last one."""

    failure_threshold: int = 5
    recovery_timeout_sec: float = 30
    window_size_sec: float = 60


class CircuitState(Enum):
    """States of a circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class QueryEngine(ABC):
    """Runs SQL. Operations answer result dictionaries with ``success`` or ``error`` and ``error_type``."""

    @abstractmethod
    def execute(
        self, sql: str, params: Sequence[Any] | None = None, config: QueryConfig | None = None
    ) -> Result:
        """Run one statement: ``{"success", "columns", "rows", "row_count", "fallback"}``."""

    @abstractmethod
    def execute_many(
        self, sql: str, params_list: Sequence[Sequence[Any]], config: QueryConfig | None = None
    ) -> Result:
        """Run one statement for each parameter row, in one transaction."""

    @abstractmethod
    def warmup(self, count: int = 1) -> Result:
        """Open connections ahead of use: ``{"success", "warmed"}``."""

    @abstractmethod
    def get_pool_stats(self) -> Result:
        """Return the state of the connection pool."""

    @abstractmethod
    def get_circuit_state(self) -> Result:
        """Return the state of the circuit breaker."""

    @abstractmethod
    def reset_circuit(self) -> Result:
        """Close the circuit: ``{"success": True, "state": "closed"}``."""

    @abstractmethod
    def health_check(self) -> Result:
        """Return pool, circuit and settings, and whether a query works."""

    @abstractmethod
    def close(self) -> None:
        """Release all connections. May be called more than once."""

    def query_parquet(self, sql: str, parquet_url: str, config: QueryConfig | None = None) -> Result:
        """Run ``sql`` with every ``{parquet}`` replaced by a reader of the file."""
        literal = parquet_url.replace("'", "''")
        return self.execute(sql.replace("{parquet}", f"read_parquet('{literal}')"), config=config)

    def can_execute(self) -> bool:
        """Tell whether the circuit lets a query through."""
        return self.get_circuit_state().get("state") != CircuitState.OPEN.value

    def verify_connection(self) -> Result:
        """Run ``SELECT 1``."""
        return self.execute("SELECT 1")

    def load_extension(self, name: str) -> Result:
        """Load an extension by name."""
        return {
            "success": False,
            "error": f"Extension '{name}' not supported",
            "error_type": "extension_error",
        }

    def get_loaded_extensions(self) -> Result:
        """Return ``{"success": True, "extensions": [names]}``."""
        return {"success": True, "extensions": []}

    def __enter__(self: Engine) -> Engine:
        return self

    def __exit__(self, *exc_info: object) -> Literal[False]:
        self.close()
        return False
