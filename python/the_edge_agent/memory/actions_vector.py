"""The ``memory.vector_*`` and ``memory.embed*`` actions over a vector index and an embedding function."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, MutableMapping
from functools import wraps
from importlib import import_module
from typing import Any

from the_edge_agent.memory._results import failure
from the_edge_agent.memory.vector.base import VectorSearchConfig

Result = dict[str, Any]

DEFAULT_TOP_K = 10
DEFAULT_THRESHOLD = 0.0
MAX_TOP_K = 100
EMBEDDING_MODEL = "text-embedding-3-small"
EMBEDDING_DIMENSIONS = 1536
MAX_INPUT_TOKENS = 8191

COLLECTION = "agent_memory"

_FIELDS = (
    "file_path",
    "file_name",
    "project_id",
    "content_type",
    "anchors",
    "status",
    "summary",
    "line_count",
    "byte_size",
    "token_estimate",
    "first_heading",
    "content_hash",
    "doc_id",
)

_encoding: Any = None


def count_tokens(text: str) -> int:
    """Count tokens with tiktoken; without it, or without its data, four characters are one token."""
    global _encoding
    if _encoding is None:
        try:
            module: Any = import_module("tiktoken")
            _encoding = module.get_encoding("cl100k_base")
        except Exception:
            # Not installed, or its data cannot be downloaded; do not try again for every text.
            _encoding = False
    if _encoding is False:
        return len(text) // 4
    return len(_encoding.encode(text, disallowed_special=()))


def _from(name: str, state: Any, keywords: dict[str, Any]) -> Any:
    """Find an object in the keywords, in ``state["_<name>"]`` or in ``state["<name>"]``."""
    places: list[Any] = [keywords.get(name)]
    if isinstance(state, dict):
        places += [state.get(f"_{name}"), state.get(name)]
    return next((place for place in places if place is not None), None)


def _no_index() -> Result:
    return failure("No VectorIndex available. Pass vector_index in kwargs or state.", "configuration_error")


def _embed_query(state: Any, query: str, keywords: dict[str, Any]) -> Result:
    """Embed with the given function, or with the ``memory.embed`` action of the state."""
    function = _from("embedding_fn", state, keywords)
    registry = _from("action_registry", state, {})
    try:
        if function is not None:
            reply = function(query)
        elif registry is not None and registry.get("memory.embed") is not None:
            reply = registry["memory.embed"](state=state, content=query)
        else:
            return failure("No embedding function configured", "embedding_not_configured")
    except Exception as error:
        return failure(f"Embedding failed: {error}", "embedding_failed")
    if isinstance(reply, dict):
        if not reply.get("success", True):
            return failure(f"Embedding failed: {reply.get('error')}", "embedding_failed")
        reply = reply.get("embedding")
    if not isinstance(reply, (list, tuple)) or not reply:
        return failure("Embedding failed: no vector returned", "embedding_failed")
    return {"success": True, "embedding": list(reply)}


def _search(index: Any, embedding: list[float], filters: dict[str, Any], config: VectorSearchConfig) -> Any:
    """Search an index that takes ``metadata_filter`` or one that takes ``filters``."""
    try:
        inspect.signature(index.search).bind(embedding=embedding, config=config, metadata_filter=filters)
    except TypeError:
        return index.search(embedding=embedding, config=config, filters=filters)
    return index.search(embedding=embedding, config=config, metadata_filter=filters)


def _hits(
    state: Any,
    index: Any,
    embedding: list[float],
    top_k: Any,
    threshold: Any,
    wanted: dict[str, Any],
) -> Result:
    top_k = max(1, min(MAX_TOP_K, int(top_k)))
    threshold = max(0.0, min(1.0, float(threshold)))
    project = state.get("project_id") if isinstance(state, dict) else None
    filters = {"project_id": project or "default", **{k: v for k, v in wanted.items() if v}}
    config = VectorSearchConfig(top_k=top_k, threshold=threshold, embedding_dimensions=len(embedding))
    try:
        found = _search(index, embedding, filters, config)
    except Exception as error:
        return failure(f"Search failed: {error}", "search_failed")
    if isinstance(found, dict):
        if not found.get("success", True):
            return found
        found = found.get("results", [])
    rows = [_row(hit) for hit in found]
    return {
        "success": True,
        "results": rows,
        "count": len(rows),
        "top_k": top_k,
        "threshold": threshold,
    }


def _row(hit: Any) -> dict[str, Any]:
    get = hit.get if isinstance(hit, dict) else lambda name, default=None: getattr(hit, name, default)
    metadata = get("metadata") or {}
    row = {name: metadata.get(name) for name in _FIELDS}
    row["doc_id"] = row["doc_id"] or get("id")
    return {**row, "content": get("content"), "similarity_score": get("score")}


def _wrong_length(index: Any, embedding: list[float]) -> str | None:
    expected = index.get_dimensions()
    if isinstance(expected, int) and len(embedding) != expected:
        return f"Embedding has {len(embedding)} dimensions, expected {expected}"
    return None


def memory_vector_search(
    state: Any,
    query: Any = None,
    top_k: Any = DEFAULT_TOP_K,
    threshold: Any = DEFAULT_THRESHOLD,
    content_type: Any = None,
    anchors: Any = None,
    status: Any = "active",
    **keywords: Any,
) -> Result:
    """Find the project's files nearest to a text.

    ``top_k`` is kept within 1 to 100, ``threshold`` (least similarity) within 0 to 1. Answers ``{"success",
    "results", "count", "query_tokens", "top_k", "threshold"}``.
    """
    if not isinstance(query, str) or not query.strip():
        return failure("Query must be a non-empty string", "invalid_input")
    index = _from("vector_index", state, keywords)
    if index is None:
        return _no_index()
    embedded = _embed_query(state, query, keywords)
    if not embedded["success"]:
        return embedded
    wrong = _wrong_length(index, embedded["embedding"])
    if wrong:
        return failure(wrong, "dimension_mismatch")
    wanted = {"status": status, "content_type": content_type, "anchors": anchors}
    result = _hits(state, index, embedded["embedding"], top_k, threshold, wanted)
    return {**result, "query_tokens": len(query.split()) * 2} if result["success"] else result


def memory_vector_search_by_embedding(
    state: Any,
    embedding: Any = None,
    top_k: Any = DEFAULT_TOP_K,
    threshold: Any = DEFAULT_THRESHOLD,
    content_type: Any = None,
    status: Any = "active",
    **keywords: Any,
) -> Result:
    """Find the project's files nearest to a vector; see ``memory_vector_search``."""
    if not isinstance(embedding, (list, tuple)) or not embedding:
        return failure("Embedding must be a non-empty list", "invalid_input")
    index = _from("vector_index", state, keywords)
    if index is None:
        return _no_index()
    wrong = _wrong_length(index, list(embedding))
    if wrong:
        return failure(wrong, "invalid_dimensions")
    wanted = {"status": status, "content_type": content_type}
    return _hits(state, index, list(embedding), top_k, threshold, wanted)


