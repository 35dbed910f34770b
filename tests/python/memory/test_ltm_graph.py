"""The Kuzu graph store and the ``graph.*`` actions."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from the_edge_agent.memory import BighornBackend, CozoBackend, GraphBackend, KuzuBackend, actions_graph
from the_edge_agent.memory.graph import kuzu as module

HOSTILE = ["it's", "a'}) DETACH DELETE e //", "back\\slash\\'", 'double"quote', "new\nline", "é$id"]


@pytest.fixture
def graph() -> Iterator[KuzuBackend]:
    made = KuzuBackend()
    yield made
    made.close()


def plant(graph: KuzuBackend) -> None:
    """a -> b -> c -> d, and x -> b."""
    for name in "abcdx":
        assert graph.store_entity(name, "Letter" if name != "x" else "Mark", {"n": name})["success"]
    for start, end, kind in [("a", "b", "next"), ("b", "c", "next"), ("c", "d", "last"), ("x", "b", "to")]:
        assert graph.store_relation(start, end, kind, {"w": 1})["success"]


def test_names() -> None:
    """Section 16.2"""
    assert BighornBackend is KuzuBackend
    made = KuzuBackend()
    assert isinstance(made, GraphBackend)
    made.close()
    with pytest.raises(NotImplementedError, match=r"Cozo"):
        CozoBackend()


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 16.2"""
    monkeypatch.setattr(module, "KUZU_AVAILABLE", False)
    with pytest.raises(ImportError) as caught:
        KuzuBackend()
    assert str(caught.value) == "Kuzu (Bighorn) not installed. Install with: pip install kuzu"


def test_store_entity(graph: KuzuBackend) -> None:
    """ME-220, ME-223"""
    given = {"a": [1, None], "b": "it's"}
    result = graph.store_entity("e", "T", given, embedding=[0.5, 1])
    assert result == {"success": True, "entity_id": "e", "type": "T", "created": True, "has_embedding": True}
    assert given == {"a": [1, None], "b": "it's"}, "the caller's properties are not changed (Q24)"
    assert graph.store_entity("e", "U")["created"] is False
    rows = graph.query(cypher="MATCH (e:Entity) RETURN e.id, e.type, e.properties")["results"]
    assert rows == [{"id": "e", "type": "U", "properties": "{}"}]
    for arguments in (("", "T"), ("e", "")):
        assert graph.store_entity(*arguments)["error"] == "entity_id and entity_type are required"
    assert graph.store_entity("e", "T", {"x": object()})["error_type"] == "serialization_error"


def test_store_relation(graph: KuzuBackend) -> None:
    """ME-220, ME-223, Q23"""
    plant(graph)
    again = graph.store_relation("a", "b", "next", {"w": 2})
    assert again == {"success": True, "from": "a", "to": "b", "type": "next", "created": False}
    assert graph.store_relation("a", "b", "other")["created"] is True
    rows = graph.query(pattern={"from_entity": "a"})["results"]
    assert sorted((row["rel_type"], row["to_id"], row["properties"]) for row in rows) == [
        ("next", "b", '{"w": 2}'),
        ("other", "b", "{}"),
    ]
    assert graph.store_relation("nobody", "b", "next")["success"] is True
    assert graph.store_relation("", "b", "x")["error"].startswith("from_entity, to_entity, and relation_type")


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_never_a_part_of_the_query(graph: KuzuBackend, text: str) -> None:
    """ME-225, Q14"""
    plant(graph)
    assert graph.store_entity(text, text, {text: text})["created"] is True
    assert graph.store_relation(text, "a", text, {text: text})["created"] is True
    assert graph.query(pattern={"entity_type": text})["results"][0]["id"] == text
    assert graph.query(pattern={"from_entity": text})["results"][0]["to_id"] == "a"
    context = graph.retrieve_context(entity_id=text, hops=1)
    assert context["entities"][0] == {"id": text, "type": text, "properties": {text: text}}
    assert context["relations"] == [{"from": text, "to": "a", "type": text, "properties": {text: text}}]
    found = graph.query(
        cypher="MATCH (e:Entity) WHERE e.id = $x RETURN e.id", params={"x": text, "unused": 1}
    )
    assert found["results"] == [{"id": text}]
    assert graph.query(pattern={})["count"] == 6


