"""Vector indexes: interface, registry and the DuckDB index."""

from __future__ import annotations

from typing import Any

from the_edge_agent.memory.base import Registry
from the_edge_agent.memory.vector.base import SearchResult, VectorIndex, VectorSearchConfig

__all__ = [
    "DuckDBVSSIndex",
    "SearchResult",
    "VectorIndex",
    "VectorSearchConfig",
    "create_vector_index",
    "get_registered_vector_indexes",
    "register_vector_index",
]

_indexes = Registry()
for _name in ("duckdb", "duckdb-vss"):
    _indexes.add(_name, "the_edge_agent.memory.vector.duckdb:DuckDBVSSIndex")


def register_vector_index(name: str, cls: type[Any]) -> None:
    """Register an index class under ``name`` (case is ignored); replaces an earlier one."""
    _indexes.add(name, cls)


def get_registered_vector_indexes() -> list[str]:
    """Return the registered names in registration order."""
    return _indexes.names()


def create_vector_index(index_type: str = "duckdb", **kwargs: Any) -> Any:
    """Create the index registered under ``index_type``. Raises ``ValueError`` for an unknown one."""
    cls = _indexes.get(index_type)
    if cls is None:
        known = ", ".join(get_registered_vector_indexes()) or "none"
        raise ValueError(f"Unknown vector index type: '{index_type}'. Available indexes: {known}")
    return cls(**kwargs)


def __getattr__(name: str) -> Any:
    if name == "DuckDBVSSIndex":
        from the_edge_agent.memory.vector.duckdb import DuckDBVSSIndex

        return DuckDBVSSIndex
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