def memory_vector_load_data(state: Any, source: Any = None, **keywords: Any) -> Result:
    """Load a Parquet file into the index: ``{"success", "loaded": True, "source", "row_count"}``."""
    if not source:
        return failure("Source path or URL is required", "invalid_input")
    index = _from("vector_index", state, keywords)
    if index is None:
        return _no_index()
    try:
        loaded = index.load_data(str(source))
    except Exception as error:
        return failure(f"Load failed: {error}", "load_failed")
    count = loaded
    if isinstance(loaded, dict):
        if not loaded.get("success", True):
            return failure(str(loaded.get("error")), "load_failed")
        count = loaded.get("loaded", loaded.get("row_count"))
    return {"success": True, "loaded": True, "source": source, "row_count": count}


def memory_vector_build_index(state: Any, **keywords: Any) -> Result:
    """Build the index: ``{"success", "built": True, "stats"}``."""
    index = _from("vector_index", state, keywords)
    if index is None:
        return _no_index()
    try:
        built = index.build_index()
        if isinstance(built, dict) and not built.get("success", True):
            return failure(str(built.get("error")), "build_failed")
        return {"success": True, "built": True, "stats": index.get_stats()}
    except Exception as error:
        return failure(f"Build failed: {error}", "build_failed")


def memory_vector_stats(state: Any, **keywords: Any) -> Result:
    """Describe the index: ``{"success", "stats"}`` with ``dimensions`` among the stats."""
    index = _from("vector_index", state, keywords)
    if index is None:
        return _no_index()
    try:
        return {"success": True, "stats": {**index.get_stats(), "dimensions": index.get_dimensions()}}
    except Exception as error:
        return failure(f"Stats failed: {error}", "search_failed")


