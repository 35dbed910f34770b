"""What an engine does with its memory: build the defaults, follow the document's settings, close.

The functions work on the attributes ``_ltm_backend``, ``_ltm_backend_type``, ``_graph_backend``,
``_graph_backend_type``, ``_metadata_store``, ``_blob_storage``, ``_query_engine`` and ``_vector_index`` of
the engine, which the actions read at call time.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from importlib import import_module
from typing import Any

from the_edge_agent.memory.base import create_ltm_backend
from the_edge_agent.memory.config import ltm_keywords

_ACTION_MODULES = (
    "actions_memory",
    "actions_ltm",
    "actions_catalog",
    "actions_cloud_memory",
    "actions_vector",
    "actions_search",
    "actions_rag",
    "actions_graph",
)

# Settings name -> engine attribute, module with the factory, factory, default type, words for the log.
_INFRASTRUCTURE = {
    "metadata_store": ("_metadata_store", "metadata", "create_metadata_store", "firestore", "metadata store"),
    "blob_storage": ("_blob_storage", "blob", "create_blob_storage", "gcs", "blob storage"),
    "query_engine": ("_query_engine", "query", "create_query_engine", "duckdb", "query engine"),
    "vector_index": ("_vector_index", "vector", "create_vector_index", "duckdb", "vector index"),
}


def register_all(registry: MutableMapping[str, Any], engine: Any) -> None:
    """Add the actions of every module of this package to the registry."""
    for name in _ACTION_MODULES:
        import_module(f"the_edge_agent.memory.{name}").register_actions(registry, engine)


def default_ltm_backend(
    enable_ltm: bool = True,
    ltm_path: str | None = None,
    ltm_backend_type: str = "sqlite",
    ltm_config: dict[str, Any] | None = None,
) -> Any:
    """Build the long-term memory of an engine that was given none; None when it is disabled.

    ``duckdb`` uses ``catalog_config``, ``storage_uri``, ``lazy`` and ``enable_fts`` of ``ltm_config``; every
    other type, and a missing library, gives SQLite in ``ltm_path`` (None: in memory).
    """
    if not enable_ltm:
        return None
    if ltm_backend_type == "duckdb":
        config = ltm_config or {}
        default = {"type": "sqlite", "path": ltm_path or ":memory:", "lazy": True}
        try:
            return create_ltm_backend(
                "duckdb",
                catalog_config=config.get("catalog_config") or default,
                storage_uri=config.get("storage_uri", "./ltm_data/"),
                lazy=config.get("lazy", True),
                enable_fts=config.get("enable_fts", True),
            )
        except ImportError as error:
            logging.getLogger(__name__).warning("%s Using SQLite instead.", error)
    return create_ltm_backend("sqlite", db_path=ltm_path or ":memory:")


def apply_ltm_settings(engine: Any, settings: Any, enabled: bool, log: logging.Logger) -> None:
    """Replace the engine's long-term memory by the one that ``settings["ltm"]`` describes.

    Nothing happens without a ``backend`` there, or when long-term memory is disabled. The new backend is
    built first; when that fails the old one stays in use and a warning says why.
    """
    ltm = settings.get("ltm") if isinstance(settings, dict) else None
    if not enabled or not isinstance(ltm, dict) or not ltm.get("backend"):
        return
    try:
        name, keywords = ltm_keywords(settings)
        backend = create_ltm_backend(name, **keywords)
    except Exception as error:
        log.warning("Failed to configure LTM backend from YAML: %s", error)
        return
    old, engine._ltm_backend, engine._ltm_backend_type = engine._ltm_backend, backend, name
    _close(old, log)
    log.debug("LTM backend '%s' configured from YAML", name)


def _graph_class(kind: str | None) -> tuple[str, str] | None:
    """Return ``(class name, type)`` of the graph store to build, or None when its library is missing."""
    from the_edge_agent.memory import graph

    if kind in ("kuzu", "bighorn"):
        return ("KuzuBackend", kind) if graph.KUZU_AVAILABLE else None
    if kind == "cozo":
        return ("CozoBackend", kind) if graph.COZO_AVAILABLE else None
    return None


def default_graph_backend(
    enable_graph: bool = True, graph_path: str | None = None, graph_backend_type: str | None = None
) -> tuple[Any, str | None]:
    """Build the graph store of an engine that was given none: ``(store or None, type or None)``.

    Without a known type the first installed of Cozo and Kuzu is taken. A store that cannot be opened is None.
    """
    if not enable_graph:
        return None, None
    kinds = [graph_backend_type] if graph_backend_type in ("kuzu", "bighorn", "cozo") else ["cozo", "kuzu"]
    for kind in kinds:
        found = _graph_class(kind)
        if found is not None:
            try:
                return _make_graph(found[0], graph_path or ":memory:"), kind
            except Exception as error:
                logging.getLogger(__name__).debug("No graph backend: %s", error)
                return None, None
    return None, None


def _make_graph(class_name: str, path: str) -> Any:
    from the_edge_agent.memory import graph

    return getattr(graph, class_name)(path)


def apply_graph_settings(engine: Any, settings: Any, enabled: bool, log: logging.Logger) -> None:
    """Replace the engine's graph store by the one that ``settings["graph"]`` describes, building it first."""
    wanted = settings.get("graph") if isinstance(settings, dict) else None
    if not enabled or not isinstance(wanted, dict) or not wanted.get("backend"):
        return
    kind = str(wanted["backend"])
    if kind == getattr(engine, "_graph_backend_type", None):
        return
    if kind not in ("kuzu", "bighorn", "cozo"):
        log.warning("Unknown graph backend type: %s", kind)
        return
    found = _graph_class(kind)
    if found is None:
        log.warning("%s requested but %s not installed", kind, "pycozo" if kind == "cozo" else "kuzu")
        return
    try:
        backend = _make_graph(found[0], str(wanted.get("path") or ":memory:"))
    except Exception as error:
        log.warning("Failed to configure graph backend from YAML: %s", error)
        return
    old, engine._graph_backend, engine._graph_backend_type = engine._graph_backend, backend, kind
    _close(old, log)


