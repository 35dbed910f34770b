"""Short-term and long-term memory. Importing this package imports none of its modules: each name is resolved
at first use, so that no optional library is needed or loaded until something uses it."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from the_edge_agent.memory.base import (
        LongTermMemoryBackend as LongTermMemoryBackend,
    )
    from the_edge_agent.memory.base import (
        LTMBackend as LTMBackend,
    )
    from the_edge_agent.memory.short_term import InMemoryBackend as InMemoryBackend
    from the_edge_agent.memory.short_term import MemoryBackend as MemoryBackend
    from the_edge_agent.memory.sqlite import SQLiteBackend as SQLiteBackend

_MODULES = {
    "short_term": ("MemoryBackend", "InMemoryBackend"),
    "base": (
        "LTMBackend",
        "LTMTransaction",
        "LongTermMemoryBackend",
        "register_backend",
        "get_registered_backends",
        "create_ltm_backend",
    ),
    "config": (
        "parse_backend_config",
        "expand_env_vars",
        "expand_ltm_config",
        "parse_ltm_config",
        "_parse_hierarchical_ltm_config",
        "_is_hierarchical_nested_config",
    ),
    "sqlite": ("SQLiteBackend",),
    "blob_sqlite": ("BlobSQLiteBackend",),
    "litestream": ("LitestreamBackend",),
    "sqlalchemy_backend": ("SQLAlchemyBackend",),
    "postgres": ("PostgresBackend",),
    "catalog": (
        "CatalogBackend",
        "compute_content_hash",
        "generate_entry_id",
        "register_catalog_backend",
        "get_registered_catalog_backends",
        "create_catalog_backend",
        "parse_catalog_config",
    ),
    "catalog_sqlite": ("SQLiteCatalog",),
    "catalog_duckdb": ("DuckDBCatalog",),
    "catalog_sqlalchemy": ("SQLAlchemyCatalog",),
    "catalog_postgres": ("PostgresCatalog",),
    "duckdb_ltm": ("DuckDBLTMBackend",),
    "query": (
        "QueryEngine",
        "QueryConfig",
        "CircuitState",
        "DuckDBQueryEngine",
        "create_query_engine",
        "register_query_engine",
        "get_registered_query_engines",
    ),
    "locks": ("DistributedLock", "RedisLock", "create_lock", "register_lock", "get_registered_locks"),
    "metadata": (
        "MetadataStore",
        "MetadataQuery",
        "create_metadata_store",
        "register_metadata_store",
        "get_registered_metadata_stores",
    ),
    "blob": (
        "BlobStorage",
        "BlobInfo",
        "create_blob_storage",
        "register_blob_storage",
        "get_registered_blob_storages",
    ),
    "vector": (
        "VectorIndex",
        "VectorSearchConfig",
        "SearchResult",
        "DuckDBVSSIndex",
        "create_vector_index",
        "register_vector_index",
        "get_registered_vector_indexes",
    ),
    "entity_hierarchy": ("EntityHierarchy", "check_hierarchy_available"),
    "hierarchical_ltm": (
        "HierarchicalLTMBackend",
        "StorageError",
        "CatalogError",
        "check_hierarchical_available",
    ),
    "graph": (
        "GraphBackend",
        "CozoBackend",
        "COZO_AVAILABLE",
        "KuzuBackend",
        "BighornBackend",
        "KUZU_AVAILABLE",
        "_check_cozo_available",
        "_check_kuzu_available",
    ),
}
_EXPORTS = {name: module for module, names in _MODULES.items() for name in names}

# Flag -> the packages that must be installed for it to be true.
_FLAGS: dict[str, tuple[str, ...]] = {
    "SQLALCHEMY_AVAILABLE": ("sqlalchemy",),
    "ENTITY_HIERARCHY_AVAILABLE": ("sqlalchemy",),
    "HIERARCHICAL_AVAILABLE": ("fsspec", "sqlalchemy"),
    "DUCKDB_AVAILABLE": ("duckdb",),
    "DUCKDB_CATALOG_AVAILABLE": ("duckdb",),
    "DUCKDB_VSS_AVAILABLE": ("duckdb",),
    "POSTGRES_AVAILABLE": ("psycopg", "psycopg_pool"),
}

__all__ = [name for name in (*_EXPORTS, *_FLAGS) if not name.startswith("_")]


def __getattr__(name: str) -> Any:
    module = _EXPORTS.get(name)
    if module is not None:
        value = getattr(import_module(f"{__name__}.{module}"), name)
    elif name in _FLAGS:
        from the_edge_agent.memory._availability import has_packages

        value = has_packages(*_FLAGS[name])
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
