"""Catalog operations in SQL that SQLite, DuckDB and PostgreSQL share."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from typing import Any, Literal, Protocol, TypeVar

from the_edge_agent.memory._results import Result, metadata_matches
from the_edge_agent.memory.catalog import (
    COLUMNS,
    Entry,
    batch_result,
    check_entry,
    encode_json,
    found_batch,
    rolled_back,
)

Self = TypeVar("Self", bound="SQLCatalog")

_WRITTEN = (
    "content_hash",
    "storage_uri",
    "byte_size",
    "inlined_value",
    "metadata",
    "expires_at",
    "updated_at",
)
_FETCH = 500


class Cursor(Protocol):
    """The part of a DB-API cursor that the catalog uses."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Any: ...

    def executemany(self, sql: str, parameters: Any, /) -> Any: ...

    def fetchone(self) -> Any: ...

    def fetchmany(self, size: int = ..., /) -> Any: ...

    def fetchall(self) -> Any: ...


class SQLCatalog(ABC):
    """Catalog over a DB-API connection; subclasses supply the connection and the column encodings.

    Entries of the dictionary are those of ``CatalogBackend``. Operations raise the driver's error, and
    ``RuntimeError`` after ``close``.
    """

    entries_table = "ltm_entries"
    snapshots_table = "ltm_snapshots"
    snapshot_entries_table = "ltm_snapshot_entries"
    mark = "?"

    @abstractmethod
    def _transaction(self, write: bool) -> AbstractContextManager[Cursor]:
        """Open a transaction that commits when the block ends and rolls back when it raises."""

    @abstractmethod
    def close(self) -> None:
        """Release the connection; later operations raise ``RuntimeError``."""

    def _time_in(self, moment: datetime | None) -> Any:
        """Encode an aware UTC datetime for the database."""
        return moment

    def _time_out(self, stored: Any) -> datetime | None:
        """Decode what ``_time_in`` wrote."""
        moment: datetime | None = stored
        return moment

    def _json_in(self, value: Any) -> Any:
        """Encode a JSON value (not None) for the database."""
        return encode_json(value)

    @abstractmethod
    def _json_out(self, stored: Any) -> Any:
        """Decode what ``_json_in`` wrote."""

    def _sql(self, text: str) -> str:
        """Fill in the table names ``{e}``, ``{s}``, ``{se}`` and the driver's parameter mark."""
        tables = {"e": self.entries_table, "s": self.snapshots_table, "se": self.snapshot_entries_table}
        for name, table in tables.items():
            text = text.replace("{" + name + "}", table)
        return text if self.mark == "?" else text.replace("?", self.mark)

    def _schema(self, json_type: str, time_type: str, cascade: str = "") -> list[str]:
        e = self.entries_table
        prefix = f"idx_{e}"
        reference = f" REFERENCES {self.snapshots_table}(id) ON DELETE CASCADE" if cascade else ""
        return [
            f"CREATE TABLE IF NOT EXISTS {e} (id VARCHAR(64) PRIMARY KEY, key VARCHAR(1024) UNIQUE NOT NULL,"
            f" content_hash VARCHAR(72) NOT NULL, storage_uri VARCHAR(2048), byte_size BIGINT NOT NULL,"
            f" inlined_value {json_type}, metadata {json_type} NOT NULL DEFAULT '{{}}',"
            f" expires_at {time_type}, created_at {time_type} NOT NULL, updated_at {time_type} NOT NULL)",
            f"CREATE TABLE IF NOT EXISTS {self.snapshots_table} (id VARCHAR(64) PRIMARY KEY,"
            f" name VARCHAR(255) NOT NULL, entry_count INTEGER NOT NULL, total_bytes BIGINT NOT NULL,"
            f" created_at {time_type} NOT NULL)",
            f"CREATE TABLE IF NOT EXISTS {self.snapshot_entries_table} (snapshot_id VARCHAR(64){reference},"
            " entry_id VARCHAR(64), content_hash VARCHAR(72) NOT NULL, PRIMARY KEY (snapshot_id, entry_id))",
            f"CREATE INDEX IF NOT EXISTS {prefix}_key ON {e}(key)",
            f"CREATE INDEX IF NOT EXISTS {prefix}_expires ON {e}(expires_at)",
            f"CREATE INDEX IF NOT EXISTS {prefix}_updated ON {e}(updated_at)",
        ]

    def _entry(self, row: Any) -> Entry:
        entry = dict(zip(COLUMNS, _cells(row), strict=True))
        for name in ("inlined_value", "metadata"):
            if entry[name] is not None:
                entry[name] = self._json_out(entry[name])
        for name in ("expires_at", "created_at", "updated_at"):
            entry[name] = self._time_out(entry[name])
        return entry

    def _encode(self, record: Entry, now: Any) -> Entry:
        value = record["inlined_value"]
        return {
            **record,
            "inlined_value": None if value is None else self._json_in(value),
            "metadata": self._json_in(record["metadata"]),
            "expires_at": self._time_in(record["expires_at"]),
            "created_at": now,
            "updated_at": now,
        }

    def _select(self, rest: str) -> str:
        return self._sql(f"SELECT {', '.join(COLUMNS)} FROM {{e}} {rest}")

    def _update_sql(self) -> str:
        return self._sql(f"UPDATE {{e}} SET {', '.join(f'{c} = ?' for c in _WRITTEN)} WHERE key = ?")

    def _insert_sql(self) -> str:
        return self._sql(f"INSERT INTO {{e}} ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})")

    def _rows(self, cursor: Cursor) -> Iterator[Any]:
        while True:
            rows = cursor.fetchmany(_FETCH)
            if not rows:
                return
            yield from rows

    @staticmethod
    def _update_row(record: Entry) -> tuple[Any, ...]:
        return (*(record[c] for c in _WRITTEN), record["key"])

    @staticmethod
    def _insert_row(record: Entry) -> tuple[Any, ...]:
        return tuple(record[c] for c in COLUMNS)

    def _now(self) -> datetime:
        return datetime.now(timezone.utc)

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
        """Insert or replace one entry; see ``CatalogBackend.track_entry``."""
        record = check_entry(
            {
                "key": key,
                "content_hash": content_hash,
                "storage_uri": storage_uri,
                "byte_size": byte_size,
                "metadata": metadata,
                "inlined_value": inlined_value,
                "expires_at": expires_at,
            }
        )
        encoded = self._encode(record, self._time_in(self._now()))
        with self._transaction(write=True) as cursor:
            cursor.execute(self._sql("SELECT id FROM {e} WHERE key = ?"), (key,))
            created = cursor.fetchone() is None
            if created:
                cursor.execute(self._insert_sql(), self._insert_row(encoded))
            else:
                cursor.execute(self._update_sql(), self._update_row(encoded))
        return {"success": True, "entry_id": record["id"], "created": created}

    def get_entry(self, key: str) -> Entry | None:
        """Return the entry, expired or not, or None."""
        with self._transaction(write=False) as cursor:
            cursor.execute(self._select("WHERE key = ?"), (key,))
            row = cursor.fetchone()
        return None if row is None else self._entry(row)

    def list_entries(
        self, prefix: str | None = None, metadata_filter: dict[str, Any] | None = None, limit: int = 100
    ) -> list[Entry]:
        """Return entries, newest first; ``limit`` counts those that pass, a negative one means all."""
        where, parameters = "", []
        if prefix:
            where, parameters = "WHERE substr(key, 1, ?) = ? ", [len(prefix), prefix]
        tail = ""
        if limit >= 0 and not metadata_filter:
            tail = " LIMIT ?"
            parameters.append(limit)
        found: list[Entry] = []
        if limit == 0:
            return found
        with self._transaction(write=False) as cursor:
            cursor.execute(self._select(f"{where}ORDER BY updated_at DESC, key{tail}"), tuple(parameters))
            for row in self._rows(cursor):
                entry = self._entry(row)
                if metadata_matches(entry["metadata"], metadata_filter):
                    found.append(entry)
                    if len(found) == limit:
                        break
        return found

    def delete_entry(self, key: str) -> bool:
        """Remove the entry and tell whether it was there."""
        with self._transaction(write=True) as cursor:
            cursor.execute(self._sql("SELECT id FROM {e} WHERE key = ?"), (key,))
            if cursor.fetchone() is None:
                return False
            cursor.execute(self._sql("DELETE FROM {e} WHERE key = ?"), (key,))
        return True

    def get_changed_entries(self, since_snapshot_id: str | None = None) -> list[Entry]:
        """Return the entries that are new or whose hash differs since the snapshot.

        Without an id the newest 10,000 entries; with an unknown id all of them. Deletions are not reported.
        """
        if since_snapshot_id is None:
            return self.list_entries(limit=10000)
        columns = ", ".join(f"e.{c}" for c in COLUMNS)
        with self._transaction(write=False) as cursor:
            cursor.execute(
                self._sql(
                    f"SELECT {columns} FROM {{e}} e LEFT JOIN {{se}} x"
                    " ON x.entry_id = e.id AND x.snapshot_id = ?"
                    " WHERE x.entry_id IS NULL OR x.content_hash <> e.content_hash"
                    " ORDER BY e.updated_at DESC, e.key"
                ),
                (since_snapshot_id,),
            )
            return [self._entry(row) for row in cursor.fetchall()]

    def create_snapshot(self, name: str) -> str:
        """Remember the current content hashes; return the id of the snapshot."""
        snapshot_id = str(uuid.uuid4())
        with self._transaction(write=True) as cursor:
            cursor.execute(
                self._sql(
                    "INSERT INTO {s} (id, name, entry_count, total_bytes, created_at)"
                    " SELECT ?, ?, count(*), coalesce(sum(byte_size), 0), ? FROM {e}"
                ),
                (snapshot_id, name, self._time_in(self._now())),
            )
            cursor.execute(
                self._sql(
                    "INSERT INTO {se} (snapshot_id, entry_id, content_hash)"
                    " SELECT ?, id, content_hash FROM {e}"
                ),
                (snapshot_id,),
            )
        return snapshot_id

    def get_snapshot(self, snapshot_id: str) -> dict[str, Any] | None:
        """Return ``{"id", "name", "entry_count", "total_bytes", "created_at"}`` or None."""
        with self._transaction(write=False) as cursor:
            cursor.execute(
                self._sql("SELECT id, name, entry_count, total_bytes, created_at FROM {s} WHERE id = ?"),
                (snapshot_id,),
            )
            row = cursor.fetchone()
        if row is None:
            return None
        found_id, name, count, size, created_at = _cells(row)
        return {
            "id": found_id,
            "name": name,
            "entry_count": int(count),
            "total_bytes": int(size),
            "created_at": self._time_out(created_at),
        }

    def store_batch(self, entries: list[Entry], atomic: bool = True) -> Result:
        """Track many entries in one transaction.

        With ``atomic`` one bad entry undoes all; without it the good entries are kept and each bad one is
        reported as ``{"key", "error"}``. The last of several entries with one key wins.
        """
        records: dict[str, Entry] = {}
        errors: list[dict[str, Any]] = []
        accepted = 0
        for entry in entries:
            try:
                record = self._encode(check_entry(entry), self._time_in(self._now()))
            except Exception as error:
                if atomic:
                    return rolled_back(error, len(entries))
                errors.append({"key": entry.get("key"), "error": str(error)})
                continue
            records[record["key"]] = record
            accepted += 1
        try:
            self._write_records(list(records.values()))
        except Exception as error:
            if atomic:
                return rolled_back(error, len(entries))
            return self._write_one_by_one(list(records.values()), errors)
        return batch_result(accepted, errors)

    def _write_one_by_one(self, records: list[Entry], errors: list[dict[str, Any]]) -> Result:
        stored = 0
        for record in records:
            try:
                self._write_records([record])
                stored += 1
            except Exception as error:
                errors.append({"key": record["key"], "error": str(error)})
        return batch_result(stored, errors)

    def _write_records(self, records: list[Entry]) -> None:
        if not records:
            return
        # One order for all writers, so that two batches cannot wait for each other's rows.
        records = sorted(records, key=lambda record: str(record["key"]))
        with self._transaction(write=True) as cursor:
            known = {_cells(row)[0] for row in self._by_keys(cursor, "key", [r["key"] for r in records])}
            updates = [self._update_row(r) for r in records if r["key"] in known]
            inserts = [self._insert_row(r) for r in records if r["key"] not in known]
            if updates:
                cursor.executemany(self._update_sql(), updates)
            if inserts:
                cursor.executemany(self._insert_sql(), inserts)

    def _by_keys(self, cursor: Cursor, columns: str, keys: list[str]) -> Iterator[Any]:
        for start in range(0, len(keys), _FETCH):
            piece = keys[start : start + _FETCH]
            marks = ", ".join("?" * len(piece))
            cursor.execute(self._sql(f"SELECT {columns} FROM {{e}} WHERE key IN ({marks})"), tuple(piece))
            yield from cursor.fetchall()

    def retrieve_batch(self, keys: list[str]) -> Result:
        """Read many entries; see ``CatalogBackend.retrieve_batch``."""
        with self._transaction(write=False) as cursor:
            rows = list(self._by_keys(cursor, ", ".join(COLUMNS), list(dict.fromkeys(keys))))
        return found_batch(keys, {entry["key"]: entry for entry in map(self._entry, rows)})

    def cleanup_expired(self, batch_size: int = 100) -> Result:
        """Remove at most ``batch_size`` expired entries, the longest expired first."""
        now = self._time_in(self._now())
        with self._transaction(write=True) as cursor:
            cursor.execute(
                self._sql("SELECT id FROM {e} WHERE expires_at < ? ORDER BY expires_at LIMIT ?"),
                (now, batch_size),
            )
            ids = [_cells(row)[0] for row in cursor.fetchall()]
            for start in range(0, len(ids), _FETCH):
                piece = ids[start : start + _FETCH]
                marks = ", ".join("?" * len(piece))
                cursor.execute(self._sql(f"DELETE FROM {{e}} WHERE id IN ({marks})"), tuple(piece))
            cursor.execute(self._sql("SELECT count(*) FROM {e} WHERE expires_at < ?"), (now,))
            remaining = int(_cells(cursor.fetchone())[0])
        return {"success": True, "deleted_count": len(ids), "remaining_count": remaining}

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> Literal[False]:
        self.close()
        return False


def _cells(row: Any) -> list[Any]:
    """Return the columns of a row in the order of the query, also of a row that is a mapping."""
    return list(row.values()) if isinstance(row, dict) else list(row)
