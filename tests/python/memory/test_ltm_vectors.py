"""The DuckDB vector index and the actions over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from the_edge_agent.memory import (
    DuckDBVSSIndex,
    actions_vector,
    create_vector_index,
    get_registered_vector_indexes,
)
from the_edge_agent.memory.actions_vector import (
    memory_backfill_embeddings,
    memory_embed,
    memory_embed_batch,
    memory_vector_build_index,
    memory_vector_load_data,
    memory_vector_search,
    memory_vector_search_by_embedding,
    memory_vector_stats,
    register_actions,
)
from the_edge_agent.memory.blob import FsspecBlobStorage
from the_edge_agent.memory.metadata import SQLiteMetadataStore
from the_edge_agent.memory.vector import duckdb as module
from the_edge_agent.memory.vector.duckdb import DUCKDB_AVAILABLE


@pytest.fixture
def source(tmp_path: Path) -> str:
    rows = [
        ("a", [1.0, 0.0], "about a", "mine", "active", ["x", "y"], 1),
        ("b", [0.0, 1.0], "about b", "mine", "active", ["y"], 2),
        ("c", [0.7, 0.7], "about c", "theirs", "active", ["x"], 3),
        ("d", [1.0, 0.1], "about d", "mine", "archived", [], 4),
        ("e", None, "no vector", "mine", "active", [], 5),
        ("f", [0.0, 0.0], "zero", "it's", "active", [], 6),
    ]
    names = ("id", "embedding", "content", "project_id", "status", "anchors", 'odd "n" name')
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    path = tmp_path / "it's.parquet"
    parquet.write_table(pa.table(columns), path)
    return str(path)


@pytest.fixture
def index(source: str) -> Iterator[DuckDBVSSIndex]:
    with DuckDBVSSIndex(dimensions=2) as made:
        assert made.load_data(source) == {"success": True, "loaded": 5, "source": source}
        yield made


def ids(result: dict[str, Any]) -> list[str]:
    assert result["success"], result
    assert result["count"] == len(result["results"])
    return [row.get("id", row.get("doc_id")) for row in result["results"]]


def test_search(index: DuckDBVSSIndex) -> None:
    """ME-185"""
    found = index.search([1, 0], top_k=3)
    assert ids(found) == ["a", "d", "c"] and (found["top_k"], found["threshold"]) == (3, 0.0)
    first = found["results"][0]
    assert first["score"] == pytest.approx(1) and first["content"] == "about a"
    assert first["metadata"] == {
        "project_id": "mine",
        "status": "active",
        "anchors": ["x", "y"],
        'odd "n" name': 1,
    }
    assert ids(index.search([1, 0], threshold=0.9)) == ["a", "d"]
    assert len(ids(index.search([0, 0]))) == 5, "a zero vector has similarity 0 to all"


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"project_id": "mine"}, ["a", "d", "b"]),
        ({"project_id": "mine", "status": "active"}, ["a", "b"]),
        ({"anchors": ["x"]}, ["a", "c"]),
        ({"anchors": "y"}, ["a", "b"]),
        ({"status": ["active", "archived"], "project_id": "mine"}, ["a", "d", "b"]),
        ({'odd "n" name': 2}, ["b"]),
        ({"project_id": "it's"}, ["f"]),
        ({"project_id": "x' OR '1'='1"}, []),
        ({"nope": 1}, []),
        ({"project_id = project_id OR 1": 1}, []),
    ],
)
def test_filters_are_bound(index: DuckDBVSSIndex, filters: dict[str, Any], expected: list[str]) -> None:
    """ME-185, Q14"""
    assert ids(index.search([1, 0], filters=filters)) == expected


def test_errors(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ME-185"""
    with DuckDBVSSIndex(dimensions=2) as index:
        empty = index.search([1, 0])
        assert (empty["error"], empty["error_type"]) == (
            "No data loaded. Call load_data() first.",
            "index_not_built",
        )
        assert index.build_index()["error_type"] == "index_not_built"
        assert index.load_data(str(tmp_path / "none.parquet"))["error_type"] == "parquet_not_found"
        assert "has no column 'vec'" in index.load_data(source, embedding_column="vec")["error"]
        index.load_data(source)
        assert index.load_data(str(tmp_path / "none.parquet"))["success"] is False
        assert ids(index.search([1, 0], top_k=1)) == ["a"], "a failing load keeps the data"
        for bad in ([1], [], "x", [1, None], [1, float("nan")], [True, 1]):
            assert index.search(bad)["error_type"] == "invalid_input"  # type: ignore[arg-type]
        assert index.build_index() == {"success": True, "indexed": 5, "metric": "cosine"}
        assert index.build_index("odd")["error_type"] == "invalid_input"
        assert index.get_stats() == {
            "success": True,
            "vector_count": 5,
            "dimensions": 2,
            "metric": "cosine",
            "index_built": True,
            "data_loaded": True,
            "table_name": "vector_data",
        }
        batch = index.search_batch([[1, 0], [0, 1]], top_k=1)
        assert batch["query_count"] == 2 and batch["count"] == 2 and batch["results"][1][0]["id"] == "b"
        assert index.search_batch([[1]])["error_type"] == "invalid_input"
    assert index.search([1, 0])["error_type"] == "search_failed"
    with DuckDBVSSIndex(dimensions=3) as wrong:
        assert wrong.load_data(source)["error_type"] == "load_failed"
    with pytest.raises(ValueError, match=r"dimensions must be"):
        DuckDBVSSIndex(dimensions=0)
    monkeypatch.setattr(module, "DUCKDB_AVAILABLE", not DUCKDB_AVAILABLE)
    with pytest.raises(ImportError, match=r"duckdb not installed"):
        DuckDBVSSIndex()


