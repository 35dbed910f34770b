"""Long-term memory by entity: a SQL catalog, blobs for large values, and the entity hierarchy."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from the_edge_agent.memory import _blobs
from the_edge_agent.memory._availability import has_package
from the_edge_agent.memory._results import (
    CLOSED,
    Result,
    check_key,
    failure,
    metadata_matches,
    row_limit,
)
from the_edge_agent.memory.base import LTMBackend
from the_edge_agent.memory.orphan_cleanup import CATALOG_TABLE

if TYPE_CHECKING:
    import sqlalchemy as sa

    from the_edge_agent.memory.entity_hierarchy import EntityHierarchy

logger = logging.getLogger(__name__)

FSSPEC_AVAILABLE = has_package("fsspec")
SQLALCHEMY_AVAILABLE = has_package("sqlalchemy")

_PIECE = 500


class StorageError(Exception):
    """A blob cannot be written or read."""


class CatalogError(Exception):
    """The catalog refused a row."""


class ConnectionError(Exception):
    """The catalog's database cannot be reached."""


class _Refused(Exception):
    """Ends a transaction with a failure result."""

    def __init__(self, result: Result) -> None:
        super().__init__(result["error"])
        self.result = result


def check_hierarchical_available() -> bool:
    """Tell whether the libraries that this backend needs are installed."""
    return FSSPEC_AVAILABLE and SQLALCHEMY_AVAILABLE


