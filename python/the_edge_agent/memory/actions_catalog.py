"""The ``catalog.*`` actions: tables, their files and their snapshots, in a document store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, MutableMapping
from datetime import datetime, timezone
from functools import wraps
from typing import Any

from the_edge_agent.memory._documents import StoreFailure, answering, find, from_state, read, write_all
from the_edge_agent.memory._results import Result, failure

DUCKLAKE_TABLES = "ducklake_tables"
DUCKLAKE_FILES = "ducklake_files"
DUCKLAKE_SNAPSHOTS = "ducklake_snapshots"
DUCKLAKE_INLINED = "ducklake_inlined"
AGENT_MEMORY_COLLECTION = "agent_memory"
TABLE_TYPE_MEMORY = "memory"
TABLE_TYPE_TABULAR = "tabular"
FILE_TYPE_PARQUET = "parquet"
FILE_TYPE_DELTA = "delta"

# What a listing asks for before it sorts and cuts.
_MANY = 100_000


def _generate_file_id(path: str) -> str:
    return hashlib.sha256(path.encode("utf-8")).hexdigest()[:20]


def _generate_snapshot_id(table: str, moment: datetime) -> str:
    return f"{table}_{moment.strftime('%Y%m%d_%H%M%S_%f')}"


def _compute_content_hash(content: str | bytes) -> str:
    data = content.encode("utf-8") if isinstance(content, str) else content
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _with_store(state: Any, keywords: dict[str, Any], work: Callable[[Any], Result]) -> Result:
    store = from_state("metadata_store", state, keywords)
    if store is None:
        return failure(
            "No MetadataStore available. Pass metadata_store in kwargs or state.", "configuration_error"
        )
    return answering(lambda: work(store))


def _table(store: Any, name: Any) -> dict[str, Any]:
    found = read(store, DUCKLAKE_TABLES, str(name))
    if found is None:
        raise StoreFailure(failure(f"Table '{name}' not found", "not_found"))
    return found


def _newest(rows: list[tuple[str, dict[str, Any]]], limit: Any) -> list[tuple[str, dict[str, Any]]]:
    ordered = sorted(rows, key=lambda row: str(row[1].get("created_at") or ""), reverse=True)
    return ordered[: int(limit)]


def catalog_register_table(
    state: Any,
    name: Any = None,
    type: Any = None,
    schema: Any = None,
    primary_key: Any = None,
    source_collection: str | None = None,
    parquet_path: str | None = None,
    **keywords: Any,
) -> Result:
    """Register a table of type ``memory`` or ``tabular`` with a first, empty snapshot.

    ``{"success", "table_name", "snapshot_id", "type"}``; a name that exists is ``already_exists``.
    """
    if type not in (TABLE_TYPE_MEMORY, TABLE_TYPE_TABULAR):
        return failure(f"Invalid table type: {type}. Must be 'memory' or 'tabular'", "validation_error")
    if not name:
        return failure("Table name is required", "validation_error")
    if type == TABLE_TYPE_TABULAR:
        for value, label in ((schema, "schema"), (primary_key, "primary_key")):
            if not value:
                return failure(f"Tabular tables require '{label}' definition", "validation_error")

    def work(store: Any) -> Result:
        if read(store, DUCKLAKE_TABLES, str(name)) is not None:
            return failure(f"Table '{name}' already exists", "already_exists")
        now = _now()
        default = AGENT_MEMORY_COLLECTION if type == TABLE_TYPE_MEMORY else None
        table = {
            "type": type,
            "schema": schema,
            "primary_key": primary_key,
            "source_collection": source_collection or default,
            "parquet_path": parquet_path,
            "created_at": now.isoformat(),
            "updated_at": now.isoformat(),
        }
        snapshot_id = _generate_snapshot_id(str(name), now)
        snapshot = _snapshot(str(name), None, [], 0, now)
        try:
            write_all(
                store,
                [(DUCKLAKE_TABLES, str(name), table), (DUCKLAKE_SNAPSHOTS, snapshot_id, snapshot)],
            )
        except Exception as error:
            return failure(f"Failed to register table: {error}", "transaction_error")
        return {"success": True, "table_name": name, "snapshot_id": snapshot_id, "type": type}

    return _with_store(state, keywords, work)


def _snapshot(
    table: str, file_id: str | None, source_doc_ids: list[str], row_count: int, now: datetime
) -> dict[str, Any]:
    return {
        "table": table,
        "parquet_file_id": file_id,
        "source_doc_ids": source_doc_ids,
        "row_count": row_count,
        "created_at": now.isoformat(),
    }


def catalog_get_table(state: Any, name: Any = None, **keywords: Any) -> Result:
    """Return a table: ``{"success", "table": {"name", ...}}``."""
    return _with_store(
        state,
        keywords,
        lambda store: {"success": True, "table": {"name": name, **_table(store, name)}},
    )


def catalog_list_tables(state: Any, type: Any = None, limit: Any = 100, **keywords: Any) -> Result:
    """List tables: ``{"success", "tables": [{"name", ...}], "count"}``."""

    def work(store: Any) -> Result:
        filters = [("type", "==", type)] if type else []
        rows = find(store, DUCKLAKE_TABLES, filters, int(limit))
        tables = [{"name": name, **data} for name, data in rows]
        return {"success": True, "tables": tables, "count": len(tables)}

    return _with_store(state, keywords, work)


def catalog_track_file(
    state: Any,
    table: Any = None,
    path: Any = None,
    content_hash: Any = None,
    byte_size: Any = None,
    row_count: Any = None,
    type: Any = FILE_TYPE_PARQUET,
    **keywords: Any,
) -> Result:
    """Record a file of a table: ``{"success", "file_id", "table", "path"}``."""
    if type not in (FILE_TYPE_PARQUET, FILE_TYPE_DELTA):
        return failure(f"Invalid file type: {type}. Must be 'parquet' or 'delta'", "validation_error")
    if not path:
        return failure("File path is required", "validation_error")

    def work(store: Any) -> Result:
        _table(store, table)
        now, file_id = _now().isoformat(), _generate_file_id(str(path))
        data = {
            "table": table,
            "path": path,
            "content_hash": content_hash,
            "byte_size": byte_size,
            "row_count": row_count,
            "type": type,
            "created_at": now,
        }
        written = store.set_document(DUCKLAKE_FILES, file_id, data)
        if not written.get("success"):
            return failure(str(written.get("error")), str(written.get("error_type") or "query_error"))
        store.update_document(DUCKLAKE_TABLES, str(table), {"updated_at": now})
        return {"success": True, "file_id": file_id, "table": table, "path": path}

    return _with_store(state, keywords, work)


def catalog_get_file(state: Any, file_id: Any = None, **keywords: Any) -> Result:
    """Return a file: ``{"success", "file": {"file_id", ...}}``."""

    def work(store: Any) -> Result:
        found = read(store, DUCKLAKE_FILES, str(file_id))
        if found is None:
            return failure(f"File '{file_id}' not found", "not_found")
        return {"success": True, "file": {"file_id": file_id, **found}}

    return _with_store(state, keywords, work)


def catalog_list_files(
    state: Any, table: Any = None, type: Any = None, limit: Any = 100, **keywords: Any
) -> Result:
    """List the files of a table, newest first: ``{"success", "files", "count"}``."""

    def work(store: Any) -> Result:
        filters = [("table", "==", table)] + ([("type", "==", type)] if type else [])
        rows = _newest(find(store, DUCKLAKE_FILES, filters, _MANY), limit)
        files = [{"file_id": name, **data} for name, data in rows]
        return {"success": True, "files": files, "count": len(files)}

    return _with_store(state, keywords, work)


def catalog_create_snapshot(
    state: Any,
    table: Any = None,
    parquet_file_id: str | None = None,
    source_doc_ids: list[str] | None = None,
    row_count: int = 0,
    **keywords: Any,
) -> Result:
    """Record what a table consists of now: ``{"success", "snapshot_id", "table", "row_count"}``."""

    def work(store: Any) -> Result:
        _table(store, table)
        now = _now()
        snapshot_id = _generate_snapshot_id(str(table), now)
        data = _snapshot(str(table), parquet_file_id, list(source_doc_ids or []), row_count, now)
        written = store.set_document(DUCKLAKE_SNAPSHOTS, snapshot_id, data)
        if not written.get("success"):
            return failure(str(written.get("error")), str(written.get("error_type") or "query_error"))
        return {"success": True, "snapshot_id": snapshot_id, "table": table, "row_count": row_count}

    return _with_store(state, keywords, work)


def _snapshots(store: Any, table: Any, limit: Any) -> list[dict[str, Any]]:
    rows = _newest(find(store, DUCKLAKE_SNAPSHOTS, [("table", "==", table)], _MANY), limit)
    return [{"snapshot_id": name, **data} for name, data in rows]


def catalog_get_latest_snapshot(state: Any, table: Any = None, **keywords: Any) -> Result:
    """Return the newest snapshot of a table: ``{"success", "snapshot": {"snapshot_id", ...}}``."""

    def work(store: Any) -> Result:
        found = _snapshots(store, table, 1)
        if not found:
            return failure(f"No snapshots found for table '{table}'", "not_found")
        return {"success": True, "snapshot": found[0]}

    return _with_store(state, keywords, work)


def catalog_list_snapshots(state: Any, table: Any = None, limit: Any = 10, **keywords: Any) -> Result:
    """List the snapshots of a table, newest first: ``{"success", "snapshots", "count"}``."""

    def work(store: Any) -> Result:
        found = _snapshots(store, table, limit)
        return {"success": True, "snapshots": found, "count": len(found)}

    return _with_store(state, keywords, work)


def catalog_get_changed_files(
    state: Any, table: Any = None, since_snapshot_id: str | None = None, **keywords: Any
) -> Result:
    """Return what changed since a snapshot.

    Of a memory table: the documents that are not synchronised or not in the snapshot, as ``{"doc_id",
    "path", "content_hash"}``. Of a tabular one: the files tracked after it, as ``{"file_id", "path",
    "content_hash"}``. ``{"success", "changed", "total", "table", "since_snapshot_id"}``
    """

    def work(store: Any) -> Result:
        described = _table(store, table)
        snapshot = read(store, DUCKLAKE_SNAPSHOTS, since_snapshot_id) if since_snapshot_id else None
        if described.get("type") == TABLE_TYPE_MEMORY:
            changed = _changed_documents(store, described, snapshot)
        else:
            since = str(snapshot.get("created_at") or "") if snapshot else ""
            files = find(store, DUCKLAKE_FILES, [("table", "==", table)], _MANY)
            changed = [
                {"file_id": name, "path": data.get("path"), "content_hash": data.get("content_hash")}
                for name, data in files
                if str(data.get("created_at") or "") > since
            ]
        return {
            "success": True,
            "changed": changed,
            "total": len(changed),
            "table": table,
            "since_snapshot_id": since_snapshot_id,
        }

    return _with_store(state, keywords, work)


def _changed_documents(
    store: Any, table: dict[str, Any], snapshot: dict[str, Any] | None
) -> list[dict[str, Any]]:
    known = set((snapshot or {}).get("source_doc_ids") or [])
    collection = table.get("source_collection") or AGENT_MEMORY_COLLECTION
    return [
        {
            "doc_id": name,
            "path": data.get("storage_uri") or data.get("file_path"),
            "content_hash": data.get("content_hash"),
        }
        for name, data in find(store, collection, [], _MANY)
        if data.get("synced_at") is None or name not in known
    ]


ACTIONS: dict[str, Callable[..., Result]] = {
    "catalog.register_table": catalog_register_table,
    "catalog.get_table": catalog_get_table,
    "catalog.list_tables": catalog_list_tables,
    "catalog.track_file": catalog_track_file,
    "catalog.get_file": catalog_get_file,
    "catalog.list_files": catalog_list_files,
    "catalog.create_snapshot": catalog_create_snapshot,
    "catalog.get_latest_snapshot": catalog_get_latest_snapshot,
    "catalog.list_snapshots": catalog_list_snapshots,
    "catalog.get_changed_files": catalog_get_changed_files,
}


def register_actions(registry: MutableMapping[str, Callable[..., Any]], engine: Any) -> None:
    """Add the actions under their dotted names; they use ``engine._metadata_store`` when there is one."""

    def bind(function: Callable[..., Result]) -> Callable[..., Result]:
        @wraps(function)
        def call(*arguments: Any, **keywords: Any) -> Result:
            own = getattr(engine, "_metadata_store", None)
            if own is not None:
                keywords.setdefault("metadata_store", own)
            return function(*arguments, **keywords)

        return call

    for name, function in ACTIONS.items():
        registry[name] = bind(function)
