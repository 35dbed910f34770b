"""The SQLite backend: contract, full-text search, threads, processes, crash safety."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from the_edge_agent.memory import SQLiteBackend


@pytest.fixture
def backend() -> Iterator[SQLiteBackend]:
    with SQLiteBackend() as made:
        yield made


def test_store_and_overwrite(backend: SQLiteBackend) -> None:
    """ME-3, ME-8"""
    assert backend.store("k", {"a": 1}, {"m": 1}) == {
        "success": True,
        "stored": True,
        "key": "k",
        "created": True,
    }
    assert backend.retrieve("k") == {"success": True, "value": {"a": 1}, "found": True, "metadata": {"m": 1}}
    assert backend.store("k", [2])["created"] is False
    assert backend.retrieve("k") == {"success": True, "value": [2], "found": True, "metadata": None}


def test_missing_key(backend: SQLiteBackend) -> None:
    """ME-3"""
    assert backend.retrieve("no", 5) == {"success": True, "value": 5, "found": False, "metadata": None}
    assert backend.delete("no") == {"success": True, "deleted": False, "key": "no"}


@pytest.mark.parametrize("key", [None, ""])
def test_empty_key(backend: SQLiteBackend, key: Any) -> None:
    """ME-5"""
    expected = {
        "success": False,
        "error": "Key is required and cannot be empty",
        "error_type": "validation_error",
    }
    assert backend.store(key, 1) == expected
    assert backend.retrieve(key) == expected
    assert backend.delete(key) == expected


def test_values_are_json(backend: SQLiteBackend) -> None:
    """ME-5, ME-6, ME-7"""
    backend.store(7, {1: (2, None)}, {})  # type: ignore[arg-type, dict-item]
    assert backend.retrieve("7") == {
        "success": True,
        "value": {"1": [2, None]},
        "found": True,
        "metadata": None,
    }
    backend.store("none", None)
    assert backend.retrieve("none", "default")["found"] is True
    assert backend.retrieve("none", "default")["value"] is None
    backend.store("odd", "\ud800 caf\u00e9")
    assert backend.retrieve("odd")["value"] == "\ud800 caf\u00e9"
    first = backend.retrieve("7")["value"]
    first["1"].append(9)
    assert backend.retrieve("7")["value"] == {"1": [2, None]}


def test_large_value_round_trips(backend: SQLiteBackend) -> None:
    """ME-135"""
    text = "x" * 100_000
    backend.store("big", text)
    assert backend.retrieve("big")["value"] == text


def test_errors(backend: SQLiteBackend) -> None:
    """ME-134"""
    result = backend.store("k", {1, 2})
    assert result["error_type"] == "serialization_error"
    assert result["error"].startswith("Failed to serialize value: ")
    assert backend.store("k", 1, {"m": object()})["error_type"] == "serialization_error"
    assert backend.retrieve("k")["found"] is False, "a failed store leaves nothing behind"
    result = backend.search(query=5)  # type: ignore[arg-type]
    assert result["error"].startswith("Unexpected error: ") and result["error_type"] == "query_error"
    conn = backend._conn
    assert conn is not None
    conn.execute("INSERT INTO ltm_store (key, value) VALUES ('broken', '{')")
    assert backend.retrieve("broken")["error_type"] == "serialization_error"
    conn.execute("DROP TABLE ltm_store")
    result = backend.store("k", 1)
    assert result["error"].startswith("Database error: ") and result["error_type"] == "connection_error"


def test_use_after_close(backend: SQLiteBackend) -> None:
    """ME-134"""
    backend.close()
    backend.close()
    for result in (backend.store("k", 1), backend.retrieve("k"), backend.delete("k"), backend.search()):
        assert result["error"] == "Unexpected error: Backend is closed"
        assert result["error_type"] == "query_error"
    assert list(backend.iterate_all()) == []


@pytest.mark.parametrize("path", ["../x.db", "a/../../x.db", "foo..db"])
def test_path_traversal(path: str) -> None:
    """ME-130"""
    with pytest.raises(ValueError) as caught:
        SQLiteBackend(path)
    assert str(caught.value) == f"Path traversal detected in: {path}"


def test_parent_directory_is_not_created(tmp_path: Path) -> None:
    """ME-130"""
    with pytest.raises(sqlite3.OperationalError):
        SQLiteBackend(str(tmp_path / "no" / "x.db"))


def test_two_memory_backends_do_not_share(backend: SQLiteBackend) -> None:
    """ME-131"""
    backend.store("k", 1)
    with SQLiteBackend(":memory:") as other:
        assert other.retrieve("k")["found"] is False


def test_file_settings_and_schema(tmp_path: Path) -> None:
    """ME-131, ME-132"""
    path = str(tmp_path / "f.db")
    with SQLiteBackend(path) as backend:
        backend.store("k", {"word": "hello"}, {"tag": "blue"})
        assert backend._conn is not None
        pragmas = [
            backend._conn.execute(f"PRAGMA {p}").fetchone()[0]
            for p in ("journal_mode", "synchronous", "busy_timeout")
        ]
        assert pragmas == ["wal", 1, 5000]
    with sqlite3.connect(path) as conn:
        columns = [row[1] for row in conn.execute("PRAGMA table_info(ltm_store)")]
        assert columns == ["key", "value", "metadata", "created_at", "updated_at"]
        assert conn.execute("SELECT key FROM ltm_fts WHERE ltm_fts MATCH 'hello'").fetchall() == [("k",)]
        assert conn.execute("SELECT key FROM ltm_fts WHERE ltm_fts MATCH 'metadata:blue'").fetchall() == [
            ("k",)
        ]
    with SQLiteBackend(path) as again:
        assert again.retrieve("k")["value"] == {"word": "hello"}  # ME-135


def test_created_at_is_kept(backend: SQLiteBackend) -> None:
    """ME-8"""
    conn = backend._conn
    assert conn is not None
    backend.store("k", 1)
    before = conn.execute("SELECT created_at, updated_at FROM ltm_store").fetchone()
    backend.store("k", 2)
    after = conn.execute("SELECT created_at, updated_at FROM ltm_store").fetchone()
    assert after[0] == before[0] and after[1] > before[1]


def keys(result: dict[str, Any]) -> list[str]:
    assert result["success"] and result["count"] == len(result["results"])
    return [row["key"] for row in result["results"]]


def test_full_text_search(backend: SQLiteBackend) -> None:
    """ME-133: the query is one phrase over key, value and metadata."""
    backend.store("one", "the quick brown fox", {"lang": "en"})
    backend.store("two", {"text": "brown quick"}, {"lang": "en"})
    backend.store("three", "Crème brûlée naïve")
    assert keys(backend.search("quick brown")) == ["one"]
    assert keys(backend.search("brûlée")) == ["three"]
    assert set(keys(backend.search("quick"))) == {"one", "two"}
    assert keys(backend.search("three")) == ["three"]
    assert keys(backend.search('say "quick')) == []
    assert keys(backend.search("quick OR nothing")) == []
    assert keys(backend.search("!!!")) == []
    row = backend.search("quick brown")["results"][0]
    assert set(row) == {"key", "value", "metadata", "score"} and row["score"] < 0


def test_index_follows_changes(backend: SQLiteBackend) -> None:
    """ME-132"""
    backend.store("k", "old text")
    backend.store("k", "new text")
    assert keys(backend.search("old")) == [] and keys(backend.search("new")) == ["k"]
    backend.delete("k")
    assert keys(backend.search("new")) == []


def test_search_without_query(backend: SQLiteBackend) -> None:
    """ME-133"""
    for i in range(15):
        backend.store(f"k{i}", i)
    backend.store("k3", "again")
    assert keys(backend.search(limit=3)) == ["k3", "k14", "k13"]
    assert len(keys(backend.search())) == 10
    assert len(keys(backend.search(limit=-1))) == 15
    assert keys(backend.search(limit=0)) == []
    assert backend.search(limit=1)["results"][0]["score"] == 0.0


def test_filter_comes_before_the_limit(backend: SQLiteBackend) -> None:
    """ME-133, Q9"""
    for i in range(50):
        backend.store(f"k{i}", "word", {"n": i % 25, "tags": ["a", i % 2], "flag": i == 0, "none": None})
    backend.store("bare", "word")
    assert keys(backend.search(metadata_filter={"n": 3}, limit=1)) == ["k28"]
    assert set(keys(backend.search("word", metadata_filter={"n": 3}))) == {"k3", "k28"}
    assert keys(backend.search(metadata_filter={"flag": True})) == ["k0"]
    assert keys(backend.search(metadata_filter={"n": 0, "tags": ["a", 0]})) == ["k0"]
    assert len(keys(backend.search(metadata_filter={"none": None}, limit=-1))) == 50
    assert keys(backend.search(metadata_filter={"absent": None})) == []
    assert keys(backend.search(metadata_filter={"n') OR 1=1 --": 1})) == []


def test_iterate_all(backend: SQLiteBackend) -> None:
    """ME-3"""
    with backend.transaction() as tx:
        for i in range(1201):
            tx.store(f"k{i:04}", i, {"i": i})
    rows = list(backend.iterate_all())
    assert len(rows) == 1201 and rows[700] == ("k0700", 700, {"i": 700})


def test_transaction_is_atomic(backend: SQLiteBackend) -> None:
    """ME-9, Q26"""
    backend.store("old", 1)
    tx = backend.transaction()
    tx.store("a", 1)
    tx.delete("old")
    tx.store("", 2)
    tx.store("b", {1})
    result = tx.commit()
    assert result["error"] == "Transaction had 2 failed operations" and len(result["errors"]) == 2
    assert backend.retrieve("a")["found"] is False and backend.retrieve("old")["found"] is True
    tx = backend.transaction()
    tx.store("a", 1)
    tx.delete("old")
    assert tx.commit() == {"success": True, "operations": 2}
    assert backend.retrieve("a")["found"] is True and backend.retrieve("old")["found"] is False


def test_threads_on_one_memory_backend(backend: SQLiteBackend) -> None:
    """ME-135"""
    problems: list[Any] = []

    def write(worker: int) -> None:
        for i in range(50):
            result = backend.store(f"{worker}-{i}", i)
            if not result["success"]:
                problems.append(result)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == [] and backend.search(limit=-1)["count"] == 500


WRITER = """
import sys
from the_edge_agent.memory import SQLiteBackend
path, worker, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with SQLiteBackend(path) as backend:
    for i in range(count):
        result = backend.store(f"{worker}-{i}", {"worker": worker, "i": i}, {"worker": worker})
        assert result["success"], result
        result = backend.store("shared", {"worker": worker, "i": i})
        assert result["success"], result
        print(i, flush=True)