def test_query(graph: KuzuBackend) -> None:
    """ME-221, ME-223"""
    plant(graph)
    result = graph.query(cypher="MATCH (e:Entity) RETURN e.id ORDER BY e.id;", limit=2)
    assert result["results"] == [{"id": "a"}, {"id": "b"}] and result["count"] == 2
    assert result["query"].endswith("LIMIT 2")
    assert graph.query(cypher="MATCH (e:Entity) RETURN e.id LIMIT 3", limit=1)["count"] == 3
    assert graph.query(pattern={"entity_type": "Letter"})["count"] == 4
    assert graph.query(pattern={}, limit=2)["count"] == 2
    datalog = graph.query(datalog="?[x] := x")
    assert datalog["error_type"] == "validation_error" and "Cypher" in datalog["error"]
    assert graph.query()["error"] == "Either cypher or pattern is required"
    bad = graph.query(cypher="MATCH nonsense")
    assert bad["error_type"] == "query_error" and bad["error"].startswith("Query failed: ")


def test_timeout_argument(graph: KuzuBackend) -> None:
    """Section 16.1: set for the one query and taken back; how fast Kuzu stops is up to Kuzu."""
    timeouts: list[int] = []
    graph._conn.set_query_timeout = timeouts.append
    assert graph.query(cypher="RETURN 1", timeout=2.5)["success"]
    assert graph.query(cypher="nonsense", timeout=1)["success"] is False
    assert graph.query(cypher="RETURN 1")["success"]
    assert timeouts == [2500, 0, 1000, 0]


def test_context(graph: KuzuBackend) -> None:
    """ME-220: real hops, in both directions."""
    plant(graph)
    expected = {0: "a", 1: "ab", 2: "abcx", 3: "abcdx"}
    for hops, names in expected.items():
        context = graph.retrieve_context(entity_id="a", hops=hops)
        assert sorted(entity["id"] for entity in context["entities"]) == sorted(names)
    context = graph.retrieve_context(entity_id="a", hops=2)
    assert {(r["from"], r["to"]) for r in context["relations"]} == {("a", "b"), ("b", "c"), ("x", "b")}
    assert context["context_summary"] == (
        "Found 4 entities: 3 Letter, 1 Mark. Connected by 3 relations (next, to)."
    )
    assert len(graph.retrieve_context(entity_id="a", hops=3, limit=2)["entities"]) == 2
    nothing = graph.retrieve_context(entity_id="nobody")
    assert nothing["success"] and nothing["context_summary"] == "No relevant entities found."
    assert graph.retrieve_context(query="x")["context_summary"] == "No relevant entities found."
    vector = graph.retrieve_context(embedding=[1.0])
    assert vector["success"] and "Vector search not natively supported" in vector["context_summary"]
    assert graph.retrieve_context()["error"] == "One of query, embedding, or entity_id is required"


def test_files(tmp_path: Path) -> None:
    """ME-222"""
    path = str(tmp_path / "g.kuzu")
    first = KuzuBackend(path)
    plant(first)
    first.close()
    second = KuzuBackend(path)
    assert second.query(pattern={})["count"] == 5
    second.close()
    memory = KuzuBackend()
    directory = memory._temporary
    assert directory is not None and os.path.isdir(directory)
    memory.close()
    memory.close()
    assert not os.path.exists(directory)
    for result in (
        memory.store_entity("a", "b"),
        memory.query(pattern={}),
        memory.retrieve_context("x", entity_id="a"),
    ):
        assert (result["error"], result["error_type"]) == ("Backend is closed", "connection_error")


def test_cloud(graph: KuzuBackend) -> None:
    """ME-224"""
    graph._httpfs_available = False
    assert graph.load_from_cloud("s3://b/x.parquet")["error_type"] == "dependency_missing"
    assert graph.save_to_cloud("s3://b/x.parquet")["error_type"] == "dependency_missing"
    assert "read-only" in graph.save_to_cloud("az://b/x")["error"]
    assert graph.load_from_cloud("s3://b/x", table_name="Entity; DROP")["error_type"] == "validation_error"


