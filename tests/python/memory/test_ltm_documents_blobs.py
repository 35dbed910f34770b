"""Document stores (SQLite) and blob storages (fsspec)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from the_edge_agent.memory import (
    BlobStorage,
    MetadataQuery,
    MetadataStore,
    create_blob_storage,
    create_metadata_store,
    get_registered_blob_storages,
    get_registered_metadata_stores,
    register_blob_storage,
    register_metadata_store,
)
from the_edge_agent.memory.blob import FsspecBlobStorage
from the_edge_agent.memory.metadata import OrderDirection, SQLiteMetadataStore


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SQLiteMetadataStore]:
    with SQLiteMetadataStore(":memory:" if request.param == "memory" else str(tmp_path / "d.db")) as made:
        yield made


def ids(result: dict[str, Any]) -> list[str]:
    assert result["success"] and result["count"] == len(result["results"]), result
    return [row["doc_id"] for row in result["results"]]


def test_documents(store: MetadataStore) -> None:
    """ME-165"""
    assert store.set_document("c", "1", {"a": {"b": 1}, "x": 1}) == {
        "success": True,
        "doc_id": "1",
        "collection": "c",
        "created": True,
    }
    assert store.set_document("c", "1", {"a": {"c": 2}}, merge=True)["created"] is False
    assert store.get_document("c", "1") == {
        "success": True,
        "exists": True,
        "data": {"a": {"b": 1, "c": 2}, "x": 1},
        "doc_id": "1",
    }
    assert store.set_document("c", "1", {"n": 1})["success"]
    assert store.get_document("c", "1")["data"] == {"n": 1}
    assert store.get_document("d", "1") == {"success": True, "exists": False, "data": None, "doc_id": "1"}
    assert store.update_document("c", "1", {"deep.er": [1]}) == {
        "success": True,
        "doc_id": "1",
        "updated": True,
    }
    assert store.get_document("c", "1")["data"] == {"n": 1, "deep": {"er": [1]}}
    assert store.update_document("c", "no", {})["error_type"] == "not_found"
    assert store.document_exists("c", "1") == {"success": True, "exists": True, "doc_id": "1"}
    assert store.delete_document("c", "1") == {"success": True, "doc_id": "1", "deleted": True}
    assert store.delete_document("c", "1")["deleted"] is False


def test_bad_documents(store: MetadataStore) -> None:
    """ME-4: refused, and the former one stays."""
    store.set_document("c", "1", {"a": 1})
    assert store.set_document("c", "1", {"a": object()})["error_type"] == "validation_error"
    assert store.set_document("c", "1", [1])["error_type"] == "validation_error"  # type: ignore[arg-type]
    assert store.update_document("c", "1", {"b": {1}})["error_type"] == "validation_error"
    assert store.get_document("c", "1")["data"] == {"a": 1}
    store.set_document("c", "t", {"when": datetime(2030, 1, 2, tzinfo=timezone.utc)})
    assert store.get_document("c", "t")["data"] == {"when": "2030-01-02T00:00:00+00:00"}


def test_field_values(store: MetadataStore) -> None:
    """Section 13.1"""
    store.set_document("c", "1", {"n": 1, "tags": ["a", "b"], "old": 1, "in": {"x": 1}})
    changes = {
        "n": store.increment(2),
        "new": store.increment(),
        "tags": store.array_union(["b", "c"]),
        "old": store.delete_field(),
        "in.x": store.delete_field(),
        "at": store.server_timestamp(),
    }
    assert store.update_document("c", "1", changes)["success"]
    data = store.get_document("c", "1")["data"]
    assert datetime.fromisoformat(data.pop("at")).tzinfo is not None
    assert data == {"n": 3, "new": 1, "tags": ["a", "b", "c"], "in": {}}
    store.set_document("c", "1", {"tags": store.array_remove(["a", "z"])}, merge=True)
    assert store.get_document("c", "1")["data"]["tags"] == ["b", "c"]


def test_query(store: MetadataStore) -> None:
    """Section 13.1: every operator, nested fields, order, offset, selection."""
    for i in range(5):
        store.set_document("c", f"d{i}", {"n": i, "s": "abcde"[i], "t": ["x", i], "in": {"v": i % 2}})
    store.set_document("c", "odd", {"s": None})
    store.set_document("other", "d9", {"n": 1})
    cases: list[tuple[str, str, Any, list[str]]] = [
        ("n", "==", 1, ["d1"]),
        ("n", "!=", 1, ["d0", "d2", "d3", "d4"]),
        ("n", "<", 2, ["d0", "d1"]),
        ("n", "<=", 1.0, ["d0", "d1"]),
        ("n", ">", 3, ["d4"]),
        ("n", ">=", "3", []),
        ("s", ">=", "d", ["d3", "d4"]),
        ("s", "==", None, ["odd"]),
        ("n", "in", [1, 4, 9], ["d1", "d4"]),
        ("n", "not-in", [1, 4], ["d0", "d2", "d3"]),
        ("t", "array-contains", 3, ["d3"]),
        ("t", "array-contains-any", [0, 4, "z"], ["d0", "d4"]),
        ("in.v", "==", 1, ["d1", "d3"]),
        ("n", "==", True, []),
    ]
    for name, op, value, expected in cases:
        assert ids(store.query(MetadataQuery("c").where(name, op, value))) == expected, (name, op, value)
    spec = MetadataQuery("c").where("in.v", "==", 0).where("n", ">", 0).order("n", OrderDirection.DESCENDING)
    assert ids(store.query(spec)) == ["d4", "d2"]
    assert ids(store.query(spec.set_limit(1))) == ["d4"]
    assert ids(store.query(MetadataQuery("c", limit=2, offset=3))) == ["d3", "d4"]
    by_two = MetadataQuery("c").order("in.v").order("n", OrderDirection.DESCENDING)
    assert ids(store.query(by_two)) == ["odd", "d4", "d2", "d0", "d3", "d1"]
    selected = store.query(MetadataQuery("c", [("n", "==", 1)], select_fields=["s"]))
    assert selected["results"] == [{"doc_id": "d1", "data": {"s": "b"}}]
    assert ids(store.query_collection("c", [("n", "==", 1)], limit=5)) == ["d1"]
    with pytest.raises(ValueError, match=r"Unknown operator"):
        MetadataQuery("c").where("n", "~", 1)
    assert store.query(MetadataQuery("c", [("n", "~", 1)]))["error_type"] == "validation_error"


def test_transactions(store: MetadataStore) -> None:
    """ME-165, ME-166: both styles, all or nothing."""
    store.set_document("c", "1", {"n": 1})

    def good(tx: Any) -> str:
        store.set_document("c", "2", {"n": 2}, transaction=tx)
        tx.append({"operation": "update", "collection": "c", "doc_id": "1", "data": {"n": 5}})
        assert store.get_document("c", "2")["exists"] is False
        return "done"

    assert store.run_transaction(good) == "done"
    assert store.get_document("c", "1")["data"] == {"n": 5} and store.get_document("c", "2")["exists"]

    def bad(tx: Any) -> None:
        tx.delete("c", "1")
        tx.set("c", "3", {})
        tx.update("c", "missing", {"n": 1})

    assert store.run_transaction(bad)["error_type"] == "not_found"
    assert store.get_document("c", "1")["exists"] and not store.get_document("c", "3")["exists"]

    def raising(tx: Any) -> None:
        tx.set("c", "3", {})
        raise KeyError("x")

    with pytest.raises(KeyError):
        store.run_transaction(raising)
    assert not store.get_document("c", "3")["exists"]
    tx = store.begin_transaction()
    store.delete_document("c", "1", transaction=tx)
    assert store.commit_transaction(tx) == {"success": True, "operations": 1}
    assert not store.get_document("c", "1")["exists"]


def test_batches(store: MetadataStore) -> None:
    """Section 13.1"""
    assert store.batch_set([("c", str(i), {}) for i in range(3)])["count"] == 3
    result = store.batch_set([("c", "9", {}), ("c", "10", {"x": object()}), ("c", "11", {})])
    assert result["success"] is False and len(result["partial_results"]) == 1
    assert not store.get_document("c", "11")["exists"]
    assert store.batch_delete([("c", "0"), ("c", "1")])["success"]


def test_closed_store(store: MetadataStore) -> None:
    """ME-4"""
    store.close()
    store.close()
    assert store.get_document("c", "1")["error_type"] == "connection_error"


INCREMENT = """
import sys
from the_edge_agent.memory import create_metadata_store
with create_metadata_store("sqlite", path=sys.argv[1]) as store:
    store.set_document("c", "1", {}, merge=True)
    for _ in range(50):
        assert store.update_document("c", "1", {"n": store.increment()})["success"]