def memory_embed(
    state: Any, content: Any = None, model: str = EMBEDDING_MODEL, embedding_fn: Any = None, **_: Any
) -> Result:
    """Embed a text: ``{"success", "embedding", "model", "tokens", "dimensions"}``.

    ``embedding_fn(content)`` gives a vector or such a dictionary; without it the OpenAI API is asked, with
    the key in ``OPENAI_API_KEY``. At most 8191 tokens.
    """
    if not isinstance(content, str) or not content.strip():
        return failure("Content must be a non-empty string", "invalid_input")
    tokens = count_tokens(content)
    if tokens > MAX_INPUT_TOKENS:
        return failure(
            f"Content has {tokens} tokens; at most {MAX_INPUT_TOKENS} are possible",
            "content_too_long",
            tokens=tokens,
        )
    try:
        if embedding_fn is None:
            if not os.environ.get("OPENAI_API_KEY"):
                return failure("OPENAI_API_KEY is not set", "auth_error")
            from the_edge_agent.memory.rag.providers import OpenAIEmbeddingProvider

            reply: Any = OpenAIEmbeddingProvider(model).embed([content])[0]
        else:
            reply = embedding_fn(content)
    except Exception as error:
        kind = "rate_limit" if "rate" in str(error).lower() else "api_error"
        return failure(f"Embedding failed: {error}", kind)
    if isinstance(reply, dict):
        vector = reply.get("embedding")
        return {
            **reply,
            "success": reply.get("success", True),
            "model": reply.get("model", model),
            "tokens": reply.get("tokens", tokens),
            "dimensions": reply.get("dimensions", len(vector) if vector else 0),
        }
    vector = list(reply)
    return {"success": True, "embedding": vector, "model": model, "tokens": tokens, "dimensions": len(vector)}


def memory_embed_batch(
    state: Any, contents: Any = None, skip_on_error: bool = True, **keywords: Any
) -> Result:
    """Embed several texts; without ``skip_on_error`` the first failure ends the work.

    ``{"success", "embeddings": [results], "total", "succeeded", "failed", "total_tokens"}``
    """
    if not isinstance(contents, list) or not contents:
        return failure("Contents must be a non-empty list", "invalid_input")
    results: list[Result] = []
    for content in contents:
        results.append(memory_embed(state, content, **keywords))
        if not results[-1]["success"] and not skip_on_error:
            break
    succeeded = sum(bool(result["success"]) for result in results)
    return {
        "success": succeeded == len(results) or skip_on_error,
        "embeddings": results,
        "total": len(contents),
        "succeeded": succeeded,
        "failed": len(results) - succeeded,
        "total_tokens": sum(result.get("tokens", 0) for result in results if result["success"]),
    }


