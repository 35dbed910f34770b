"""The long-term memory interface, its queueing transaction, the registry and the import surface."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

import the_edge_agent.memory as memory
from the_edge_agent.memory import LTMBackend, LTMTransaction, base
from the_edge_agent.memory.actions_ltm import register_actions


class DictBackend(LTMBackend):
    """Smallest backend: a dictionary. Keys that start with ``bad`` are refused."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.closed = 0

    def store(self, key: str, value: Any, metadata: dict[str, Any] | None = None) -> dict[str, Any]:
        if key.startswith("bad"):
            return {"success": False, "error": "refused", "error_type": "query_error"}
        created = key not in self.data
        self.data[key] = value
        return {"success": True, "stored": True, "key": key, "created": created}

    def retrieve(self, key: str, default: Any = None) -> dict[str, Any]:
        return {"success": True, "value": self.data.get(key, default), "found": key in self.data}

    def delete(self, key: str) -> dict[str, Any]:
        return {"success": True, "deleted": self.data.pop(key, None) is not None, "key": key}

    def search(
        self, query: str | None = None, metadata_filter: dict[str, Any] | None = None, limit: int = 10
    ) -> dict[str, Any]:
        rows = [{"key": k, "value": v, "metadata": None, "score": 0.0} for k, v in self.data.items()]
        return {"success": True, "results": rows[:limit], "count": len(rows)}

    def close(self) -> None:
        self.closed += 1


def test_abstract_methods() -> None:
    """ME-3"""
    assert LTMBackend.__abstractmethods__ == {"store", "retrieve", "delete", "search", "close"}
    assert memory.LongTermMemoryBackend is LTMBackend

    class Partial(LTMBackend):
        def close(self) -> None: ...

    with pytest.raises(TypeError):
        Partial()  # type: ignore[abstract]


def test_context_manager_closes_and_does_not_swallow() -> None:
    """ME-3"""
    backend = DictBackend()
    with pytest.raises(KeyError), backend as same:
        assert same is backend
        raise KeyError("x")
    assert backend.closed == 1


def test_iterate_all_goes_through_search() -> None:
    """ME-3"""
    backend = DictBackend()
    backend.store("a", 1)
    assert list(backend.iterate_all()) == [("a", 1, None)]
    backend.search = lambda **_: {"success": False}  # type: ignore[method-assign, assignment]
    assert list(backend.iterate_all()) == []


def test_transaction_commits_in_order() -> None:
    """ME-9"""
    backend = DictBackend()
    tx = backend.transaction()
    assert isinstance(tx, LTMTransaction)
    tx.store("a", 1)
    tx.store("a", 2)
    tx.store("b", 1)
    tx.delete("b")
    assert backend.data == {}
    assert tx.commit() == {"success": True, "operations": 4}
    assert backend.data == {"a": 2}
    again = tx.commit()
    assert (again["error"], again["error_type"]) == ("Already committed", "validation_error")
    assert tx.rollback()["error"] == "Already committed"


def test_transaction_failure_keeps_the_others() -> None:
    """ME-9"""
    backend = DictBackend()
    tx = backend.transaction()
    for key in ("a", "bad", "b"):
        tx.store(key, 1)
    result = tx.commit()
    assert result["error"] == "Transaction had 1 failed operations"
    assert result["error_type"] == "query_error" and result["errors"][0]["error"] == "refused"
    assert backend.data == {"a": 1, "b": 1}
    assert tx.commit()["error"] == "Already committed"


def test_transaction_rollback() -> None:
    """ME-9, ME-10"""
    backend = DictBackend()
    tx = backend.transaction()
    tx.store("a", 1)
    assert tx.rollback() == {"success": True, "discarded": 1}
    assert tx.rollback() == {"success": True, "discarded": 0}
    assert tx.commit()["error"] == "Already rolled back"
    with pytest.raises(ValueError, match=r"stop"), backend.transaction() as t:
        t.store("a", 1)
        raise ValueError("stop")
    assert backend.data == {}
    with backend.transaction() as t:
        t.store("c", 1)
        assert t.commit()["success"]
    assert backend.data == {"c": 1}


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> base.Registry:
    fresh = base.Registry()
    monkeypatch.setattr(base, "_backends", fresh)
    return fresh


def test_registry(registry: base.Registry) -> None:
    """ME-11, ME-12"""
    with pytest.raises(ValueError, match=r"^Unknown backend type: 'X'\. Available backends: none$"):
        memory.create_ltm_backend("X")
    memory.register_backend("Mine", DictBackend)
    memory.register_backend("other", dict)
    assert memory.get_registered_backends() == ["mine", "other"]
    assert isinstance(memory.create_ltm_backend("MINE"), DictBackend)
    with pytest.raises(TypeError):
        memory.create_ltm_backend("mine", unknown=1)
    memory.register_backend("mine", dict)
    assert memory.create_ltm_backend("mine") == {}
    with pytest.raises(ValueError, match=r"Available backends: mine, other$"):
        memory.create_ltm_backend("x")


def test_default_backend_is_sqlite() -> None:
    """ME-11, ME-13"""
    assert memory.get_registered_backends()[0] == "sqlite"
    with memory.create_ltm_backend() as backend:
        assert type(backend) is memory.SQLiteBackend


