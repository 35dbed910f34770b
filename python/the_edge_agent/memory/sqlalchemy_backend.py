"""Long-term memory in any database that SQLAlchemy reaches: SQLite, PostgreSQL, MySQL, MariaDB."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from the_edge_agent.memory._availability import has_package
from the_edge_agent.memory._results import (
    CLOSED,
    Result,
    check_key,
    failure,
    metadata_matches,
    row_limit,
)
from the_edge_agent.memory.base import LTMBackend, LTMTransaction

if TYPE_CHECKING:
    import sqlalchemy as sa
    from sqlalchemy.orm import Session, sessionmaker

SQLALCHEMY_AVAILABLE = has_package("sqlalchemy")

DEFAULT_TABLE = "ltm_entries"

# PostgreSQL refuses text whose words need more than 1 MiB in a tsvector; the rest of a longer text is kept in
# the entry and only not indexed.
_TSVECTOR_CHARACTERS = 200_000


def check_sqlalchemy_available() -> bool:
    """Tell whether SQLAlchemy is installed."""
    return SQLALCHEMY_AVAILABLE


def search_text(value: Any, metadata: dict[str, Any] | None) -> str:
    """Join what full-text search sees: a string value, or the string items of a top-level list or object,
    and the string values of the metadata."""
    parts: list[str] = []
    if isinstance(value, str):
        parts.append(value)
    elif isinstance(value, dict):
        parts.extend(item for item in value.values() if isinstance(item, str))
    elif isinstance(value, (list, tuple)):
        parts.extend(item for item in value if isinstance(item, str))
    if metadata:
        parts.extend(item for item in metadata.values() if isinstance(item, str))
    # PostgreSQL text cannot hold NUL, nor can any driver encode lone surrogates.
    joined = " ".join(parts).replace("\0", " ")
    return joined.encode("utf-8", "replace").decode("utf-8")


class SQLAlchemyBackend(LTMBackend):
    """Long-term memory in one SQL table; safe for threads and for several processes.

    ``url`` is a SQLAlchemy URL whose driver is installed, ``pool_size`` the number of kept connections,
    ``lazy`` postpones the connection to the first use, ``table_name`` any name the database can quote.
    Raises ``ImportError`` without SQLAlchemy or the driver, ``ValueError`` when the table exists with other
    columns, and the driver's error (unless ``lazy``) when the database cannot be reached.
    """

    _closed = True  # until the constructor has run, for __del__

    def __init__(
        self,
        url: str,
        pool_size: int = 5,
        echo: bool = False,
        lazy: bool = False,
        table_name: str = DEFAULT_TABLE,
    ) -> None:
        if not SQLALCHEMY_AVAILABLE:
            raise ImportError("SQLAlchemy not installed. Install with: pip install sqlalchemy")
        if not isinstance(table_name, str) or not table_name or "\0" in table_name:
            raise ValueError(f"table_name must be a non-empty string, got {table_name!r}")
        self._url = url
        self._pool_size = pool_size
        self._echo = echo
        self._table_name = table_name
        self._lock = threading.RLock()
        self._active: sa.Connection | None = None
        self._closed = False
        self._initialized = False
        self._engine: sa.Engine | None = None
        self._session_factory: sessionmaker[Session] | None = None
        self._table_object: sa.Table | None = None
        if not lazy:
            with self._lock:
                self._open()

    @property
    def dialect(self) -> str:
        """Name of the SQLAlchemy dialect; connects when that has not happened yet.

        Raises ``RuntimeError`` after ``close``.
        """
        with self._lock:
            return self._open().dialect.name

    def _open(self) -> sa.Engine:
        """Return the engine, creating it and the table at first use. The caller holds the lock."""
        if self._closed:
            raise RuntimeError(CLOSED)
        if self._engine is not None:
            return self._engine
        from sqlalchemy.orm import sessionmaker

        from the_edge_agent.memory import _sql

        engine = _sql.make_engine(self._url, self._pool_size, self._echo)
        try:
            with engine.connect():
                pass  # The dialect knows its server (MySQL or MariaDB) only after a connection.
            table = self._define_table(engine.dialect)
            self._create_table(engine, table)
            if engine.dialect.name == "postgresql":
                self._add_search_vector(engine, table)
        except BaseException:
            engine.dispose()
            raise
        self._table_object = table
        self._engine = engine
        self._session_factory = sessionmaker(bind=engine)
        self._initialized = True
        return engine

    def _define_table(self, dialect: sa.Dialect) -> sa.Table:
        import sqlalchemy as sa
        from sqlalchemy.dialects import postgresql

        from the_edge_agent.memory import _sql

        now = sa.text("CURRENT_TIMESTAMP(6)") if _sql.is_mysql(dialect) else sa.func.now()
        table = sa.Table(
            self._table_name,
            sa.MetaData(),
            sa.Column("key", _sql.key_type(dialect, 512), primary_key=True),
            sa.Column("value", sa.JSON(), nullable=False),
            sa.Column("metadata", sa.JSON(none_as_null=True)),
            sa.Column("search_text", _sql.long_text()),
            sa.Column("created_at", _sql.time_type(), server_default=now),
            sa.Column("updated_at", _sql.time_type(), server_default=now),
            mysql_charset="utf8mb4",
            mariadb_charset="utf8mb4",
        )
        if dialect.name == "postgresql":
            table.append_column(sa.Column("search_vector", postgresql.TSVECTOR()))
        elif _sql.is_mysql(dialect):
            sa.Index(
                f"idx_{self._table_name}_fulltext",
                table.c.search_text,
                mysql_prefix="FULLTEXT",
                mariadb_prefix="FULLTEXT",
            )
        return table

    def _create_table(self, engine: sa.Engine, table: sa.Table) -> None:
        import sqlalchemy as sa

        from the_edge_agent.memory import _sql

        _sql.create_tables(engine, table.metadata)
        columns = {column["name"] for column in sa.inspect(engine).get_columns(self._table_name)}
        if not {"key", "value", "metadata", "search_text"} <= columns:
            raise ValueError(
                f"Table '{self._table_name}' exists with other columns ({', '.join(sorted(columns))}); a "
                "catalog and a SQLAlchemyBackend need separate databases or another table_name"
            )

    def _add_search_vector(self, engine: sa.Engine, table: sa.Table) -> None:
        """Bring a table without a search vector up to date, and make the full-text index."""
        import sqlalchemy as sa

        preparer = engine.dialect.identifier_preparer
        name = preparer.quote(self._table_name)
        index = preparer.quote(f"idx_{self._table_name}_search_vector")
        with engine.begin() as conn:
            # Serialises processes that start at once; IF NOT EXISTS alone can fail in that case.
            conn.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": self._table_name})
            conn.execute(sa.text(f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS search_vector TSVECTOR"))
            conn.execute(sa.text(f"CREATE INDEX IF NOT EXISTS {index} ON {name} USING gin (search_vector)"))
            conn.execute(
                table.update()
                .where(table.c.search_vector.is_(None))
                .values(search_vector=self._vector(table.c.search_text))
            )

    @staticmethod
    def _vector(text: Any) -> sa.ColumnElement[Any]:
        import sqlalchemy as sa

        return sa.func.to_tsvector(
            sa.literal_column("'english'::regconfig"),
            sa.func.left(sa.func.coalesce(text, ""), _TSVECTOR_CHARACTERS),
        )

    @property
    def _table(self) -> sa.Table:
        if self._table_object is None:
            raise RuntimeError(CLOSED)
        return self._table_object

    def _guarded(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Run ``work`` in one transaction under the lock and map what it raises to a failure."""
        try:
            with self._lock:
                if self._closed:
                    return failure(CLOSED, "connection_error")
                if self._active is not None:  # a transaction block of this same thread
                    with self._active.begin_nested():
                        return work(self._active)
                from the_edge_agent.memory import _sql

                return _sql.in_transaction(self._open(), work)
        except Exception as error:
            return _explain(error)

    def store(self, key: str, value: Any, metadata: dict[str, Any] | None = None) -> Result:
        """Insert or replace; see ``LTMBackend.store``."""
        refused = check_key(key)
        if refused is not None:
            return refused
        return self._guarded(lambda conn: self._write(conn, str(key), value, metadata))

    def _write(self, conn: sa.Connection, key: str, value: Any, metadata: dict[str, Any] | None) -> Result:
        import sqlalchemy as sa

        from the_edge_agent.memory import _sql

        now = _sql.utc_now()
        text = search_text(value, metadata)
        # JSON.NULL stores JSON's null, which differs from "no value" in a NOT NULL column.
        row: dict[str, Any] = {
            "value": sa.JSON.NULL if value is None else value,
            "metadata": metadata,
            "search_text": text,
            "updated_at": now,
        }
        if conn.dialect.name == "postgresql":
            row["search_vector"] = self._vector(text)
        created = _sql.upsert(conn, self._table, {"key": key}, row, {"created_at": now})
        return {"success": True, "stored": True, "key": key, "created": created}

    def retrieve(self, key: str, default: Any = None) -> Result:
        """Read one entry; see ``LTMBackend.retrieve``."""
        refused = check_key(key)
        if refused is not None:
            return refused

        def work(conn: sa.Connection) -> Result:
            import sqlalchemy as sa

            table = self._table
            row = conn.execute(
                sa.select(table.c.value, table.c.metadata).where(table.c.key == str(key))
            ).first()
            if row is None:
                return {"success": True, "value": default, "found": False, "metadata": None}
            return {"success": True, "value": row[0], "found": True, "metadata": row[1]}

        return self._guarded(work)

    def delete(self, key: str) -> Result:
        """Remove one entry; see ``LTMBackend.delete``."""
        refused = check_key(key)
        if refused is not None:
            return refused
        return self._guarded(lambda conn: self._remove(conn, str(key)))

    def _remove(self, conn: sa.Connection, key: str) -> Result:
        removed = conn.execute(self._table.delete().where(self._table.c.key == key)).rowcount
        return {"success": True, "deleted": removed > 0, "key": key}

    def search(
        self, query: str | None = None, metadata_filter: dict[str, Any] | None = None, limit: int = 10
    ) -> Result:
        """Find entries by text and metadata.

        PostgreSQL, MySQL and MariaDB rank with their full-text search (``score`` is the rank); SQLite looks
        for the text as a substring, newest first (``score`` 1.0). Without a query: newest first, ``score``
        0.0. ``limit`` counts entries that meet both conditions; a negative one means all.
        """

        def work(conn: sa.Connection) -> Result:
            count = row_limit(limit)
            statement = self._search_statement(conn.dialect, query)
            if count is not None and not metadata_filter:
                statement = statement.limit(count)
            results: list[dict[str, Any]] = []
            if count == 0:
                return {"success": True, "results": results, "count": 0}
            with conn.execution_options(yield_per=200).execute(statement) as rows:
                for key, value, metadata, score in rows:
                    if metadata_matches(metadata, metadata_filter):
                        entry = {"key": key, "value": value, "metadata": metadata, "score": float(score)}
                        results.append(entry)
                        if len(results) == count:
                            break
            return {"success": True, "results": results, "count": len(results)}

        return self._guarded(work)

    def _search_statement(self, dialect: sa.Dialect, query: str | None) -> sa.Select[Any]:
        import sqlalchemy as sa

        from the_edge_agent.memory import _sql

        columns = self._table.c
        newest = columns.updated_at.desc()
        if not query:
            score: sa.ColumnElement[Any] = sa.literal_column("0.0")
            chosen = sa.select(columns.key, columns.value, columns.metadata, score)
            return chosen.order_by(newest, columns.key)
        if dialect.name == "postgresql":
            wanted = sa.func.plainto_tsquery(sa.literal_column("'english'::regconfig"), query)
            score = sa.func.ts_rank(columns.search_vector, wanted)
            condition: sa.ColumnElement[Any] = columns.search_vector.op("@@")(wanted)
            order: tuple[Any, ...] = (score.desc(), newest)
        elif _sql.is_mysql(dialect):
            from sqlalchemy.dialects.mysql import match

            score = match(columns.search_text, against=query)
            condition, order = score > 0, (score.desc(), newest)
        else:
            score = sa.literal_column("1.0")
            condition = columns.search_text.like(f"%{_sql.escape_like(query)}%", escape="\\")
            order = (newest,)
        chosen = sa.select(columns.key, columns.value, columns.metadata, score)
        return chosen.where(condition).order_by(*order, columns.key)

    def iterate_all(self) -> Iterator[tuple[str, Any, dict[str, Any] | None]]:
        """Yield every entry in key order, reading 100 at a time; a closed backend yields nothing.

        The lock is free between the pieces, so the loop body may use the backend.
        """
        import sqlalchemy as sa

        last: str | None = None
        while True:
            with self._lock:
                if self._closed:
                    return
                engine, columns = self._open(), self._table.c
                piece = sa.select(columns.key, columns.value, columns.metadata)
                if last is not None:
                    piece = piece.where(columns.key > last)
                piece = piece.order_by(columns.key).limit(100)
                if self._active is not None:
                    rows = self._active.execute(piece).all()
                else:
                    with engine.connect() as conn:
                        rows = conn.execute(piece).all()
            for key, value, metadata in rows:
                yield key, value, metadata or {}
            if len(rows) < 100:
                return
            last = rows[-1][0]

    def transaction(self) -> SQLAlchemyTransaction:
        """Return a transaction to enter with ``with``; its writes are one database transaction."""
        return SQLAlchemyTransaction(self)

    def close(self) -> None:
        """Close all connections. Later operations answer ``Backend is closed``."""
        if self._closed:
            return
        self._closed = True
        if self._engine is not None:
            self._engine.dispose()
        self._engine = None
        self._session_factory = None
        self._table_object = None
        self._initialized = False

    def __del__(self) -> None:
        self.close()


