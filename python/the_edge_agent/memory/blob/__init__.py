"""Blob storages: interface, registry and the fsspec storage."""

from __future__ import annotations

from typing import Any

from the_edge_agent.memory.base import Registry
from the_edge_agent.memory.blob.base import BlobInfo, BlobStorage

__all__ = [
    "BlobInfo",
    "BlobStorage",
    "FsspecBlobStorage",
    "create_blob_storage",
    "get_registered_blob_storages",
    "register_blob_storage",
]

_storages = Registry()
_storages.add("fsspec", "the_edge_agent.memory.blob.fsspec:FsspecBlobStorage")


def register_blob_storage(name: str, cls: type[Any]) -> None:
    """Register a storage class under ``name`` (case is ignored); replaces an earlier one."""
    _storages.add(name, cls)


def get_registered_blob_storages() -> list[str]:
    """Return the registered names in registration order."""
    return _storages.names()


def create_blob_storage(storage_type: str = "gcs", **kwargs: Any) -> Any:
    """Create the storage registered under ``storage_type``. Raises ``ValueError`` for an unknown one."""
    cls = _storages.get(storage_type)
    if cls is None:
        known = ", ".join(get_registered_blob_storages()) or "none"
        raise ValueError(f"Unknown blob storage type: '{storage_type}'. Available storages: {known}")
    return cls(**kwargs)


def __getattr__(name: str) -> Any:
    if name == "FsspecBlobStorage":
        from the_edge_agent.memory.blob.fsspec import FsspecBlobStorage

        return FsspecBlobStorage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
