"""The ``ltm.*`` actions: thin calls to the engine's long-term memory, looked up at call time."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from functools import partial
from typing import Any

from the_edge_agent.memory._results import Result, failure


def _backend(engine: Any) -> Any:
    return getattr(engine, "_ltm_backend", None)


def _refuse(engine: Any) -> Result | None:
    if _backend(engine) is None:
        return failure("Long-term memory backend not configured", "configuration_error")
    return None


def _refuse_key(engine: Any, key: Any) -> Result | None:
    refused = _refuse(engine)
    if refused is None and key is None:
        return failure("Key is required", "validation_error")
    return refused


def ltm_store(
    state: Any, key: Any = None, value: Any = None, metadata: Any = None, *, engine: Any, **_: Any
) -> Result:
    """Store ``value`` (JSON) under ``key``; answers the backend's result."""
    refused = _refuse_key(engine, key)
    if refused is not None:
        return refused
    result: Result = _backend(engine).store(key=str(key), value=value, metadata=metadata)
    return result


def ltm_retrieve(state: Any, key: Any = None, default: Any = None, *, engine: Any, **_: Any) -> Result:
    """Read ``key``; answers the backend's result, with ``default`` as the value when there is none."""
    refused = _refuse_key(engine, key)
    if refused is not None:
        return refused
    result: Result = _backend(engine).retrieve(key=str(key), default=default)
    return result


def ltm_delete(state: Any, key: Any = None, *, engine: Any, **_: Any) -> Result:
    """Remove ``key``; answers the backend's result."""
    refused = _refuse_key(engine, key)
    if refused is not None:
        return refused
    result: Result = _backend(engine).delete(key=str(key))
    return result


def ltm_search(
    state: Any,
    query: Any = None,
    metadata_filter: Any = None,
    limit: Any = 10,
    *,
    engine: Any,
    **_: Any,
) -> Result:
    """Search by text and metadata; a missing or zero ``limit`` is 10. Answers the backend's result."""
    refused = _refuse(engine)
    if refused is not None:
        return refused
    try:
        count = int(limit) if limit else 10
    except (TypeError, ValueError):
        return failure(f"limit must be a whole number, got {limit!r}", "validation_error")
    result: Result = _backend(engine).search(query=query, metadata_filter=metadata_filter, limit=count)
    return result


ACTIONS: dict[str, Callable[..., Result]] = {
    "ltm.store": ltm_store,
    "ltm.retrieve": ltm_retrieve,
    "ltm.delete": ltm_delete,
    "ltm.search": ltm_search,
}


def register_actions(registry: MutableMapping[str, Callable[..., Any]], engine: Any) -> None:
    """Add every action under its dotted name and its ``actions.`` alias; both are one object."""
    for name, function in ACTIONS.items():
        bound = partial(function, engine=engine)
        registry[name] = bound
        registry["actions." + name.replace(".", "_")] = bound