class HierarchicalLTMBackend(LTMBackend):
    """Long-term memory whose entries belong to entities. Safe for threads and processes.

    ``catalog_url`` is a SQLAlchemy URL, ``storage_uri`` a directory or fsspec URI for values whose JSON is
    longer than ``inline_threshold`` bytes, ``hierarchy_levels`` the level names, root first, and
    ``hierarchy_defaults`` ids for levels that a caller leaves out. ``index_config`` has ``row_group_size``
    and ``compression`` of the Parquet index files, ``performance_config`` the number of ``threads`` that
    read blobs. ``cache_path`` is the directory for entries without an entity. ``lazy`` connects at the first
    use.

    A value, its owner and its former blob change together: after a crash every catalog row is complete, and
    at most a blob without a row is left, which ``cleanup_orphans`` removes.

    Raises ``ImportError`` without fsspec or SQLAlchemy, ``ValueError`` for bad levels, and the driver's error
    when the database cannot be reached.
    """

    def __init__(
        self,
        catalog_url: str,
        storage_uri: str,
        hierarchy_levels: list[str],
        hierarchy_defaults: dict[str, str] | None = None,
        index_config: dict[str, Any] | None = None,
        performance_config: dict[str, Any] | None = None,
        pool_size: int = 10,
        inline_threshold: int = 1024,
        lazy: bool = False,
        cache_path: str = "_cache/",
    ) -> None:
        for available, name, package in (
            (FSSPEC_AVAILABLE, "fsspec", "fsspec"),
            (SQLALCHEMY_AVAILABLE, "SQLAlchemy", "sqlalchemy"),
        ):
            if not available:
                raise ImportError(
                    f"{name} is required for HierarchicalLTMBackend. Install with: pip install {package}"
                )
        self._catalog_url = catalog_url
        self._storage_uri = _blobs.with_slash(storage_uri)
        self._hierarchy_levels = list(hierarchy_levels)
        self._hierarchy_defaults = dict(hierarchy_defaults or {})
        self._index_config = index_config or {"row_group_size": 122880, "compression": "zstd"}
        self._performance_config = performance_config or {"metadata_cache_ttl": 600, "threads": 8}
        self._pool_size = pool_size
        self._inline_threshold = inline_threshold
        self._cache_path = cache_path.rstrip("/") + "/"
        self._lock = threading.RLock()
        self._closed = False
        self._initialized = False
        self._engine: sa.Engine | None = None
        self._hierarchy: EntityHierarchy | None = None
        self._fs: Any = None
        if not lazy:
            self._open()

    @property
    def hierarchy_levels(self) -> list[str]:
        """Copy of the level names, root first."""
        return list(self._hierarchy_levels)

    # Connection and table

    def _open(self) -> tuple[sa.Engine, EntityHierarchy]:
        with self._lock:
            if self._closed:
                raise _Refused(failure(CLOSED, "connection_error"))
            if self._engine is not None and self._hierarchy is not None:
                return self._engine, self._hierarchy
            import fsspec  # type: ignore[import-untyped]

            from the_edge_agent.memory import _sql
            from the_edge_agent.memory.entity_hierarchy import EntityHierarchy

            self._fs = fsspec.core.url_to_fs(self._storage_uri)[0]
            engine = _sql.make_engine(self._catalog_url, self._pool_size, foreign_keys=True)
            try:
                hierarchy = EntityHierarchy.on_engine(self._hierarchy_levels, engine, self._lock)
                self._entries = self._define(engine.dialect)
                _sql.create_tables(engine, self._entries.metadata)
            except BaseException:
                engine.dispose()
                raise
            self._engine, self._hierarchy = engine, hierarchy
            self._initialized = True
            return engine, hierarchy

    def _define(self, dialect: sa.Dialect) -> sa.Table:
        import sqlalchemy as sa

        from the_edge_agent.memory import _sql

        options: dict[str, Any] = {"mysql_charset": "utf8mb4", "mariadb_charset": "utf8mb4"}
        return sa.Table(
            CATALOG_TABLE,
            sa.MetaData(),
            sa.Column("key", _sql.key_type(dialect, 512), primary_key=True),
            sa.Column("blob_path", sa.String(4096)),
            sa.Column("value_inline", sa.JSON(none_as_null=True)),
            sa.Column("content_hash", sa.String(64)),
            sa.Column("size_bytes", sa.BigInteger()),
            sa.Column("metadata", sa.JSON(none_as_null=True)),
            sa.Column("entity_id", _sql.key_type(dialect, 320)),
            sa.Column("created_at", _sql.time_type()),
            sa.Column("updated_at", _sql.time_type()),
            sa.Column("expires_at", _sql.time_type()),
            sa.Index("idx_ltm_catalog_entity", "entity_id"),
            sa.Index("idx_ltm_catalog_hash", "content_hash"),
            **options,
        )

    def _guarded(self, work: Callable[[], Result]) -> Result:
        """Map what ``work`` raises to a failure."""
        from sqlalchemy import exc

        try:
            return work()
        except _Refused as refused:
            return refused.result
        except StorageError as error:
            return failure(f"Failed to read blob: {error}", "storage_error")
        except exc.OperationalError as error:
            kind = "connection_timeout" if "timeout" in str(error).lower() else "connection_error"
            return failure(f"Database error: {error}", kind)
        except Exception as error:
            return failure(f"Unexpected error: {error}", "query_error")

    def _read(self, work: Callable[[sa.Connection], Any]) -> Any:
        engine, _ = self._open()
        with self._lock, engine.connect() as conn:
            return work(conn)

    def _write(self, work: Callable[[sa.Connection], Any]) -> Any:
        from the_edge_agent.memory import _sql

        engine, _ = self._open()
        with self._lock:
            return _sql.in_transaction(engine, work, reads_first=True)

    # Entities and paths

    def register_entity_with_defaults(
        self, entity_type: str, entity_id: str, parents: dict[str, str] | None = None
    ) -> str:
        """Register an entity and everything above it; return the path ``"org:acme/project:alpha"``.

        Ids of the levels above come from ``parents`` (level to id), then from ``hierarchy_defaults``; raises
        ``ValueError`` when one is in neither, or for an unknown level. Entities that exist stay as they are.
        """
        levels = self._hierarchy_levels
        if entity_type not in levels:
            raise ValueError(f"Unknown entity type: '{entity_type}'. Valid types: {levels}")
        chain: list[tuple[str, str]] = []
        for level in levels[: levels.index(entity_type)]:
            name = (parents or {}).get(level) or self._hierarchy_defaults.get(level)
            if not name:
                raise ValueError(
                    f"Missing parent for level '{level}'. Provide in parents dict or configure default."
                )
            chain.append((level, name))
        chain.append((entity_type, entity_id))
        _, hierarchy = self._open()
        with self._lock:
            for number, (level, name) in enumerate(chain):
                hierarchy.register_entity(level, name, chain[number - 1] if number else None)
        return "/".join(f"{level}:{name}" for level, name in chain)

    def _generate_hierarchical_path(self, entity: tuple[str, str] | None, key: str) -> str:
        """Blob path of a key; ids are quoted so that they cannot leave their directory."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        if entity is None:
            return f"{self._storage_uri}{self._cache_path}{digest}.json"
        _, hierarchy = self._open()
        full = f"{entity[0]}:{entity[1]}"
        above = self._read(lambda conn: hierarchy.ancestors_in(conn, full))
        segments = [_segment(name) for name in (*reversed(above), full)]
        return f"{self._storage_uri}{'/'.join(segments)}/{digest[:16]}.json"

    # Writing

    def store(
        self,
        key: str,
        value: Any,
        metadata: dict[str, Any] | None = None,
        entity: tuple[str, str] | None = None,
        expires_at: datetime | None = None,
    ) -> Result:
        """Insert or replace. ``entity`` is ``(type, id)`` of a registered entity, the owner of the entry;
        without it an existing entry keeps its owner. ``expires_at`` naive counts as UTC.

        Success: ``{"success", "stored": True, "key", "created", "blob_path": str | None, "inlined"}``. A
        failure leaves the former entry as it was.
        """
        refused = check_key(key)
        if refused is not None:
            return refused
        return self._guarded(lambda: self._store(str(key), value, metadata, entity, expires_at))

    def _store(
        self,
        key: str,
        value: Any,
        metadata: dict[str, Any] | None,
        entity: tuple[str, str] | None,
        expires_at: datetime | None,
    ) -> Result:
        from the_edge_agent.memory import _sql

        _, hierarchy = self._open()
        text = json.dumps(value, sort_keys=True, default=str)
        size = len(text.encode("utf-8"))
        inlined = size <= self._inline_threshold
        full = None if entity is None else f"{entity[0]}:{entity[1]}"
        if full is not None and not self._read(lambda conn: hierarchy.exists_in(conn, full)):
            raise _Refused(failure(f"Entity not found: {full}", "validation_error"))
        blob_path = None if inlined else self._write_blob(entity, key, text)
        row = {
            "blob_path": blob_path,
            "value_inline": _inline(text) if inlined else None,
            "content_hash": hashlib.sha256(text.encode("utf-8")).hexdigest(),
            "size_bytes": size,
            "metadata": None if metadata is None else json.loads(json.dumps(metadata, default=str)),
            "expires_at": _sql.naive_utc(expires_at),
        }
        try:
            created, old_path = self._write(lambda conn: self._put(conn, key, row, full))
        except Exception as error:
            raise self._undo(blob_path, error) from error
        if old_path and old_path != blob_path:
            self._remove_blob(old_path)
        if entity is not None:
            self._note_in_index(entity, key, "add")
        return {
            "success": True,
            "stored": True,
            "key": key,
            "created": created,
            "blob_path": blob_path,
            "inlined": inlined,
        }

    def _put(
        self, conn: sa.Connection, key: str, row: dict[str, Any], full: str | None
    ) -> tuple[bool, str | None]:
        """Write row and ownership in one transaction; return whether it is new, and the former blob."""
        import sqlalchemy as sa

        from the_edge_agent.memory import _sql

        _, hierarchy = self._open()
        if full is not None and not hierarchy.exists_in(conn, full, lock=True):
            raise _Refused(failure(f"Entity not found: {full}", "validation_error"))
        columns, now = self._entries.c, _sql.utc_now()
        present = conn.execute(
            sa.select(columns.blob_path, columns.entity_id).where(columns.key == key).with_for_update()
        ).first()
        values = {**row, "updated_at": now}
        if full is not None:
            values["entity_id"] = full
            if present is not None and present.entity_id and present.entity_id != full:
                hierarchy.disassociate_in(conn, key, present.entity_id)
            hierarchy.associate_in(conn, key, full)
        if present is None:
            # A plain insert: when another process was first, the unique key refuses ours and the whole
            # transaction runs again with that process's row, whose blob it then knows.
            conn.execute(self._entries.insert().values(key=key, created_at=now, **values))
            return True, None
        conn.execute(self._entries.update().where(columns.key == key).values(values))
        return False, present.blob_path

    def _write_blob(self, entity: tuple[str, str] | None, key: str, text: str) -> str:
        try:
            return _blobs.write_new(self._generate_hierarchical_path(entity, key), text)
        except Exception as error:
            raise _Refused(failure(f"Failed to write blob: {error}", "storage_error")) from error

    def _undo(self, blob_path: str | None, error: Exception) -> Exception:
        """Remove the blob of a failed store; return what the store reports."""
        if blob_path is None:
            return error
        left = {} if self._remove_blob(blob_path) else {"orphaned_blob": blob_path}
        if isinstance(error, _Refused):
            return error
        return _Refused(failure(f"Catalog failed: {error}", "catalog_error", **left))

    def _remove_blob(self, path: str) -> bool:
        try:
            _blobs.remove(path)
        except Exception as error:
            logger.warning("Could not remove the blob %s: %s", path, error)
            return False
        return True

    def _note_in_index(self, entity: tuple[str, str], key: str, operation: str) -> None:
        from the_edge_agent.memory import index_manager

        if not index_manager.PYARROW_AVAILABLE:
            return
        safe = (entity[0], _segment(str(entity[1])))
        result = index_manager.update_indexes(
            self._storage_uri, self._fs, safe, key, operation, self._index_config
        )
        if not result["success"]:
            logger.warning("The index of %s:%s is behind: %s", entity[0], entity[1], result["error"])

    def delete(self, key: str) -> Result:
        """Remove an entry with its ownership and blob; see ``LTMBackend.delete``."""
        refused = check_key(key)
        if refused is not None:
            return refused
        return self._guarded(lambda: self._delete(str(key)))

    def _delete(self, key: str) -> Result:
        import sqlalchemy as sa

        _, hierarchy = self._open()

        def work(conn: sa.Connection) -> Any:
            columns = self._entries.c
            wanted = sa.select(columns.blob_path, columns.entity_id).where(columns.key == key)
            present = conn.execute(wanted.with_for_update()).first()
            if present is not None:
                conn.execute(self._entries.delete().where(columns.key == key))
                hierarchy.disassociate_in(conn, key)
            return present

        present = self._write(work)
        if present is None:
            return {"success": True, "deleted": False, "key": key}
        if present.blob_path:
            self._remove_blob(present.blob_path)
        if present.entity_id:
            kind, _, name = present.entity_id.partition(":")
            self._note_in_index((kind, name), key, "remove")
        return {"success": True, "deleted": True, "key": key}

    # Reading

    def retrieve(self, key: str, default: Any = None) -> Result:
        """Read an entry; a hit also has ``entity_id``. An expired entry is not found."""
        refused = check_key(key)
        if refused is not None:
            return refused

        def work() -> Result:
            row = self._row(str(key))
            if row is not None:
                try:
                    value = self._value(row)
                except StorageError as error:
                    # A writer may have replaced the blob between the two reads.
                    again = self._row(str(key))
                    if again is not None and again.blob_path == row.blob_path:
                        return failure(f"Failed to read blob: {error}", "storage_error")
                    row = again
                    value = None if row is None else self._value(row)
            if row is None:
                return {"success": True, "value": default, "found": False, "metadata": None}
            return {
                "success": True,
                "value": value,
                "found": True,
                "metadata": row.metadata,
                "entity_id": row.entity_id,
            }

        return self._guarded(work)

    def _row(self, key: str) -> Any:
        self._open()
        statement = self._live_rows().where(self._entries.c.key == key)
        return self._read(lambda conn: conn.execute(statement).first())

    def _live_rows(self) -> sa.Select[Any]:
        """Select the entries that have not expired."""
        import sqlalchemy as sa

        from the_edge_agent.memory import _sql

        columns = self._entries.c
        live = sa.or_(columns.expires_at.is_(None), columns.expires_at > _sql.utc_now())
        return sa.select(
            columns.key,
            columns.value_inline,
            columns.blob_path,
            columns.metadata.label("metadata"),
            columns.entity_id,
            columns.created_at,
            columns.updated_at,
        ).where(live)

    def _value(self, row: Any) -> Any:
        """Return the value of a row. Raises ``StorageError``."""
        if not row.blob_path:
            return row.value_inline
        try:
            return json.loads(_blobs.read(row.blob_path))
        except Exception as error:
            raise StorageError(str(error)) from error

    def _values(self, rows: list[Any]) -> list[tuple[bool, Any]]:
        """Return ``(readable, value)`` of each row; blobs are read by several threads."""

        def one(row: Any) -> tuple[bool, Any]:
            try:
                return True, self._value(row)
            except StorageError as error:
                logger.warning("Could not read the blob of '%s': %s", row.key, error)
                return False, None

        if sum(bool(row.blob_path) for row in rows) < 2:
            return [one(row) for row in rows]
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(int(self._performance_config.get("threads", 8))) as pool:
            return list(pool.map(one, rows))

    def _rows_of(self, keys: list[str]) -> dict[str, Any]:
        def work(conn: sa.Connection) -> dict[str, Any]:
            found: dict[str, Any] = {}
            for start in range(0, len(keys), _PIECE):
                wanted = self._live_rows().where(self._entries.c.key.in_(keys[start : start + _PIECE]))
                found.update((row.key, row) for row in conn.execute(wanted))
            return found

        result: dict[str, Any] = self._read(work)
        return result

    def retrieve_by_entity(
        self,
        entity_type: str,
        entity_id: str,
        include_descendants: bool = True,
        allowed_ancestors: list[str] | None = None,
        limit: int = 1000,
        offset: int = 0,
    ) -> Result:
        """Return one page of the entries of an entity and, by default, of everything below it, by key.

        ``{"success", "entries": [{"key", "value", "metadata", "entity_id", "created_at", "updated_at"}],
        "total_count", "has_more"}``. With ``allowed_ancestors`` (full ids) the entity or something above it
        must be in the list, else ``auth_failed``; an empty list allows nothing. The value of an unreadable
        blob is None; expired entries are left out.
        """

        def work() -> Result:
            _, hierarchy = self._open()
            full = f"{entity_type}:{entity_id}"
            if allowed_ancestors is not None:
                above = self._read(lambda conn: hierarchy.ancestors_in(conn, full))
                if not {full, *above} & set(allowed_ancestors):
                    return failure("Access denied - entity not in allowed hierarchy", "auth_failed")
            with self._lock:
                page = hierarchy.get_entries_for_entity(
                    entity_type, entity_id, include_descendants, limit, offset
                )
            found = self._rows_of([entry["entry_id"] for entry in page["entries"]])
            rows = [found[e["entry_id"]] for e in page["entries"] if e["entry_id"] in found]
            entries = [
                {
                    "key": row.key,
                    "value": value,
                    "metadata": row.metadata,
                    "entity_id": row.entity_id,
                    "created_at": row.created_at,
                    "updated_at": row.updated_at,
                }
                for row, (_, value) in zip(rows, self._values(rows), strict=True)
            ]
            return {
                "success": True,
                "entries": entries,
                "total_count": page["total_count"],
                "has_more": page["has_more"],
            }

        return self._guarded(work)

    def retrieve_batch(self, keys: list[str]) -> Result:
        """Read many: ``{"success", "entries": {key: value}, "found_count", "requested_count"}``.

        Missing and expired entries and unreadable blobs are left out.
        """

        def work() -> Result:
            self._open()
            found = self._rows_of(list(dict.fromkeys(str(key) for key in keys)))
            rows = list(found.values())
            pairs = zip(rows, self._values(rows), strict=True)
            entries = {row.key: value for row, (readable, value) in pairs if readable}
            return {
                "success": True,
                "entries": entries,
                "found_count": len(entries),
                "requested_count": len(keys),
            }

        return self._guarded(work)

    def search(
        self, query: str | None = None, metadata_filter: dict[str, Any] | None = None, limit: int = 10
    ) -> Result:
        """Find entries whose JSON text contains ``query`` (letter case is ignored), newest first.

        Results also have ``entity_id``; ``score`` is 0.0. ``limit`` counts entries that meet both conditions;
        a negative one means all.
        """

        def work() -> Result:
            if query and not isinstance(query, str):
                raise TypeError(f"query must be a string, got {type(query).__name__}")
            self._open()
            count = row_limit(limit)
            columns = self._entries.c
            statement = self._live_rows().order_by(columns.updated_at.desc(), columns.key)
            if count is not None and not metadata_filter and not query:
                statement = statement.limit(count)

            def collect(conn: sa.Connection) -> list[dict[str, Any]]:
                results: list[dict[str, Any]] = []
                if count == 0:
                    return results
                with conn.execution_options(yield_per=200).execute(statement) as rows:
                    for row in rows:
                        if not metadata_matches(row.metadata, metadata_filter):
                            continue
                        readable, value = self._values([row])[0]
                        if query and (not readable or query.lower() not in _text(value).lower()):
                            continue
                        results.append(
                            {
                                "key": row.key,
                                "value": value,
                                "metadata": row.metadata,
                                "entity_id": row.entity_id,
                                "score": 0.0,
                            }
                        )
                        if len(results) == count:
                            break
                return results

            results = self._read(collect)
            return {"success": True, "results": results, "count": len(results)}

        return self._guarded(work)

    # Maintenance

    def compact_indexes(self, entity_path: str | None = None, max_deltas: int = 100) -> Result:
        """Merge index files; see ``index_manager.compact_indexes``."""
        from the_edge_agent.memory import index_manager

        def work() -> Result:
            self._open()
            return index_manager.compact_indexes(
                self._storage_uri, self._fs, entity_path, max_deltas, self._index_config
            )

        return self._guarded(work)

    def cleanup_orphans(self, max_age_seconds: float = 3600, dry_run: bool = False) -> Result:
        """Remove blobs that no entry names; see ``orphan_cleanup.cleanup_orphans``."""
        from the_edge_agent.memory.orphan_cleanup import cleanup_on_engine

        def work() -> Result:
            engine, _ = self._open()
            return cleanup_on_engine(engine, self._storage_uri, self._fs, max_age_seconds, dry_run)

        return self._guarded(work)

    def close(self) -> None:
        """Close all connections. Later operations answer ``Backend is closed``."""
        with self._lock:
            self._closed = True
            self._initialized = False
            if self._hierarchy is not None:
                self._hierarchy.close()
            if self._engine is not None:
                self._engine.dispose()
            self._engine = None
            self._hierarchy = None


def _segment(full_id: str) -> str:
    """Make one directory name of an id."""
    return quote(full_id, safe=":@+=,~ ")


def _inline(text: str) -> Any:
    """Decode the JSON of a small value; None becomes JSON's null, which a column tells from no value."""
    import sqlalchemy as sa

    value = json.loads(text)
    return sa.JSON.NULL if value is None else value


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
