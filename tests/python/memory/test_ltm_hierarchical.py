"""The hierarchical backend, its index files and its orphan cleanup."""

from __future__ import annotations

import hashlib
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

import fsspec  # type: ignore[import-untyped]
import pytest
import sqlalchemy as sa

from the_edge_agent.memory import HierarchicalLTMBackend, create_ltm_backend, index_manager, parse_ltm_config
from the_edge_agent.memory import hierarchical_ltm as module
from the_edge_agent.memory.orphan_cleanup import cleanup_orphans, schedule_cleanup

LEVELS = ["org", "project", "user", "session"]
BIG = {"text": "x" * 3000}
DEFAULTS = {"org": "acme", "project": "alpha"}


def make(url: str, storage: object, **more: Any) -> HierarchicalLTMBackend:
    made = HierarchicalLTMBackend(url, str(storage), LEVELS, hierarchy_defaults=DEFAULTS, **more)
    return made


@pytest.fixture
def store(sql_url: str, tmp_path: Path) -> Iterator[HierarchicalLTMBackend]:
    with make(sql_url, tmp_path / "blobs") as made:
        made.register_entity_with_defaults("session", "s1", {"user": "ann"})
        made.register_entity_with_defaults("user", "bob")
        yield made


@pytest.fixture
def local(tmp_path: Path) -> Iterator[HierarchicalLTMBackend]:
    with make(f"sqlite:///{tmp_path}/c.db", tmp_path / "blobs") as made:
        made.register_entity_with_defaults("user", "ann")
        yield made


def blobs(root: Path) -> list[str]:
    return sorted(str(path) for path in root.rglob("*.json*"))


def keys(result: dict[str, Any]) -> list[str]:
    assert result["success"], result
    return [row["key"] for row in result["results"]]


def test_construction(tmp_path: Path) -> None:
    """ME-101"""
    made = HierarchicalLTMBackend("sqlite://", "data///", LEVELS, lazy=True, cache_path="c")
    assert made._storage_uri == "data/" and made._cache_path == "c/"
    assert made._index_config == {"row_group_size": 122880, "compression": "zstd"}
    assert made._performance_config == {"metadata_cache_ttl": 600, "threads": 8}
    assert (made._pool_size, made._inline_threshold, made._hierarchy_defaults) == (10, 1024, {})
    assert (
        made._initialized is False and made._closed is False and made._fs is None and made._hierarchy is None
    )
    made.hierarchy_levels.append("x")
    assert made.hierarchy_levels == LEVELS
    with pytest.raises(ValueError, match=r"Levels list cannot be empty"):
        HierarchicalLTMBackend("sqlite://", str(tmp_path), [])


