"""Parquet index files beside the blobs of each entity: one delta file per change, merged by compaction."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from datetime import datetime, timezone
from importlib import import_module
from typing import Any

from the_edge_agent.memory._availability import has_package
from the_edge_agent.memory._blobs import make_parents
from the_edge_agent.memory._results import Result, failure

logger = logging.getLogger(__name__)

PYARROW_AVAILABLE = has_package("pyarrow")

_MAIN = "_index.parquet"
_TOMBSTONES = "_index_tombstones.parquet"
_COMPACTING = "_index_compacting.parquet"
_DELTA_PREFIX = "_index_delta_"

Row = dict[str, Any]

# The tombstones of a path are one file that is read and written again.
_tombstone_lock = threading.Lock()


def _missing() -> Result:
    return failure("PyArrow not available", "dependency_missing")


def _index_schema() -> Any:
    pa = import_module("pyarrow")
    moment = pa.timestamp("us", tz="UTC")
    return pa.schema([("entry_id", pa.string()), ("entity_id", pa.string()), ("created_at", moment)])


def _tombstone_schema() -> Any:
    pa = import_module("pyarrow")
    return pa.schema([("entry_id", pa.string()), ("deleted_at", pa.timestamp("us", tz="UTC"))])


def _directory(fs: Any, storage_uri: str, entity_path: str) -> str:
    """Path of an entity's directory inside the file system, whatever form the storage URI has."""
    root: str = fs._strip_protocol(storage_uri)
    return f"{root.rstrip('/')}/{entity_path.strip('/')}"


def _write(fs: Any, path: str, rows: list[Row], schema: Any, config: dict[str, Any] | None) -> None:
    pa, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    settings = config or {}
    table = pa.Table.from_pylist(rows, schema=schema)
    make_parents(fs, path)
    with fs.open(path, "wb") as stream:
        parquet.write_table(
            table,
            stream,
            compression=settings.get("compression", "zstd"),
            row_group_size=settings.get("row_group_size", 122880),
        )


def _read(fs: Any, path: str) -> list[Row]:
    parquet = import_module("pyarrow.parquet")
    with fs.open(path, "rb") as stream:
        rows: list[Row] = parquet.read_table(stream).to_pylist()
    return rows


def _read_if_there(fs: Any, path: str) -> list[Row]:
    return _read(fs, path) if fs.exists(path) else []


def update_indexes(
    storage_uri: str,
    fs: Any,
    entity: tuple[str, str],
    entry_id: str,
    operation: str,
    index_config: dict[str, Any] | None = None,
    ancestors: list[str] | None = None,
) -> Result:
    """Record that an entry was added to an entity or removed from it.

    ``operation`` is ``add`` (one more delta file) or ``remove`` (a tombstone); ``ancestors`` are full ids,
    root first, that become directories. ``{"success": True, "path": file}`` or a failure.
    """
    if not PYARROW_AVAILABLE:
        return _missing()
    if operation not in ("add", "remove"):
        return failure(f"operation must be 'add' or 'remove', got {operation!r}", "validation_error")
    leaf = f"{entity[0]}:{entity[1]}"
    try:
        directory = _directory(fs, storage_uri, "/".join([*(ancestors or []), leaf]))
        now = datetime.now(timezone.utc)
        if operation == "add":
            name = f"{_DELTA_PREFIX}{int(now.timestamp() * 1000)}_{uuid.uuid4().hex[:8]}.parquet"
            path = f"{directory}/{name}"
            row = {"entry_id": entry_id, "entity_id": leaf, "created_at": now}
            _write(fs, path, [row], _index_schema(), index_config)
        else:
            path = f"{directory}/{_TOMBSTONES}"
            with _tombstone_lock:
                rows = _read_if_there(fs, path)
                rows.append({"entry_id": entry_id, "deleted_at": now})
                _write(fs, path, rows, _tombstone_schema(), index_config)
    except Exception as error:
        return failure(f"Failed to update index: {error}", "storage_error")
    return {"success": True, "path": path}


