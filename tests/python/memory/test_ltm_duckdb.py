"""The catalog-and-files backend (registered as ``duckdb``)."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from the_edge_agent.memory import (
    DuckDBCatalog,
    DuckDBLTMBackend,
    DuckDBQueryEngine,
    SQLAlchemyCatalog,
    SQLiteCatalog,
    create_ltm_backend,
    parse_ltm_config,
)

BIG = {"text": "x" * 3000}


@pytest.fixture(params=["sqlite", "duckdb", "sqlalchemy"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DuckDBLTMBackend]:
    catalog: Any = {
        "sqlite": SQLiteCatalog,
        "duckdb": DuckDBCatalog,
        "sqlalchemy": lambda: SQLAlchemyCatalog("sqlite://"),
    }[request.param]()
    with DuckDBLTMBackend(catalog=catalog, storage_uri=str(tmp_path / "data"), lazy=True) as made:
        yield made
    catalog.close()


class BrokenCatalog(SQLiteCatalog):
    """A catalog whose named methods raise."""

    broken: tuple[str, ...] = ()

    def _check(self, name: str) -> None:
        if name in self.broken:
            raise OSError(f"{name} failed")

    def track_entry(self, *args: Any, **kwargs: Any) -> Any:
        self._check("track_entry")
        return super().track_entry(*args, **kwargs)

    def get_entry(self, key: str) -> Any:
        self._check("get_entry")
        return super().get_entry(key)

    def delete_entry(self, key: str) -> bool:
        self._check("delete_entry")
        return super().delete_entry(key)

    def store_batch(self, entries: Any, atomic: bool = True) -> Any:
        self._check("store_batch")
        return super().store_batch(entries, atomic)


def files(store: DuckDBLTMBackend) -> list[str]:
    directory = store._storage_uri
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


def test_constructor_arguments(tmp_path: Path) -> None:
    """ME-60"""
    with pytest.raises(ValueError, match=r"^Either 'catalog' or 'catalog_config' must be provided$"):
        DuckDBLTMBackend()
    with pytest.raises(ValueError, match=r"^Cannot provide both 'catalog' and 'catalog_config'$"):
        DuckDBLTMBackend(catalog=SQLiteCatalog(), catalog_config={})
    with pytest.raises(TypeError, match=r"^catalog must implement CatalogBackend protocol, got dict$"):
        DuckDBLTMBackend(catalog={})


def test_lazy_and_eager(tmp_path: Path) -> None:
    """ME-61, ME-62, ME-63"""
    path = tmp_path / "data"
    lazy = DuckDBLTMBackend(catalog_config={"type": "sqlite"}, storage_uri=f"{path}///", lazy=True)
    assert lazy._storage_uri == f"{path}/" and not path.exists()
    assert lazy._catalog is None and lazy._engine is None and lazy._owns_engine
    assert isinstance(lazy.catalog, SQLiteCatalog) and path.exists()
    assert lazy.engine is lazy.query_engine and isinstance(lazy.engine, DuckDBQueryEngine)
    lazy.close()
    ready = DuckDBLTMBackend(catalog_config={}, storage_uri=str(tmp_path / "r"))
    assert ready._engine.get_pool_stats()["initialized"] is True and ready._catalog is None
    ready.close()
    engine = DuckDBQueryEngine()
    eager = DuckDBLTMBackend(catalog_config={}, storage_uri=str(tmp_path / "e"), query_engine=engine)
    assert eager.query_engine is engine and not eager._owns_engine and (tmp_path / "e").exists()
    eager.close()
    assert engine.execute("SELECT 1")["success"], "an engine of the caller stays open"
    engine.close()


@pytest.mark.parametrize("config", [{}, {"lazy": False}])
def test_eager_backend_does_not_dead_lock(config: dict[str, Any], tmp_path: Path) -> None:
    """ME-27, ME-88, Q7"""
    settings = {"ltm": {"backend": "duckdb", "storage": {"uri": str(tmp_path / "d")}, **config}}
    settings["ltm"]["catalog"] = {"type": "duckdb"}
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(parse_ltm_config(settings)), daemon=True)
    thread.start()
    thread.join(20)
    assert done, "dead-lock"
    assert done[0].store("k", 1)["success"]
    done[0].close()


def test_inline_value(store: DuckDBLTMBackend) -> None:
    """ME-64, ME-65"""
    result = store.store("k", {"b": 1, "a": None}, {"m": 1})
    assert result == {
        "success": True,
        "stored": True,
        "key": "k",
        "content_hash": result["content_hash"],
        "inlined": True,
        "byte_size": len('{"a": null, "b": 1}'),
    }
    assert store.retrieve("k") == {
        "success": True,
        "found": True,
        "value": {"a": None, "b": 1},
        "content_hash": result["content_hash"],
        "metadata": {"m": 1},
        "inlined": True,
    }
    assert store.retrieve("no", 4) == {"success": True, "found": False, "value": 4}
    assert store.store("none", None)["success"] and store.retrieve("none", 1)["found"]
    assert files(store) == []


def test_file_value(store: DuckDBLTMBackend) -> None:
    """ME-64, ME-65, ME-67"""
    result = store.store("k", BIG)
    name = hashlib.sha256(b"k").hexdigest() + ".json"
    assert result["storage_uri"] == store._storage_uri + name == store._generate_storage_path("k")
    assert result["inlined"] is False and files(store) == [name]
    found = store.retrieve("k")
    assert found["value"] == BIG and found["inlined"] is False
    assert store.delete("k") == {"success": True, "deleted": True, "key": "k"}
    assert store.delete("k") == {"success": True, "deleted": False}
    assert files(store) == [] and store.retrieve("k")["found"] is False


def test_overwriting_leaves_one_file(store: DuckDBLTMBackend) -> None:
    """ME-64: no left-overs and no lost values whatever changes into what."""
    for i in range(4):
        value = {"n": i, **BIG}
        assert store.store("k", value)["stored"]
        assert store.retrieve("k")["value"] == value and len(files(store)) == 1
    store.store("k", "small")
    assert store.retrieve("k")["value"] == "small" and files(store) == []
    store.store("k", BIG)
    assert store.retrieve("k")["value"] == BIG and len(files(store)) == 1


def test_deduplication_renews_expiry_and_metadata(store: DuckDBLTMBackend) -> None:
    """ME-64, ME-159, Q8"""
    for value in ("small", BIG):
        store.store("k", value, {"ttl": -5, "v": 1})
        assert store.retrieve("k")["found"] is False
        again = store.store("k", value, {"ttl": 100, "v": 2})
        assert again["stored"] is False and again["deduplicated"] is True and again["success"]
        found = store.retrieve("k")
        assert found["found"] and found["value"] == value and found["metadata"] == {"ttl": 100, "v": 2}


def test_lost_file_is_written_again(store: DuckDBLTMBackend) -> None:
    """Data safety: deduplication does not trust a file that is gone."""
    store.store("k", BIG)
    os.unlink(store.retrieve("k") and store._generate_storage_path("k"))
    assert store.retrieve("k")["error_type"] == "storage_error"  # ME-65
    assert store.store("k", BIG)["success"]
    assert store.retrieve("k")["value"] == BIG


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        ({"expires_at": datetime.now(timezone.utc) + timedelta(hours=1)}, True),
        ({"expires_at": datetime.now(timezone.utc) - timedelta(hours=1)}, False),
        ({"expires_at": datetime(2001, 1, 1)}, False),
        ({"expires_at": "2001-01-01T00:00:00Z"}, False),
        ({"expires_at": "2999-01-01T00:00:00Z"}, True),
        ({"expires_at": 100}, True),
        ({"ttl": 100}, True),
        ({"ttl": -1}, False),
        ({"expires_at": "soon"}, True),
        ({"expires_at": ["x"]}, True),
        ({"expires_at": None, "ttl": 0}, True),
    ],
)
def test_expiry(store: DuckDBLTMBackend, metadata: dict[str, Any], found: bool) -> None:
    """ME-64, ME-65"""
    assert store.store("k", 1, metadata)["success"]
    assert store.retrieve("k")["found"] is found
    assert (store.search()["total"] == 1) is found


@pytest.mark.parametrize("key", [None, ""])
def test_empty_key(store: DuckDBLTMBackend, key: Any) -> None:
    """ME-5, Q13"""
    for result in (store.store(key, 1), store.retrieve(key), store.delete(key)):
        assert result["error"] == "Key is required and cannot be empty"


def test_search(store: DuckDBLTMBackend) -> None:
    """ME-68, Q9"""
    for i in range(20):
        store.store(f"k{i}", f"common {i}", {"n": i % 10})
    store.store("best", "apple apple pie")
    store.store("other", {"dish": "apple pie with cream and much more around it"})
    store.store("file", {"long": "banana " + "x" * 3000})
    newest = store.search(limit=2)
    assert [row["key"] for row in newest["results"]] == ["file", "other"] and newest["total"] == 2
    assert newest["results"][1]["value"] == {"dish": "apple pie with cream and much more around it"}
    assert {"storage_uri", "inlined_value", "score", "value"} <= set(newest["results"][0])
    ranked = store.search("apple")
    assert [row["key"] for row in ranked["results"]] == ["best", "other"] and ranked["total"] == 2
    assert ranked["results"][0]["score"] > ranked["results"][1]["score"] > 0
    assert [row["key"] for row in store.search("banana")["results"]] == ["file"]
    assert store.search("nothing")["results"] == []
    found = store.search("common", {"n": 3}, limit=1)
    assert len(found["results"]) == 1 and found["total"] == 2
    assert {r["key"] for r in store.search(metadata_filter={"n": 3})["results"]} == {"k3", "k13"}
    assert store.search(5)["error_type"] == "query_error"  # type: ignore[arg-type]


def test_search_without_word_ranking(tmp_path: Path) -> None:
    """ME-68: the query is not ignored."""
    with DuckDBLTMBackend(catalog_config={}, storage_uri=str(tmp_path), enable_fts=False, lazy=True) as store:
        store.store("a", "some apples")
        store.store("b", "pears")
        assert [row["key"] for row in store.search("APPLE")["results"]] == ["a"]


def test_batch(store: DuckDBLTMBackend) -> None:
    """ME-69, ME-70"""
    zeros = {"success": True, "stored_count": 0, "failed_count": 0, "errors": []}
    assert store.store_batch([]) == zeros
    entries = [{"key": f"k{i}", "value": i, "metadata": {"i": i}} for i in range(1000)]
    entries += [
        {"key": "big", "value": BIG},
        {"key": "twice", "value": BIG},
        {"key": "twice", "value": [BIG]},
    ]
    assert store.store_batch(entries) == {**zeros, "stored_count": 1003}
    assert store.retrieve("twice")["value"] == [BIG] and len(files(store)) == 2
    assert store.store_batch([{"key": "k1", "value": 1, "metadata": {"new": 1}}])["stored_count"] == 1
    read = store.retrieve_batch(["k1", "no", "big"])
    assert read["found_count"] == 2 and read["missing_count"] == 1 and read["entries"]["no"] is None
    assert read["entries"]["k1"]["metadata"] == {"new": 1}
    assert set(read["entries"]["big"]) == {"value", "content_hash", "metadata", "inlined"}
    assert store.store_batch([{"key": "big", "value": 1}])["success"] and len(files(store)) == 1
    store.store("old", 1, {"ttl": -1})
    assert store.cleanup_expired() == {"success": True, "deleted_count": 1, "remaining_count": 0}


@pytest.mark.parametrize("bad", [{"value": 1}, {"key": "x"}, {"key": "", "value": 1}])
def test_bad_batch(store: DuckDBLTMBackend, bad: dict[str, Any]) -> None:
    """ME-69: an atomic batch that fails leaves neither rows nor files, and keeps the former values."""
    store.store("a", ["old", BIG])
    before = files(store)
    entries = [{"key": "a", "value": BIG}, bad, {"key": "b", "value": BIG}]
    result = store.store_batch(entries)
    assert (result["success"], result["stored_count"], result["failed_count"]) == (False, 0, 3)
    assert result["errors"][0]["atomic_rollback"] is True
    assert files(store) == before and store.retrieve("a")["value"] == ["old", BIG]
    result = store.store_batch(entries, atomic=False)
    assert (result["success"], result["stored_count"], result["failed_count"]) == (False, 2, 1)
    assert result["errors"][0]["key"] == bad.get("key") and result["errors"][0]["error"]
    assert store.retrieve("a")["value"] == BIG and len(files(store)) == 2


def test_failing_catalog(tmp_path: Path) -> None:
    """ME-64 to ME-67, Q13: a failed store leaves nothing behind and keeps the former value."""
    catalog = BrokenCatalog()
    store = DuckDBLTMBackend(
        catalog=catalog, storage_uri=str(tmp_path), lazy=True, enable_fallback_cache=False
    )
    store.store("k", BIG)
    before = files(store)
    catalog.broken = ("track_entry", "store_batch")
    for value in (["new", BIG], "small", BIG):
        assert store.store("k", value)["error_type"] == "catalog_error"
    assert store.store("other", BIG)["error_type"] == "catalog_error"
    assert store.store_batch([{"key": "b", "value": BIG}])["success"] is False
    catalog.broken = ()
    assert files(store) == before and store.retrieve("k")["value"] == BIG
    catalog.broken = ("get_entry",)
    assert store.store("k", 1)["error_type"] == "catalog_error"
    assert store.delete("k")["error_type"] == "catalog_error"
    assert store.retrieve("k", 3) == {"success": True, "found": False, "value": 3, "_degraded": True}


def test_fallback_cache(tmp_path: Path) -> None:
    """ME-64, ME-65, ME-66, ME-67"""
    catalog = BrokenCatalog()
    store = DuckDBLTMBackend(catalog=catalog, storage_uri=str(tmp_path), lazy=True, fallback_cache_size=2)
    store.store("a", 1, {"m": 1})
    catalog.broken = ("track_entry",)
    degraded = store.store("b", 2)
    assert degraded["_degraded"] is True and degraded["stored"] and degraded["inlined"]
    catalog.broken = ("get_entry",)
    found = store.retrieve("a")
    assert found["value"] == 1 and found["metadata"] == {"m": 1} and found["_degraded"] is True
    catalog.broken = ()
    store.store("c", 3)
    assert list(store._fallback_cache) == ["b", "c"]
    store.delete("c")
    assert list(store._fallback_cache) == ["b"]


def test_failing_storage(tmp_path: Path) -> None:
    """ME-64"""
    (tmp_path / "file").write_text("")
    store = DuckDBLTMBackend(catalog=SQLiteCatalog(), storage_uri=str(tmp_path / "file" / "x"), lazy=True)
    assert store.store("k", BIG)["error_type"] == "storage_error"
    assert store.retrieve("k")["found"] is False
    assert store.store("k", "small")["success"]


@pytest.mark.parametrize("uri", ["memory://bucket/ltm", "file://{tmp}/data"])
def test_storage_uris(uri: str, tmp_path: Path) -> None:
    """ME-62: file URIs and any other storage that fsspec reaches."""
    with DuckDBLTMBackend(catalog=SQLiteCatalog(), storage_uri=uri.format(tmp=tmp_path), lazy=True) as store:
        path = store.store("k", BIG)["storage_uri"]
        assert path.startswith(uri.format(tmp=tmp_path)) and store.retrieve("k")["value"] == BIG
        assert store.store("k", [BIG])["success"] and store.retrieve("k")["value"] == [BIG]
        assert store.delete("k")["deleted"]
        assert store._download(path)["error_type"] == "storage_error"


@pytest.mark.parametrize("name", ["one.duckdb", "sub/dir/one.db", "directory"])
@pytest.mark.parametrize("lazy", [True, False])
def test_shared_single_file(name: str, lazy: bool, tmp_path: Path) -> None:
    """ME-74"""
    arguments: dict[str, Any] = {
        "catalog_config": {"type": "duckdb", "shared": True},
        "storage_uri": str(tmp_path / name),
        "lazy": lazy,
    }
    with DuckDBLTMBackend(**arguments) as store:
        assert store.store("k", 1)["success"] and store.store("big", BIG)["success"]
        assert store.catalog.shared_mode is True
    expected = tmp_path / name / "ltm.duckdb" if name == "directory" else tmp_path / name
    assert expected.is_file()
    with DuckDBLTMBackend(**arguments) as store:
        assert store.retrieve("k")["value"] == 1 and store.retrieve("big")["value"] == BIG


def test_engine_and_health(store: DuckDBLTMBackend) -> None:
    """ME-71, ME-72"""
    assert store.get_circuit_state()["state"] == "closed"
    assert store.reset_circuit()["success"]
    health = store.health_check()
    assert health["engine"]["healthy"] is True and health["inline_threshold"] == 1024
    assert set(health) == {
        "success",
        "engine",
        "fts_enabled",
        "fts_initialized",
        "storage_uri",
        "inline_threshold",
    }
    store.close()
    assert store.store("k", 1)["success"], "the caller's catalog is still open"


def test_registered_and_ducklake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ME-13, ME-17, ME-27: the alias and a bare duckdb work with files in the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("ducklake", "duckdb"):
        with parse_ltm_config({"ltm": {"backend": name}}) as store:
            assert isinstance(store, DuckDBLTMBackend) and store._inline_threshold == 4096
            assert store.store(name, {"text": "x" * 5000})["success"]
    assert (tmp_path / "ltm_catalog.db").is_file() and len(list((tmp_path / "ltm_data").iterdir())) == 2
    with parse_ltm_config({"ltm": {"backend": "ducklake"}}) as store:
        assert store.retrieve("duckdb")["found"] and store.retrieve("ducklake")["found"]
    with create_ltm_backend("duckdb", catalog_config={"type": "sqlite"}, lazy=True) as made:
        assert isinstance(made, DuckDBLTMBackend)


WRITER = """
import sys
from the_edge_agent.memory import DuckDBLTMBackend
where, worker, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
arguments = {"catalog_config": {"type": "sqlite", "path": where + "/c.db"}, "storage_uri": where + "/data"}
with DuckDBLTMBackend(**arguments, lazy=True, inline_threshold=64) as store:
    for i in range(count):
        for key in (f"{worker}-{i % 20}", f"shared-{i % 3}"):
            result = store.store(key, {"i": i, "worker": worker, "pad": "x" * 100})
            assert result["success"], result
        print(i, flush=True)
