"""SQLAlchemy helpers that the SQL backends, catalogs and the entity hierarchy share.

Importing this module imports SQLAlchemy.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import StaticPool

from the_edge_agent.memory._results import dump_json

T = TypeVar("T")


def is_sqlite_memory(url: str) -> bool:
    """Tell whether the URL names an in-memory SQLite database."""
    return url in ("sqlite://", "sqlite:///") or (url.startswith("sqlite") and ":memory:" in url)


def make_engine(
    url: str,
    pool_size: int,
    echo: bool = False,
    foreign_keys: bool = False,
    serializer: Callable[[Any], str] = dump_json,
) -> sa.Engine:
    """Create an engine: in-memory SQLite on one shared connection, SQLite files with ``pool_size``
    connections, servers with up to twice as many more in overflow. ``serializer`` writes JSON columns."""
    arguments: dict[str, Any] = {"echo": echo, "json_serializer": serializer, "json_deserializer": json.loads}
    if is_sqlite_memory(url):
        arguments.update(poolclass=StaticPool, connect_args={"check_same_thread": False})
    elif url.startswith("sqlite"):
        # Seconds that a writer waits for another process before it gives up.
        arguments.update(pool_size=pool_size, connect_args={"check_same_thread": False, "timeout": 30})
    else:
        arguments.update(pool_size=pool_size, max_overflow=2 * pool_size, pool_pre_ping=True)
        if url.startswith(("mysql", "mariadb")):
            # The default there reads from a snapshot that is older than the row locks a transaction takes.
            arguments["isolation_level"] = "READ COMMITTED"
    engine = sa.create_engine(url, **arguments)
    if foreign_keys and engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _enable_foreign_keys)
    return engine


def _enable_foreign_keys(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA foreign_keys=ON")


def is_mysql(dialect: sa.Dialect) -> bool:
    """Tell MySQL and MariaDB from the other databases."""
    return dialect.name in ("mysql", "mariadb")


def key_type(dialect: sa.Dialect, length: int) -> sa.types.TypeEngine[str]:
    """Text column type that compares byte by byte.

    MySQL and MariaDB would otherwise treat keys that differ in letter case or trailing blanks as equal, so
    that one entry would overwrite another.
    """
    if not is_mysql(dialect):
        return sa.String(length)
    collation = "utf8mb4_nopad_bin" if getattr(dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
    return mysql.VARCHAR(length, charset="utf8mb4", collation=collation)


def long_text() -> sa.types.TypeEngine[str]:
    """Text of any length (MySQL's TEXT ends at 64 KiB)."""
    return sa.Text().with_variant(mysql.LONGTEXT(charset="utf8mb4"), "mysql", "mariadb")


def time_type() -> sa.types.TypeEngine[datetime]:
    """Timestamp without zone (UTC by convention) with microseconds."""
    return sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def utc_now() -> datetime:
    """Current time as a naive UTC datetime, the form the SQL columns hold."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


def naive_utc(moment: datetime | None) -> datetime | None:
    """Turn a datetime into naive UTC; naive ones count as UTC already."""
    if moment is None or moment.tzinfo is None:
        return moment
    return moment.astimezone(timezone.utc).replace(tzinfo=None)


def upsert(
    conn: sa.Connection, table: sa.Table, key: dict[str, Any], values: dict[str, Any], once: dict[str, Any]
) -> bool:
    """Write the row whose unique columns equal ``key``; return whether it was created.

    ``values`` are written always, ``once`` (a dict) only into a new row. Two writers that create one key at
    the same time both succeed: the later one updates.
    """
    insert_values = {**key, **values, **once}
    if is_mysql(conn.dialect):
        # An UPDATE that finds nothing would lock a gap and dead-lock with the other writer's insert.
        statement = mysql.insert(table).values(insert_values).on_duplicate_key_update(values)
        return conn.execute(statement).rowcount == 1
    where = sa.and_(*(table.c[name] == value for name, value in key.items()))
    update = table.update().where(where).values(values)
    if conn.execute(update).rowcount:
        return False
    if conn.dialect.name not in ("sqlite", "postgresql"):
        conn.execute(table.insert().values(insert_values))
        return True
    insert = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
    if conn.execute(
        insert(table).values(insert_values).on_conflict_do_nothing(index_elements=list(key))
    ).rowcount:
        return True
    conn.execute(update)
    return False


def create_tables(engine: sa.Engine, metadata: sa.MetaData) -> None:
    """Create the missing tables, also when another process does the same at this moment."""
    for attempt in range(_ATTEMPTS):
        try:
            metadata.create_all(engine)
            return
        except DBAPIError:
            # The other process has created a table between the look and the CREATE; look again.
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(0.05)


_ATTEMPTS = 10


def in_transaction(engine: sa.Engine, work: Callable[[sa.Connection], T], reads_first: bool = False) -> T:
    """Run ``work`` in one transaction, and again from the start when the database gave up on it because of
    another writer (deadlock, serialisation failure); after ten attempts the database's error is raised.

    ``reads_first`` is for work that decides on its writes by what it reads: SQLite then takes the write lock
    at the start, since a later upgrade would fail when another process has written meanwhile. An insert that
    another process was faster with is then tried again as well, as an update by what it reads now.
    """
    for attempt in range(_ATTEMPTS):
        try:
            with engine.begin() as conn:
                if reads_first and conn.dialect.name == "sqlite":
                    conn.exec_driver_sql("BEGIN IMMEDIATE")
                return work(conn)
        except DBAPIError as error:
            again = is_retryable(error) or (reads_first and isinstance(error, IntegrityError))
            if attempt == _ATTEMPTS - 1 or not again:
                raise
            time.sleep(random.uniform(0, 0.005 * 2**attempt))
    raise AssertionError("unreachable")


def is_retryable(error: DBAPIError) -> bool:
    """Tell a conflict with another transaction, which has been rolled back, from a real failure."""
    cause = error.orig
    if getattr(cause, "sqlstate", getattr(cause, "pgcode", None)) in ("40001", "40P01"):
        return True
    # MySQL and MariaDB: lock wait timeout, deadlock, "record has changed since last read".
    arguments: tuple[Any, ...] = getattr(cause, "args", ())
    return bool(arguments) and arguments[0] in (1205, 1213, 1020)


def escape_like(text: str) -> str:
    r"""Escape ``%``, ``_`` and ``\`` for a LIKE pattern with ``ESCAPE '\'``."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
