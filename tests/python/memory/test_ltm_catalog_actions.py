"""The ``catalog.*``, ``memory.cloud_*`` and ``memory.manifest_*`` actions over real local stores."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from the_edge_agent.memory import actions_catalog as catalog
from the_edge_agent.memory import actions_cloud_memory as cloud
from the_edge_agent.memory.blob import FsspecBlobStorage
from the_edge_agent.memory.metadata import SQLiteMetadataStore


@pytest.fixture
def state(tmp_path: Path) -> Iterator[dict[str, Any]]:
    with SQLiteMetadataStore() as store, FsspecBlobStorage(str(tmp_path / "blobs")) as blobs:
        yield {"project_id": "mine", "_metadata_store": store, "_blob_storage": blobs}


def register(state: dict[str, Any], name: str, **more: Any) -> dict[str, Any]:
    return catalog.catalog_register_table(state, name, **{"type": "memory", **more})


def test_helpers() -> None:
    """Section 13.3"""
    assert catalog._generate_file_id("p") == hashlib.sha256(b"p").hexdigest()[:20]
    moment = datetime(2026, 1, 2, 3, 4, 5, 6)
    assert catalog._generate_snapshot_id("t", moment) == "t_20260102_030405_000006"
    assert catalog._compute_content_hash("é") == "sha256:" + hashlib.sha256("é".encode()).hexdigest()
    assert catalog._compute_content_hash(b"x") == catalog._compute_content_hash("x")


def test_register_table(state: dict[str, Any]) -> None:
    """ME-171"""
    result = register(state, "notes")
    assert result["success"] and (result["table_name"], result["type"]) == ("notes", "memory")
    table = catalog.catalog_get_table(state, "notes")["table"]
    assert table["name"] == "notes" and table["source_collection"] == "agent_memory"
    snapshot = catalog.catalog_get_latest_snapshot(state, "notes")["snapshot"]
    assert snapshot["snapshot_id"] == result["snapshot_id"]
    assert (snapshot["table"], snapshot["source_doc_ids"], snapshot["row_count"]) == ("notes", [], 0)
    tabular = register(state, "t", type="tabular", schema={"a": "int"}, primary_key=["a"])
    assert tabular["success"] and catalog.catalog_get_table(state, "t")["table"]["source_collection"] is None
    cases = [
        (register(state, "x", type="odd"), "Invalid table type: odd. Must be 'memory' or 'tabular'"),
        (register({}, "x", type="tabular"), "Tabular tables require 'schema' definition"),
        (
            register({}, "x", type="tabular", schema={"a": "int"}),
            "Tabular tables require 'primary_key' definition",
        ),
        (register(state, "notes"), "Table 'notes' already exists"),
        (catalog.catalog_get_table(state, "no"), "Table 'no' not found"),
        (register({}, "x"), "No MetadataStore available. Pass metadata_store in kwargs or state."),
    ]
    for result, text in cases:
        assert result["success"] is False and result["error"] == text
    listed = catalog.catalog_list_tables(state)
    assert listed["count"] == 2 and {table["name"] for table in listed["tables"]} == {"notes", "t"}
    assert [t["name"] for t in catalog.catalog_list_tables(state, type="tabular")["tables"]] == ["t"]


def test_files_and_snapshots(state: dict[str, Any]) -> None:
    """ME-171"""
    register(state, "t", type="tabular", schema={"a": "int"}, primary_key=["a"])
    first = catalog.catalog_track_file(state, "t", "a.parquet", "sha256:1", 10, 2)
    assert first == {
        "success": True,
        "file_id": catalog._generate_file_id("a.parquet"),
        "table": "t",
        "path": "a.parquet",
    }
    snapshot = catalog.catalog_create_snapshot(state, "t", first["file_id"], row_count=2)["snapshot_id"]
    catalog.catalog_track_file(state, "t", "b.parquet", "sha256:2", 10, 2, type="delta")
    files = catalog.catalog_list_files(state, "t")
    assert [file["path"] for file in files["files"]] == ["b.parquet", "a.parquet"] and files["count"] == 2
    assert catalog.catalog_list_files(state, "t", type="parquet")["count"] == 1
    assert catalog.catalog_list_files(state, "t", limit=1)["files"][0]["path"] == "b.parquet"
    assert catalog.catalog_get_file(state, first["file_id"])["file"]["byte_size"] == 10
    assert catalog.catalog_get_file(state, "no")["error_type"] == "not_found"
    changed = catalog.catalog_get_changed_files(state, "t", snapshot)
    assert [file["path"] for file in changed["changed"]] == ["b.parquet"] and changed["total"] == 1
    assert catalog.catalog_get_changed_files(state, "t")["total"] == 2
    assert catalog.catalog_list_snapshots(state, "t")["count"] == 2
    assert catalog.catalog_get_latest_snapshot(state, "t")["snapshot"]["snapshot_id"] == snapshot
    assert catalog.catalog_get_latest_snapshot(state, "no")["error"] == "No snapshots found for table 'no'"
    assert catalog.catalog_track_file(state, "no", "x", "h", 1, 1)["error"] == "Table 'no' not found"
    bad = catalog.catalog_track_file({}, "t", "x", "h", 1, 1, type="csv")
    assert bad["error"] == "Invalid file type: csv. Must be 'parquet' or 'delta'"


def test_changed_documents(state: dict[str, Any]) -> None:
    """ME-171: a memory table."""
    register(state, "notes")
    store = state["_metadata_store"]
    for name, synced in [("new", None), ("synced", "2026"), ("unknown", "2026")]:
        store.set_document("agent_memory", name, {"file_path": f"{name}.md", "synced_at": synced})
    snapshot = catalog.catalog_create_snapshot(state, "notes", source_doc_ids=["new", "synced"])[
        "snapshot_id"
    ]
    changed = catalog.catalog_get_changed_files(state, "notes", snapshot)["changed"]
    assert changed == [
        {"doc_id": "new", "path": "new.md", "content_hash": None},
        {"doc_id": "unknown", "path": "unknown.md", "content_hash": None},
    ]


class ListStore:
    """A store of the other style: operation dictionaries, results under ``documents``, ids under ``id``."""

    def __init__(self) -> None:
        self.data: dict[tuple[str, str], dict[str, Any]] = {}

    def get_document(self, collection: str, doc_id: str) -> dict[str, Any]:
        found = self.data.get((collection, doc_id))
        return {"success": True, "exists": found is not None, "data": found}

    def set_document(self, collection: str, doc_id: str, data: dict[str, Any]) -> dict[str, Any]:
        self.data[(collection, doc_id)] = data
        return {"success": True}

    def query(self, spec: Any) -> dict[str, Any]:
        rows = [{"id": i, **d} for (c, i), d in self.data.items() if c == spec.collection]
        for name, _, value in spec.filters:
            rows = [row for row in rows if row.get(name) == value]
        return {"success": True, "documents": rows}

    def run_transaction(self, callback: Any) -> dict[str, Any]:
        operations: list[dict[str, Any]] = []
        callback(operations)
        for op in operations:
            self.set_document(op["collection"], op["doc_id"], op["data"])
        return {"success": True}


def test_other_style_of_store() -> None:
    """ME-166, Q21"""
    store = ListStore()
    registry: dict[str, Any] = {}
    catalog.register_actions(registry, SimpleNamespace(_metadata_store=store))
    assert registry["catalog.register_table"]({}, "t", type="memory")["success"]
    assert registry["catalog.list_tables"]({})["tables"][0]["name"] == "t"
    assert registry["catalog.list_snapshots"]({}, "t")["count"] == 1
    store.run_transaction = lambda callback: {"success": False, "error": "busy"}  # type: ignore[method-assign]
    failed = registry["catalog.register_table"]({}, "u", type="memory")
    assert (failed["error"], failed["error_type"]) == ("Failed to register table: busy", "transaction_error")
    catalog.register_actions(registry, SimpleNamespace())
    assert registry["catalog.get_table"]({}, "t")["error_type"] == "configuration_error"


@pytest.mark.parametrize(
    "path",
    [
        *("", "  ", ".", "./", "x" * 1001, "a\0b", "../x", "a/../b", "%2e%2e/x", "%252e%252e%252fx"),
        *("/etc/passwd", "C:/x", "\\\\host\\x", "gs://b/x", "HTTP://x", "a b", "a;b", "a$b", "a\nb", "é.md"),
        *("x.py", "a/b.SH", "/".join("a" * 21), "%2fetc%2fpasswd", "~/x", "..%2fx"),
    ],
)
def test_paths_are_refused(state: dict[str, Any], path: str) -> None:
    """ME-176"""
    result = cloud.memory_cloud_store(state, path, "text")
    assert result["error_type"] == "validation_error" and result["error"].startswith("Invalid path: ")


def test_paths_are_cleaned() -> None:
    """ME-176, ME-177"""
    assert cloud._sanitize_path(" a//b.md/ ", "p-1") == (True, "a/b.md", "agent-memory/p-1/a/b.md")
    for project in ("a/b", "", "a b", "..", None):
        valid, text, full = cloud._sanitize_path("x", project)
        assert not valid and text.startswith("Invalid project_id:") and full is None
    assert cloud._generate_doc_id("p", "a.md") == hashlib.sha256(b"p/a.md").hexdigest()[:20]
    types = [cloud._detect_content_type(p) for p in ("a.yml", "a.JSON", "a.md", "a.txt", "a")]
    assert types == ["yaml", "json", "md", "yaml", "yaml"]
    assert (
        cloud._detect_content_type("a.md", "json") == "json"
        and cloud._detect_content_type("a.md", "x") == "md"
    )
    assert cloud._validate_file_size("x" * 16_003)[0] and not cloud._validate_file_size("x" * 16_004)[0]
    assert cloud._validate_file_size("\n" * 499)[0] and not cloud._validate_file_size("\n" * 500)[0]


def test_store_and_retrieve(state: dict[str, Any]) -> None:
    """ME-178, ME-179"""
    result = cloud.memory_cloud_store(
        state, "a/b.json", '{"é": 1}\n', anchors=["top"], metadata={"summary": "s"}, skip_embedding=True
    )
    assert result["success"] and result["file_path"] == "a/b.json" and result["embedding_status"] == "skipped"
    assert (result["byte_size"], result["line_count"], result["token_estimate"]) == (10, 2, 2)
    read = cloud.memory_cloud_retrieve(state, path="a/b.json", parse=True)
    assert read["content"] == '{"é": 1}\n'.encode() and read["parsed"] == {"é": 1}
    document = read["metadata"]
    assert (document["status"], document["summary"], document["created_by"]) == (
        "active",
        "s",
        "agent:unknown",
    )
    assert document["project_id"] == "mine" and document["synced_at"] is None
    assert cloud.memory_cloud_retrieve(state, doc_id=result["doc_id"])["success"]
    other = {**state, "project_id": "theirs"}
    denied = cloud.memory_cloud_retrieve(other, doc_id=result["doc_id"])
    assert (denied["error"], denied["error_type"]) == ("Access denied: project mismatch", "permission_denied")
    missing = cloud.memory_cloud_retrieve(other, path="a/b.json")
    assert missing["error"] == "Document not found in metadata store"
    assert cloud.memory_cloud_retrieve(state)["error"] == "Either 'path' or 'doc_id' must be provided"
    assert cloud.memory_cloud_store(state, "x.md", 5)["error_type"] == "validation_error"
    assert "File too large" in cloud.memory_cloud_store(state, "x.md", "x" * 200_000)["error"]
    bare = {"_metadata_store": state["_metadata_store"]}
    assert "No BlobStorage available" in cloud.memory_cloud_store(bare, "x.md", "x")["error"]
    assert cloud.memory_cloud_store({"project_id": "a/b"}, "x.md", "x")["error"].startswith(
        "Invalid project_id:"
    )


def test_embeddings(state: dict[str, Any]) -> None:
    """ME-178"""
    calls: list[str] = []

    def embed(state: Any, content: str) -> dict[str, Any]:
        calls.append(content)
        return {"success": True, "embedding": [1.0], "model": "m", "tokens": 3}

    def store(text: str, **more: Any) -> tuple[str, int]:
        result = cloud.memory_cloud_store(state, "a.md", text, **more)
        return result["embedding_status"], result["embedding_tokens"]

    assert store("one") == ("skipped", 0)
    assert store("one", embed_action=embed) == ("generated", 3)
    assert store("one", embed_action=embed) == ("cached", 0) and calls == ["one"]
    assert store("two", embed_action=lambda **_: 1 / 0) == ("failed:exception", 0)
    assert cloud.memory_cloud_retrieve(state, "a.md")["metadata"]["embedding"] is None


def test_failed_document_takes_the_blob_back(state: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """ME-178: a failed store leaves nothing behind, and keeps the former content."""
    cloud.memory_cloud_store(state, "old.md", "former")
    failing = {"success": False, "error": "down", "error_type": "connection_error"}
    monkeypatch.setattr(state["_metadata_store"], "set_document", lambda *_, **__: failing)
    for name in ("old.md", "new.md"):
        result = cloud.memory_cloud_store(state, name, "changed")
        assert (result["error"], result["error_type"]) == ("down", "connection_error")
    assert state["_blob_storage"].exists("agent-memory/mine/new.md")["exists"] is False
    assert cloud.memory_cloud_retrieve(state, "old.md")["content"] == b"former"


def test_lists_and_manifest(state: dict[str, Any]) -> None:
    """ME-179"""
    ids = {}
    for name, anchors, project in [
        ("a/1.md", ["x"], "mine"),
        ("a/2.json", ["y"], "mine"),
        ("b.md", ["x", "y"], "mine"),
        ("secret.md", ["x"], "theirs"),
    ]:
        stored = cloud.memory_cloud_store({**state, "project_id": project}, name, "{}", anchors=anchors)
        ids[name] = stored["doc_id"]

    def paths(result: dict[str, Any], key: str = "files") -> list[str]:
        assert result["success"] and result["count"] == len(result[key])
        return [row["file_path"] for row in result[key]]

    assert paths(cloud.memory_cloud_list(state)) == ["a/1.md", "a/2.json", "b.md"]
    assert paths(cloud.memory_cloud_list(state, prefix="a/")) == ["a/1.md", "a/2.json"]
    assert paths(cloud.memory_cloud_list(state, content_type="json")) == ["a/2.json"]
    assert paths(cloud.memory_cloud_list(state, anchors=["x"])) == ["a/1.md", "b.md"]
    page = cloud.memory_cloud_list(state, limit=1, offset=1)
    assert paths(page) == ["a/2.json"] and (page["limit"], page["offset"]) == (1, 1)
    search = cloud.memory_manifest_search
    assert paths(search(state, anchor="y"), "documents") == ["a/2.json", "b.md"]
    assert paths(search(state, anchors_any=["x", "z"]), "documents") == ["a/1.md", "b.md"]
    assert search(state)["error"] == "Either 'anchor' or 'anchors_any' must be provided"
    update = cloud.memory_manifest_update
    changed = update(
        state, ids["b.md"], anchors_add=["z", "x"], anchors_remove=["y"], status="old", summary="s"
    )
    assert changed == {"success": True, "doc_id": ids["b.md"]}
    document = cloud.memory_cloud_retrieve(state, "b.md")["metadata"]
    assert (document["anchors"], document["status"], document["summary"]) == (["x", "z"], "old", "s")
    assert paths(cloud.memory_cloud_list(state, status="old")) == ["b.md"]
    assert update(state, ids["secret.md"], status="x")["error_type"] == "permission_denied"
    assert update(state, "no", status="x")["error_type"] == "not_found"
    registry: dict[str, Any] = {}
    engine = SimpleNamespace(_metadata_store=state["_metadata_store"])
    cloud.register_actions(registry, engine)
    assert registry["memory.cloud_list"]({"project_id": "theirs"})["count"] == 1