def memory_backfill_embeddings(
    state: Any,
    batch_size: int = 10,
    limit: int = 100,
    project_id: str | None = None,
    dry_run: bool = False,
    **keywords: Any,
) -> Result:
    """Embed the stored files that have no embedding yet, at most ``limit``.

    ``{"success", "processed", "succeeded", "failed", "skipped", "total_tokens", "remaining", "message"}``; a
    dry run only counts: ``{"success", "dry_run": True, "docs_without_embeddings", "message"}``.
    """
    store = _from("metadata_store", state, keywords)
    blobs = _from("blob_storage", state, keywords)
    if store is None or blobs is None:
        return failure("metadata_store and blob_storage are required", "missing_backend")
    filters = {"project_id": project_id} if project_id else {}
    try:
        documents = [row for row in _documents(store, filters, limit) if not row[1].get("embedding")]
    except Exception as error:
        return failure(f"Query failed: {error}", "query_error")
    count = len(documents)
    if dry_run:
        message = f"{count} documents without embeddings"
        return {"success": True, "dry_run": True, "docs_without_embeddings": count, "message": message}
    done = {"processed": 0, "succeeded": 0, "failed": 0, "skipped": 0, "total_tokens": 0}
    for doc_id, data in documents[:limit]:
        done["processed"] += 1
        content = _content(blobs, data)
        if content is None:
            done["skipped"] += 1
            continue
        result = memory_embed(state, content, embedding_fn=_from("embedding_fn", state, keywords))
        saved = result["success"] and _save(
            store, doc_id, {"embedding": result["embedding"], "embedding_model": result["model"]}
        )
        done["succeeded" if saved else "failed"] += 1
        done["total_tokens"] += result.get("tokens", 0) if saved else 0
    message = f"{done['succeeded']} of {done['processed']} documents embedded"
    return {"success": True, **done, "remaining": count - done["succeeded"], "message": message}


def _documents(store: Any, filters: dict[str, Any], limit: int) -> list[tuple[str, dict[str, Any]]]:
    """Ask a store whose ``query`` takes keywords, or one that takes a ``MetadataQuery``."""
    try:
        inspect.signature(store.query).bind(collection=COLLECTION, filters=filters, limit=limit)
    except TypeError:
        from the_edge_agent.memory.metadata.base import MetadataQuery

        spec = MetadataQuery(COLLECTION, [(k, "==", v) for k, v in filters.items()], limit=limit)
        found = store.query(spec)
    else:
        found = store.query(collection=COLLECTION, filters=filters, limit=limit)
    if isinstance(found, dict):
        if not found.get("success", True):
            raise RuntimeError(found.get("error"))
        found = found.get("documents", found.get("results", []))
    rows = []
    for row in found:
        data = row.get("data", row)
        rows.append((str(row.get("doc_id", row.get("id"))), data))
    return rows


def _content(blobs: Any, data: dict[str, Any]) -> str | None:
    path = data.get("blob_path") or data.get("file_path") or data.get("storage_uri")
    if not path:
        return None
    read = blobs.download(path)
    if not isinstance(read, dict) or not read.get("success"):
        return None
    content = read.get("content")
    text = content.decode("utf-8", "replace") if isinstance(content, bytes) else content
    return text if isinstance(text, str) and text.strip() else None


def _save(store: Any, doc_id: str, changes: dict[str, Any]) -> bool:
    if hasattr(store, "update"):
        result = store.update(collection=COLLECTION, doc_id=doc_id, data=changes)
    else:
        result = store.update_document(COLLECTION, doc_id, changes)
    return not isinstance(result, dict) or bool(result.get("success", True))


ACTIONS: dict[str, Callable[..., Result]] = {
    "memory.vector_search": memory_vector_search,
    "memory.vector_search_by_embedding": memory_vector_search_by_embedding,
    "memory.vector_load_data": memory_vector_load_data,
    "memory.vector_build_index": memory_vector_build_index,
    "memory.vector_stats": memory_vector_stats,
    "memory.embed": memory_embed,
    "memory.embed_batch": memory_embed_batch,
    "memory.backfill_embeddings": memory_backfill_embeddings,
}


def register_actions(registry: MutableMapping[str, Callable[..., Any]], engine: Any) -> None:
    """Add the actions under their dotted names; the engine's own objects are used when there are any."""

    def bind(function: Callable[..., Result]) -> Callable[..., Result]:
        @wraps(function)
        def call(*arguments: Any, **keywords: Any) -> Result:
            for name in ("vector_index", "embedding_fn", "metadata_store", "blob_storage"):
                own = getattr(engine, f"_{name}", None)
                if own is not None:
                    keywords.setdefault(name, own)
            return function(*arguments, **keywords)

        return call

    for name, function in ACTIONS.items():
        registry[name] = bind(function)
