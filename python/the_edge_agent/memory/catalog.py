"""Catalogs: who keeps the metadata and the small values of the file-based long-term memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import date, datetime, timezone
from typing import Any, Protocol, runtime_checkable

from the_edge_agent.memory._availability import has_package, has_packages
from the_edge_agent.memory._results import Result

Entry = dict[str, Any]

COLUMNS = (
    "id",
    "key",
    "content_hash",
    "storage_uri",
    "byte_size",
    "inlined_value",
    "metadata",
    "expires_at",
    "created_at",
    "updated_at",
)


@runtime_checkable
class CatalogBackend(Protocol):
    """Index of entries by key.

    An entry dict has ``id``, ``key``, ``content_hash``, ``storage_uri``, ``byte_size``, ``inlined_value``,
    ``metadata`` (dict), ``expires_at``, ``created_at`` and ``updated_at`` (datetimes or None; aware or naive
    UTC). Operations raise the database's error.
    """

    def track_entry(
        self,
        key: str,
        content_hash: str,
        storage_uri: str | None,
        byte_size: int,
        metadata: dict[str, Any],
        inlined_value: Any = None,
        expires_at: datetime | None = None,
    ) -> Result:
        """Insert or replace: ``{"success": True, "entry_id": 64 hex digits, "created": bool}``."""

    def get_entry(self, key: str) -> Entry | None:
        """Return the entry, expired or not, or None."""

    def list_entries(
        self, prefix: str | None = None, metadata_filter: dict[str, Any] | None = None, limit: int = 100
    ) -> list[Entry]:
        """Return entries whose key starts with ``prefix`` and whose metadata matches, newest first."""

    def delete_entry(self, key: str) -> bool:
        """Remove the entry and tell whether it was there."""

    def get_changed_entries(self, since_snapshot_id: str | None = None) -> list[Entry]:
        """Return the entries that are new or different since the snapshot (all without a known one)."""

    def create_snapshot(self, name: str) -> str:
        """Remember the current content hashes under a new id (UUID text)."""

    def store_batch(self, entries: list[Entry], atomic: bool = True) -> Result:
        """Track many: ``{"success", "stored_count", "failed_count", "errors"}``."""

    def retrieve_batch(self, keys: list[str]) -> Result:
        """Read many entries.

        ``{"success": True, "entries": {key: entry | None}, "found_count", "missing_count"}``
        """

    def cleanup_expired(self, batch_size: int = 100) -> Result:
        """Remove expired entries: ``{"success": True, "deleted_count", "remaining_count"}``."""


def compute_content_hash(value: Any) -> str:
    """Return ``sha256:`` and the hex digest of the JSON text with sorted keys (other objects as ``str``)."""
    text = json.dumps(value, sort_keys=True, default=str)
    return "sha256:" + hashlib.sha256(text.encode("utf-8")).hexdigest()


def generate_entry_id(key: str) -> str:
    """Return the SHA-256 hex digest of the key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, (datetime, date)) else str(value)


def encode_json(value: Any) -> str:
    """Write JSON text for a catalog column; dates as ISO 8601, other objects as ``str``."""
    return json.dumps(value, default=_plain)


def aware_utc(moment: Any) -> datetime | None:
    """Turn a datetime or ISO 8601 text into an aware UTC datetime; naive ones count as UTC, "" as None.

    Raises ``ValueError`` for text that is no time.
    """
    if not moment:
        return None
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment[:-1] + "+00:00" if moment.endswith("Z") else moment)
    if not isinstance(moment, datetime):
        raise ValueError(f"expected a datetime or ISO 8601 text, got {type(moment).__name__}")
    if moment.tzinfo is None:
        return moment.replace(tzinfo=timezone.utc)
    return moment.astimezone(timezone.utc)


def check_entry(entry: Entry) -> Entry:
    """Return a full entry record ready to be written.

    Raises ``ValueError`` for a missing ``key``, ``content_hash`` or ``byte_size`` and for a bad expiry.
    """
    for name in ("key", "content_hash", "byte_size"):
        if entry.get(name) in (None, ""):
            raise ValueError(f"Missing required field '{name}'")
    return {
        "id": generate_entry_id(entry["key"]),
        "key": entry["key"],
        "content_hash": entry["content_hash"],
        "storage_uri": entry.get("storage_uri"),
        "byte_size": int(entry["byte_size"]),
        "inlined_value": entry.get("inlined_value"),
        "metadata": entry.get("metadata") or {},
        "expires_at": aware_utc(entry.get("expires_at")),
    }


def batch_result(stored: int, errors: list[dict[str, Any]]) -> Result:
    """Build the result of a batch whose good entries were kept."""
    return {"success": not errors, "stored_count": stored, "failed_count": len(errors), "errors": errors}


def rolled_back(error: object, count: int) -> Result:
    """Build the result of an atomic batch that failed."""
    return {
        "success": False,
        "stored_count": 0,
        "failed_count": count,
        "errors": [{"error": str(error), "atomic_rollback": True}],
    }


def found_batch(keys: Iterable[str], found: dict[str, Any]) -> Result:
    """Build the result of reading many keys."""
    wanted = list(keys)
    entries = {key: found.get(key) for key in wanted}
    hits = sum(entry is not None for entry in entries.values())
    return {"success": True, "entries": entries, "found_count": hits, "missing_count": len(wanted) - hits}


# Name -> class, or "module:Class" for a class of this package that is imported at first use.
_catalog_backends: dict[str, Any] = {}


def _resolve(name: str) -> type[Any] | None:
    found = _catalog_backends.get(name)
    if isinstance(found, str):
        from importlib import import_module

        module, _, attribute = found.partition(":")
        found = _catalog_backends[name] = getattr(import_module(module), attribute)
    cls: type[Any] | None = found
    return cls


def register_catalog_backend(name: str, cls: type[Any]) -> None:
    """Register a catalog class under ``name``; replaces an earlier one."""
    _catalog_backends[name] = cls


def get_registered_catalog_backends() -> dict[str, type[Any]]:
    """Return a copy of the registry, name to class, with classes whose library is missing left out."""
    classes: dict[str, type[Any]] = {}
    for name in list(_catalog_backends):
        cls = _resolve(name)
        if cls is not None:
            classes[name] = cls
    return classes


def create_catalog_backend(catalog_type: str, **config: Any) -> Any:
    """Create the catalog registered under ``catalog_type``. Raises ``ValueError`` for an unknown one."""
    cls = _resolve(catalog_type)
    if cls is None:
        known = ", ".join(sorted(_catalog_backends)) or "(none)"
        raise ValueError(f"Unknown catalog backend: {catalog_type}. Available: {known}")
    return cls(**config)


def parse_catalog_config(config: dict[str, Any]) -> Any:
    """Create the catalog that a mapping with ``type`` (``sqlite`` by default) and keywords describes."""
    keywords = dict(config)
    return create_catalog_backend(keywords.pop("type", "sqlite"), **keywords)


def _register_own_catalogs() -> None:
    here = "the_edge_agent.memory"
    _catalog_backends["sqlite"] = f"{here}.catalog_sqlite:SQLiteCatalog"
    if has_packages("psycopg", "psycopg_pool"):
        _catalog_backends["postgres"] = f"{here}.catalog_postgres:PostgresCatalog"
    _catalog_backends["duckdb"] = f"{here}.catalog_duckdb:DuckDBCatalog"
    if has_package("sqlalchemy"):
        _catalog_backends["sqlalchemy"] = f"{here}.catalog_sqlalchemy:SQLAlchemyCatalog"


_register_own_catalogs()