"""


def check_whole(where: Path) -> dict[str, Any]:
    """Every catalog row has its file, and the file is whole."""
    arguments: dict[str, Any] = {
        "catalog_config": {"type": "sqlite", "path": f"{where}/c.db"},
        "storage_uri": f"{where}/data",
    }
    with DuckDBLTMBackend(**arguments, lazy=True) as store:
        entries = store.catalog.list_entries(limit=10_000)
        values = {}
        for entry in entries:
            found = store.retrieve(entry["key"])
            assert found["success"] and found["found"], found
            values[entry["key"]] = found["value"]
        return values


def test_eight_writer_processes_lose_nothing(tmp_path: Path) -> None:
    """The issue's data safety: also when all of them replace the files of the same keys."""
    commands = [[sys.executable, "-c", WRITER, str(tmp_path), f"w{n}", "20"] for n in range(8)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for command in commands
    ]
    errors = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, errors
    values = check_whole(tmp_path)
    assert set(values) == {f"w{n}-{i}" for n in range(8) for i in range(20)} | {
        f"shared-{i}" for i in range(3)
    }
    assert values["w3-7"]["i"] == 7


def test_killed_writer_leaves_a_consistent_catalog(tmp_path: Path) -> None:
    """The issue's data safety: kill -9 while files are being replaced."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path), "w", "1000000"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    confirmed, deadline = -1, time.monotonic() + 30
    while confirmed < 50 and time.monotonic() < deadline:
        confirmed = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    values = check_whole(tmp_path)
    assert len(values) == 23 and max(value["i"] for value in values.values()) >= confirmed


def test_warning_names_the_degraded_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """ME-64"""
    catalog = BrokenCatalog()
    catalog.broken = ("track_entry",)
    store = DuckDBLTMBackend(catalog=catalog, storage_uri=str(tmp_path), lazy=True)
    with caplog.at_level(logging.WARNING):
        store.store("precious", 1)
    assert "'precious' is kept in memory only" in caplog.text