def _list_delta_files(fs: Any, storage_uri: str, entity_path: str) -> list[str]:
    """Return the delta files of a path, sorted by name, which is the order of time."""
    directory = _directory(fs, storage_uri, entity_path)
    if not fs.exists(directory):
        return []
    names = [str(path) for path in fs.ls(directory, detail=False)]
    deltas = [path for path in names if path.rsplit("/", 1)[-1].startswith(_DELTA_PREFIX)]
    return sorted(deltas, key=lambda path: path.rsplit("/", 1)[-1])


def _merge(fs: Any, directory: str, deltas: list[str]) -> tuple[list[Row], list[Row]]:
    """Return the live rows of main file and deltas, and the tombstones that were applied."""
    merged: dict[str, Row] = {}
    for path in [f"{directory}/{_MAIN}", *deltas]:
        for row in _read_if_there(fs, path):
            merged[row["entry_id"]] = row
    tombstones = _read_if_there(fs, f"{directory}/{_TOMBSTONES}")
    for tombstone in tombstones:
        found = merged.get(tombstone["entry_id"])
        # An entry that was stored again after its removal is alive.
        if found is not None and found["created_at"] <= tombstone["deleted_at"]:
            del merged[tombstone["entry_id"]]
    return list(merged.values()), tombstones


def compact_indexes(
    storage_uri: str,
    fs: Any,
    entity_path: str | None = None,
    max_deltas: int = 100,
    index_config: dict[str, Any] | None = None,
) -> Result:
    """Merge the delta files of one path, or of every path, that has at least ``max_deltas`` of them.

    ``{"success": True, "compacted_paths": [...], "entries_processed": n}``. A path that fails is logged and
    left as it was.
    """
    if not PYARROW_AVAILABLE:
        return _missing()
    paths = [entity_path] if entity_path is not None else _paths_with_deltas(fs, storage_uri)
    compacted: list[str] = []
    processed = 0
    for path in paths:
        try:
            deltas = _list_delta_files(fs, storage_uri, path)
            if len(deltas) < max_deltas or not deltas:
                continue
            processed += _compact(fs, _directory(fs, storage_uri, path), deltas, index_config)
            compacted.append(path)
        except Exception as error:
            logger.warning("Could not compact the index of %s: %s", path, error)
    return {"success": True, "compacted_paths": compacted, "entries_processed": processed}


def _paths_with_deltas(fs: Any, storage_uri: str) -> list[str]:
    root: str = fs._strip_protocol(storage_uri).rstrip("/")
    if not fs.exists(root):
        return []
    found = set()
    for path in fs.find(root):
        directory, _, name = str(path).rpartition("/")
        if name.startswith(_DELTA_PREFIX):
            found.add(directory[len(root) :].strip("/"))
    return sorted(found)


def _compact(fs: Any, directory: str, deltas: list[str], index_config: dict[str, Any] | None) -> int:
    rows, applied = _merge(fs, directory, deltas)
    temporary, main = f"{directory}/{_COMPACTING}", f"{directory}/{_MAIN}"
    _write(fs, temporary, rows, _index_schema(), index_config)
    fs.mv(temporary, main)
    # From here on a crash is harmless: merging the same deltas again gives the same rows.
    for path in deltas:
        fs.rm_file(path)
    with _tombstone_lock:
        path = f"{directory}/{_TOMBSTONES}"
        known = {(row["entry_id"], row["deleted_at"]) for row in applied}
        present = _read_if_there(fs, path)
        newer = [row for row in present if (row["entry_id"], row["deleted_at"]) not in known]
        if newer:
            _write(fs, path, newer, _tombstone_schema(), index_config)
        elif present:
            fs.rm_file(path)
    return len(rows)


def query_index(storage_uri: str, fs: Any, entity_path: str, duckdb_conn: Any = None) -> list[Row]:
    """Return the merged rows ``{"entry_id", "entity_id", "created_at"}`` of a path without compacting it.

    ``duckdb_conn`` is not needed. Raises ``ImportError`` without pyarrow.
    """
    if not PYARROW_AVAILABLE:
        raise ImportError("pyarrow not installed. Install with: pip install pyarrow")
    for attempt in range(3):
        deltas = _list_delta_files(fs, storage_uri, entity_path)
        try:
            return _merge(fs, _directory(fs, storage_uri, entity_path), deltas)[0]
        except FileNotFoundError:
            # A compaction has removed a file that we had listed.
            if attempt == 2:
                raise
            time.sleep(0.05)
    raise AssertionError("unreachable")