def test_every_export_resolves() -> None:
    """ME-1, section 2"""
    for name in memory.__all__:
        assert getattr(memory, name) is not None, name
        assert name in dir(memory)
    with pytest.raises(AttributeError):
        memory.no_such_name  # noqa: B018


def test_import_loads_nothing_heavy() -> None:
    """ME-1: importing the package, and short-term memory, pulls in no database and no third-party module."""
    code = (
        "import sys\n"
        "import the_edge_agent\n"
        "before = set(sys.modules)\n"
        "import the_edge_agent.memory\n"
        "the_edge_agent.memory.InMemoryBackend()\n"
        "new = set(sys.modules) - before\n"
        "bad = {'sqlite3', 'sqlalchemy', 'duckdb', 'fsspec', 'asyncio', 'logging', 'dataclasses', 'json'}\n"
        "own = {m for m in new if m.startswith('the_edge_agent.memory')}\n"
        "print(sorted(new & bad), sorted(own))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[] ['the_edge_agent.memory', 'the_edge_agent.memory.short_term']")


WITHOUT_LIBRARIES = """
import sys
optional = ("sqlalchemy duckdb psycopg psycopg_pool fsspec pyarrow redis kuzu lancedb sqlglot numpy openai"
            " requests tiktoken chromadb model2vec neo4j").split()
sys.modules.update(dict.fromkeys(optional))
from the_edge_agent.memory import _availability
_availability._found.update(dict.fromkeys(optional, False))
import the_edge_agent.memory as memory
for name in memory.__all__:
    getattr(memory, name)
flags = [name for name in memory.__all__ if name.endswith("_AVAILABLE") and getattr(memory, name)]
assert flags == [], flags
assert memory.get_registered_backends() == ["sqlite", "litestream", "blob-sqlite", "postgres", "duckdb"]
for make, arguments in (
    (memory.SQLAlchemyBackend, ("sqlite://",)),
    (memory.PostgresBackend, ("x",)),
    (memory.PostgresCatalog, ("x",)),
    (memory.DuckDBCatalog, ()),
    (memory.SQLAlchemyCatalog, ("x",)),
    (memory.HierarchicalLTMBackend, ("a", "b", ["c"])),
    (memory.EntityHierarchy, (["a"], "b")),
    (memory.DuckDBQueryEngine, ()),
    (memory.DuckDBVSSIndex, ()),
    (memory.KuzuBackend, ()),
    (memory.RedisLock, ("x",)),
):
    try:
        make(*arguments)
    except ImportError as error:
        assert "pip install" in str(error), error
    else:
        raise AssertionError(make)
with memory.create_ltm_backend() as backend:
    assert backend.store("k", 1)["success"] and backend.search("k")["count"] == 1
from the_edge_agent.memory import engine_wiring
registry = {}
engine_wiring.register_all(registry, type("Engine", (), {})())
assert registry["ltm.store"]({}, "k", 1)["error_type"] == "configuration_error"
assert registry["memory.sql_query"]({}, "SELECT 1 FROM agent_memory")["error_type"] == "dependency_missing"
"""


def test_everything_imports_without_optional_libraries() -> None:
    """ME-1, section 2: each name resolves, each constructor says what to install, the default works."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_LIBRARIES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def make_actions(backend: Any) -> dict[str, Any]:
    actions: dict[str, Any] = {}
    register_actions(actions, SimpleNamespace(_ltm_backend=backend) if backend else SimpleNamespace())
    return actions


def test_actions_without_backend() -> None:
    """ME-34"""
    actions = make_actions(None)
    for name in ("ltm.store", "ltm.retrieve", "ltm.delete", "ltm.search"):
        assert actions[name] is actions["actions." + name.replace(".", "_")]  # ME-33
        assert actions[name]({}, "k") == {
            "success": False,
            "error": "Long-term memory backend not configured",
            "error_type": "configuration_error",
        }


def test_actions() -> None:
    """ME-34, ME-35"""
    with memory.SQLiteBackend() as backend:
        actions = make_actions(backend)
        assert actions["ltm.store"]({}, 1, "v", {"a": 1}, extra=2)["key"] == "1"
        assert actions["ltm.retrieve"](state={}, key=1)["value"] == "v"
        assert actions["ltm.retrieve"]({}, "no", default=3)["value"] == 3
        for i in range(12):
            actions["ltm.store"]({}, f"k{i}", i)
        assert actions["ltm.search"]({}, limit=None)["count"] == 10
        assert actions["ltm.search"]({}, limit="3")["count"] == 3
        assert actions["ltm.search"]({}, metadata_filter={"a": 1})["count"] == 1
        assert actions["ltm.search"]({}, limit="many")["error_type"] == "validation_error"
        assert actions["ltm.delete"]({}, "1")["deleted"] is True
        for name in ("ltm.store", "ltm.retrieve", "ltm.delete"):
            result = actions[name]({}, None)
            assert (result["error"], result["error_type"]) == ("Key is required", "validation_error")
            assert actions[name]({}, "")["error"] == "Key is required and cannot be empty"  # ME-5


def test_graph_protocol_is_runtime_checkable() -> None:
    """Section 16.1"""
    assert not isinstance(object(), memory.GraphBackend)
    names = ("store_entity", "store_relation", "query", "retrieve_context", "close")
    assert isinstance(SimpleNamespace(**dict.fromkeys(names, print)), memory.GraphBackend)
