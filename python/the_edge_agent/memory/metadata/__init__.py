"""Document stores: interface, registry and the SQLite store."""

from __future__ import annotations

from typing import Any

from the_edge_agent.memory.base import Registry
from the_edge_agent.memory.metadata.base import MetadataQuery, MetadataStore, OrderDirection

__all__ = [
    "MetadataQuery",
    "MetadataStore",
    "OrderDirection",
    "SQLiteMetadataStore",
    "create_metadata_store",
    "get_registered_metadata_stores",
    "register_metadata_store",
]

_stores = Registry()
_stores.add("sqlite", "the_edge_agent.memory.metadata.sqlite:SQLiteMetadataStore")


def register_metadata_store(name: str, cls: type[Any]) -> None:
    """Register a store class under ``name`` (case is ignored); replaces an earlier one."""
    _stores.add(name, cls)


def get_registered_metadata_stores() -> list[str]:
    """Return the registered names in registration order."""
    return _stores.names()


def create_metadata_store(store_type: str = "firestore", **kwargs: Any) -> Any:
    """Create the store registered under ``store_type``. Raises ``ValueError`` for an unknown one."""
    cls = _stores.get(store_type)
    if cls is None:
        known = ", ".join(get_registered_metadata_stores()) or "none"
        raise ValueError(f"Unknown metadata store type: '{store_type}'. Available stores: {known}")
    return cls(**kwargs)


def __getattr__(name: str) -> Any:
    if name == "SQLiteMetadataStore":
        from the_edge_agent.memory.metadata.sqlite import SQLiteMetadataStore

        return SQLiteMetadataStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