"""


def test_eight_writer_processes_lose_nothing(tmp_path: Path) -> None:
    """ME-135 and the issue's data safety: eight processes write to one new file."""
    path = str(tmp_path / "f.db")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, path, f"w{n}", "100"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for n in range(8)
    ]
    errors = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, errors
    with SQLiteBackend(path) as backend:
        for n in range(8):
            rows = backend.search(metadata_filter={"worker": f"w{n}"}, limit=-1)["results"]
            assert sorted(row["value"]["i"] for row in rows) == list(range(100))
        assert backend.search(limit=-1)["count"] == 801
        assert len(backend.search("shared", limit=-1)["results"]) == 1
        assert backend._conn is not None
        backend._conn.execute("INSERT INTO ltm_fts(ltm_fts) VALUES ('integrity-check')")


def test_killed_writer_leaves_whole_entries(tmp_path: Path) -> None:
    """Data safety: every store that was confirmed before a kill -9 is there, and the index is intact."""
    path = str(tmp_path / "f.db")
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, path, "w", "1000000"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    confirmed = -1
    deadline = time.monotonic() + 30
    while confirmed < 60 and time.monotonic() < deadline:
        confirmed = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    confirmed = max([confirmed, *(int(line) for line in process.stdout.read().split()[:-1])])
    process.wait()
    process.stdout.close()
    with SQLiteBackend(path) as backend:
        rows = backend.search(metadata_filter={"worker": "w"}, limit=-1)["results"]
        assert set(range(confirmed + 1)) <= {row["value"]["i"] for row in rows}
        assert backend._conn is not None
        backend._conn.execute("INSERT INTO ltm_fts(ltm_fts) VALUES ('integrity-check')")
