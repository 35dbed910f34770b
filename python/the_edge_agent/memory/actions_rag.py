"""The ``embedding.create``, ``vector.store``, ``vector.query`` and ``vector.index_files`` actions."""

from __future__ import annotations

import glob as _glob
import os
import time
import uuid
from collections.abc import Callable, MutableMapping
from functools import partial
from importlib import import_module
from typing import Any

from the_edge_agent.memory._availability import has_package
from the_edge_agent.memory.rag.chunks import Chunk, ChunkStrategy, FileState, looks_binary, split
from the_edge_agent.memory.rag.providers import (
    EmbeddingProvider,
    Model2VecEmbeddingProvider,
    OllamaEmbeddingProvider,
    OpenAIEmbeddingProvider,
    create_embedding_provider,
)
from the_edge_agent.memory.rag.stores import (
    ChromaVectorStore,
    InMemoryVectorStore,
    LanceDBVectorStore,
    VectorStore,
    cosine_similarity,
    cosine_similarity_batch,
    create_vector_store,
)

__all__ = [
    "FSSPEC_AVAILABLE",
    "ChromaVectorStore",
    "Chunk",
    "ChunkStrategy",
    "EmbeddingProvider",
    "FileState",
    "InMemoryVectorStore",
    "LanceDBVectorStore",
    "Model2VecEmbeddingProvider",
    "OllamaEmbeddingProvider",
    "OpenAIEmbeddingProvider",
    "VectorStore",
    "cosine_similarity",
    "cosine_similarity_batch",
    "create_embedding_provider",
    "create_vector_store",
    "embedding_create",
    "fsspec",
    "register_actions",
    "vector_index_files",
    "vector_query",
    "vector_store",
]

Result = dict[str, Any]

FSSPEC_AVAILABLE = has_package("fsspec")
fsspec: Any = import_module("fsspec") if FSSPEC_AVAILABLE else None

# Texts that go to an embedding provider in one request.
_BATCH = 100


def _settings(engine: Any) -> dict[str, Any]:
    """The ``rag`` settings: the document's, overridden by ``engine.variables["settings"]["rag"]``."""
    merged: dict[str, Any] = {}
    config, variables = getattr(engine, "_config", None), getattr(engine, "variables", None)
    places = [config.get("settings") if isinstance(config, dict) else None]
    places.append(variables.get("settings") if isinstance(variables, dict) else None)
    for settings in places:
        rag = settings.get("rag") if isinstance(settings, dict) else None
        if isinstance(rag, dict):
            merged.update(rag)
    return merged


def _provider(engine: Any, provider: str | None, model: str | None, options: dict[str, Any]) -> Any:
    if getattr(engine, "_rag_provider", None) is None:
        settings = _settings(engine)
        name = settings.get("embedding_provider") or provider or "openai"
        own = "ollama_base_url" if name == "ollama" else "openai_base_url"
        engine._rag_provider = create_embedding_provider(
            name,
            model=settings.get("embedding_model") or model,
            base_url=settings.get(own) or options.get("base_url"),
            api_key=options.get("api_key"),
            dimensions=options.get("dimensions"),
            timeout=settings.get("ollama_timeout") or options.get("timeout") or 60.0,
        )
    return engine._rag_provider


def _store(engine: Any, options: dict[str, Any]) -> Any:
    if getattr(engine, "_rag_vector_store", None) is None:
        settings = _settings(engine)
        engine._rag_vector_store = create_vector_store(
            settings.get("vector_store") or options.get("store_type") or "memory",
            chroma_path=settings.get("chroma_path") or options.get("chroma_path"),
            lancedb_path=settings.get("lancedb_path") or options.get("lancedb_path"),
        )
    return engine._rag_vector_store


def _embed(provider: Any, texts: list[str]) -> list[list[float]]:
    vectors: list[list[float]] = []
    for start in range(0, len(texts), _BATCH):
        vectors += provider.embed(texts[start : start + _BATCH])
    return vectors


def embedding_create(
    state: Any,
    text: Any = None,
    model: str | None = None,
    batch: bool = False,
    provider: str | None = None,
    *,
    engine: Any,
    **options: Any,
) -> Result:
    """Embed one text or several.

    ``{"embedding", "model", "dimensions"}`` or ``{"embeddings", "model", "count", "dimensions"}``
    """
    try:
        maker = _provider(engine, provider, model, options)
        if isinstance(text, (list, tuple)) or batch:
            texts = [str(t) for t in text] if isinstance(text, (list, tuple)) else [str(text)]
            vectors = _embed(maker, texts)
            return {
                "embeddings": vectors,
                "model": maker.model_name,
                "count": len(vectors),
                "dimensions": len(vectors[0]) if vectors else maker.dimensions,
            }
        vector = maker.embed([str(text)])[0]
        return {"embedding": vector, "model": maker.model_name, "dimensions": len(vector)}
    except Exception as error:
        return {"error": f"Embedding creation failed: {error}", "success": False}


