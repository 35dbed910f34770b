"""Catalog in any database that SQLAlchemy reaches: SQLite, PostgreSQL, MySQL, MariaDB."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from the_edge_agent.memory._availability import has_package
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

if TYPE_CHECKING:
    import sqlalchemy as sa
    from sqlalchemy.orm import Session, sessionmaker

SQLALCHEMY_AVAILABLE = has_package("sqlalchemy")

T = TypeVar("T")

_PIECE = 500


class SQLAlchemyCatalog:
    """Catalog in the tables ``ltm_catalog``, ``ltm_snapshots`` and ``ltm_snapshot_entries``.

    ``url`` is a SQLAlchemy URL, ``auto_migrate`` creates missing tables, ``lazy`` connects at the first use.
    Times come back as naive UTC. Raises ``ImportError`` without SQLAlchemy, the database's error from
    operations, and ``RuntimeError`` after ``close``. Safe for threads and processes.
    """

    def __init__(
        self,
        url: str,
        pool_size: int = 5,
        echo: bool = False,
        auto_migrate: bool = True,
        lazy: bool = False,
    ) -> None:
        if not SQLALCHEMY_AVAILABLE:
            raise ImportError(
                "SQLAlchemy is required for SQLAlchemyCatalog. Install with: pip install sqlalchemy"
            )
        self._url = url
        self._pool_size = pool_size
        self._echo = echo
        self._auto_migrate = auto_migrate
        self._lock = threading.RLock()
        self._closed = False
        self._initialized = False
        self._engine: sa.Engine | None = None
        self._session_factory: sessionmaker[Session] | None = None
        if not lazy:
            with self._lock:
                self._open()

    def _open(self) -> sa.Engine:
        if self._closed:
            raise RuntimeError("Catalog is closed")
        if self._engine is not None:
            return self._engine
        from sqlalchemy.orm import sessionmaker

        from the_edge_agent.memory import _sql

        engine = _sql.make_engine(self._url, self._pool_size, self._echo, serializer=encode_json)
        try:
            with engine.connect():
                pass  # The dialect knows its server (MySQL or MariaDB) only after a connection.
            self._define(engine.dialect)
            if self._auto_migrate:
                _sql.create_tables(engine, self._entries.metadata)
        except BaseException:
            engine.dispose()
            raise
        self._engine = engine
        self._session_factory = sessionmaker(bind=engine)
        self._initialized = True
        return engine

    def _define(self, dialect: sa.Dialect) -> None:
        import sqlalchemy as sa

        from the_edge_agent.memory import _sql

        metadata = sa.MetaData()
        # MySQL's unique index cannot hold 1,024 four-byte characters.
        key = _sql.key_type(dialect, 512 if _sql.is_mysql(dialect) else 1024)
        options: dict[str, Any] = {"mysql_charset": "utf8mb4", "mariadb_charset": "utf8mb4"}
        self._entries = sa.Table(
            "ltm_catalog",
            metadata,
            sa.Column("id", sa.String(64), primary_key=True),
            sa.Column("key", key, unique=True, nullable=False),
            sa.Column("content_hash", sa.String(72), nullable=False),
            sa.Column("storage_uri", sa.Text()),
            sa.Column("byte_size", sa.BigInteger(), nullable=False),
            sa.Column("inlined_value", sa.JSON(none_as_null=True)),
            sa.Column("metadata", sa.JSON(), nullable=False, default=dict),
            sa.Column("expires_at", _sql.time_type()),
            sa.Column("created_at", _sql.time_type(), nullable=False),
            sa.Column("updated_at", _sql.time_type(), nullable=False),
            sa.Index("idx_ltm_catalog_expires", "expires_at"),
            sa.Index("idx_ltm_catalog_updated", "updated_at"),
            **options,
        )
        if not _sql.is_mysql(dialect):  # there the unique constraint already makes the same index
            sa.Index("idx_ltm_catalog_key", self._entries.c.key)
        self._snapshots = sa.Table(
            "ltm_snapshots",
            metadata,
            sa.Column("id", sa.String(64), primary_key=True),
            sa.Column("name", sa.String(255), nullable=False),
            sa.Column("entry_count", sa.Integer(), nullable=False),
            sa.Column("total_bytes", sa.BigInteger(), nullable=False),
            sa.Column("created_at", _sql.time_type(), nullable=False),
            **options,
        )
        self._snapshot_entries = sa.Table(
            "ltm_snapshot_entries",
            metadata,
            sa.Column(
                "snapshot_id",
                sa.String(64),
                sa.ForeignKey("ltm_snapshots.id", ondelete="CASCADE"),
                primary_key=True,
            ),
            sa.Column("entry_id", sa.String(64), primary_key=True),
            sa.Column("content_hash", sa.String(72), nullable=False),
            **options,
        )

    def _run(self, work: Callable[[sa.Connection], T]) -> T:
        from the_edge_agent.memory import _sql

        with self._lock:
            return _sql.in_transaction(self._open(), work)

    def _columns(self) -> list[sa.Column[Any]]:
        return [self._entries.c[name] for name in COLUMNS]

    def _put(self, conn: sa.Connection, record: Entry) -> bool:
        from the_edge_agent.memory import _sql

        now = _sql.utc_now()
        values = {name: record[name] for name in COLUMNS[2:7]}
        values.update(expires_at=_sql.naive_utc(record["expires_at"]), updated_at=now)
        once = {"id": record["id"], "created_at": now}
        return _sql.upsert(conn, self._entries, {"key": record["key"]}, values, once)

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
        created = self._run(lambda conn: self._put(conn, record))
        return {"success": True, "entry_id": record["id"], "created": created}

    def get_entry(self, key: str) -> Entry | None:
        """Return the entry, expired or not, or None."""
        import sqlalchemy as sa

        def work(conn: sa.Connection) -> Entry | None:
            row = conn.execute(sa.select(*self._columns()).where(self._entries.c.key == key)).first()
            return None if row is None else _entry(row)

        return self._run(work)

    def list_entries(
        self, prefix: str | None = None, metadata_filter: dict[str, Any] | None = None, limit: int = 100
    ) -> list[Entry]:
        """Return entries, newest first; ``limit`` counts those that pass, a negative one means all."""
        import sqlalchemy as sa

        def work(conn: sa.Connection) -> list[Entry]:
            columns = self._entries.c
            statement = sa.select(*self._columns()).order_by(columns.updated_at.desc(), columns.key)
            if prefix:
                statement = statement.where(sa.func.substr(columns.key, 1, len(prefix)) == prefix)
            if limit >= 0 and not metadata_filter:
                statement = statement.limit(limit)
            found: list[Entry] = []
            if limit == 0:
                return found
            with conn.execution_options(yield_per=_PIECE).execute(statement) as rows:
                for row in rows:
                    entry = _entry(row)
                    if metadata_matches(entry["metadata"], metadata_filter):
                        found.append(entry)
                        if len(found) == limit:
                            break
            return found

        return self._run(work)

    def delete_entry(self, key: str) -> bool:
        """Remove the entry and tell whether it was there."""
        return self._run(
            lambda conn: conn.execute(self._entries.delete().where(self._entries.c.key == key)).rowcount > 0
        )

    def get_changed_entries(self, since_snapshot_id: str | None = None) -> list[Entry]:
        """Return the entries that are new or whose hash differs since the snapshot.

        Without an id the newest 10,000 entries; with an unknown id all of them. Deletions are not reported.
        """
        if since_snapshot_id is None:
            return self.list_entries(limit=10000)
        import sqlalchemy as sa

        def work(conn: sa.Connection) -> list[Entry]:
            e, x = self._entries, self._snapshot_entries
            joined = e.outerjoin(x, sa.and_(x.c.entry_id == e.c.id, x.c.snapshot_id == since_snapshot_id))
            changed = sa.or_(x.c.entry_id.is_(None), x.c.content_hash != e.c.content_hash)
            statement = sa.select(*self._columns()).select_from(joined).where(changed)
            rows = conn.execute(statement.order_by(e.c.updated_at.desc(), e.c.key)).all()
            return [_entry(row) for row in rows]

        return self._run(work)

    def create_snapshot(self, name: str) -> str:
        """Remember the current content hashes; return the id of the snapshot."""
        import sqlalchemy as sa

        from the_edge_agent.memory import _sql

        snapshot_id = str(uuid.uuid4())

        def work(conn: sa.Connection) -> str:
            e = self._entries
            count, size = conn.execute(
                sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(e.c.byte_size), 0)).select_from(e)
            ).one()
            row = {"id": snapshot_id, "name": name, "entry_count": count, "total_bytes": int(size)}
            conn.execute(self._snapshots.insert().values(created_at=_sql.utc_now(), **row))
            hashes = sa.select(sa.literal(snapshot_id), e.c.id, e.c.content_hash)
            columns = ["snapshot_id", "entry_id", "content_hash"]
            conn.execute(self._snapshot_entries.insert().from_select(columns, hashes))
            return snapshot_id

        return self._run(work)

    def get_snapshot(self, snapshot_id: str) -> dict[str, Any] | None:
        """Return ``{"id", "name", "entry_count", "total_bytes", "created_at"}`` or None."""
        import sqlalchemy as sa

        def work(conn: sa.Connection) -> dict[str, Any] | None:
            row = conn.execute(sa.select(self._snapshots).where(self._snapshots.c.id == snapshot_id)).first()
            return None if row is None else dict(row._mapping)

        return self._run(work)

    def store_batch(self, entries: list[Entry], atomic: bool = True) -> Result:
        """Track many entries in one transaction.

        With ``atomic`` one bad entry undoes all; without it the good entries are kept and each bad one is
        reported as ``{"key", "error"}``.
        """
        records: list[Entry] = []
        errors: list[dict[str, Any]] = []
        for entry in entries:
            try:
                records.append(check_entry(entry))
            except Exception as error:
                if atomic:
                    return rolled_back(error, len(entries))
                errors.append({"key": entry.get("key"), "error": str(error)})

        def work(conn: sa.Connection) -> None:
            for record in records:
                self._put(conn, record)

        try:
            self._run(work)
        except Exception as error:
            if atomic:
                return rolled_back(error, len(entries))
            return self._one_by_one(records, errors)
        return batch_result(len(records), errors)

    def _one_by_one(self, records: list[Entry], errors: list[dict[str, Any]]) -> Result:
        stored = 0
        for record in records:
            try:
                self._run(lambda conn, record=record: self._put(conn, record))  # type: ignore[misc]
                stored += 1
            except Exception as error:
                errors.append({"key": record["key"], "error": str(error)})
        return batch_result(stored, errors)

    def retrieve_batch(self, keys: list[str]) -> Result:
        """Read many entries; see ``CatalogBackend.retrieve_batch``."""
        import sqlalchemy as sa

        unique = list(dict.fromkeys(keys))

        def work(conn: sa.Connection) -> dict[str, Entry]:
            found: dict[str, Entry] = {}
            for start in range(0, len(unique), _PIECE):
                wanted = self._entries.c.key.in_(unique[start : start + _PIECE])
                for row in conn.execute(sa.select(*self._columns()).where(wanted)):
                    found[row.key] = _entry(row)
            return found

        return found_batch(keys, self._run(work))

    def cleanup_expired(self, batch_size: int = 100) -> Result:
        """Remove at most ``batch_size`` expired entries, the longest expired first."""
        import sqlalchemy as sa

        from the_edge_agent.memory import _sql

        def work(conn: sa.Connection) -> Result:
            columns, now = self._entries.c, _sql.utc_now()
            expired = columns.expires_at < now
            oldest = sa.select(columns.id).where(expired).order_by(columns.expires_at).limit(batch_size)
            ids = list(conn.execute(oldest).scalars())
            for start in range(0, len(ids), _PIECE):
                conn.execute(self._entries.delete().where(columns.id.in_(ids[start : start + _PIECE])))
            remaining = conn.execute(sa.select(sa.func.count()).where(expired)).scalar_one()
            return {"success": True, "deleted_count": len(ids), "remaining_count": remaining}

        return self._run(work)

    def close(self) -> None:
        """Close all connections. Later operations raise ``RuntimeError``."""
        with self._lock:
            self._closed = True
            if self._engine is not None:
                self._engine.dispose()
            self._engine = None
            self._session_factory = None
            self._initialized = False

    def __enter__(self) -> SQLAlchemyCatalog:
        return self

    def __exit__(self, *exc_info: object) -> Literal[False]:
        self.close()
        return False


def _entry(row: Any) -> Entry:
    return dict(zip(COLUMNS, row, strict=True))
