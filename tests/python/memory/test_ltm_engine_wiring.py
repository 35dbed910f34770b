"""What an engine does with its memory, on a stand-in engine."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from the_edge_agent.memory import DuckDBLTMBackend, InMemoryBackend, KuzuBackend, SQLiteBackend
from the_edge_agent.memory import duckdb_ltm as duckdb_module
from the_edge_agent.memory import engine_wiring as wiring

LOG = logging.getLogger("engine")


@pytest.fixture
def engine() -> SimpleNamespace:
    return SimpleNamespace(
        _memory_backend=InMemoryBackend(),
        _ltm_backend=wiring.default_ltm_backend(),
        _graph_backend=None,
        _graph_backend_type=None,
        variables={},
        actions_registry={},
    )


def apply(engine: Any, ltm: Any, enabled: bool = True) -> None:
    wiring.apply_ltm_settings(engine, {"ltm": ltm}, enabled, LOG)


def test_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ME-21"""
    assert wiring.default_ltm_backend(enable_ltm=False) is None
    assert wiring.default_ltm_backend().db_path == ":memory:"
    made = wiring.default_ltm_backend(ltm_path=str(tmp_path / "f.db"), ltm_backend_type="whatever")
    assert type(made) is SQLiteBackend and (tmp_path / "f.db").exists()
    duck = wiring.default_ltm_backend(
        ltm_backend_type="duckdb", ltm_config={"storage_uri": str(tmp_path / "d"), "enable_fts": False}
    )
    assert isinstance(duck, DuckDBLTMBackend) and duck._catalog is None and duck._enable_fts is False
    assert duck.store("k", 1)["success"]

    def missing(self: Any, **_: Any) -> None:
        raise ImportError("no library.")

    monkeypatch.setattr(duckdb_module.DuckDBLTMBackend, "__init__", missing)
    assert type(wiring.default_ltm_backend(ltm_backend_type="duckdb")) is SQLiteBackend


def test_settings_replace_the_backend(engine: Any, tmp_path: Path) -> None:
    """ME-24"""
    old = engine._ltm_backend
    apply(engine, {"backend": "SQLite", "path": str(tmp_path / "f.db")})
    assert engine._ltm_backend.db_path == str(tmp_path / "f.db") and engine._ltm_backend_type == "SQLite"
    assert old._closed is True
    present = engine._ltm_backend
    for nothing in ({}, None, "x", {"path": "y"}):
        apply(engine, nothing)
    apply(engine, {"backend": "sqlite"}, enabled=False)
    assert engine._ltm_backend is present and present._closed is False


@pytest.mark.parametrize(
    "ltm",
    [
        {"backend": "nope"},
        {"backend": "sqlalchemy"},
        {"backend": "sqlite", "path": "/no/such/directory/f.db"},
        {"backend": "hierarchical", "catalog": {}},
    ],
)
def test_failing_settings_keep_the_backend(
    engine: Any, ltm: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """ME-25, ME-26, Q1"""
    old = engine._ltm_backend
    with caplog.at_level(logging.WARNING):
        apply(engine, ltm)
    assert caplog.records[-1].getMessage().startswith("Failed to configure LTM backend from YAML: ")
    assert engine._ltm_backend is old and old.store("k", 1)["success"]


def test_graph(engine: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """ME-29, ME-30"""
    assert wiring.default_graph_backend(enable_graph=False) == (None, None)
    store, kind = wiring.default_graph_backend()
    assert isinstance(store, KuzuBackend) and kind == "kuzu"
    store.close()
    assert (
        wiring.default_graph_backend(graph_path="/no/such/directory/x", graph_backend_type="kuzu")[0] is None
    )

    def graph(**settings: Any) -> None:
        wiring.apply_graph_settings(engine, {"graph": settings}, True, LOG)

    graph(backend="kuzu", path=str(tmp_path / "g.kuzu"))
    first = engine._graph_backend
    assert isinstance(first, KuzuBackend) and (tmp_path / "g.kuzu").exists()
    graph(backend="kuzu")
    graph(backend="nope")
    graph(backend="cozo")
    graph(backend="bighorn", path="/no/such/directory/x")
    assert engine._graph_backend is first and first._closed is False
    texts = [record.getMessage() for record in caplog.records]
    assert texts[0] == "Unknown graph backend type: nope"
    assert texts[1] == "cozo requested but pycozo not installed"
    assert texts[2].startswith("Failed to configure graph backend from YAML: ")
    graph(backend="bighorn")
    assert engine._graph_backend is not first and first._closed is True
    wiring.close_memory(engine, LOG)


def test_infrastructure(engine: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """ME-31"""
    engine._vector_index = "given"
    settings = {
        "memory_infrastructure": {
            "metadata_store": {"type": "sqlite", "path": str(tmp_path / "d.db")},
            "blob_storage": {"type": "nope"},
            "query_engine": {"max_connections": 2},
            "vector_index": {"type": "duckdb"},
        }
    }
    with caplog.at_level(logging.INFO):
        wiring.apply_infrastructure_settings(engine, settings, LOG)
    assert engine._metadata_store.set_document("c", "1", {})["success"]
    assert engine._query_engine.execute("SELECT 1")["success"]
    assert engine._vector_index == "given" and getattr(engine, "_blob_storage", None) is None
    texts = [record.getMessage() for record in caplog.records]
    assert "Configured metadata store 'sqlite'" in texts
    assert any(text.startswith("Failed to configure blob storage 'nope': ") for text in texts)
    wiring.apply_infrastructure_settings(engine, None, LOG)
    engine._vector_index = None
    wiring.close_memory(engine, LOG)


def test_close(engine: Any) -> None:
    """ME-23"""
    broken = MagicMock()
    broken.close.side_effect = OSError("x")
    engine._query_engine = broken
    backend = engine._ltm_backend
    wiring.close_memory(engine, LOG)
    wiring.close_memory(engine, LOG)
    assert engine._ltm_backend is backend and backend._closed is True and engine._query_engine is None


def test_all_actions(engine: Any) -> None:
    """ME-33, section 20: every module registers, also for stand-ins without attributes."""
    wiring.register_all(engine.actions_registry, engine)
    names = set(engine.actions_registry)
    assert {"ltm.store", "memory.store", "memory.sql_query", "vector.query", "graph.query"} <= names
    assert {"catalog.get_table", "memory.cloud_store", "memory.embed", "embedding.create"} <= names
    assert engine.actions_registry["ltm.store"]({}, "k", 1)["success"]
    old = engine._ltm_backend
    engine._ltm_backend = SQLiteBackend()
    assert engine.actions_registry["ltm.retrieve"]({}, "k")["found"] is False, (
        "looked up at call time (ME-22)"
    )
    assert old.retrieve("k")["found"]
    for stand_in in (SimpleNamespace(), MagicMock()):
        registry: dict[str, Any] = {}
        wiring.register_all(registry, stand_in)
        assert set(registry) == names
