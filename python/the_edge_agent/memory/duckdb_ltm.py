"""Long-term memory with a catalog for metadata and small values and JSON files for large ones."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from the_edge_agent.memory import _blobs
from the_edge_agent.memory._results import CLOSED, Result, check_key, failure, row_limit
from the_edge_agent.memory._text_search import rank
from the_edge_agent.memory.catalog import (
    CatalogBackend,
    Entry,
    aware_utc,
    compute_content_hash,
    parse_catalog_config,
)

logger = logging.getLogger(__name__)

# Stands for "no limit" towards catalogs, whose limit is a plain number.
_ALL = 1_000_000_000


class DuckDBLTMBackend:
    """Long-term memory whose catalog is exchangeable. Safe for threads.

    Give either ``catalog`` (an open catalog, which ``close`` leaves open) or ``catalog_config`` (a mapping
    with ``type`` and the keywords of that catalog). Values whose JSON is shorter than ``inline_threshold``
    bytes are kept in the catalog, longer ones as files under ``storage_uri`` (a directory or an fsspec URI).
    ``query_engine`` is an engine of the caller; otherwise one is made with ``engine_config``, at the first
    use when ``lazy``. ``enable_fts`` ranks text searches by words; without it the text is a plain substring.
    ``fallback_cache_size`` small values are kept in memory for times when the catalog fails.

    Raises ``ValueError`` when none or both of the catalog arguments are given and ``TypeError`` for an object
    that is no catalog.
    """

    def __init__(
        self,
        catalog: Any = None,
        catalog_config: dict[str, Any] | None = None,
        storage_uri: str = "./ltm_data/",
        query_engine: Any = None,
        engine_config: dict[str, Any] | None = None,
        enable_fts: bool = True,
        inline_threshold: int = 1024,
        lazy: bool = False,
        enable_fallback_cache: bool = True,
        fallback_cache_size: int = 1000,
    ) -> None:
        if catalog is None and catalog_config is None:
            raise ValueError("Either 'catalog' or 'catalog_config' must be provided")
        if catalog is not None and catalog_config is not None:
            raise ValueError("Cannot provide both 'catalog' and 'catalog_config'")
        if catalog is not None and not isinstance(catalog, CatalogBackend):
            raise TypeError(f"catalog must implement CatalogBackend protocol, got {type(catalog).__name__}")
        self._lock = threading.RLock()
        self._catalog: Any = catalog
        self._catalog_config = dict(catalog_config) if catalog_config is not None else None
        self._storage_uri = _blobs.with_slash(storage_uri)
        self._engine_config = dict(engine_config or {})
        self._engine = query_engine
        self._owns_engine = query_engine is None
        self._enable_fts = enable_fts
        self._inline_threshold = inline_threshold
        self._fallback_cache: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._fallback_cache_size = fallback_cache_size if enable_fallback_cache else 0
        self._shared_connection: Any = None
        if not lazy:
            self._make_directory()
            if self._engine is None:
                self._engine = self._create_engine()
                # The first query then finds an open database.
                self._engine.warmup(1)

    # Parts, made at first use

    @property
    def catalog(self) -> Any:
        """The catalog, opened at first use."""
        with self._lock:
            if self._catalog is None:
                self._make_directory()
                self._catalog = self._open_catalog(dict(self._catalog_config or {}))
            return self._catalog

    def _open_catalog(self, config: dict[str, Any]) -> Any:
        if config.get("type") == "duckdb" and config.get("shared") and "connection" not in config:
            try:
                import duckdb
            except ImportError as error:
                raise ImportError("duckdb not installed. Install with: pip install duckdb") from error
            self._shared_connection = duckdb.connect(self._shared_file())
            config = {k: v for k, v in config.items() if k != "path"}
            config["connection"] = self._shared_connection
        return parse_catalog_config(config)

    def _is_single_file(self) -> bool:
        """Tell whether ``storage_uri`` names one DuckDB file instead of a directory."""
        config = self._catalog_config or {}
        shared = config.get("type") == "duckdb" and bool(config.get("shared"))
        return shared and self._storage_uri.rstrip("/").endswith((".duckdb", ".db"))

    def _shared_file(self) -> str:
        if self._is_single_file():
            return _blobs.local_path(self._storage_uri.rstrip("/"))
        return _blobs.local_path(self._storage_uri) + "ltm.duckdb"

    def _make_directory(self) -> None:
        if not self._is_local_storage():
            return
        if self._is_single_file():
            os.makedirs(os.path.dirname(self._shared_file()) or ".", exist_ok=True)
        else:
            os.makedirs(_blobs.local_path(self._storage_uri), exist_ok=True)

    def _create_engine(self) -> Any:
        from the_edge_agent.memory.query import create_query_engine

        return create_query_engine("duckdb", **self._engine_config)

    @property
    def query_engine(self) -> Any:
        """The SQL query engine, made at first use."""
        with self._lock:
            if self._engine is None:
                self._engine = self._create_engine()
            return self._engine

    @property
    def engine(self) -> Any:
        """The same object as ``query_engine``."""
        return self.query_engine

    # Files

    def _is_local_storage(self) -> bool:
        return _blobs.is_local(self._storage_uri)

    def _blob_directory(self) -> str:
        # Beside a single database file the large values get a directory of their own.
        return self._storage_uri.rstrip("/") + ".blobs/" if self._is_single_file() else self._storage_uri

    def _generate_storage_path(self, key: str) -> str:
        return f"{self._blob_directory()}{hashlib.sha256(key.encode('utf-8')).hexdigest()}.json"

    def _upload_new(self, key: str, text: str) -> Result:
        """Write a file for a new value; the present file stays readable until the catalog has changed."""
        path = self._generate_storage_path(key)
        try:
            path = _blobs.write_new(path, text)
        except Exception as error:
            return failure(f"Failed to write {path}: {error}", "storage_error")
        return {"success": True, "path": path}

    def _upload(self, path: str, content: str | bytes) -> Result:
        try:
            text = content.decode("utf-8") if isinstance(content, bytes) else content
            _blobs.write(path, text)
        except Exception as error:
            return failure(f"Failed to write {path}: {error}", "storage_error")
        return {"success": True, "path": path, "storage_uri": path}

    def _download(self, path: str) -> Result:
        try:
            return {"success": True, "path": path, "content": _blobs.read(path)}
        except Exception as error:
            return failure(f"Failed to read {path}: {error}", "storage_error")

    def _delete_file(self, path: str) -> Result:
        try:
            _blobs.remove(path)
        except Exception as error:
            logger.warning("Could not remove %s: %s", path, error)
            return failure(f"Failed to remove {path}: {error}", "storage_error")
        return {"success": True, "path": path}

    # Operations

    def store(self, key: str, value: Any, metadata: dict[str, Any] | None = None) -> Result:
        """Insert or replace. ``metadata`` may carry ``expires_at`` (datetime or ISO 8601 text) or ``ttl``
        (seconds).

        Success: ``{"success", "stored": True, "key", "content_hash", "inlined", "byte_size"}`` and
        ``storage_uri`` for a value in a file. A value that is there already answers ``stored`` False and
        ``deduplicated`` True; its metadata and expiry are renewed. ``storage_error`` and ``catalog_error``
        leave the former entry as it was.
        """
        refused = check_key(key)
        if refused is not None:
            return refused
        key = str(key)
        metadata = metadata or {}
        try:
            record = self._record(key, value, metadata)
        except (TypeError, ValueError) as error:
            return failure(f"Failed to serialize value: {error}", "serialization_error")
        with self._lock:
            try:
                present = self.catalog.get_entry(key)
            except Exception as error:
                return failure(f"Catalog failed: {error}", "catalog_error")
            if present is not None and self._is_same(present, record):
                return self._refresh(present, record)
            result = self._store_new(record)
            if result["success"] and not result.get("_degraded") and present and present.get("storage_uri"):
                self._drop_file(key, present["storage_uri"])
            return result

    def _store_new(self, record: dict[str, Any]) -> Result:
        text, key, size = record.pop("text"), record["key"], record["byte_size"]
        answer: Result = {"success": True, "stored": True, "key": key, "content_hash": record["content_hash"]}
        if size < self._inline_threshold:
            return self._store_inline({**record, "inlined_value": json.loads(text)}, answer)
        uploaded = self._upload_new(key, text)
        if not uploaded["success"]:
            return uploaded
        path = uploaded["path"]
        try:
            self.catalog.track_entry(**{**record, "storage_uri": path})
        except Exception as error:
            self._delete_file(path)
            return failure(f"Catalog failed: {error}", "catalog_error")
        self._fallback_cache.pop(key, None)
        return {**answer, "inlined": False, "byte_size": size, "storage_uri": path}

    def _drop_file(self, key: str, path: str) -> None:
        """Remove a replaced file, unless another process has pointed the entry at it again meanwhile."""
        try:
            entry = self.catalog.get_entry(key)
        except Exception as error:
            logger.warning("%s is left behind, the catalog failed: %s", path, error)
            return
        if entry is None or entry.get("storage_uri") != path:
            self._delete_file(path)

    def _record(self, key: str, value: Any, metadata: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(value, sort_keys=True, default=str)
        return {
            "key": key,
            "content_hash": compute_content_hash(value),
            "storage_uri": None,
            "byte_size": len(text.encode("utf-8")),
            "metadata": metadata,
            "expires_at": _expiry(metadata),
            "text": text,
        }

    def _is_same(self, present: Entry, record: dict[str, Any]) -> bool:
        if present.get("content_hash") != record["content_hash"]:
            return False
        uri = present.get("storage_uri")
        # A file that somebody removed is written again instead of being taken for stored.
        return not uri or not _blobs.is_local(uri) or _blobs.exists(uri)

    def _refresh(self, present: Entry, record: dict[str, Any]) -> Result:
        text, uri = record.pop("text"), present.get("storage_uri")
        record["storage_uri"] = uri
        try:
            self.catalog.track_entry(**{**record, "inlined_value": present.get("inlined_value")})
        except Exception as error:
            return failure(f"Catalog failed: {error}", "catalog_error")
        if uri and _blobs.is_local(uri) and not _blobs.exists(uri):
            # Another process replaced the entry, and removed the file, between our two steps.
            uploaded = self._upload(uri, text)
            if not uploaded["success"]:
                return uploaded
        return {
            "success": True,
            "stored": False,
            "key": record["key"],
            "content_hash": record["content_hash"],
            "deduplicated": True,
        }

    def _store_inline(self, record: dict[str, Any], answer: Result) -> Result:
        degraded = False
        try:
            self.catalog.track_entry(**record)
        except Exception as error:
            if not self._fallback_cache_size:
                return failure(f"Catalog failed: {error}", "catalog_error")
            logger.warning("Catalog failed, '%s' is kept in memory only: %s", record["key"], error)
            degraded = True
        self._remember(record)
        if degraded:
            return {**answer, "inlined": True, "_degraded": True}
        return {**answer, "inlined": True, "byte_size": record["byte_size"]}

    def _remember(self, record: dict[str, Any]) -> None:
        if not self._fallback_cache_size:
            return
        with self._lock:
            self._fallback_cache.pop(record["key"], None)
            self._fallback_cache[record["key"]] = {
                "value": record["inlined_value"],
                "content_hash": record["content_hash"],
                "metadata": record["metadata"],
                "cached_at": datetime.now(timezone.utc),
                "expires_at": record["expires_at"],
            }
            while len(self._fallback_cache) > self._fallback_cache_size:
                self._fallback_cache.popitem(last=False)

    def retrieve(self, key: str, default: Any = None) -> Result:
        """Read one entry.

        ``{"success": True, "found": True, "value", "content_hash", "metadata", "inlined"}``; a missing or
        expired one ``{"success": True, "found": False, "value": default}``. While the catalog fails the
        answer comes from memory and has ``_degraded`` True.
        """
        refused = check_key(key)
        if refused is not None:
            return refused
        key = str(key)
        try:
            entry = self.catalog.get_entry(key)
        except Exception as error:
            logger.warning("Catalog failed while reading '%s': %s", key, error)
            return self._retrieve_remembered(key, default)
        if entry is None or _is_expired(entry):
            return {"success": True, "found": False, "value": default}
        loaded = self._load(entry)
        if not loaded["success"]:
            # A writer may have replaced the file between the two reads.
            again = self.catalog.get_entry(key)
            if again is None:
                return {"success": True, "found": False, "value": default}
            if again.get("storage_uri") != entry.get("storage_uri"):
                entry, loaded = again, self._load(again)
        if not loaded["success"]:
            return loaded
        return {"success": True, "found": True, **_described(entry, loaded["value"])}

    def _load(self, entry: Entry) -> Result:
        uri = entry.get("storage_uri")
        if not uri:
            return {"success": True, "value": entry.get("inlined_value")}
        downloaded = self._download(uri)
        if not downloaded["success"]:
            return downloaded
        try:
            return {"success": True, "value": json.loads(downloaded["content"])}
        except ValueError as error:
            return failure(f"Failed to read {uri}: {error}", "storage_error")

    def _retrieve_remembered(self, key: str, default: Any) -> Result:
        with self._lock:
            kept = self._fallback_cache.get(key)
        if kept is None or _is_expired(kept):
            return {"success": True, "found": False, "value": default, "_degraded": True}
        answer = {name: kept[name] for name in ("value", "content_hash", "metadata")}
        return {"success": True, "found": True, **answer, "inlined": True, "_degraded": True}

    def delete(self, key: str) -> Result:
        """Remove one entry and its file. ``{"success": True, "deleted": bool}``, with ``key`` when there."""
        refused = check_key(key)
        if refused is not None:
            return refused
        key = str(key)
        try:
            entry = self.catalog.get_entry(key)
            self._fallback_cache.pop(key, None)
            if entry is None or not self.catalog.delete_entry(key):
                return {"success": True, "deleted": False}
        except Exception as error:
            return failure(f"Catalog failed: {error}", "catalog_error")
        if entry.get("storage_uri"):
            self._delete_file(entry["storage_uri"])
        return {"success": True, "deleted": True, "key": key}

    def search(
        self, query: str | None = None, metadata_filter: dict[str, Any] | None = None, limit: int = 10
    ) -> Result:
        """Find entries that are not expired.

        ``{"success": True, "results": [catalog entries with "value" and "score"], "total": int}``; ``total``
        counts the entries before the cut to ``limit``. With a query the best match comes first, otherwise the
        newest.
        """
        if query is not None and not isinstance(query, str):
            return failure(f"query must be a string, got {type(query).__name__}", "query_error")
        try:
            count = row_limit(limit)
            entries = self._live_entries(metadata_filter, None if query else count)
            if not query:
                total = len(entries)
                found = [(entry, 0.0) for entry in entries[:count]]
                return {"success": True, "results": self._with_values(found), "total": total}
            loaded = [(entry, self._load(entry).get("value")) for entry in entries]
            scored = rank(query, [_searchable(entry, value) for entry, value in loaded], self._enable_fts)
            results = [{**loaded[i][0], "value": loaded[i][1], "score": score} for i, score in scored[:count]]
            return {"success": True, "results": results, "total": len(scored)}
        except Exception as error:
            return failure(f"Catalog failed: {error}", "catalog_error")

    def _live_entries(self, metadata_filter: dict[str, Any] | None, count: int | None) -> list[Entry]:
        listed = self.catalog.list_entries
        entries: list[Entry] = listed(metadata_filter=metadata_filter, limit=_ALL if count is None else count)
        live = [entry for entry in entries if not _is_expired(entry)]
        if count is not None and len(live) < len(entries) == count:
            entries = listed(metadata_filter=metadata_filter, limit=_ALL)
            live = [entry for entry in entries if not _is_expired(entry)]
        return live

    def _with_values(self, found: list[tuple[Entry, float]]) -> list[dict[str, Any]]:
        return [{**entry, "value": self._load(entry).get("value"), "score": score} for entry, score in found]

    def store_batch(self, entries: list[dict[str, Any]], atomic: bool = True) -> Result:
        """Store many ``{"key", "value", "metadata"?}`` in one catalog transaction.

        ``{"success", "stored_count", "failed_count", "errors"}``; with ``atomic`` one bad entry undoes all.
        """
        if not entries:
            return {"success": True, "stored_count": 0, "failed_count": 0, "errors": []}
        records: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        written: list[str] = []
        replaced: list[str] = []
        try:
            present = self._present([str(e["key"]) for e in entries if isinstance(e, dict) and e.get("key")])
            for entry in entries:
                try:
                    records.append(self._batch_record(entry, present, written, replaced))
                except Exception as error:
                    if atomic:
                        raise
                    key = entry.get("key") if isinstance(entry, dict) else None
                    errors.append({"key": key, "error": str(error)})
            result: Result = self.catalog.store_batch(records, atomic=atomic)
        except Exception as error:
            result = failure_of_batch(str(error), len(entries))
        if not result["success"] and atomic:
            for path in written:
                self._delete_file(path)
            if result["errors"] and "atomic_rollback" not in result["errors"][0]:
                return failure_of_batch(str(result["errors"][0].get("error")), len(entries))
            return {**result, "failed_count": len(entries)}
        self._clean_after_batch(written, replaced)
        for record in records:
            self._fallback_cache.pop(record["key"], None)
        errors.extend(result.get("errors", ()))
        return {
            "success": not errors,
            "stored_count": result["stored_count"],
            "failed_count": len(errors),
            "errors": errors,
        }

    def _present(self, keys: list[str]) -> dict[str, Entry]:
        found = self.catalog.retrieve_batch(keys)["entries"]
        return {key: entry for key, entry in found.items() if entry is not None}

    def _batch_record(
        self, entry: dict[str, Any], present: dict[str, Entry], written: list[str], replaced: list[str]
    ) -> dict[str, Any]:
        """Prepare one entry of a batch, writing its file when it needs one."""
        if not isinstance(entry, dict) or entry.get("key") in (None, ""):
            raise ValueError("Key is required and cannot be empty")
        if "value" not in entry:
            raise ValueError("Missing required field 'value'")
        key = str(entry["key"])
        record = self._record(key, entry["value"], entry.get("metadata") or {})
        text, old = record.pop("text"), present.get(key)
        if old is not None and self._is_same(old, record):
            return {
                **record,
                "storage_uri": old.get("storage_uri"),
                "inlined_value": old.get("inlined_value"),
            }
        if old is not None and old.get("storage_uri"):
            replaced.append(old["storage_uri"])
        if record["byte_size"] < self._inline_threshold:
            record["inlined_value"] = json.loads(text)
        else:
            uploaded = self._upload_new(key, text)
            if not uploaded["success"]:
                raise OSError(uploaded["error"])
            record["storage_uri"] = uploaded["path"]
            written.append(uploaded["path"])
        # A key that comes twice in one batch: the second value must not overwrite the first one's file.
        present[key] = {**record}
        return record

    def _clean_after_batch(self, written: list[str], replaced: list[str]) -> None:
        """Remove the files that no entry names any more."""
        candidates = list(dict.fromkeys((*replaced, *written)))
        if not candidates:
            return
        live = {entry.get("storage_uri") for entry in self.catalog.list_entries(limit=_ALL)}
        for path in candidates:
            if path not in live:
                self._delete_file(path)

    def retrieve_batch(self, keys: list[str]) -> Result:
        """Read many: ``{"success", "entries": {key: None | entry}, "found_count", "missing_count"}``."""
        try:
            found = self._present([str(key) for key in keys])
        except Exception as error:
            return failure(f"Catalog failed: {error}", "catalog_error")
        entries: dict[str, Any] = {}
        for key in keys:
            entry = found.get(str(key))
            if entry is None or _is_expired(entry):
                entries[key] = None
                continue
            loaded = self._load(entry)
            entries[key] = _described(entry, loaded["value"]) if loaded["success"] else None
        hits = sum(entry is not None for entry in entries.values())
        return {
            "success": True,
            "entries": entries,
            "found_count": hits,
            "missing_count": len(keys) - hits,
        }

    def cleanup_expired(self, batch_size: int = 100) -> Result:
        """Remove at most ``batch_size`` expired entries from the catalog; their files stay."""
        try:
            result: Result = self.catalog.cleanup_expired(batch_size=batch_size)
        except Exception as error:
            return failure(f"Catalog failed: {error}", "catalog_error")
        return result

    def get_circuit_state(self) -> Result:
        """Return the state of the query engine's circuit breaker."""
        result: Result = self.query_engine.get_circuit_state()
        return result

    def reset_circuit(self) -> Result:
        """Close the query engine's circuit breaker."""
        result: Result = self.query_engine.reset_circuit()
        return result

    def health_check(self) -> Result:
        """Return the query engine's health and the settings of this backend."""
        return {
            "success": True,
            "engine": self.query_engine.health_check(),
            "fts_enabled": self._enable_fts,
            "fts_initialized": self._enable_fts,
            "storage_uri": self._storage_uri,
            "inline_threshold": self._inline_threshold,
        }

    def close(self) -> None:
        """Close an own query engine and a catalog that came from ``catalog_config``.

        A later operation opens a catalog file again; an in-memory catalog stays open. A catalog or engine of
        the caller is not touched.
        """
        with self._lock:
            if self._owns_engine and self._engine is not None:
                self._engine.close()
                self._engine = None
            if self._catalog is not None and self._catalog_config is not None and self._keeps_on_disk():
                _close(self._catalog.close)
                self._catalog = None
            if self._shared_connection is not None:
                _close(self._shared_connection.close)
                self._shared_connection = None

    def _keeps_on_disk(self) -> bool:
        config = self._catalog_config or {}
        if self._shared_connection is not None:
            return True
        return (
            config.get("type", "sqlite") not in ("sqlite", "duckdb")
            or config.get("path", ":memory:") != ":memory:"
        )

    def __enter__(self) -> DuckDBLTMBackend:
        return self

    def __exit__(self, *exc_info: object) -> Literal[False]:
        self.close()
        return False


