"""Catalogs: one contract on SQLite, DuckDB, SQLAlchemy (three databases) and PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from the_edge_agent.memory import (
    CatalogBackend,
    DuckDBCatalog,
    PostgresCatalog,
    SQLAlchemyCatalog,
    SQLiteCatalog,
    catalog,
    compute_content_hash,
    create_catalog_backend,
    generate_entry_id,
    get_registered_catalog_backends,
    parse_catalog_config,
    register_catalog_backend,
)

KINDS = [
    "sqlite",
    "sqlite-file",
    "duckdb",
    "duckdb-file",
    "sa-sqlite",
    "sa-postgresql",
    "sa-mariadb",
    "postgres",
]


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    kind = request.param
    made: Any
    if kind.startswith("sqlite"):
        made = SQLiteCatalog(str(tmp_path / "c.db") if "file" in kind else ":memory:")
    elif kind.startswith("duckdb"):
        made = DuckDBCatalog(str(tmp_path / "c.duckdb") if "file" in kind else ":memory:")
    elif kind == "postgres":
        made = PostgresCatalog(request.getfixturevalue("postgres_dsn"))
    else:
        url = {"sa-sqlite": None, "sa-postgresql": "postgres_url", "sa-mariadb": "mariadb_url"}[kind]
        made = SQLAlchemyCatalog(request.getfixturevalue(url) if url else "sqlite://")
    with made:
        yield made


def track(store: Any, key: str, value: Any = 1, **more: Any) -> dict[str, Any]:
    arguments = {
        "content_hash": compute_content_hash(value),
        "storage_uri": None,
        "byte_size": 5,
        "metadata": {},
        "inlined_value": value,
        **more,
    }
    result: dict[str, Any] = store.track_entry(key, **arguments)
    return result


def keys(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["key"] for entry in entries]


def test_hash_and_id() -> None:
    """ME-75"""
    assert compute_content_hash({"b": 1, "a": [2]}) == compute_content_hash({"a": [2], "b": 1})
    assert compute_content_hash("é") == "sha256:" + __import__("hashlib").sha256(b'"\\u00e9"').hexdigest()
    assert len(compute_content_hash(object)) == 71 and len(generate_entry_id("k")) == 64


def test_protocol(store: Any) -> None:
    """Section 8.4"""
    assert isinstance(store, CatalogBackend)
    assert not isinstance(object(), CatalogBackend)


def test_track_and_get(store: Any) -> None:
    """ME-76, ME-78"""
    expires = datetime(2031, 1, 2, 3, 4, 5, 678900, tzinfo=timezone.utc)
    value = {"a": [1, None, "é"], "q": 'it\'s "x"'}
    metadata = {"t": "x", "n": 1}
    result = track(store, "k", value, metadata=metadata, expires_at=expires)
    assert result == {"success": True, "entry_id": generate_entry_id("k"), "created": True}
    entry = store.get_entry("k")
    assert set(entry) == set(catalog.COLUMNS)
    assert entry["id"] == generate_entry_id("k") and entry["byte_size"] == 5 and entry["storage_uri"] is None
    assert entry["inlined_value"] == value and entry["metadata"] == metadata
    assert catalog.aware_utc(entry["expires_at"]) == expires
    assert abs(catalog.aware_utc(entry["created_at"]) - datetime.now(timezone.utc)) < timedelta(minutes=1)  # type: ignore[operator]

    again = track(store, "k", None, storage_uri="file:///x.json", byte_size=9)
    assert again["created"] is False
    after = store.get_entry("k")
    assert after["created_at"] == entry["created_at"] and after["updated_at"] > entry["updated_at"]
    assert after["inlined_value"] is None and after["storage_uri"] == "file:///x.json"
    assert after["expires_at"] is None and after["metadata"] == {} and after["byte_size"] == 9
    assert store.get_entry("no") is None


def test_expired_entries_are_returned(store: Any) -> None:
    """Section 8.4: get_entry does not judge expiry."""
    track(store, "k", expires_at=datetime(2001, 1, 1, tzinfo=timezone.utc))
    assert store.get_entry("k") is not None


@pytest.mark.parametrize("value", ["text", 0, 1.5, False, [], {"a": {"b": 1}}])
def test_scalars(store: Any, value: Any) -> None:
    """ME-76"""
    track(store, "k", value)
    assert store.get_entry("k")["inlined_value"] == value


def test_list(store: Any) -> None:
    """ME-83, ME-84, Q9, Q10: literal prefix, filters on any JSON value, before the limit."""
    for i in range(40):
        track(
            store, f"p_{i:02}", metadata={"n": i % 20, "s": "it's", "f": i * 0.5, "flag": i == 7, "z": None}
        )
    track(store, "pX00", metadata={"deep": {"a": [1, {"b": None}]}})
    track(store, "p%", metadata={})
    track(store, "P_upper")
    assert keys(store.list_entries(limit=2)) == ["P_upper", "p%"]
    assert len(store.list_entries()) == 43 and len(store.list_entries(limit=-1)) == 43
    assert store.list_entries(limit=0) == []
    assert len(store.list_entries(prefix="p_")) == 40
    assert keys(store.list_entries(prefix="p%")) == ["p%"]
    assert keys(store.list_entries(metadata_filter={"n": 3}, limit=1)) == ["p_23"]
    assert set(keys(store.list_entries(prefix="p_", metadata_filter={"n": 3}))) == {"p_03", "p_23"}
    assert keys(store.list_entries(metadata_filter={"flag": True})) == ["p_07"]
    assert keys(store.list_entries(metadata_filter={"f": 1.0})) == ["p_02"]
    assert len(store.list_entries(metadata_filter={"s": "it's"})) == 40
    assert len(store.list_entries(metadata_filter={"z": None})) == 40
    assert keys(store.list_entries(metadata_filter={"deep": {"a": [1, {"b": None}]}})) == ["pX00"]
    assert store.list_entries(metadata_filter={"n') = 1 OR 1=1 --": 1}) == []


def test_delete(store: Any) -> None:
    """Section 8.4"""
    track(store, "k")
    assert store.delete_entry("k") is True
    assert store.delete_entry("k") is False
    assert store.get_entry("k") is None
    assert track(store, "k")["created"] is True


def test_snapshots(store: Any) -> None:
    """Section 8.4, ME-77"""
    for name in ("same", "changed", "removed"):
        track(store, name, name, byte_size=10)
    snapshot = store.create_snapshot("first")
    assert str(uuid.UUID(snapshot)) == snapshot
    info = store.get_snapshot(snapshot)
    assert (info["id"], info["name"], info["entry_count"], info["total_bytes"]) == (snapshot, "first", 3, 30)
    assert isinstance(info["created_at"], datetime)
    assert store.get_snapshot("unknown") is None
    assert store.get_changed_entries(snapshot) == []
    track(store, "changed", "other")
    track(store, "new", 1)
    store.delete_entry("removed")
    assert set(keys(store.get_changed_entries(snapshot))) == {"changed", "new"}
    assert set(keys(store.get_changed_entries())) == {"same", "changed", "new"}
    assert set(keys(store.get_changed_entries("unknown"))) == {"same", "changed", "new"}
    assert store.get_snapshot(store.create_snapshot("second"))["entry_count"] == 3


def entry(key: str, value: Any = 1, **more: Any) -> dict[str, Any]:
    return {
        "key": key,
        "content_hash": compute_content_hash(value),
        "byte_size": 3,
        "inlined_value": value,
        **more,
    }


def test_batch(store: Any) -> None:
    """Section 8.4, ME-78"""
    track(store, "k1", "old")
    created = store.get_entry("k1")["created_at"]
    result = store.store_batch([entry(f"k{i}", i, metadata={"i": i}) for i in range(1000)])
    assert result == {"success": True, "stored_count": 1000, "failed_count": 0, "errors": []}
    assert store.get_entry("k1")["inlined_value"] == 1 and store.get_entry("k1")["created_at"] == created
    read = store.retrieve_batch(["k5", "no", "k6", "no"])
    assert read["success"] and read["found_count"] == 2 and read["missing_count"] == 2
    assert set(read["entries"]) == {"k5", "no", "k6"} and read["entries"]["no"] is None
    assert read["entries"]["k6"]["metadata"] == {"i": 6}
    assert store.store_batch([])["stored_count"] == 0
    assert store.store_batch([entry("twice", 1), entry("twice", 2)])["success"]
    assert store.get_entry("twice")["inlined_value"] == 2


@pytest.mark.parametrize("bad", [{"key": "x", "byte_size": 1}, {"key": "x", "content_hash": "h"}, {}])
def test_bad_batch(store: Any, bad: dict[str, Any]) -> None:
    """ME-69, ME-86"""
    result = store.store_batch([entry("a"), bad, entry("b")], atomic=True)
    assert (result["success"], result["stored_count"], result["failed_count"]) == (False, 0, 3)
    assert (
        result["errors"][0]["atomic_rollback"] is True
        and "Missing required field" in result["errors"][0]["error"]
    )
    assert store.list_entries() == []
    result = store.store_batch([entry("a"), bad, entry("b")], atomic=False)
    assert (result["success"], result["stored_count"], result["failed_count"]) == (False, 2, 1)
    assert result["errors"][0]["key"] == bad.get("key")
    assert set(keys(store.list_entries())) == {"a", "b"}


def test_database_failure_inside_a_batch(postgres_dsn: str) -> None:
    """ME-86: an entry that only the database refuses (NUL in JSONB) fails alone or undoes the batch."""
    with PostgresCatalog(postgres_dsn) as store:
        entries = [entry("a"), entry("bad", "x\0y"), entry("b")]
        assert store.store_batch(entries)["errors"][0]["atomic_rollback"] is True
        assert store.list_entries() == []
        result = store.store_batch(entries, atomic=False)
        assert (result["stored_count"], result["failed_count"]) == (2, 1) and result["errors"][0][
            "key"
        ] == "bad"
        assert set(keys(store.list_entries())) == {"a", "b"}


def test_cleanup_expired(store: Any) -> None:
    """ME-79"""
    now = datetime.now(timezone.utc)
    for i in range(5):
        track(store, f"old{i}", expires_at=now - timedelta(hours=i + 1))
    track(store, "later", expires_at=now + timedelta(hours=1))
    track(store, "never")
    assert store.cleanup_expired(batch_size=2) == {"success": True, "deleted_count": 2, "remaining_count": 3}
    assert store.cleanup_expired() == {"success": True, "deleted_count": 3, "remaining_count": 0}
    assert set(keys(store.list_entries())) == {"later", "never"}


def test_dates_in_metadata(store: Any) -> None:
    """Q12: written as ISO text."""
    track(store, "k", metadata={"when": datetime(2030, 1, 2, tzinfo=timezone.utc)})
    assert store.get_entry("k")["metadata"] == {"when": "2030-01-02T00:00:00+00:00"}


def test_closed(store: Any) -> None:
    """Q25: a closed catalog stays closed."""
    track(store, "k")
    store.close()
    store.close()
    for call in (lambda: store.get_entry("k"), lambda: track(store, "k"), lambda: store.list_entries()):
        with pytest.raises(RuntimeError, match=r"Catalog is closed"):
            call()


def test_threads(store: Any) -> None:
    """ME-81"""
    problems: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            for i in range(10):
                track(store, f"{worker}-{i}")
                track(store, "shared", worker)
                assert store.get_entry(f"{worker}-{i}") is not None
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == [] and len(store.list_entries(limit=-1)) == 61


WRITER = """
import sys
from the_edge_agent.memory import parse_catalog_config
kind, where, worker = sys.argv[1:]
name = {"sqlite": "path", "postgres": "connection_string"}.get(kind, "url")
with parse_catalog_config({"type": kind, name: where}) as store:
    for i in range(25):
        for key in (f"{worker}-{i}", f"shared-{i}"):
            store.track_entry(key, "sha256:x", None, 1, {"w": worker}, inlined_value=i)
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "sqlalchemy"])
def test_eight_writer_processes_lose_nothing(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The issue's data safety"""
    where = str(tmp_path / "c.db")
    if kind == "postgres":
        where = request.getfixturevalue("postgres_dsn")
    elif kind == "sqlalchemy":
        where = request.getfixturevalue("mariadb_url")
    commands = [[sys.executable, "-c", WRITER, kind, where, f"w{n}"] for n in range(8)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for command in commands]
    errors = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, errors
    name = {"sqlite": "path", "postgres": "connection_string"}.get(kind, "url")
    with parse_catalog_config({"type": kind, name: where}) as store:
        expected = {f"w{n}-{i}" for n in range(8) for i in range(25)} | {f"shared-{i}" for i in range(25)}
        assert set(keys(store.list_entries(limit=-1))) == expected


def test_lazy(tmp_path: Path, postgres_dsn: str) -> None:
    """ME-81"""
    made = SQLiteCatalog(str(tmp_path / "a.db"), lazy=True)
    assert made._conn is None and not (tmp_path / "a.db").exists()
    made.create_snapshot("x")
    assert made._conn is not None and (tmp_path / "a.db").exists()
    duck = DuckDBCatalog(lazy=True)
    assert duck._conn is None and duck._initialized is False
    assert duck.list_entries() == [] and duck._initialized is True
    sql = SQLAlchemyCatalog("sqlite://", lazy=True)
    assert sql._engine is None and sql._initialized is False
    assert sql.list_entries() == [] and sql._initialized is True
    pool = PostgresCatalog(postgres_dsn, lazy=True)
    assert pool._pool is None and pool._connection_string == postgres_dsn
    for each in (made, duck, sql, pool):
        each.close()


def test_persistence(tmp_path: Path) -> None:
    """ME-77"""
    for cls, name in ((SQLiteCatalog, "a.db"), (DuckDBCatalog, "a.duckdb")):
        with cls(str(tmp_path / name)) as first:  # type: ignore[operator]
            track(first, "k", {"a": 1})
        with cls(str(tmp_path / name)) as second:  # type: ignore[operator]
            assert second.get_entry("k")["inlined_value"] == {"a": 1}


def test_duckdb_external_connection() -> None:
    """ME-82"""
    import duckdb

    connection = duckdb.connect()
    with pytest.raises(ValueError, match=r"^Cannot provide both 'path' and 'connection'"):
        DuckDBCatalog("x.duckdb", connection=connection)
    with DuckDBCatalog(connection=connection) as store:
        assert store.shared_mode and store.connection is connection
        track(store, "k")
    assert connection.execute("SELECT count(*) FROM ltm_catalog").fetchone() == (1,)
    assert not DuckDBCatalog().shared_mode and DuckDBCatalog(shared=True).shared_mode
    connection.close()


def test_missing_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """ME-82, ME-85"""
    from the_edge_agent.memory import catalog_duckdb, catalog_postgres, catalog_sqlalchemy

    monkeypatch.setattr(catalog_postgres, "ConnectionPool", None)
    with pytest.raises(ImportError, match="psycopg not installed"):
        PostgresCatalog("postgresql://x")
    monkeypatch.setattr(catalog_duckdb, "DUCKDB_AVAILABLE", False)
    monkeypatch.setattr(catalog_sqlalchemy, "SQLALCHEMY_AVAILABLE", False)
    with pytest.raises(ImportError, match=r"duckdb"):
        DuckDBCatalog()
    with pytest.raises(ImportError, match=r"^SQLAlchemy is required for SQLAlchemyCatalog\."):
        SQLAlchemyCatalog("sqlite://")


def test_without_migration(tmp_path: Path) -> None:
    """ME-85"""
    import sqlalchemy as sa

    store = SQLAlchemyCatalog(f"sqlite:///{tmp_path}/f.db", auto_migrate=False)
    with pytest.raises(sa.exc.OperationalError):
        store.list_entries()


def test_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """ME-80"""
    names = get_registered_catalog_backends()
    assert names["sqlite"] is SQLiteCatalog and names["duckdb"] is DuckDBCatalog
    assert names["sqlalchemy"] is SQLAlchemyCatalog and names["postgres"] is PostgresCatalog
    assert isinstance(parse_catalog_config({}), SQLiteCatalog)
    config = {"type": "duckdb", "lazy": True}
    assert isinstance(parse_catalog_config(config), DuckDBCatalog) and config["type"] == "duckdb"
    monkeypatch.setattr(catalog, "_catalog_backends", {})
    with pytest.raises(ValueError, match=r"^Unknown catalog backend: x\. Available: \(none\)$"):
        create_catalog_backend("x")
    register_catalog_backend("mine", dict)
    assert create_catalog_backend("mine", a=1) == {"a": 1}
    with pytest.raises(ValueError, match=r"Available: mine$"):
        create_catalog_backend("x")


def test_schema_for_sql_users(tmp_path: Path) -> None:
    """Section 8.5: column and index names."""
    import sqlite3

    SQLiteCatalog(str(tmp_path / "c.db")).close()
    with sqlite3.connect(tmp_path / "c.db") as conn:
        assert [r[1] for r in conn.execute("PRAGMA table_info(ltm_entries)")] == list(catalog.COLUMNS)
        indexes = {r[0] for r in conn.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
        assert {f"idx_ltm_entries_{n}" for n in ("key", "expires", "updated")} <= indexes
        tables = {r[0] for r in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert {"ltm_entries", "ltm_snapshots", "ltm_snapshot_entries"} <= tables