def apply_infrastructure_settings(engine: Any, settings: Any, log: logging.Logger) -> None:
    """Create the stores that ``settings["memory_infrastructure"]`` describes, where the engine has none."""
    wanted = settings.get("memory_infrastructure") if isinstance(settings, dict) else None
    if not isinstance(wanted, dict):
        return
    for name, (attribute, module, factory, default, words) in _INFRASTRUCTURE.items():
        config = wanted.get(name)
        if not isinstance(config, dict) or getattr(engine, attribute, None) is not None:
            continue
        keywords = dict(config)
        kind = keywords.pop("type", default)
        try:
            create = getattr(import_module(f"the_edge_agent.memory.{module}"), factory)
            setattr(engine, attribute, create(kind, **keywords))
        except Exception as error:
            log.warning("Failed to configure %s '%s': %s", words, kind, error)
        else:
            log.info("Configured %s '%s'", words, kind)


def close_memory(engine: Any, log: logging.Logger) -> None:
    """Close everything of the engine, each guarded. The long-term memory object stays in place, closed; the
    other attributes become None. May be called twice."""
    _close(getattr(engine, "_ltm_backend", None), log)
    for attribute in ("_graph_backend", "_query_engine", "_vector_index", "_metadata_store", "_blob_storage"):
        _close(getattr(engine, attribute, None), log)
        setattr(engine, attribute, None)


def _close(thing: Any, log: logging.Logger) -> None:
    close = getattr(thing, "close", None)
    if close is None:
        return
    try:
        close()
    except Exception as error:
        log.warning("Could not close %s: %s", type(thing).__name__, error)