def failure_of_batch(error: str, count: int) -> Result:
    """Build the result of an atomic batch of ``count`` entries that was undone."""
    return {
        "success": False,
        "stored_count": 0,
        "failed_count": count,
        "errors": [{"error": error, "atomic_rollback": True}],
    }


def _close(close: Callable[[], None]) -> None:
    try:
        close()
    except Exception as error:
        logger.warning("%s: %s", CLOSED, error)


def _described(entry: Entry, value: Any) -> dict[str, Any]:
    return {
        "value": value,
        "content_hash": entry["content_hash"],
        "metadata": entry.get("metadata") or {},
        "inlined": not entry.get("storage_uri"),
    }


def _searchable(entry: Entry, value: Any) -> str:
    parts = [
        entry["key"],
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str),
    ]
    parts.extend(str(item) for item in (entry.get("metadata") or {}).values())
    return " ".join(parts)


def _expiry(metadata: dict[str, Any]) -> datetime | None:
    """Read ``expires_at`` or ``ttl``: a datetime, seconds from now, ISO 8601 text; other values are none."""
    wanted = metadata.get("expires_at") or metadata.get("ttl")
    if not wanted:
        return None
    try:
        if isinstance(wanted, (int, float)) and not isinstance(wanted, bool):
            return datetime.now(timezone.utc) + timedelta(seconds=wanted)
        return aware_utc(wanted)
    except (ValueError, OverflowError):
        return None


def _is_expired(entry: dict[str, Any]) -> bool:
    try:
        expires = aware_utc(entry.get("expires_at"))
    except ValueError:
        return False
    return expires is not None and datetime.now(timezone.utc) >= expires