def vector_store(
    state: Any,
    texts: Any = None,
    embeddings: Any = None,
    ids: Any = None,
    metadata: Any = None,
    collection: str = "default",
    provider: str | None = None,
    model: str | None = None,
    *,
    engine: Any,
    **options: Any,
) -> Result:
    """Store texts with their embeddings (made here when missing): ``{"stored", "collection", "ids"}``.

    One ``metadata`` object applies to all texts, a list has one for each.
    """
    try:
        rows = [texts] if isinstance(texts, str) else list(texts or [])
        names = [ids] if isinstance(ids, str) else ids
        names = [str(uuid.uuid4()) for _ in rows] if names is None else [str(name) for name in names]
        if len(names) != len(rows):
            return _refused(f"Number of IDs ({len(names)}) doesn't match texts ({len(rows)})")
        if embeddings is None:
            embeddings = _embed(_provider(engine, provider, model, options), rows)
        elif len(embeddings) != len(rows):
            return _refused(f"Number of embeddings ({len(embeddings)}) doesn't match texts ({len(rows)})")
        if isinstance(metadata, dict):
            metadata = [dict(metadata) for _ in rows]
        elif metadata is not None and len(metadata) != len(rows):
            return _refused(f"Number of metadata ({len(metadata)}) doesn't match texts ({len(rows)})")
        stored = _store(engine, options).add(
            ids=names, texts=rows, embeddings=embeddings, metadatas=metadata, collection=collection
        )
        return {"stored": stored, "collection": collection, "ids": names}
    except Exception as error:
        return _refused(f"Vector store failed: {error}")


def _refused(error: str) -> Result:
    return {"error": error, "success": False}


def vector_query(
    state: Any,
    query: Any = None,
    k: int = 5,
    collection: str = "default",
    filter: Any = None,
    include_embeddings: bool = False,
    provider: str | None = None,
    model: str | None = None,
    *,
    engine: Any,
    **options: Any,
) -> Result:
    """Find the texts nearest to ``query``: ``{"results", "query", "collection", "k"}``."""
    if filter is not None and not isinstance(filter, dict):
        return _refused("Filter must be a dictionary")
    try:
        vector = _provider(engine, provider, model, options).embed([str(query)])[0]
        results = _store(engine, options).query(
            embedding=vector,
            k=int(k),
            collection=collection,
            filter=filter,
            include_embeddings=include_embeddings,
        )
        return {"results": results, "query": query, "collection": collection, "k": k}
    except Exception as error:
        return _refused(f"Vector query failed: {error}")


class _File:
    """A file to index, local or remote."""

    def __init__(self, name: str, size: int, mtime: float, read: Callable[[], bytes]) -> None:
        self.name, self.size, self.mtime, self.read = name, size, mtime, read


def _list_files(paths: list[str], pattern: str, recursive: bool, extensions: list[str] | None) -> list[_File]:
    files: dict[str, _File] = {}
    for path in paths:
        found = _remote_files(path, pattern) if "://" in path else _local_files(path, pattern, recursive)
        for file in found:
            files.setdefault(file.name, file)
    if not extensions:
        return list(files.values())
    endings = tuple("." + ending.lower().lstrip(".") for ending in extensions)
    return [file for file in files.values() if file.name.lower().endswith(endings)]


def _local_files(path: str, pattern: str, recursive: bool) -> list[_File]:
    path = os.path.expanduser(path)
    names = [path]
    if os.path.isdir(path):
        names = sorted(_glob.glob(os.path.join(_glob.escape(path), pattern), recursive=recursive))
    files = []
    for name in names:
        if os.path.isfile(name):
            info = os.stat(name)
            files.append(_File(name, info.st_size, info.st_mtime, partial(_read_local, name)))
    return files


def _read_local(name: str) -> bytes:
    with open(name, "rb") as stream:
        return stream.read()


def _remote_files(path: str, pattern: str) -> list[_File]:
    if not FSSPEC_AVAILABLE:
        raise ImportError("fsspec not installed. Install with: pip install fsspec")
    system, root = fsspec.core.url_to_fs(path)
    names = [root]
    if system.isdir(root):
        names = sorted(system.glob(f"{root.rstrip('/')}/{pattern}"))
    files = []
    for name in names:
        if system.isfile(name):
            info = system.info(name)
            changed = info.get("mtime", info.get("LastModified", info.get("created", 0)))
            mtime = changed.timestamp() if hasattr(changed, "timestamp") else float(changed or 0)
            read = partial(_read_remote, system, name)
            files.append(_File(system.unstrip_protocol(name), int(info.get("size") or 0), mtime, read))
    return files


