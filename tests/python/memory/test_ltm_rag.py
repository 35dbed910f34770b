"""Embedding providers, vector stores and the RAG actions."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest.mock import MagicMock

import pytest

from the_edge_agent.memory import actions_rag as rag
from the_edge_agent.memory.rag import stores
from the_edge_agent.memory.rag.chunks import looks_binary, split


class WordProvider:
    """Counts a few words: enough to tell texts apart."""

    WORDS = ("cat", "dog", "fish", "tree")
    dimensions = 5
    model_name = "words"
    calls = 0

    def embed(self, texts: list[str]) -> list[list[float]]:
        self.calls += 1
        return [[float(t.count(word)) for word in self.WORDS] + [0.1] for t in texts]


@pytest.fixture(params=["memory", "lancedb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> rag.VectorStore:
    return rag.create_vector_store(request.param, lancedb_path=str(tmp_path / "vectors"))


@pytest.fixture
def actions(store: rag.VectorStore) -> dict[str, Any]:
    engine = SimpleNamespace(_rag_provider=WordProvider(), _rag_vector_store=store, variables={})
    registry: dict[str, Any] = {"engine": engine}
    rag.register_actions(registry, engine)
    return registry


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


@pytest.mark.parametrize("with_numpy", [True, False])
def test_cosine(with_numpy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 15.1"""
    if not with_numpy:
        monkeypatch.setattr(stores, "_numpy", lambda: None)
    assert rag.cosine_similarity([1, 0], [2, 0]) == pytest.approx(1)
    assert rag.cosine_similarity([1, 0], [0, 3]) == pytest.approx(0)
    assert rag.cosine_similarity([0, 0], [1, 1]) == 0.0
    assert rag.cosine_similarity_batch([1, 0], [[-1, 0], [0, 0], [1, 1]]) == pytest.approx([-1, 0, 0.5**0.5])
    assert rag.cosine_similarity_batch([1], []) == []


def test_store_and_query(store: rag.VectorStore) -> None:
    """Section 15.1"""
    assert store.query([1, 0]) == []
    added = store.add(["a", "b", "it's"], ["A", "B", "C"], [[1, 0], [0, 1], [1, 1]], [{"n": 1}, {"n": 2}, {}])
    assert added == 3
    rows = store.query([1, 0.1], k=2)
    assert ids(rows) == ["a", "it's"] and set(rows[0]) == {"id", "text", "score", "metadata"}
    assert rows[0]["score"] == pytest.approx(0.995, abs=1e-3) and rows[0]["metadata"] == {"n": 1}
    store.add(["a", "it's"], ["A2", "C2"], [[0, 1], [-1, 0]], [{"n": 9}, {"q": "x'y"}])
    rows = store.query([0, 1], k=10, include_embeddings=True)
    assert len(rows) == 3 and {row["text"] for row in rows} == {"A2", "B", "C2"}
    assert rows[0]["embedding"] == [0, 1]
    assert store.query([1, 0], collection="other") == []
    store.add(["x' OR 1=1 --"], ["D"], [[1, 1]])
    assert len(store.query([1, 1], k=10)) == 4, "an id is data, not a part of the delete statement (ME-206)"


def test_filters(store: rag.VectorStore) -> None:
    """ME-205"""
    count = 40
    store.add(
        [f"i{n}" for n in range(count)],
        [f"t{n}" for n in range(count)],
        [[1.0, n / count] for n in range(count)],
        [{"n": n, "s": f"it's {n % 2}", "mixed": None if n else "x"} for n in range(count)],
    )
    cases: list[tuple[dict[str, Any], set[int]]] = [
        ({"n": 39}, {39}),
        ({"n_gte": 38}, {38, 39}),
        ({"n_gt": 38}, {39}),
        ({"n_lte": 1}, {0, 1}),
        ({"n_lt": 1}, {0}),
        ({"n_in": [3, 5, 99]}, {3, 5}),
        ({"n_ne": 3, "n_lt": 5, "s": "it's 1"}, {1}),
        ({"absent": 1}, set()),
        ({"absent_gt": 1}, set()),
        ({"absent_ne": 1, "n_lt": 2}, {0, 1}),
        ({"mixed_gt": "a"}, {0}),
    ]
    for wanted, expected in cases:
        assert set(ids(store.query([1, 0], k=count, filter=wanted))) == {f"i{n}" for n in expected}, wanted
    assert ids(store.query([1, 0], k=1, filter={"n_gte": 30})) == ["i30"]