class SQLAlchemyTransaction(LTMTransaction):
    """Writes of a ``with`` block as one database transaction: all of them or none.

    ``store`` and ``delete`` write at once, visible to others after the commit. They raise ``RuntimeError``
    outside the block, ``ValueError`` for an empty key, and the database's error; a block that raises is
    rolled back. Calls of the backend inside the block take part in the transaction; other threads that use
    the backend wait until the block ends.
    """

    def __init__(self, backend: SQLAlchemyBackend) -> None:
        super().__init__(backend)
        self._sql = backend
        self._conn: sa.Connection | None = None

    def _started(self) -> sa.Connection:
        if self._conn is None:
            raise RuntimeError("Transaction not started. Use 'with' context manager.")
        return self._conn

    def store(self, key: str, value: Any, metadata: dict[str, Any] | None = None) -> None:
        """Write an entry inside the transaction."""
        conn = self._started()
        refused = check_key(key)
        if refused is not None:
            raise ValueError(refused["error"])
        self._sql._write(conn, str(key), value, metadata)

    def delete(self, key: str) -> None:
        """Remove an entry inside the transaction."""
        conn = self._started()
        refused = check_key(key)
        if refused is not None:
            raise ValueError(refused["error"])
        self._sql._remove(conn, str(key))

    def commit(self) -> Result:
        """Make the writes permanent. Success: ``{"success": True}``; a failure has rolled back."""
        finished = self._finished()
        if finished is not None:
            return finished
        if self._conn is None:
            return {"success": True}
        try:
            self._conn.commit()
        except Exception as error:
            self._conn.rollback()
            self._rolled_back = True
            return failure(f"Transaction commit failed: {error}", "query_error")
        finally:
            self._release()
        self._committed = True
        return {"success": True}

    def rollback(self) -> Result:
        """Undo the writes. Success: ``{"success": True, "discarded": 0}``."""
        result = super().rollback()
        if result["success"] and self._conn is not None:
            try:
                self._conn.rollback()
            finally:
                self._release()
        return result

    def _release(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            self._sql._active = None
            try:
                conn.close()
            finally:
                self._sql._lock.release()

    def __enter__(self) -> SQLAlchemyTransaction:
        self._sql._lock.acquire()
        try:
            if self._sql._active is not None:
                raise RuntimeError("A transaction of this thread is already open on this backend")
            self._conn = self._sql._active = self._sql._open().connect()
        except BaseException:
            self._sql._lock.release()
            raise
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *exc_info: object) -> Literal[False]:
        if self._conn is not None:
            if exc_type is not None:
                self.rollback()
            else:
                result = self.commit()
                if not result["success"]:
                    raise RuntimeError(result["error"])
        return False


def _explain(error: Exception) -> Result:
    from sqlalchemy import exc

    if isinstance(error, exc.OperationalError):
        kind = "connection_timeout" if "timeout" in str(error).lower() else "connection_error"
        return failure(f"Database error: {error}", kind)
    if isinstance(error, exc.IntegrityError):
        return failure(f"Integrity error: {error}", "validation_error")
    cause = error.orig if isinstance(error, exc.StatementError) else error
    if isinstance(cause, json.JSONDecodeError):
        return failure(f"Failed to deserialize value: {cause}", "serialization_error")
    if isinstance(cause, (TypeError, ValueError)) and not isinstance(error, exc.DBAPIError):
        return failure(f"Failed to serialize value: {cause}", "serialization_error")
    return failure(f"SQLAlchemy error: {error}", "query_error")