def test_threads(graph: KuzuBackend) -> None:
    """ME-225: ten writers at once."""
    problems: list[Any] = []

    def work(worker: int) -> None:
        for i in range(10):
            result = graph.store_entity(f"{worker}-{i}", "T")
            if not result["success"]:
                problems.append(result)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == [] and graph.query(pattern={}, limit=1000)["count"] == 100


def make(backend: Any, **more: Any) -> dict[str, Any]:
    registry: dict[str, Any] = dict(more)
    engine = SimpleNamespace(_graph_backend=backend, actions_registry=registry)
    actions_graph.register_actions(registry, engine)
    return registry


def test_actions(graph: KuzuBackend) -> None:
    """ME-230, ME-231, ME-33, ME-234"""
    texts: list[str] = []

    def embed(state: Any, text: str) -> dict[str, Any]:
        texts.append(text)
        return {"embedding": [1.0, 2.0]}

    actions = make(graph, **{"embedding.create": embed})
    assert actions["actions.graph_store_entity"] is actions["graph.store_entity"]
    stored = actions["graph.store_entity"]({}, 1, "T", text="words", embed=True)
    assert stored["entity_id"] == "1" and stored["has_embedding"] is True and texts == ["words"]
    assert actions["graph.store_entity"]({}, "2", "T", text="words")["has_embedding"] is False
    assert actions["graph.store_relation"]({}, 1, 2, "r")["created"] is True
    assert actions["graph.query"]({}, pattern={"from_entity": "1"})["count"] == 1
    assert actions["graph.query"]({}, cypher="MATCH (e:Entity) RETURN e.id")["count"] == 2
    assert len(actions["graph.retrieve_context"]({}, entity_id=1)["entities"]) == 2
    assert "not natively" in actions["graph.retrieve_context"]({}, query="x")["context_summary"]
    errors = [
        (actions["graph.store_entity"]({}), "entity_id and entity_type are required"),
        (actions["graph.query"]({}), "One of cypher, datalog, pgq, or pattern is required"),
        (actions["graph.retrieve_context"]({}), "One of query, embedding, or entity_id is required"),
        (actions["graph.delete_entity"]({}), "entity_id is required"),
        (actions["graph.add_labels"]({}, "1", []), "labels must be a non-empty list of strings"),
        (actions["graph.store_entities_batch"]({}), "entities list is required"),
        (actions["graph.store_entities_batch"]({}, "x"), "entities must be a list"),
    ]
    for result, text in errors:
        assert (result["error"], result["error_type"]) == (text, "validation_error")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("delete_entity", ("1",)),
        ("delete_relation", ("1", "2", "r")),
        ("update_entity", ("1", {})),
        ("update_relation", ("1", "2", "r", {})),
        ("add_labels", ("1", ["x"])),
        ("remove_labels", ("1", ["x"])),
        ("store_entities_batch", ([{}],)),
        ("store_relations_batch", ([{}],)),
        ("delete_entities_batch", (["1"],)),
        ("merge_entity", ("1", "T")),
        ("merge_relation", ("1", "2", "r")),
    ],
)
def test_unsupported_actions(graph: KuzuBackend, name: str, arguments: tuple[Any, ...]) -> None:
    """ME-235"""
    result = make(graph)[f"graph.{name}"]({}, *arguments)
    assert result["success"] is False and result["error_type"] == "not_supported"


def test_without_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """ME-231, ME-232, Q17: arguments first, then the missing library or the missing configuration."""
    actions = make(None)
    assert actions["graph.store_entity"]({}, None, "T")["error_type"] == "validation_error"
    configured = actions["graph.store_entity"]({}, "e", "T")
    assert configured["error_type"] == "configuration_error"
    assert configured["error"] == "Graph backend not configured. Enable with: YAMLEngine(enable_graph=True)"
    monkeypatch.setattr(actions_graph, "KUZU_AVAILABLE", False)
    missing = actions["graph.store_entity"]({}, "e", "T")
    assert missing["error_type"] == "dependency_missing" and "pip install" in missing["error"]
    assert actions_graph._is_graph_available() is True, "duckdb is installed"