def test_memory_store_dimensions_and_state() -> None:
    """Section 15.1"""
    store = rag.InMemoryVectorStore()
    store.add(["a"], ["A"], [[1, 0]])
    for bad in ([[1, 0, 0]], [[1]]):
        with pytest.raises(ValueError, match=r"^Embedding dimension mismatch"):
            store.add(["b"], ["B"], bad)
    with pytest.raises(ValueError, match=r"^Embedding dimension mismatch"):
        store.query([1, 0, 0])
    with pytest.raises(ValueError, match=r"the numbers must be equal"):
        store.add(["b"], [], [[1, 0]])
    state = store.get_state()
    other = rag.InMemoryVectorStore()
    other.restore_state(state)
    assert ids(other.query([1, 0])) == ["a"] and set(state) == {"collections"}


def test_lancedb_persists_and_indexes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Section 15.1: the index at 256 rows; filters stay exact with it; the directory keeps the data."""
    path = str(tmp_path / "v")
    store = rag.LanceDBVectorStore(path)
    count = 600
    vectors = [[((n * (d + 3)) % 97 + 1) / 97 for d in range(16)] for n in range(count)]
    store.add([f"i{n}" for n in range(count)], ["t"] * count, vectors, [{"n": n} for n in range(count)])
    assert store._db.open_table("default").list_indices()
    assert set(ids(store.query(vectors[7], k=count, filter={"n_lt": 50}))) == {f"i{n}" for n in range(50)}
    assert store.query(vectors[7], k=1, filter={"n": 599})[0]["id"] == "i599"
    assert store.add(["new"], ["t"], [vectors[3]]) == 1
    again = rag.LanceDBVectorStore(path)
    assert again.get_state() == {"type": "lancedb", "path": path, "collections": ["default"]}
    again.restore_state({})
    assert len(again.query(vectors[7], k=3)) == 3
    tiny = [[1.0, n] for n in range(300)]
    assert store.add([str(n) for n in range(300)], ["t"] * 300, tiny, collection="tiny") == 300
    assert len(store.query([1, 2], k=5, collection="tiny")) == 5


def test_missing_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 15.1"""
    import sys

    for name in ("lancedb", "chromadb", "model2vec", "openai", "requests"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(rag.Model2VecEmbeddingProvider, "_model", None)
    cases: list[tuple[Any, str]] = [
        (rag.LanceDBVectorStore, "lancedb not installed. Install with: pip install lancedb pyarrow"),
        (rag.ChromaVectorStore, "Chroma not installed. Install with: pip install chromadb"),
        (
            lambda: rag.Model2VecEmbeddingProvider().embed(["x"]),
            "model2vec not installed. Install with: pip install model2vec",
        ),
        (
            lambda: rag.OpenAIEmbeddingProvider().embed(["x"]),
            "openai not installed. Install with: pip install openai",
        ),
        (
            lambda: rag.OllamaEmbeddingProvider().embed(["x"]),
            "requests not installed. Install with: pip install requests",
        ),
    ]
    for call, text in cases:
        with pytest.raises(ImportError) as caught:
            call()
        assert str(caught.value) == text


def test_factories() -> None:
    """Section 15.1"""
    small = rag.create_embedding_provider()
    assert (small.model_name, small.dimensions) == ("text-embedding-3-small", 1536)
    assert rag.OpenAIEmbeddingProvider("text-embedding-3-large").dimensions == 3072
    assert rag.OpenAIEmbeddingProvider("text-embedding-3-large", dimensions=256).dimensions == 256
    ollama = rag.create_embedding_provider("ollama", model="all-minilm:latest", base_url="http://x/")
    assert (ollama.dimensions, ollama._base_url) == (384, "http://x")  # type: ignore[attr-defined]
    assert rag.create_embedding_provider("model2vec").dimensions == 128
    with pytest.raises(ValueError, match=r"^Unknown embedding provider: x$"):
        rag.create_embedding_provider("x")
    with pytest.raises(ValueError, match=r"^Unknown vector store type: x$"):
        rag.create_vector_store("x")


@pytest.fixture
def server() -> Iterator[Any]:
    """A small server that speaks the two embedding protocols, answering the OpenAI one out of order."""

    class Handler(BaseHTTPRequestHandler):
        requests: ClassVar[list[Any]] = []

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.requests.append((self.path, body))
            status, reply = 200, {}
            if self.path == "/api/embeddings":
                if body["model"] == "absent":
                    status = 404
                reply = {"embedding": [float(len(body["prompt"])), 1.0]}
            elif self.path == "/v1/embeddings":
                data = [
                    {"object": "embedding", "index": i, "embedding": [float(len(text))]}
                    for i, text in enumerate(body["input"])
                ]
                usage = {"prompt_tokens": 1, "total_tokens": 1}
                reply = {"object": "list", "data": data[::-1], "model": body["model"], "usage": usage}
            payload = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        yield SimpleNamespace(url=f"http://127.0.0.1:{httpd.server_address[1]}", requests=Handler.requests)
        httpd.shutdown()


def test_ollama_over_http(server: Any) -> None:
    """Section 15.1"""
    pytest.importorskip("requests", reason="the Ollama provider needs requests")
    provider = rag.OllamaEmbeddingProvider(base_url=server.url + "/")
    assert provider.embed(["ab", "abc"]) == [[2.0, 1.0], [3.0, 1.0]]
    assert server.requests[0] == ("/api/embeddings", {"model": "nomic-embed-text", "prompt": "ab"})
    with pytest.raises(
        ValueError, match=r"^Ollama model 'absent' not found. Pull it with: ollama pull absent$"
    ):
        rag.OllamaEmbeddingProvider("absent", base_url=server.url).embed(["x"])


def test_openai_over_http(server: Any) -> None:
    """Section 15.1: order by index, dimensions only for the models that take it."""
    pytest.importorskip("openai", reason="the OpenAI provider needs openai")
    provider = rag.OpenAIEmbeddingProvider(base_url=f"{server.url}/v1", api_key="k", dimensions=1)
    assert provider.embed(["a", "bb", "ccc"]) == [[1.0], [2.0], [3.0]]
    old = rag.OpenAIEmbeddingProvider("custom", base_url=f"{server.url}/v1", api_key="k", dimensions=1)
    old.embed(["a"])
    bodies = [body for _, body in server.requests[-2:]]
    assert bodies[0]["dimensions"] == 1 and "dimensions" not in bodies[1]


def test_embedding_action(actions: dict[str, Any]) -> None:
    """ME-207, ME-212"""
    create = actions["embedding.create"]
    assert actions["actions.embedding_create"] is create
    expected = {"embedding": [1.0, 0.0, 0.0, 0.0, 0.1], "model": "words", "dimensions": 5}
    assert create({}, "cat") == expected
    many = create({}, ["cat", "dog"])
    assert (many["count"], many["dimensions"], many["model"]) == (2, 5, "words") and len(
        many["embeddings"]
    ) == 2
    assert create({}, "cat", batch=True)["count"] == 1
    actions["engine"]._rag_provider = SimpleNamespace(embed=lambda texts: 1 / 0)
    failed = create({}, "x")
    assert failed["success"] is False and failed["error"].startswith("Embedding creation failed: ")


def test_vector_actions(actions: dict[str, Any]) -> None:
    """ME-208, ME-209, ME-212"""
    store, query = actions["vector.store"], actions["vector.query"]
    result = store({}, texts=["cat cat", "dog"], metadata={"kind": "pet"})
    assert result["stored"] == 2 and result["collection"] == "default" and len(set(result["ids"])) == 2
    store({}, texts="tree", ids="t", metadata=[{"kind": "plant"}])
    found = query({}, "cat", k=2)
    assert (found["query"], found["collection"], found["k"]) == ("cat", "default", 2)
    assert [row["text"] for row in found["results"]] == ["cat cat", "dog"] or len(found["results"]) == 2
    assert found["results"][0]["text"] == "cat cat" and "embedding" not in found["results"][0]
    assert ids(query({}, "cat", filter={"kind": "plant"})["results"]) == ["t"]
    assert "embedding" in query({}, "cat", include_embeddings=True)["results"][0]
    assert store({}, ["a", "b"], ids=["1"])["error"] == "Number of IDs (1) doesn't match texts (2)"
    assert store({}, ["a", "b"], embeddings=[[1]])["error"].startswith(
        "Number of embeddings (1) doesn't match"
    )
    calls = actions["engine"]._rag_provider.calls
    assert query({}, "x", filter="bad") == {"error": "Filter must be a dictionary", "success": False}
    assert actions["engine"]._rag_provider.calls == calls
    actions["engine"]._rag_provider = SimpleNamespace(embed=lambda texts: 1 / 0)
    assert query({}, "x")["error"].startswith("Vector query failed: ")
    assert store({}, ["x"])["error"].startswith("Vector store failed: ")


def test_state_and_mock_engine() -> None:
    """ME-210"""
    engine = SimpleNamespace(variables={})
    rag.register_actions({}, engine)
    assert engine._rag_provider is None and engine.get_rag_state() == {}
    engine._rag_vector_store = rag.InMemoryVectorStore()
    engine._rag_vector_store.add(["a"], ["A"], [[1.0]])
    other = SimpleNamespace(variables={})
    rag.register_actions({}, other)
    other.restore_rag_state(engine.get_rag_state())
    assert ids(other._rag_vector_store.query([1.0])) == ["a"]

    mock = MagicMock()
    mock._rag_provider, mock._rag_vector_store = WordProvider(), rag.InMemoryVectorStore()
    registry: dict[str, Any] = {}
    rag.register_actions(registry, mock)
    assert registry["vector.store"]({}, ["cat"])["stored"] == 1


def test_settings(tmp_path: Path) -> None:
    """ME-32, ME-210, Q20: document settings, overridden by the engine's variables, win over arguments."""
    engine: Any = SimpleNamespace(
        _config={"settings": {"rag": {"embedding_provider": "ollama", "ollama_base_url": "http://a"}}},
        variables={"settings": {"rag": {"ollama_base_url": "http://b", "vector_store": "lancedb"}}},
    )
    engine.variables["settings"]["rag"]["lancedb_path"] = str(tmp_path / "v")
    rag.register_actions({}, engine)
    provider = rag._provider(engine, "openai", None, {})
    assert isinstance(provider, rag.OllamaEmbeddingProvider) and provider._base_url == "http://b"
    assert isinstance(rag._store(engine, {"store_type": "memory"}), rag.LanceDBVectorStore)
    assert rag._provider(engine, "model2vec", None, {}) is provider


def test_chunks() -> None:
    """ME-211: lines from 0, end exclusive, blank ones left out."""
    text = "one\ntwo\n\n  \nthree\n"
    lines = split(text, rag.ChunkStrategy.LINE)
    assert [(c.text, c.start_line, c.end_line) for c in lines] == [
        ("one", 0, 1),
        ("two", 1, 2),
        ("three", 4, 5),
    ]
    paragraphs = split(text, rag.ChunkStrategy.PARAGRAPH)
    assert [(c.text, c.start_line, c.end_line) for c in paragraphs] == [("one\ntwo", 0, 2), ("three", 4, 5)]
    document = split(text, rag.ChunkStrategy.DOCUMENT)
    assert [(c.text, c.start_line, c.end_line) for c in document] == [(text, 0, 5)]
    assert split(" \n", rag.ChunkStrategy.DOCUMENT) == []
    assert looks_binary(b"a\0b") and looks_binary(b"\1\2\3a") and not looks_binary("é\t\n".encode())


def test_index_files(actions: dict[str, Any], tmp_path: Path) -> None:
    """ME-211"""
    root = tmp_path / "docs"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_text("cat\n\ndog dog\n")
    (root / "sub" / "b.MD").write_text("fish\n")
    (root / "empty.txt").write_text("")
    (root / "binary.txt").write_bytes(b"\0\1")
    index = actions["vector.index_files"]
    result = index({}, [str(root), str(tmp_path / "missing"), str(root / "a.txt")])
    assert result == {
        "success": True,
        "indexed": 3,
        "skipped": 2,
        "errors": [],
        "collection": "default",
        "files": 2,
    }
    found = actions["vector.query"]({}, "dog", k=1)["results"][0]
    assert found["id"] == f"{root}/a.txt:2" and found["text"] == "dog dog"
    assert found["metadata"] == {
        "file": f"{root}/a.txt",
        "line": 2,
        "start_line": 2,
        "end_line": 3,
        "chunk_type": "line",
    }
    again = index({}, str(root))
    assert (again["indexed"], again["skipped"]) == (0, 4)
    (root / "a.txt").write_text("tree tree tree\n")
    assert index({}, str(root))["indexed"] == 1
    assert index({}, str(root), incremental=False)["indexed"] == 2
    assert index({}, str(root), extensions=["md"], incremental=False)["files"] == 1
    assert index({}, str(root), pattern="*.txt", incremental=False, collection="c")["indexed"] == 1
    assert index({}, str(root), chunk_by="document", collection="d")["indexed"] == 2
    bad = index({}, str(root), chunk_by="word")
    assert bad["error"] == "Invalid chunk_by value: word. Must be one of: line, paragraph, document"


def test_index_remote_files(actions: dict[str, Any], tmp_path: Path) -> None:
    """ME-211: URIs through fsspec."""
    import fsspec  # type: ignore[import-untyped]

    with fsspec.open(f"memory:/{tmp_path}/x/a.txt", "w") as stream:
        stream.write("cat\ndog\n")
    result = actions["vector.index_files"]({}, f"memory:/{tmp_path}/x")
    assert result["indexed"] == 2 and result["errors"] == []
    assert actions["vector.index_files"]({}, "nonsense://x/y")["error"].startswith("File listing failed: ")