def test_registry() -> None:
    """ME-167"""
    assert get_registered_vector_indexes() == ["duckdb", "duckdb-vss"]
    create_vector_index("DuckDB-VSS", dimensions=2).close()
    with pytest.raises(ValueError, match=r"^Unknown vector index type: 'x'\. Available indexes: "):
        create_vector_index("x")


def test_search_actions(index: DuckDBVSSIndex) -> None:
    """ME-187, ME-188, ME-189, Q21: the real index works with the actions; tenants are separate."""
    state = {"project_id": "mine", "_vector_index": index, "_embedding_fn": lambda text: [1.0, 0.0]}
    found = memory_vector_search(state, "two words")
    assert ids(found) == ["a", "b"] and found["query_tokens"] == 4
    row = found["results"][0]
    assert row["similarity_score"] == pytest.approx(1) and row["content"] == "about a"
    assert {"file_path", "anchors", "token_estimate", "first_heading"} <= set(row)
    assert ids(memory_vector_search(state, "x", status=None, top_k=500)) == ["a", "d", "b"]
    assert memory_vector_search(state, "x", top_k=500)["top_k"] == 100
    assert memory_vector_search(state, "x", threshold=7)["threshold"] == 1.0
    assert ids(memory_vector_search(state, "x", anchors=["x"])) == ["a"]
    assert ids(memory_vector_search_by_embedding(state, [0, 1], top_k=1)) == ["b"]
    assert ids(memory_vector_search({**state, "project_id": None}, "x")) == []
    cases = [
        (memory_vector_search(state, " "), "invalid_input"),
        (memory_vector_search({}, "x"), "configuration_error"),
        (memory_vector_search({"vector_index": index}, "x"), "embedding_not_configured"),
        (memory_vector_search(state, "x", embedding_fn=lambda t: [1]), "dimension_mismatch"),
        (memory_vector_search(state, "x", embedding_fn=lambda t: 1 / 0), "embedding_failed"),
        (memory_vector_search_by_embedding(state, []), "invalid_input"),
        (memory_vector_search_by_embedding(state, [1]), "invalid_dimensions"),
    ]
    for result, kind in cases:
        assert result["success"] is False and result["error_type"] == kind


def test_index_with_metadata_filter() -> None:
    """ME-187, ME-188: an index that takes ``metadata_filter`` and returns a list of objects."""
    seen: list[Any] = []

    class Double:
        def get_dimensions(self) -> int:
            return 2

        def search(self, embedding: Any, config: Any, metadata_filter: Any) -> list[Any]:
            seen.append((config.top_k, metadata_filter))
            return [SimpleNamespace(id="1", score=0.5, content="c", metadata={"file_path": "f"})]

    registry = {"memory.embed": lambda state, content: {"success": True, "embedding": [1, 2]}}
    state = {"project_id": "p", "action_registry": registry}
    found = memory_vector_search(state, "x", top_k=3, vector_index=Double(), content_type="md")
    assert found["results"][0]["file_path"] == "f" and found["results"][0]["doc_id"] == "1"
    assert seen == [(3, {"project_id": "p", "status": "active", "content_type": "md"})]


