"""The ``memory.cloud_*`` and ``memory.manifest_*`` actions: files of a project, described by documents."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, MutableMapping
from datetime import datetime, timezone
from functools import wraps
from importlib import import_module
from typing import Any
from urllib.parse import unquote

from the_edge_agent.memory._documents import answering, find, from_state, read
from the_edge_agent.memory._results import Result, failure
from the_edge_agent.memory.metadata.base import Filter

logger = logging.getLogger(__name__)

COLLECTION = "agent_memory"
DEFAULT_PROJECT = "default"
MAX_BYTES = 100 * 1024
MAX_LINES = 500
MAX_TOKENS = 4000

_PROJECT = re.compile(r"[A-Za-z0-9-]+\Z")
_PATH = re.compile(r"[A-Za-z0-9_./-]+\Z")
_SCHEMES = ("gs://", "s3://", "http://", "https://", "file://", "ftp://")
_UNSAFE = frozenset("$`|;&<>!@#*?\\\n\r\t'\"")
_PROGRAMS = frozenset("exe sh bat cmd ps1 py js ts php rb pl bash zsh csh ksh".split())  # noqa: SIM905
_MANY = 100_000


def _compute_content_hash(content: str | bytes) -> str:
    data = content.encode("utf-8") if isinstance(content, str) else content
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _generate_doc_id(project_id: str, path: str) -> str:
    return hashlib.sha256(f"{project_id}/{path}".encode()).hexdigest()[:20]


def _sanitize_path(path: Any, project_id: Any) -> tuple[bool, str, str | None]:
    """Return ``(True, path, full path)`` or ``(False, error, None)``."""
    if not isinstance(project_id, str) or not _PROJECT.match(project_id):
        return False, "Invalid project_id: only letters, digits and hyphens are allowed", None
    problem, clean = _path_problem(path)
    if problem:
        return False, f"Invalid path: {problem}", None
    return True, clean, f"agent-memory/{project_id}/{clean}"


def _path_problem(path: Any) -> tuple[str | None, str]:
    if not isinstance(path, str) or not path.strip():
        return "it is empty", ""
    text = path.strip()
    if text in (".", "./"):
        return "it names no file", ""
    if len(text) > 1000:
        return "it has more than 1000 characters", ""
    for _ in range(3):  # an encoded path may be encoded again
        text = unquote(text)
    checks = (
        ("\0" in text, "it contains a NUL character"),
        (".." in text, "'..' is not allowed"),
        (text.startswith("\\\\"), "UNC paths are not allowed"),
        (text.startswith(("/", "~")), "absolute paths are not allowed"),
        (re.match(r"[A-Za-z]:", text) is not None, "drive letters are not allowed"),
        (text.lower().startswith(_SCHEMES), "URIs are not allowed"),
        (bool(_UNSAFE & set(text)), "it contains a character that is not allowed"),
        (not _PATH.match(text), "only letters, digits and _ . / - are allowed"),
    )
    for wrong, problem in checks:
        if wrong:
            return problem, ""
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not parts:
        return "it names no file", ""
    if len(parts) > 20:
        return "it has more than 20 parts", ""
    ending = parts[-1].rpartition(".")[2].lower() if "." in parts[-1] else ""
    if ending in _PROGRAMS:
        return f"files of type .{ending} are not allowed", ""
    return None, "/".join(parts)


def _validate_file_size(content: str) -> tuple[bool, str | None]:
    size, lines, tokens = len(content.encode("utf-8")), content.count("\n") + 1, len(content) // 4
    for value, most, unit in (
        (size, MAX_BYTES, "bytes"),
        (lines, MAX_LINES, "lines"),
        (tokens, MAX_TOKENS, "tokens"),
    ):
        if value > most:
            return False, f"File too large: {value} {unit}, at most {most} are allowed"
    return True, None


def _detect_content_type(path: str, explicit: str | None = None) -> str:
    if explicit in ("yaml", "json", "md"):
        return str(explicit)
    ending = path.rpartition(".")[2].lower()
    return {"json": "json", "md": "md"}.get(ending, "yaml")


def _project(state: Any) -> str:
    project = state.get("project_id") if isinstance(state, dict) else None
    return str(project) if project else DEFAULT_PROJECT


def _with_stores(
    state: Any, keywords: dict[str, Any], work: Callable[[Any, Any], Result], blobs_too: bool = True
) -> Result:
    store = from_state("metadata_store", state, keywords)
    if store is None:
        return failure(
            "No MetadataStore available. Pass metadata_store in kwargs or state.", "configuration_error"
        )
    blobs = from_state("blob_storage", state, keywords)
    if blobs is None and blobs_too:
        return failure(
            "No BlobStorage available. Pass blob_storage in kwargs or state.", "configuration_error"
        )
    return answering(lambda: work(store, blobs))


def memory_cloud_store(
    state: Any,
    path: Any = None,
    content: Any = None,
    content_type: str | None = None,
    anchors: list[str] | None = None,
    metadata: dict[str, Any] | None = None,
    skip_embedding: bool = False,
    **keywords: Any,
) -> Result:
    """Store a text file of the project ``state["project_id"]``: first the blob, then its document.

    When the document cannot be written a new blob is removed again. Answers ``file_path``, ``doc_id``,
    ``storage_uri``, ``byte_size``, ``line_count``, ``token_estimate``, ``content_hash``, ``embedding_status``
    and ``embedding_tokens``.
    """
    project = _project(state)
    valid, clean, full = _sanitize_path(path, project)
    if not valid or full is None:
        return failure(clean, "validation_error")
    text = content.decode("utf-8", "replace") if isinstance(content, bytes) else content
    if not isinstance(text, str):
        return failure(f"Content must be text, got {type(content).__name__}", "validation_error")
    fits, problem = _validate_file_size(text)
    if not fits:
        return failure(str(problem), "validation_error")

    def work(store: Any, blobs: Any) -> Result:
        doc_id = _generate_doc_id(project, clean)
        present = read(store, COLLECTION, doc_id)
        former = blobs.download(full) if present is not None else None
        uploaded = blobs.upload(full, text)
        if not uploaded.get("success"):
            return failure(str(uploaded.get("error")), str(uploaded.get("error_type") or "storage_error"))
        document = _describe(project, clean, text, content_type, anchors, metadata, present)
        document["storage_uri"] = uploaded.get("uri")
        status, tokens = _embed(state, document, text, present, skip_embedding, keywords.get("embed_action"))
        try:
            written = store.set_document(COLLECTION, doc_id, document)
        except Exception as error:
            written = failure(str(error), "connection_error")
        if not written.get("success"):
            _restore(blobs, full, former)
            return failure(str(written.get("error")), str(written.get("error_type") or "query_error"))
        names = ("file_path", "storage_uri", "byte_size", "line_count", "token_estimate", "content_hash")
        return {
            "success": True,
            "doc_id": doc_id,
            **{name: document[name] for name in names},
            "embedding_status": status,
            "embedding_tokens": tokens,
        }

    return _with_stores(state, keywords, work)


def _describe(
    project: str,
    path: str,
    text: str,
    content_type: str | None,
    anchors: list[str] | None,
    metadata: dict[str, Any] | None,
    present: dict[str, Any] | None,
) -> dict[str, Any]:
    extra = metadata or {}
    now = datetime.now(timezone.utc).isoformat()
    return {
        "file_path": path,
        "file_name": path.rpartition("/")[2],
        "byte_size": len(text.encode("utf-8")),
        "line_count": text.count("\n") + 1,
        "token_estimate": len(text) // 4,
        "content_hash": _compute_content_hash(text),
        "content_type": _detect_content_type(path, content_type),
        "anchors": list(anchors or []),
        "status": extra.get("status") or "active",
        "summary": extra.get("summary"),
        "created_at": (present or {}).get("created_at") or now,
        "updated_at": now,
        "created_by": extra.get("created_by") or "agent:unknown",
        "project_id": project,
        "synced_at": None,
        "embedding": None,
        "embedding_model": None,
    }


def _embed(
    state: Any,
    document: dict[str, Any],
    text: str,
    present: dict[str, Any] | None,
    skip: bool,
    action: Callable[..., Any] | None,
) -> tuple[str, int]:
    """Put an embedding into the document; return its status and the tokens it took."""
    old = present or {}
    if old.get("embedding") and old.get("content_hash") == document["content_hash"]:
        document["embedding"], document["embedding_model"] = old["embedding"], old.get("embedding_model")
        return ("skipped" if skip else "cached"), 0
    if skip or action is None:
        return "skipped", 0
    try:
        reply = action(state=state, content=text)
        if not isinstance(reply, dict) or not reply.get("success", True) or not reply.get("embedding"):
            kind = reply.get("error_type", "exception") if isinstance(reply, dict) else "exception"
            return f"failed:{kind}", 0
    except Exception as error:
        logger.warning("No embedding for %s: %s", document["file_path"], error)
        return "failed:exception", 0
    document["embedding"], document["embedding_model"] = reply["embedding"], reply.get("model")
    return "generated", int(reply.get("tokens") or 0)


def _restore(blobs: Any, full: str, former: Any) -> None:
    """Take back an upload: put the former content there again, or remove the new blob."""
    if isinstance(former, dict) and former.get("success"):
        undone = blobs.upload(full, former["content"])
    else:
        undone = blobs.delete(full)
    if isinstance(undone, dict) and not undone.get("success", True):
        logger.warning("The blob %s does not fit its document: %s", full, undone.get("error"))


def memory_cloud_retrieve(
    state: Any, path: Any = None, doc_id: Any = None, parse: bool = False, **keywords: Any
) -> Result:
    """Read a file of the project by path or document id: ``{"success", "content", "parsed", "metadata"}``.

    ``parse`` decodes JSON and YAML into ``parsed``.
    """
    if not path and not doc_id:
        return failure("Either 'path' or 'doc_id' must be provided", "validation_error")
    project = _project(state)
    if path and not doc_id:
        valid, clean, _ = _sanitize_path(path, project)
        if not valid:
            return failure(clean, "validation_error")
        doc_id = _generate_doc_id(project, clean)

    def work(store: Any, blobs: Any) -> Result:
        document = read(store, COLLECTION, str(doc_id))
        if document is None:
            return failure("Document not found in metadata store", "not_found")
        if document.get("project_id") != project:
            return failure("Access denied: project mismatch", "permission_denied")
        loaded = blobs.download(f"agent-memory/{project}/{document.get('file_path')}")
        if not loaded.get("success"):
            return failure(str(loaded.get("error")), str(loaded.get("error_type") or "storage_error"))
        content = loaded.get("content")
        parsed = None
        if parse:
            try:
                parsed = _parse(content, str(document.get("content_type")))
            except Exception as error:
                return failure(f"Content cannot be parsed: {error}", "parse_error")
        return {"success": True, "content": content, "parsed": parsed, "metadata": document}

    return _with_stores(state, keywords, work)


def _parse(content: Any, content_type: str) -> Any:
    text = content.decode("utf-8") if isinstance(content, bytes) else str(content)
    if content_type == "json":
        return json.loads(text)
    if content_type == "yaml":
        yaml: Any = import_module("yaml")
        return yaml.safe_load(text)
    return None


def _page(rows: list[dict[str, Any]], limit: Any, offset: Any) -> list[dict[str, Any]]:
    return rows[int(offset) : int(offset) + int(limit)]


def _documents_of(store: Any, project: str, filters: list[Filter]) -> list[dict[str, Any]]:
    rows = find(store, COLLECTION, [("project_id", "==", project), *filters], _MANY)
    # The project is checked once more: a store that knows no filter must not open other projects.
    own = [{"doc_id": doc_id, **data} for doc_id, data in rows if data.get("project_id") == project]
    return sorted(own, key=lambda row: str(row.get("file_path")))


def memory_cloud_list(
    state: Any,
    prefix: str | None = None,
    anchors: list[str] | None = None,
    status: str | None = None,
    content_type: str | None = None,
    limit: Any = 100,
    offset: Any = 0,
    **keywords: Any,
) -> Result:
    """List the project's files by path: ``{"success", "files", "count", "limit", "offset"}``.

    ``prefix`` is the beginning of the path; of ``anchors`` a file must have one.
    """

    def work(store: Any, _blobs: Any) -> Result:
        filters = [(n, "==", v) for n, v in (("status", status), ("content_type", content_type)) if v]
        rows = [
            row
            for row in _documents_of(store, _project(state), filters)
            if str(row.get("file_path")).startswith(prefix or "")
            and (not anchors or set(anchors) & set(row.get("anchors") or []))
        ]
        files = _page(rows, limit, offset)
        return {"success": True, "files": files, "count": len(files), "limit": limit, "offset": offset}

    return _with_stores(state, keywords, work, blobs_too=False)


def memory_manifest_update(
    state: Any,
    doc_id: Any = None,
    anchors: list[str] | None = None,
    anchors_add: list[str] | None = None,
    anchors_remove: list[str] | None = None,
    status: str | None = None,
    summary: str | None = None,
    **keywords: Any,
) -> Result:
    """Change the description of a file of the project: ``{"success", "doc_id"}``."""
    if not doc_id:
        return failure("doc_id is required", "validation_error")

    def work(store: Any, _blobs: Any) -> Result:
        document = read(store, COLLECTION, str(doc_id))
        if document is None:
            return failure("Document not found in metadata store", "not_found")
        if document.get("project_id") != _project(state):
            return failure("Access denied: project mismatch", "permission_denied")
        changes: dict[str, Any] = {"updated_at": datetime.now(timezone.utc).isoformat()}
        if anchors is not None or anchors_add or anchors_remove:
            kept = list(anchors if anchors is not None else document.get("anchors") or [])
            kept += [anchor for anchor in anchors_add or [] if anchor not in kept]
            changes["anchors"] = [anchor for anchor in kept if anchor not in (anchors_remove or [])]
        changes.update({n: v for n, v in (("status", status), ("summary", summary)) if v is not None})
        written = store.update_document(COLLECTION, str(doc_id), changes)
        if not written.get("success"):
            return failure(str(written.get("error")), str(written.get("error_type") or "query_error"))
        return {"success": True, "doc_id": doc_id}

    return _with_stores(state, keywords, work, blobs_too=False)


def memory_manifest_search(
    state: Any,
    anchor: str | None = None,
    anchors_any: list[str] | None = None,
    status: str | None = None,
    limit: Any = 100,
    offset: Any = 0,
    **keywords: Any,
) -> Result:
    """Find the project's files by anchor: ``{"success", "documents", "count", "limit", "offset"}``."""
    if not anchor and not anchors_any:
        return failure("Either 'anchor' or 'anchors_any' must be provided", "validation_error")
    wanted = {anchor} if anchor else set(anchors_any or [])

    def work(store: Any, _blobs: Any) -> Result:
        filters: list[Filter] = [("status", "==", status)] if status else []
        rows = [
            row
            for row in _documents_of(store, _project(state), filters)
            if wanted & set(row.get("anchors") or [])
        ]
        found = _page(rows, limit, offset)
        return {"success": True, "documents": found, "count": len(found), "limit": limit, "offset": offset}

    return _with_stores(state, keywords, work, blobs_too=False)


ACTIONS: dict[str, Callable[..., Result]] = {
    "memory.cloud_store": memory_cloud_store,
    "memory.cloud_retrieve": memory_cloud_retrieve,
    "memory.cloud_list": memory_cloud_list,
    "memory.manifest_update": memory_manifest_update,
    "memory.manifest_search": memory_manifest_search,
}


def register_actions(registry: MutableMapping[str, Callable[..., Any]], engine: Any) -> None:
    """Add the actions under their dotted names; the engine's own stores are used when there are any."""

    def bind(function: Callable[..., Result]) -> Callable[..., Result]:
        @wraps(function)
        def call(*arguments: Any, **keywords: Any) -> Result:
            for name in ("metadata_store", "blob_storage"):
                own = getattr(engine, f"_{name}", None)
                if own is not None:
                    keywords.setdefault(name, own)
            return function(*arguments, **keywords)

        return call

    for name, function in ACTIONS.items():
        registry[name] = bind(function)
