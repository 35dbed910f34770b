"""SQL query engines: interface, registry and the DuckDB engine."""

from __future__ import annotations

from typing import Any

from the_edge_agent.memory.base import Registry
from the_edge_agent.memory.query.base import (
    CircuitBreakerConfig,
    CircuitState,
    QueryConfig,
    QueryEngine,
)

__all__ = [
    "CircuitBreakerConfig",
    "CircuitState",
    "DuckDBQueryEngine",
    "QueryConfig",
    "QueryEngine",
    "create_query_engine",
    "get_registered_query_engines",
    "register_query_engine",
]

_engines = Registry()
_engines.add("duckdb", "the_edge_agent.memory.query.duckdb:DuckDBQueryEngine")


def register_query_engine(name: str, cls: type[Any]) -> None:
    """Register an engine class under ``name`` (case is ignored); replaces an earlier one."""
    _engines.add(name, cls)


def get_registered_query_engines() -> list[str]:
    """Return the registered names in registration order."""
    return _engines.names()


def create_query_engine(engine_type: str = "duckdb", **kwargs: Any) -> Any:
    """Create the engine registered under ``engine_type``. Raises ``ValueError`` for an unknown one."""
    cls = _engines.get(engine_type)
    if cls is None:
        known = ", ".join(get_registered_query_engines()) or "none"
        raise ValueError(f"Unknown query engine type: '{engine_type}'. Available engines: {known}")
    return cls(**kwargs)


def __getattr__(name: str) -> Any:
    if name == "DuckDBQueryEngine":
        from the_edge_agent.memory.query.duckdb import DuckDBQueryEngine

        return DuckDBQueryEngine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