def test_index_actions(index: DuckDBVSSIndex, source: str) -> None:
    """ME-190, ME-186"""
    registry: dict[str, Any] = {}
    register_actions(registry, SimpleNamespace(_vector_index=index))
    loaded = registry["memory.vector_load_data"]({}, source)
    assert loaded == {"success": True, "loaded": True, "source": source, "row_count": 5}
    built = registry["memory.vector_build_index"]({})
    assert built["built"] is True and built["stats"]["index_built"] is True
    assert registry["memory.vector_stats"]({})["stats"]["dimensions"] == 2
    assert registry["memory.vector_load_data"]({}, "")["error"] == "Source path or URL is required"
    assert registry["memory.vector_load_data"]({}, "none.parquet")["error_type"] == "load_failed"
    for bare in (memory_vector_build_index({}), memory_vector_stats({}), memory_vector_load_data({}, "x")):
        assert bare["error"].startswith("No VectorIndex available.")
    register_actions(registry, SimpleNamespace())
    assert registry["memory.vector_stats"]({})["error_type"] == "configuration_error"


def test_embed(monkeypatch: pytest.MonkeyPatch) -> None:
    """ME-191, ME-192, ME-193, Q19"""
    monkeypatch.setattr(actions_vector, "_encoding", None)

    class Broken:
        @staticmethod
        def get_encoding(name: str) -> Any:
            raise OSError("no network")

    monkeypatch.setitem(__import__("sys").modules, "tiktoken", Broken)
    assert actions_vector.count_tokens("x" * 40) == 10
    result = memory_embed({}, "text text", embedding_fn=lambda text: [1.0, 2.0])
    assert result == {
        "success": True,
        "embedding": [1.0, 2.0],
        "model": "text-embedding-3-small",
        "tokens": 2,
        "dimensions": 2,
    }
    given = memory_embed({}, "x" * 8, embedding_fn=lambda text: {"embedding": [1], "model": "m", "tokens": 9})
    assert (given["success"], given["model"], given["tokens"], given["dimensions"]) == (True, "m", 9, 1)
    assert memory_embed({}, "")["error_type"] == "invalid_input"
    long = memory_embed({}, "word " * 10_000)
    assert long["error_type"] == "content_too_long" and long["tokens"] > 8191
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert memory_embed({}, "x")["error_type"] == "auth_error"

    def failing(text: str) -> list[float]:
        raise RuntimeError("Rate limit" if text == "fast" else "down")

    assert memory_embed({}, "fast", embedding_fn=failing)["error_type"] == "rate_limit"
    assert memory_embed({}, "slow", embedding_fn=failing)["error_type"] == "api_error"
    batch = memory_embed_batch({}, ["aaaa", "", "bbbb"], embedding_fn=lambda text: [1.0])
    assert (batch["success"], batch["total"], batch["succeeded"], batch["failed"]) == (True, 3, 2, 1)
    assert batch["total_tokens"] == 2
    strict = memory_embed_batch({}, ["", "b"], skip_on_error=False, embedding_fn=lambda text: [1.0])
    assert (strict["success"], strict["succeeded"], strict["failed"]) == (False, 0, 1)
    assert memory_embed_batch({}, [])["error_type"] == "invalid_input"


def test_backfill(tmp_path: Path) -> None:
    """ME-194, with a real document store and blob storage."""
    with SQLiteMetadataStore() as store, FsspecBlobStorage(str(tmp_path)) as blobs:
        for name, project, vector in [
            ("a", "p", None),
            ("b", "p", [1]),
            ("c", "q", None),
            ("gone", "p", None),
        ]:
            data = {"project_id": project, "file_path": f"{name}.md", "embedding": vector}
            store.set_document("agent_memory", name, data)
            if name != "gone":
                blobs.upload(f"{name}.md", f"text of {name}")
        arguments: dict[str, Any] = {
            "metadata_store": store,
            "blob_storage": blobs,
            "embedding_fn": lambda t: [1.0],
        }
        dry = memory_backfill_embeddings({}, dry_run=True, project_id="p", **arguments)
        assert dry["docs_without_embeddings"] == 2 and dry["dry_run"] is True
        done = memory_backfill_embeddings({}, **arguments)
        assert (done["processed"], done["succeeded"], done["failed"], done["skipped"]) == (3, 2, 0, 1)
        assert done["remaining"] == 1
        assert store.get_document("agent_memory", "a")["data"]["embedding"] == [1.0]
        assert memory_backfill_embeddings({})["error_type"] == "missing_backend"
