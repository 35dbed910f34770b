"""Query engine and circuit breaker."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from the_edge_agent.memory import (
    CircuitState,
    DuckDBQueryEngine,
    QueryConfig,
    create_query_engine,
    get_registered_query_engines,
)
from the_edge_agent.memory.query.base import CircuitBreakerConfig
from the_edge_agent.memory.query.duckdb import CircuitBreaker


@pytest.fixture
def engine() -> Iterator[DuckDBQueryEngine]:
    with DuckDBQueryEngine() as made:
        yield made


def test_breaker_opens_and_recovers() -> None:
    """ME-87"""
    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=2, recovery_timeout_sec=0.5))
    assert breaker.can_execute() and breaker.state is CircuitState.CLOSED
    breaker.record_failure()
    breaker.record_success()
    assert breaker.get_state()["failure_count"] == 1, (
        "a success does not clear the failures of a closed circuit"
    )
    breaker.record_failure()
    assert breaker.state is CircuitState.OPEN and not breaker.can_execute()
    time.sleep(0.55)
    assert breaker.can_execute() and breaker.state is CircuitState.HALF_OPEN
    breaker.record_failure()
    assert breaker.state is CircuitState.OPEN
    time.sleep(0.55)
    assert breaker.can_execute()
    breaker.record_success()
    assert breaker.state is CircuitState.CLOSED and breaker.failures == []
    assert set(breaker.get_state()) == {
        "state",
        "failure_count",
        "failure_threshold",
        "last_failure",
        "last_success",
    }


def test_breaker_forgets_old_failures() -> None:
    """ME-87"""
    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=2, window_size_sec=0.5))
    breaker.record_failure()
    time.sleep(0.55)
    breaker.record_failure()
    assert breaker.state is CircuitState.CLOSED and len(breaker.failures) == 1
    breaker.record_failure()
    assert breaker.state is CircuitState.OPEN
    breaker.reset()
    assert breaker.state is CircuitState.CLOSED and breaker.failures == []
    assert breaker.last_failure_time is not None


def test_cold_pool_does_not_dead_lock(engine: DuckDBQueryEngine) -> None:
    """ME-88, Q7: the first call without a warm-up."""
    done = threading.Event()
    results: list[dict[str, object]] = []

    def work() -> None:
        results.append(engine.execute("SELECT 1 AS one, ? AS two", ["x"]))
        results.append(engine.health_check())
        done.set()

    threading.Thread(target=work, daemon=True).start()
    assert done.wait(20), "dead-lock"
    assert results[0] == {
        "success": True,
        "columns": ["one", "two"],
        "rows": [(1, "x")],
        "row_count": 1,
        "fallback": False,
    }
    assert results[1]["healthy"] is True


def test_pool(engine: DuckDBQueryEngine) -> None:
    """ME-88, ME-91"""
    stats = engine.get_pool_stats()
    expected = {
        "total_connections": 0,
        "available_connections": 0,
        "max_connections": 3,
        "initialized": False,
    }
    assert stats == expected
    assert engine.warmup(2) == {"success": True, "warmed": 2}
    assert engine.warmup(9) == {"success": True, "warmed": 3}
    assert engine.warmup(1) == {"success": True, "warmed": 3}
    with engine._connection(1), engine._connection(1), engine._connection(1):
        result = engine.execute("SELECT 1", config=QueryConfig(timeout_sec=0.05))
        assert (result["error"], result["error_type"]) == ("No available connections", "connection_error")
    assert engine.execute("SELECT 1")["success"]
    with pytest.raises(ValueError, match=r"max_connections must be at least 1"):
        DuckDBQueryEngine(max_connections=0)


def test_connections_share_tables_and_threads_wait(engine: DuckDBQueryEngine) -> None:
    """ME-88"""
    assert engine.execute("CREATE TABLE t (n INTEGER)")["success"]
    problems: list[dict[str, object]] = []

    def work(n: int) -> None:
        for i in range(20):
            result = engine.execute("INSERT INTO t VALUES (?)", [n * 100 + i])
            if not result["success"]:
                problems.append(result)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert engine.execute("SELECT count(DISTINCT n) FROM t")["rows"] == [(160,)]
    assert engine.get_pool_stats()["total_connections"] <= 3


def test_sql_errors_do_not_count(engine: DuckDBQueryEngine) -> None:
    """ME-89"""
    for _ in range(10):
        result = engine.execute("SELECT * FROM no_such_storage_table")
        assert result["error_type"] == "query_error"
    assert engine.get_circuit_state()["state"] == "closed"


def test_execute_many_is_atomic(engine: DuckDBQueryEngine) -> None:
    """Section 8.6"""
    engine.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
    assert engine.execute_many("INSERT INTO t VALUES (?)", [[1], [2]])["success"]
    assert engine.execute_many("INSERT INTO t VALUES (?)", [[3], [1]])["error_type"] == "query_error"
    assert engine.execute("SELECT count(*) FROM t")["rows"] == [(2,)]
    assert engine.execute_many("INSERT INTO t VALUES (?)", [])["success"]


def test_limits_of_a_config(engine: DuckDBQueryEngine) -> None:
    """ME-89: enforced when the caller gives a config."""
    assert engine.execute("SELECT * FROM range(5000)")["row_count"] == 5000
    assert engine.execute("SELECT * FROM range(5000)", config=QueryConfig(max_rows=7))["row_count"] == 7
    slow = "SELECT count(*) FROM range(100000) a, range(1000000) b WHERE a.range * b.range % 7 = 3"
    result = engine.execute(slow, config=QueryConfig(timeout_sec=0.2))
    assert result["error_type"] == "query_error" and "exceeded 0.2 seconds" in result["error"]
    assert engine.execute("SELECT 1")["success"]


def test_network_failures_are_retried_then_open_the_circuit(monkeypatch: pytest.MonkeyPatch) -> None:
    """ME-89: a failing remote statement, without network: loading the extension stands for it."""
    calls: list[str] = []

    def load(self: DuckDBQueryEngine, connection: object, name: str, from_community: object) -> bool:
        calls.append(name)
        raise OSError("network is down")

    monkeypatch.setattr(DuckDBQueryEngine, "_load", load)
    config = QueryConfig(max_retries=2, retry_min_wait=0, retry_max_wait=0)
    with DuckDBQueryEngine(circuit_config=CircuitBreakerConfig(failure_threshold=2)) as engine:
        for _ in range(2):
            result = engine.execute("SELECT * FROM read_parquet('http://127.0.0.1:1/x')", config=config)
            assert result["error_type"] == "connection_error"
        assert calls == ["httpfs"] * 6
        result = engine.execute("SELECT 1")
        assert (result["error"], result["error_type"]) == ("Circuit breaker is open", "circuit_open")
        assert engine.can_execute() is False
        assert engine.reset_circuit() == {"success": True, "state": "closed"}
        assert engine.execute("SELECT 1")["success"]


def test_gcs_without_credentials(engine: DuckDBQueryEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """ME-90: no bucket of anybody is a default; the missing settings are named."""
    monkeypatch.setattr(engine, "_load", lambda *_: True)
    for name in ("GCS_ACCESS_KEY_ID", "GCS_SECRET_ACCESS_KEY", "FIREBASE_STORAGE_BUCKET"):
        monkeypatch.delenv(name, raising=False)
    result = engine.execute("SELECT * FROM read_parquet('gs://b/x.parquet')")
    assert not result["success"] and "GCS_ACCESS_KEY_ID" in result["error"]
    assert engine._fallback_bucket is None


def test_extension_names_are_checked(engine: DuckDBQueryEngine) -> None:
    """ME-91"""
    for name in ("x; DROP TABLE t", "", "a b", "../x"):
        assert engine.load_extension(name)["error_type"] == "extension_error"
    result = engine.load_extension("json")
    assert result["success"] and result["extension"] == "json"
    assert "json" in engine.get_loaded_extensions()["extensions"]


def test_query_parquet(engine: DuckDBQueryEngine, tmp_path: object) -> None:
    """Section 8.6: the file name is a literal, quotes included."""
    path = f"{tmp_path}/it's.parquet"
    assert engine.execute(f"COPY (SELECT 41 + 1 AS n) TO '{path.replace(chr(39), chr(39) * 2)}'")["success"]
    assert engine.query_parquet("SELECT n FROM {parquet}", path)["rows"] == [(42,)]


def test_close(engine: DuckDBQueryEngine) -> None:
    """Section 8.6"""
    engine.execute("SELECT 1")
    engine.close()
    engine.close()
    assert engine.execute("SELECT 1")["error_type"] == "connection_error"
    assert engine.warmup()["success"] is False


def test_registry() -> None:
    """ME-167"""
    assert get_registered_query_engines() == ["duckdb"]
    create_query_engine("DuckDB").close()
    with pytest.raises(ValueError, match=r"^Unknown query engine type: 'x'\. Available engines: duckdb$"):
        create_query_engine("x")