@pytest.mark.parametrize(
    ("flag", "name"), [("FSSPEC_AVAILABLE", "fsspec"), ("SQLALCHEMY_AVAILABLE", "SQLAlchemy")]
)
def test_missing_library(flag: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ME-100"""
    monkeypatch.setattr(module, flag, False)
    with pytest.raises(ImportError, match=f"^{name} is required for HierarchicalLTMBackend\\."):
        HierarchicalLTMBackend("sqlite://", "x", LEVELS)
    assert module.check_hierarchical_available() is False


def test_register_with_defaults(store: HierarchicalLTMBackend) -> None:
    """ME-103"""
    path = store.register_entity_with_defaults("session", "s9", {"org": "o", "project": "p", "user": "u"})
    assert path == "org:o/project:p/user:u/session:s9"
    assert store.register_entity_with_defaults("user", "ann") == "org:acme/project:alpha/user:ann"
    assert store.register_entity_with_defaults("org", "acme") == "org:acme"
    with pytest.raises(ValueError) as caught:
        store.register_entity_with_defaults("team", "x")
    assert str(caught.value) == f"Unknown entity type: 'team'. Valid types: {LEVELS}"
    with pytest.raises(ValueError) as caught:
        store.register_entity_with_defaults("session", "s")
    text = "Missing parent for level 'user'. Provide in parents dict or configure default."
    assert str(caught.value) == text


def test_contract(store: HierarchicalLTMBackend, tmp_path: Path) -> None:
    """ME-105, ME-110, ME-5 to ME-8"""
    result = store.store("k", {"a": [1, "é"]}, {"m": 1})
    expected = {
        "success": True,
        "stored": True,
        "key": "k",
        "created": True,
        "blob_path": None,
        "inlined": True,
    }
    assert result == expected
    assert store.retrieve("k") == {
        "success": True,
        "value": {"a": [1, "é"]},
        "found": True,
        "metadata": {"m": 1},
        "entity_id": None,
    }
    assert store.store("k", None)["created"] is False
    found = store.retrieve("k", "default")
    assert found["found"] is True and found["value"] is None  # ME-117
    assert store.retrieve("no", 3) == {"success": True, "value": 3, "found": False, "metadata": None}
    assert store.delete("k") == {"success": True, "deleted": True, "key": "k"}
    assert store.delete("k")["deleted"] is False
    for key in (None, ""):
        for refused in (store.store(key, 1), store.retrieve(key), store.delete(key)):  # type: ignore[arg-type]
            assert refused["error"] == "Key is required and cannot be empty"


def test_blob_paths(store: HierarchicalLTMBackend, tmp_path: Path) -> None:
    """ME-105"""
    root = f"{tmp_path}/blobs/"
    digest = hashlib.sha256(b"k").hexdigest()
    result = store.store("k", BIG, entity=("session", "s1"))
    expected = f"{root}org:acme/project:alpha/user:ann/session:s1/{digest[:16]}.json"
    assert result["blob_path"] == expected == store._generate_hierarchical_path(("session", "s1"), "k")
    assert result["inlined"] is False and store._fs.exists(expected)
    assert store.retrieve("k")["entity_id"] == "session:s1" and store.retrieve("k")["value"] == BIG
    assert store.store("free", BIG)["blob_path"] == f"{root}_cache/{hashlib.sha256(b'free').hexdigest()}.json"
    exact = "x" * (store._inline_threshold - 2)
    assert store.store("edge", exact)["inlined"] is True
    assert store.store("edge", exact + "x")["inlined"] is False


def test_ids_cannot_leave_the_storage(store: HierarchicalLTMBackend, tmp_path: Path) -> None:
    """Data safety: an entity id with slashes and dots stays inside its directory."""
    name = "../../../escape"
    store.register_entity_with_defaults("user", name)
    path = store.store("k", BIG, entity=("user", name))["blob_path"]
    assert Path(os.path.realpath(path)).is_relative_to(os.path.realpath(tmp_path / "blobs"))
    assert store.retrieve("k")["value"] == BIG
    outside = [
        p for p in tmp_path.rglob("*") if "escape" in p.name and not p.is_relative_to(tmp_path / "blobs")
    ]
    assert outside == []


def test_overwriting(store: HierarchicalLTMBackend, tmp_path: Path) -> None:
    """ME-106, Q6: one blob per entry, never the former one lost."""
    for i in range(3):
        store.store("k", {"i": i, **BIG}, entity=("session", "s1"))
        assert store.retrieve("k")["value"]["i"] == i and len(blobs(tmp_path / "blobs")) == 1
    store.store("k", "small")
    assert store.retrieve("k")["value"] == "small" and blobs(tmp_path / "blobs") == []
    assert store.retrieve("k")["entity_id"] == "session:s1", "an entry keeps its owner"
    store.store("k", BIG, entity=("user", "bob"))
    assert store.retrieve("k")["entity_id"] == "user:bob"
    assert store.retrieve_by_entity("session", "s1")["total_count"] == 0
    assert store.retrieve_by_entity("user", "bob")["total_count"] == 1
    store.delete("k")
    assert blobs(tmp_path / "blobs") == []


def test_unknown_entity_writes_nothing(store: HierarchicalLTMBackend, tmp_path: Path) -> None:
    """ME-116, Q5"""
    store.store("old", 1)
    for key in ("old", "new"):
        for value in (BIG, 2):
            result = store.store(key, value, entity=("user", "nobody"))
            assert result["error"] == "Entity not found: user:nobody" and "orphaned_blob" not in result
    assert store.retrieve("new")["found"] is False and store.retrieve("old")["value"] == 1
    assert blobs(tmp_path / "blobs") == []


def test_expiry(store: HierarchicalLTMBackend) -> None:
    """ME-115, Q4: readable until it expires, on every database; naive times count as UTC."""
    now = datetime.now(timezone.utc)
    later, past = now + timedelta(hours=1), now - timedelta(seconds=1)
    east = timezone(timedelta(hours=9))
    times = {
        "later": later,
        "naive": later.replace(tzinfo=None),
        "east": later.astimezone(east),
        "past": past,
        "past-east": past.astimezone(east),
    }
    for key, moment in times.items():
        store.store(key, "v", {"m": 1}, entity=("user", "ann"), expires_at=moment)
    live = {"later", "naive", "east"}
    assert {key for key in times if store.retrieve(key)["found"]} == live
    assert set(store.retrieve_batch(list(times))["entries"]) == live
    assert set(keys(store.search(metadata_filter={"m": 1}))) == live
    assert {entry["key"] for entry in store.retrieve_by_entity("user", "ann")["entries"]} == live
    store.store("past", "v")
    assert store.retrieve("past")["found"] is True


def test_retrieve_by_entity(store: HierarchicalLTMBackend) -> None:
    """ME-111"""
    store.store("a", BIG, {"m": 1}, entity=("session", "s1"))
    store.store("b", 2, entity=("user", "ann"))
    store.store("c", [BIG], entity=("user", "bob"))
    page = store.retrieve_by_entity("org", "acme")
    assert [(e["key"], e["value"], e["entity_id"]) for e in page["entries"]] == [
        ("a", BIG, "session:s1"),
        ("b", 2, "user:ann"),
        ("c", [BIG], "user:bob"),
    ]
    assert page["total_count"] == 3 and page["has_more"] is False and page["success"]
    assert set(page["entries"][0]) == {"key", "value", "metadata", "entity_id", "created_at", "updated_at"}
    page = store.retrieve_by_entity("org", "acme", limit=2)
    assert len(page["entries"]) == 2 and page["has_more"] is True
    assert store.retrieve_by_entity("user", "ann", include_descendants=False)["total_count"] == 1
    assert store.retrieve_by_entity("user", "nobody")["entries"] == []
    store.delete("a")
    assert store.retrieve_by_entity("org", "acme")["total_count"] == 2  # ME-113


def test_allowed_ancestors(store: HierarchicalLTMBackend) -> None:
    """ME-111: an empty list allows nothing."""
    store.store("a", 1, entity=("session", "s1"))
    for allowed in (["session:s1"], ["org:acme", "x"], ["user:ann"]):
        assert store.retrieve_by_entity("session", "s1", allowed_ancestors=allowed)["total_count"] == 1
    for allowed in ([], ["user:bob"], ["org:other"], ["acme"]):
        result = store.retrieve_by_entity("session", "s1", allowed_ancestors=allowed)
        assert result == {
            "success": False,
            "error": "Access denied - entity not in allowed hierarchy",
            "error_type": "auth_failed",
        }


def test_retrieve_batch_and_unreadable_blobs(store: HierarchicalLTMBackend) -> None:
    """ME-110, ME-111, ME-112"""
    path = store.store("lost", BIG, entity=("user", "ann"))["blob_path"]
    for i in range(30):
        store.store(f"k{i}", {"i": i, **BIG})
    os.unlink(path)
    assert store.retrieve("lost")["error_type"] == "storage_error"
    assert store.retrieve("lost")["error"].startswith("Failed to read blob: ")
    assert store.retrieve_by_entity("user", "ann")["entries"][0]["value"] is None
    result = store.retrieve_batch(["lost", "no", *(f"k{i}" for i in range(30))])
    assert (result["found_count"], result["requested_count"]) == (30, 32)
    assert result["entries"]["k7"]["i"] == 7 and "lost" not in result["entries"]


def test_search(store: HierarchicalLTMBackend) -> None:
    """ME-114, Q9"""
    for i in range(30):
        store.store(f"k{i:02}", {"text": f"Common {i}"}, {"n": i % 15, "deep": {"a": [i]}})
    store.store("bare", "common é")
    store.store("big", {"needle": "Grün", **BIG}, {"n": 99})
    assert keys(store.search(limit=2)) == ["big", "bare"]
    assert keys(store.search(metadata_filter={"n": 3}, limit=1)) == ["k18"]
    assert keys(store.search("common", {"n": 3})) == ["k18", "k03"]
    assert keys(store.search(metadata_filter={"deep": {"a": [4]}})) == ["k04"]
    assert keys(store.search("GRÜN")) == ["big"]
    assert keys(store.search("%")) == [] and len(keys(store.search(limit=-1))) == 32
    row = store.search("grün")["results"][0]
    assert set(row) == {"key", "value", "metadata", "entity_id", "score"} and row["score"] == 0.0
    assert store.search(5)["error_type"] == "query_error"  # type: ignore[arg-type]


def test_long_keys(store: HierarchicalLTMBackend) -> None:
    """ME-117: keys longer than 64 characters belong to entities too."""
    key = "k" * 400
    assert store.store(key, 1, entity=("user", "ann"))["success"]
    assert store.retrieve_by_entity("user", "ann")["entries"][0]["key"] == key


def test_failing_storage_and_catalog(local: HierarchicalLTMBackend, tmp_path: Path) -> None:
    """ME-107: a failed store leaves nothing behind."""
    local.store("k", BIG)
    before = blobs(tmp_path / "blobs")
    with sa.create_engine(f"sqlite:///{tmp_path}/c.db").begin() as conn:
        conn.exec_driver_sql(
            "CREATE TRIGGER no_write BEFORE UPDATE ON ltm_catalog_entries"
            " BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    result = local.store("k", [BIG])
    assert result["error_type"] == "catalog_error" and "no" in result["error"]
    assert blobs(tmp_path / "blobs") == before and local.retrieve("k")["value"] == BIG
    assert local.store("k", "small")["success"] is False
    assert local.retrieve("k")["value"] == BIG

    (tmp_path / "file").write_text("")
    with make("sqlite://", tmp_path / "file" / "x") as blocked:
        result = blocked.store("k", BIG)
        assert result["error_type"] == "storage_error" and result["error"].startswith(
            "Failed to write blob: "
        )
        assert blocked.retrieve("k")["found"] is False and blocked.store("k", 1)["success"]


def test_close(store: HierarchicalLTMBackend) -> None:
    """ME-119"""
    store.close()
    store.close()
    for result in (
        store.store("k", 1),
        store.store("k", BIG),
        store.retrieve("k"),
        store.delete("k"),
        store.search(),
        store.retrieve_batch(["k"]),
        store.retrieve_by_entity("org", "acme"),
        store.compact_indexes(),
        store.cleanup_orphans(),
    ):
        assert (result["error"], result["error_type"]) == ("Backend is closed", "connection_error")


def test_unreachable(tmp_path: Path) -> None:
    """ME-107"""
    result = make(f"sqlite:///{tmp_path}/no/c.db", tmp_path, lazy=True).store("k", 1)
    assert result["error"].startswith("Database error: ") and result["error_type"] == "connection_error"


@pytest.mark.parametrize("uri", ["memory://bucket/x", "file://{tmp}/x", "rel/x"])
def test_storage_uris(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 9: any fsspec URI; compaction and cleanup work with each of them (ME-123, ME-128, Q3)."""
    monkeypatch.chdir(tmp_path)
    with make(f"sqlite:///{tmp_path}/c.db", uri.format(tmp=tmp_path)) as store:
        store.register_entity_with_defaults("user", "ann")
        for i in range(5):
            store.store(f"k{i}", {"i": i, **BIG}, entity=("user", "ann"))
        result = store.cleanup_orphans(max_age_seconds=0)
        assert result["success"] and result["orphan_count"] == 0 and result["scanned_count"] == 5
        outside = cleanup_orphans(f"sqlite:///{tmp_path}/c.db", uri.format(tmp=tmp_path), max_age_seconds=0)
        assert outside["success"] and outside["deleted_count"] == 0
        assert [store.retrieve(f"k{i}")["value"]["i"] for i in range(5)] == [0, 1, 2, 3, 4]
        fs = store._fs
        for expected in (1, 0):
            compacted = store.compact_indexes(max_deltas=2)
            assert len(compacted["compacted_paths"]) == expected
        rows = index_manager.query_index(store._storage_uri, fs, "user:ann")
        assert {row["entry_id"] for row in rows} == {f"k{i}" for i in range(5)}


def test_registered_and_nested_yaml(tmp_path: Path) -> None:
    """ME-13, ME-20, ME-27, ME-28"""
    config: dict[str, Any] = {
        "backend": "hierarchical",
        "catalog": {"type": "sqlalchemy", "url": f"sqlite:///{tmp_path}/c.db"},
        "storage": {"uri": f"file://{tmp_path}/blobs"},
        "hierarchy": {
            "enabled": True,
            "levels": LEVELS,
            "root_entity": {"type": "org", "source": "jwt"},
            "defaults": DEFAULTS,
        },
        "index": {"format": "parquet", "row_group_size": 100, "compression": "snappy"},
        "performance": {
            "metadata_cache": {"enabled": True, "ttl_seconds": 5},
            "parallel_reads": {"threads": 2},
        },
        "inline_threshold": 10,
    }
    with parse_ltm_config({"ltm": config}) as made:
        assert isinstance(made, HierarchicalLTMBackend)
        made.register_entity_with_defaults("user", "ann")
        assert made.store("k", "x" * 20, entity=("user", "ann"))["inlined"] is False
    flat = {
        "backend": "hierarchical",
        "catalog_url": f"sqlite:///{tmp_path}/c.db",
        "storage_uri": f"file://{tmp_path}/blobs",
        "hierarchy_levels": LEVELS,
    }
    with parse_ltm_config({"ltm": flat}) as made:
        assert made.retrieve("k")["value"] == "x" * 20
    with create_ltm_backend("hierarchical", **{k: v for k, v in flat.items() if k != "backend"}) as made:
        assert made.retrieve("k")["found"]


# Index files


def add(root: str, fs: Any, count: int, prefix: str = "e") -> None:
    for i in range(count):
        result = index_manager.update_indexes(root, fs, ("user", "ann"), f"{prefix}{i}", "add")
        assert result["success"], result


@pytest.fixture(params=["file://{tmp}/x/", "memory://idx/{name}/"])
def index_root(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Any]:
    uri = request.param.format(tmp=tmp_path, name=tmp_path.name)
    return uri, fsspec.core.url_to_fs(uri)[0]


def test_compaction(index_root: tuple[str, Any]) -> None:
    """ME-120 to ME-123: compaction twice keeps every entry, and runs from the threshold on."""
    root, fs = index_root
    add(root, fs, 5)
    assert len(index_manager._list_delta_files(fs, root, "user:ann")) == 5
    nothing = index_manager.compact_indexes(root, fs, "user:ann", max_deltas=6)
    assert nothing == {"success": True, "compacted_paths": [], "entries_processed": 0}
    result = index_manager.compact_indexes(root, fs, "user:ann", max_deltas=5)
    assert result == {"success": True, "compacted_paths": ["user:ann"], "entries_processed": 5}
    assert index_manager._list_delta_files(fs, root, "user:ann") == []
    add(root, fs, 3, "f")
    assert index_manager.compact_indexes(root, fs, None, max_deltas=2)["entries_processed"] == 8
    assert len(index_manager.query_index(root, fs, "user:ann")) == 8


def test_tombstones(index_root: tuple[str, Any]) -> None:
    """ME-121, ME-122: removed entries go, entries that were stored again stay."""
    root, fs = index_root
    add(root, fs, 3)
    for name in ("e0", "e1"):
        assert index_manager.update_indexes(root, fs, ("user", "ann"), name, "remove")["success"]
    add(root, fs, 1)
    expected = {"e0", "e2"}
    assert {row["entry_id"] for row in index_manager.query_index(root, fs, "user:ann")} == expected
    assert index_manager.compact_indexes(root, fs, max_deltas=1)["entries_processed"] == 2
    assert {row["entry_id"] for row in index_manager.query_index(root, fs, "user:ann")} == expected
    assert not fs.exists(index_manager._directory(fs, root, "user:ann") + "/_index_tombstones.parquet")
    assert index_manager.update_indexes(root, fs, ("user", "ann"), "x", "rename")["success"] is False


def test_index_files(index_root: tuple[str, Any]) -> None:
    """ME-120, ME-121: names, ancestors as directories, schema, compression."""
    import pyarrow.parquet as parquet

    root, fs = index_root
    path = index_manager.update_indexes(
        root, fs, ("user", "ann"), "e", "add", {"compression": "snappy"}, ["org:acme"]
    )["path"]
    assert "/org:acme/user:ann/_index_delta_" in path
    with fs.open(path, "rb") as stream:
        file = parquet.ParquetFile(stream)
        assert [(f.name, str(f.type)) for f in file.schema_arrow] == [
            ("entry_id", "string"),
            ("entity_id", "string"),
            ("created_at", "timestamp[us, tz=UTC]"),
        ]
        assert file.metadata.row_group(0).column(0).compression == "SNAPPY"
    assert index_manager.compact_indexes(root, fs, max_deltas=1)["compacted_paths"] == ["org:acme/user:ann"]


def test_broken_path_is_skipped(index_root: tuple[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """ME-122"""
    root, fs = index_root
    add(root, fs, 2)
    bad = index_manager._directory(fs, root, "user:bad") + "/_index_delta_1_aaaaaaaa.parquet"
    fs.makedirs(bad.rsplit("/", 1)[0], exist_ok=True)
    fs.pipe_file(bad, b"no parquet")
    assert index_manager.compact_indexes(root, fs, max_deltas=1)["compacted_paths"] == ["user:ann"]
    assert fs.exists(bad) and "user:bad" in caplog.text


def test_without_pyarrow(local: HierarchicalLTMBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """ME-102, ME-118"""
    monkeypatch.setattr(index_manager, "PYARROW_AVAILABLE", False)
    assert local.store("k", 1, entity=("user", "ann"))["success"]
    assert local.compact_indexes() == {
        "success": False,
        "error": "PyArrow not available",
        "error_type": "dependency_missing",
    }


def test_backend_keeps_the_index(local: HierarchicalLTMBackend, tmp_path: Path) -> None:
    """ME-106, ME-113"""
    for key in ("a", "b"):
        local.store(key, 1, entity=("user", "ann"))
    local.delete("a")
    rows = index_manager.query_index(local._storage_uri, local._fs, "user:ann")
    assert [row["entry_id"] for row in rows] == ["b"]


# Orphan cleanup


def age(path: str, seconds: float = 7200) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def plant_orphan(root: Path) -> Path:
    path = root / "org:acme" / "deadbeefdeadbeef.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    age(str(path))
    return path


def test_dry_run_without_a_catalog_table(tmp_path: Path) -> None:
    """ME-128, Q3: a dry run takes a missing table as empty, a real run refuses."""
    orphan = plant_orphan(tmp_path / "blobs")
    uri = f"file://{tmp_path}/blobs/"
    result = cleanup_orphans("sqlite:///:memory:", uri, max_age_seconds=3600, dry_run=True)
    assert result["success"] and result["dry_run"] is True
    assert (result["scanned_count"], result["orphan_count"], result["deleted_count"]) == (1, 1, 0)
    assert result["deleted_paths"] == [str(orphan)] and orphan.exists()
    for url in ("sqlite:///:memory:", f"sqlite:///{tmp_path}/no/c.db", "nonsense://x"):
        result = cleanup_orphans(url, uri)
        assert result["error_type"] == "query_error" and orphan.exists()


def test_only_old_orphans_go(local: HierarchicalLTMBackend, tmp_path: Path) -> None:
    """ME-127"""
    root = tmp_path / "blobs"
    live = local.store("k", BIG, entity=("user", "ann"))["blob_path"]
    local.store("cached", BIG)
    orphan, young = plant_orphan(root), root / "young.json"
    young.write_text("{}")
    for name in ("_index.json", "_meta.json", "notes.txt"):
        (root / name).write_text("{}")
    for path in root.rglob("*"):
        if path.is_file() and path != young:
            age(str(path))
    crashed = root / "a.json.0123456789abcdef.tmp"
    crashed.write_text("{")
    age(str(crashed))
    result = local.cleanup_orphans()
    assert set(result["deleted_paths"]) == {str(orphan), str(crashed)} and result["deleted_count"] == 2
    assert young.exists() and os.path.exists(live) and (root / "notes.txt").exists()
    assert local.retrieve("k")["value"] == BIG and local.retrieve("cached")["value"] == BIG
    assert local.cleanup_orphans(max_age_seconds=0)["deleted_paths"] == [str(young)]


@pytest.mark.parametrize("spelling", ["plain", "file-uri", "relative", "symlink", "trailing"])
def test_no_spelling_of_the_path_deletes_live_blobs(
    spelling: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ME-128, Q3: stored under one spelling of the directory, cleaned under every other."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    spellings = {
        "plain": f"{tmp_path}/real",
        "file-uri": f"file://{tmp_path}/real/",
        "relative": "./real",
        "symlink": f"{tmp_path}/link",
        "trailing": f"{tmp_path}/real///",
    }
    url = f"sqlite:///{tmp_path}/c.db"
    with make(url, spellings[spelling]) as store:
        assert store.store("k", BIG)["success"]
        for path in blobs(tmp_path / "real"):
            age(path)
        monkeypatch.chdir("/")
        for other in spellings.values():
            if other.startswith("."):
                other = str(tmp_path / "real")
            result = cleanup_orphans(url, other)
            assert result["success"] and result["orphan_count"] == 0 and result["scanned_count"] == 1, other
    monkeypatch.chdir(tmp_path)
    with make(url, spellings[spelling]) as store:
        assert store.retrieve("k")["value"] == BIG


def test_schedule(tmp_path: Path) -> None:
    """ME-127"""
    with make(f"sqlite:///{tmp_path}/c.db", tmp_path / "blobs") as store:
        store.store("k", BIG)
        orphan = plant_orphan(tmp_path / "blobs")
        thread = schedule_cleanup(
            f"sqlite:///{tmp_path}/c.db", str(tmp_path / "blobs"), interval_seconds=0.05
        )
        assert isinstance(thread, threading.Thread) and thread.daemon
        deadline = time.monotonic() + 20
        while orphan.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not orphan.exists() and store.retrieve("k")["found"]


# Processes

WRITER = """
import sys
from the_edge_agent.memory import HierarchicalLTMBackend
url, where, worker, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
arguments = {"hierarchy_levels": ["org", "user"], "hierarchy_defaults": {"org": "acme"}, "pool_size": 1}
with HierarchicalLTMBackend(url, where, inline_threshold=64, **arguments) as store:
    store.register_entity_with_defaults("user", worker)
    for i in range(count):
        for key in (f"{worker}-{i % 10}", f"shared-{i % 3}"):
            value = {"i": i, "worker": worker, "pad": "x" * (i % 2 * 100)}
            result = store.store(key, value, entity=("user", worker))
            assert result["success"], result
        if i % 5 == 4:
            assert store.delete(f"shared-{i % 3}")["success"]
        print(i, flush=True)
"""


def check_whole(url: str, where: Path) -> dict[str, Any]:
    """Rows, blobs, ownership and closure agree; what no row names is removed by the cleanup."""
    with HierarchicalLTMBackend(url, str(where), ["org", "user"]) as store:
        values: dict[str, Any] = {}
        rows = store.search(limit=-1)["results"]
        for row in rows:
            found = store.retrieve(row["key"])
            assert found["success"] and found["found"], found
            values[row["key"]] = found["value"]
            assert found["entity_id"] == f"user:{found['value']['worker']}"
        page = store.retrieve_by_entity("org", "acme", limit=100_000)
        assert page["total_count"] == len(values)
        assert {e["key"]: e["value"] for e in page["entries"]} == values
        assert store.cleanup_orphans(max_age_seconds=0)["success"]
        big = [value for value in values.values() if value["pad"]]
        assert len(blobs(where)) == len(big)
        assert {row["key"]: row["value"] for row in store.search(limit=-1)["results"]} == values
        return values


@pytest.mark.parametrize("database", ["sqlite", "postgres_url", "mariadb_url"])
def test_eight_writer_processes_lose_nothing(
    database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The issue's data safety"""
    url = f"sqlite:///{tmp_path}/c.db" if database == "sqlite" else request.getfixturevalue(database)
    HierarchicalLTMBackend(url, str(tmp_path / "blobs"), ["org", "user"]).close()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, url, str(tmp_path / "blobs"), f"w{n}", "13"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for n in range(8)
    ]
    errors = [process.communicate()[1].decode()[-1500:] for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, errors
    values = check_whole(url, tmp_path / "blobs")
    assert {f"w{n}-{i}" for n in range(8) for i in range(10)} <= set(values)
    assert values["w3-2"]["i"] == 12 and values["w3-7"]["i"] == 7


@pytest.mark.parametrize("moment", [3, 11, 20])
@pytest.mark.parametrize("database", ["sqlite", "postgres_url"])
def test_killed_writer_leaves_a_consistent_catalog(
    database: str, moment: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The issue's data safety: kill -9 at some point of a stream of stores, overwrites and deletes."""
    url = f"sqlite:///{tmp_path}/c.db" if database == "sqlite" else request.getfixturevalue(database)
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, url, str(tmp_path / "blobs"), "w", "1000000"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    confirmed, deadline = -1, time.monotonic() + 30
    while confirmed < moment and time.monotonic() < deadline:
        confirmed = int(process.stdout.readline())
    time.sleep(moment * 0.0007)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    values = check_whole(url, tmp_path / "blobs")
    newest = max(value["i"] for value in values.values())
    assert newest >= confirmed
    for i in range(max(0, confirmed - 8), confirmed + 1):
        assert values[f"w-{i % 10}"]["i"] >= i
