"""Blobs in an S3-compatible server (moto, in process) through fsspec: every layer that stores files."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from the_edge_agent.memory import (
    BlobSQLiteBackend,
    DuckDBLTMBackend,
    HierarchicalLTMBackend,
    SQLiteCatalog,
    index_manager,
)
from the_edge_agent.memory.blob import FsspecBlobStorage

BIG = {"text": "x" * 3000}


def _require(name: str) -> Any:
    """Import a package of the tests; without it skip, or fail where CI=true."""
    try:
        return __import__(name, fromlist=["x"])
    except ImportError:
        message = f"{name} is not installed; pip install 'moto[server]' s3fs"
        if os.environ.get("CI") == "true":
            pytest.fail(message, pytrace=False)
        pytest.skip(message)


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    """URL of the server."""
    _require("s3fs")
    server = _require("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """URI of a new bucket; the AWS settings come from the environment, as for users."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs = _require("s3fs")
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"b-{uuid.uuid4().hex[:12]}"
    s3fs.S3FileSystem().mkdir(name)
    return f"s3://{name}"


def test_catalog_and_files(bucket: str) -> None:
    """ME-62, ME-64: values in S3."""
    with DuckDBLTMBackend(catalog=SQLiteCatalog(), storage_uri=f"{bucket}/ltm", lazy=True) as store:
        first = store.store("k", BIG)["storage_uri"]
        assert first.startswith(f"{bucket}/ltm/") and store.retrieve("k")["value"] == BIG
        second = store.store("k", [BIG])["storage_uri"]
        assert second != first and store.retrieve("k")["value"] == [BIG]
        assert store._download(first)["error_type"] == "storage_error", "the former file is gone"
        assert store.store_batch([{"key": f"k{i}", "value": [i, BIG]} for i in range(3)])["stored_count"] == 3
        assert store.retrieve_batch(["k0", "k2"])["found_count"] == 2
        assert store.delete("k")["deleted"] and store._download(second)["success"] is False


def test_hierarchical(bucket: str) -> None:
    """ME-105, ME-123, ME-128, Q3: blobs, index files and orphan cleanup in S3."""
    with HierarchicalLTMBackend("sqlite://", f"{bucket}/mem", ["org", "user"]) as store:
        store.register_entity_with_defaults("user", "ann", {"org": "acme"})
        for i in range(4):
            stored = store.store(f"k{i}", {"i": i, **BIG}, entity=("user", "ann"))
            assert stored["blob_path"].startswith(f"{bucket}/mem/org:acme/user:ann/"), stored
        assert store.store("k0", {"i": 9, **BIG})["success"]
        page = store.retrieve_by_entity("org", "acme")
        assert [entry["value"]["i"] for entry in page["entries"]] == [9, 1, 2, 3]
        FsspecBlobStorage(f"{bucket}/mem").upload("org:acme/orphan.json", "{}")
        for dry_run in (True, False):
            cleaned = store.cleanup_orphans(max_age_seconds=0, dry_run=dry_run)
            assert cleaned["success"] and cleaned["orphan_count"] == 1 and cleaned["scanned_count"] == 5
        assert cleaned["deleted_paths"][0].endswith("orphan.json")
        assert store.retrieve_batch([f"k{i}" for i in range(4)])["found_count"] == 4
        assert store.cleanup_orphans(max_age_seconds=3600)["orphan_count"] == 0
        assert store.compact_indexes(max_deltas=2)["entries_processed"] == 4
        store.delete("k1")
        rows = index_manager.query_index(store._storage_uri, store._fs, "user:ann")
        assert {row["entry_id"] for row in rows} == {"k0", "k2", "k3"}


def test_blob_storage(bucket: str) -> None:
    """ME-168"""
    with FsspecBlobStorage(f"{bucket}/files") as storage:
        assert storage.list()["count"] == 0
        assert storage.upload("a/b.json", "{}")["uri"] == f"{bucket}/files/a/b.json"
        assert storage.upload("a/b.json", "x", overwrite=False)["error_type"] == "already_exists"
        assert storage.download("a/b.json")["content"] == b"{}"
        info = storage.info("a/b.json")["info"]
        assert (info.name, info.size) == ("a/b.json", 2) and info.updated is not None
        assert storage.move("a/b.json", "c.json")["success"]
        assert [blob.name for blob in storage.list()["objects"]] == ["c.json"]
        assert storage.delete("a/b.json")["error_type"] == "not_found"
        assert storage.delete("c.json")["deleted"]
    with FsspecBlobStorage("s3://no-such-bucket-here/x") as missing:
        assert missing.upload("a", "x")["success"] is False
        assert missing.download("a")["success"] is False


def test_sqlite_file(bucket: str) -> None:
    """ME-243"""
    for value in (1, 2):
        with BlobSQLiteBackend(f"{bucket}/memory.db", lock_backend="memory") as backend:
            assert backend.retrieve("k", 0)["value"] == value - 1
            backend.store("k", value)