def _read_remote(system: Any, name: str) -> bytes:
    with system.open(name, "rb") as stream:
        data: bytes = stream.read()
    return data


def vector_index_files(
    state: Any,
    paths: Any = None,
    pattern: str = "**/*",
    chunk_by: str = "line",
    collection: str = "default",
    recursive: bool = True,
    extensions: list[str] | None = None,
    incremental: bool = True,
    provider: str | None = None,
    model: str | None = None,
    *,
    engine: Any,
    **options: Any,
) -> Result:
    """Cut files into pieces and store them with embeddings.

    ``paths`` are files, directories or fsspec URIs; ``chunk_by`` is line, paragraph or document;
    ``incremental`` skips files whose size and time did not change. Binary and empty files are skipped.
    Answers ``{"success", "indexed": pieces, "skipped": files, "errors", "collection", "files"}``.
    """
    try:
        strategy = ChunkStrategy(chunk_by)
    except ValueError:
        return _refused(f"Invalid chunk_by value: {chunk_by}. Must be one of: line, paragraph, document")
    try:
        wanted = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths or [])
        files = _list_files([os.fspath(path) for path in wanted], pattern, recursive, extensions)
    except Exception as error:
        return _refused(f"File listing failed: {error}")
    indexed = skipped = done = 0
    errors: list[str] = []
    try:
        maker, store = _provider(engine, provider, model, options), _store(engine, options)
        for file in files:
            try:
                if incremental and _is_unchanged(store, collection, file, maker.dimensions):
                    skipped += 1
                    continue
                chunks = _read_chunks(file, strategy)
                if not chunks:
                    skipped += 1
                    continue
                _add_chunks(store, maker, collection, file, chunks)
                _remember(store, collection, file, maker.dimensions)
                indexed, done = indexed + len(chunks), done + 1
            except Exception as error:
                errors.append(f"{file.name}: {error}")
    except Exception as error:
        return _refused(f"File indexing failed: {error}")
    return {
        "success": True,
        "indexed": indexed,
        "skipped": skipped,
        "errors": errors,
        "collection": collection,
        "files": done,
    }


def _read_chunks(file: _File, strategy: ChunkStrategy) -> list[Chunk]:
    data = file.read()
    if not data or looks_binary(data):
        return []
    return split(data.decode("utf-8", errors="replace"), strategy)


def _add_chunks(store: Any, maker: Any, collection: str, file: _File, chunks: list[Chunk]) -> None:
    store.add(
        ids=[f"{file.name}:{chunk.start_line}" for chunk in chunks],
        texts=[chunk.text for chunk in chunks],
        embeddings=_embed(maker, [chunk.text for chunk in chunks]),
        metadatas=[
            {
                "file": file.name,
                "line": chunk.start_line,
                "start_line": chunk.start_line,
                "end_line": chunk.end_line,
                "chunk_type": chunk.chunk_type,
            }
            for chunk in chunks
        ],
        collection=collection,
    )


def _is_unchanged(store: Any, collection: str, file: _File, dimensions: int) -> bool:
    found = store.query(
        embedding=[0.0] * dimensions,
        k=1,
        collection=f"_file_states_{collection}",
        filter={"path": file.name},
    )
    if not found:
        return False
    known = found[0]["metadata"]
    return bool(known.get("size") == file.size and known.get("mtime") == file.mtime)


def _remember(store: Any, collection: str, file: _File, dimensions: int) -> None:
    state = FileState(file.name, file.size, file.mtime, time.time())
    store.add(
        ids=[file.name],
        texts=[file.name],
        embeddings=[[0.0] * dimensions],
        metadatas=[vars(state)],
        collection=f"_file_states_{collection}",
    )


ACTIONS: dict[str, Callable[..., Result]] = {
    "embedding.create": embedding_create,
    "vector.store": vector_store,
    "vector.query": vector_query,
    "vector.index_files": vector_index_files,
}


def register_actions(registry: MutableMapping[str, Callable[..., Any]], engine: Any) -> None:
    """Add every action under its dotted name and its alias, and the state methods to the engine."""
    for name in ("_rag_provider", "_rag_vector_store"):
        if not hasattr(engine, name):
            setattr(engine, name, None)

    def get_rag_state() -> dict[str, Any]:
        store = engine._rag_vector_store
        return {} if store is None else {"vector_store": store.get_state()}

    def restore_rag_state(state: dict[str, Any]) -> None:
        if state.get("vector_store"):
            _store(engine, {}).restore_state(state["vector_store"])

    engine.get_rag_state = get_rag_state
    engine.restore_rag_state = restore_rag_state
    for name, function in ACTIONS.items():
        bound = partial(function, engine=engine)
        registry[name] = bound
        registry["actions." + name.replace(".", "_")] = bound