"""


def test_processes_lose_no_increment(tmp_path: Path) -> None:
    """The issue's data safety"""
    path = str(tmp_path / "d.db")
    processes = [
        subprocess.Popen([sys.executable, "-c", INCREMENT, path], stderr=subprocess.PIPE) for _ in range(8)
    ]
    errors = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, errors
    with SQLiteMetadataStore(path) as store:
        assert store.get_document("c", "1")["data"] == {"n": 400}


def test_registries() -> None:
    """ME-167"""
    assert "sqlite" in get_registered_metadata_stores() and "fsspec" in get_registered_blob_storages()
    with pytest.raises(ValueError, match=r"^Unknown metadata store type: 'x'\. Available stores: "):
        create_metadata_store("x")
    with pytest.raises(ValueError, match=r"^Unknown blob storage type: 'x'\. Available storages: "):
        create_blob_storage("x")
    register_metadata_store("Mine", dict)
    register_blob_storage("Mine", dict)
    assert create_metadata_store("mine", a=1) == {"a": 1} == create_blob_storage("MINE", a=1)
    for registry in (get_registered_metadata_stores, get_registered_blob_storages):
        assert "mine" in registry()


@pytest.fixture(params=["path", "file://", "memory://"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FsspecBlobStorage]:
    uri = {
        "path": str(tmp_path / "b"),
        "file://": f"file://{tmp_path}/b/",
        "memory://": f"memory:/{tmp_path}",
    }
    with FsspecBlobStorage(uri[request.param]) as made:
        yield made


def test_blobs(storage: BlobStorage, tmp_path: Path) -> None:
    """ME-168"""
    result = storage.upload("a/b.json", "é")
    assert result["success"] and result["size"] == 2 and len(result["etag"]) == 64
    assert result["uri"] == storage.get_uri("a/b.json")
    assert storage.parse_uri(result["uri"])["path"] == "a/b.json"
    assert "error" in storage.parse_uri("s3://elsewhere/x")
    expected = {"success": True, "content": "é".encode(), "content_type": "application/json", "size": 2}
    assert storage.download("a/b.json") == expected
    assert storage.upload("a/b.json", b"x", overwrite=False)["error_type"] == "already_exists"
    assert storage.upload("a/b.json", b"\0new")["success"]
    assert storage.download("a/b.json")["content"] == b"\0new"
    info = storage.info("a/b.json")["info"]
    assert (info.name, info.size, info.content_type) == ("a/b.json", 4, "application/json")
    (tmp_path / "in.txt").write_text("file")
    assert storage.upload_file("a/c.txt", str(tmp_path / "in.txt"))["size"] == 4
    assert storage.download_file("a/c.txt", str(tmp_path / "out.txt"))["size"] == 4
    assert (tmp_path / "out.txt").read_text() == "file"
    assert storage.upload_file("x", str(tmp_path / "none"))["error_type"] == "not_found"
    assert storage.exists("a/c.txt") == {"success": True, "exists": True, "path": "a/c.txt"}
    assert storage.copy("a/c.txt", "d.txt")["success"] and storage.move("d.txt", "e.txt")["success"]
    assert storage.exists("d.txt")["exists"] is False and storage.download("e.txt")["content"] == b"file"
    assert storage.delete("e.txt") == {"success": True, "path": "e.txt", "deleted": True}
    for missing in (storage.delete("e.txt"), storage.download("e.txt"), storage.info("e.txt")):
        assert missing["error_type"] == "not_found"


def test_blob_lists(storage: BlobStorage) -> None:
    """ME-168"""
    assert storage.list() == {"success": True, "objects": [], "prefixes": [], "count": 0}
    for name in ("a/1", "a/2", "a/x/3", "b"):
        storage.upload(name, "x")
    found = storage.list()
    assert [blob.name for blob in found["objects"]] == ["a/1", "a/2", "a/x/3", "b"] and found["count"] == 4
    folded = storage.list("a/", delimiter="/")
    assert [blob.name for blob in folded["objects"]] == ["a/1", "a/2"] and folded["prefixes"] == ["a/x/"]
    assert storage.list(max_results=2)["count"] == 2
    result = storage.delete_many(["a/1", "no", "b"])
    assert (result["success"], result["deleted"], result["failed"]) == (False, 2, 1)
    assert result["errors"][0]["path"] == "no"


@pytest.mark.parametrize("path", ["", " ", "/etc/passwd", "../x", "a/../../x", "a\0b", "..\\x", "."])
def test_no_path_leaves_the_root(storage: BlobStorage, path: str) -> None:
    """Data safety"""
    for result in (storage.upload(path, "x"), storage.download(path), storage.delete(path)):
        assert result["success"] is False and result["error_type"] == "validation_error"


def test_closed_storage(storage: BlobStorage) -> None:
    """ME-4"""
    storage.close()
    assert storage.upload("a", "x")["error_type"] == "connection_error"
    assert storage.list()["error_type"] == "connection_error"
