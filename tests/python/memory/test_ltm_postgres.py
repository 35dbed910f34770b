"""The psycopg backend on a real PostgreSQL server."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from the_edge_agent.memory import PostgresBackend, create_ltm_backend, parse_ltm_config, postgres


@pytest.fixture
def backend(postgres_dsn: str) -> Iterator[PostgresBackend]:
    with PostgresBackend(postgres_dsn) as made:
        yield made


def keys(result: dict[str, Any]) -> list[str]:
    assert result["success"], result
    assert result["count"] == len(result["results"])
    return [row["key"] for row in result["results"]]


def test_contract(backend: PostgresBackend) -> None:
    """ME-241, ME-5 to ME-8"""
    assert backend.store("k", {"a": [1, None, "é"]}, {"m": 1}) == {
        "success": True,
        "stored": True,
        "key": "k",
        "created": True,
    }
    expected = {"success": True, "value": {"a": [1, None, "é"]}, "found": True, "metadata": {"m": 1}}
    assert backend.retrieve("k") == expected
    assert backend.store("k", 1, {})["created"] is False
    assert backend.retrieve("k") == {"success": True, "value": 1, "found": True, "metadata": {}}
    assert backend.retrieve("no", 2) == {"success": True, "value": 2, "found": False, "metadata": None}
    assert backend.delete("k")["deleted"] is True and backend.delete("k")["deleted"] is False
    for key in (None, ""):
        for result in (backend.store(key, 1), backend.retrieve(key), backend.delete(key)):  # type: ignore[arg-type]
            assert result["error"] == "Key is required and cannot be empty"


@pytest.mark.parametrize("value", ["text", 5, 1.5, True, None, "", [], {}, "word " * 100_000])
def test_scalars_round_trip(backend: PostgresBackend, value: Any) -> None:
    """ME-241, Q11: also through search."""
    assert backend.store("thekey", value, {"tag": "x"})["success"]
    found = backend.retrieve("thekey", "default")
    assert found["found"] and found["value"] == value
    assert [row["value"] for row in backend.search("thekey")["results"]] == [value]
    assert [row["value"] for row in backend.search(metadata_filter={"tag": "x"})["results"]] == [value]


def test_errors(backend: PostgresBackend) -> None:
    """ME-4: a failed store leaves the former value."""
    backend.store("k", 1)
    assert backend.store("k", {1, 2})["error_type"] == "serialization_error"
    assert backend.store("k", "nul\0")["error_type"] == "query_error"
    assert backend.retrieve("k")["value"] == 1


def test_search(backend: PostgresBackend) -> None:
    """ME-241, Q9: words in any nesting, filters before the limit."""
    for i in range(30):
        backend.store(f"k{i:02}", {"deep": [{"text": "running dogs"}]}, {"n": i % 15, "o": {"a": 1, "b": i}})
    backend.store("bare", "running cats")
    assert keys(backend.search("run cat")) == ["bare"]
    assert backend.search("cats")["results"][0]["score"] > 0
    assert len(keys(backend.search("run", limit=-1))) == 31
    assert keys(backend.search("dogs", {"n": 3}, limit=1)) == ["k18"]
    assert keys(backend.search(metadata_filter={"n": 3})) == ["k18", "k03"]
    assert keys(backend.search(metadata_filter={"o": {"a": 1, "b": 4}})) == ["k04"]
    assert keys(backend.search(metadata_filter={"o": {"a": 1}})) == [], "equality, not containment"
    assert keys(backend.search(metadata_filter={"n": True})) == []
    assert keys(backend.search(metadata_filter={"x') OR 1=1 --": 1})) == []
    assert keys(backend.search(limit=2)) == ["bare", "k29"] and keys(backend.search(limit=0)) == []


def test_transaction(backend: PostgresBackend) -> None:
    """ME-9, Q26: all or nothing."""
    backend.store("old", 1)
    tx = backend.transaction()
    tx.store("a", 1)
    tx.delete("old")
    tx.store("b", "nul\0")
    result = tx.commit()
    assert result["error"] == "Transaction had 1 failed operations"
    assert backend.retrieve("a")["found"] is False and backend.retrieve("old")["found"] is True
    with backend.transaction() as tx:
        for i in range(1000):
            tx.store(f"k{i:04}", i)
        tx.delete("old")
    assert [row[1] for row in backend.iterate_all()] == list(range(1000))


def test_quoted_names(postgres_dsn: str) -> None:
    """ME-241: the table name is an identifier, whatever it contains."""
    name = 'odd "name"; DROP TABLE x'
    with PostgresBackend(postgres_dsn, table_name=name, search_config="simple") as backend:
        backend.store("k", "running")
        assert keys(backend.search("running")) == ["k"] and keys(backend.search("run")) == []
        assert backend.delete("k")["deleted"]
    with psycopg.connect(postgres_dsn) as conn:
        names = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert names == [(name,)]
    with pytest.raises(ValueError, match=r"table_name must be"):
        PostgresBackend(postgres_dsn, table_name="")
    with pytest.raises(psycopg.Error, match=r"klingon"):
        PostgresBackend(postgres_dsn, search_config="klingon")


def test_schema(backend: PostgresBackend, postgres_dsn: str) -> None:
    """ME-240"""
    with psycopg.connect(postgres_dsn) as conn:
        columns = conn.execute(
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_name = 'agent_memory' ORDER BY ordinal_position"
        ).fetchall()
        indexes = conn.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'agent_memory'").fetchall()
    assert [c[0] for c in columns] == [
        "key",
        "value",
        "metadata",
        "search_vector",
        "created_at",
        "updated_at",
    ]
    assert sum("USING gin" in row[0] for row in indexes) == 2


def test_close(backend: PostgresBackend, caplog: pytest.LogCaptureFixture) -> None:
    """ME-4, ME-241: no warnings of the pool either."""
    with caplog.at_level(logging.WARNING):
        backend.store("k", 1)
        backend.search("k")
        backend.close()
        backend.close()
    assert caplog.records == []
    for result in (backend.store("k", 1), backend.retrieve("k"), backend.delete("k"), backend.search()):
        assert (result["error"], result["error_type"]) == ("Backend is closed", "connection_error")
    assert list(backend.iterate_all()) == []


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """ME-240"""
    monkeypatch.setattr(postgres, "PSYCOPG_AVAILABLE", False)
    with pytest.raises(ImportError, match=r"psycopg not installed"):
        PostgresBackend("postgresql://x")


def test_registered(postgres_dsn: str) -> None:
    """ME-13, ME-27, Q2"""
    with create_ltm_backend("postgres", url=postgres_dsn) as made:
        made.store("k", 1)
    with parse_ltm_config({"ltm": {"backend": "postgres", "url": postgres_dsn}}) as made:
        assert made.retrieve("k")["value"] == 1


def test_threads(backend: PostgresBackend) -> None:
    """ME-240"""
    problems: list[Any] = []

    def work(worker: int) -> None:
        for i in range(20):
            for result in (backend.store(f"{worker}-{i}", i), backend.store("shared", worker)):
                if not result["success"]:
                    problems.append(result)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == [] and backend.search(limit=-1)["count"] == 161


WRITER = """
import sys
from the_edge_agent.memory import PostgresBackend
url, worker = sys.argv[1:]
with PostgresBackend(url, max_connections=1) as backend:
    created = 0
    for i in range(50):
        for key in (f"{worker}-{i}", f"shared-{i}"):
            result = backend.store(key, {"worker": worker, "i": i})
            assert result["success"], result
            created += result["created"]
    print(created)
"""


def test_eight_writer_processes_lose_nothing(postgres_dsn: str) -> None:
    """The issue's data safety; each new entry is reported as created by exactly one of them."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, postgres_dsn, f"w{n}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for n in range(8)
    ]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, outputs
    with PostgresBackend(postgres_dsn) as backend:
        found = {key for key, _, _ in backend.iterate_all()}
    assert found == {f"w{n}-{i}" for n in range(8) for i in range(50)} | {f"shared-{i}" for i in range(50)}
    assert sum(int(out) for out, _ in outputs) == 450
