"""Actions that need Python's own objects: checkpoints of the running graph, notices on Python's output."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

__all__ = ["checkpoint_load", "checkpoint_save", "notify", "register_actions"]


def notify(state: Any, channel: str, message: Any, **_ignored: Any) -> dict[str, Any]:
    """Prints a notice."""
    print(f"[{channel.upper()}] {message}")
    return {"sent": True}


def checkpoint_save(
    state: Any,
    path: Any,
    graph: Any = None,
    node: Any = None,
    config: Any = None,
    *,
    engine: Any = None,
    **_ignored: Any,
) -> dict[str, Any]:
    """Writes a checkpoint of the running graph, as it is before the present node's result."""
    graph = graph if graph is not None else getattr(engine, "_current_graph", None)
    if graph is None:
        return {"checkpoint_path": path, "saved": False, "error": "No graph available for checkpoint"}
    try:
        name = str(path)
        directory = os.path.dirname(name)
        if directory:
            os.makedirs(directory, exist_ok=True)
        before = os.stat(name).st_mtime_ns if os.path.exists(name) else None
        graph.save_checkpoint(name, state, node or "unknown", config or {})
        if not os.path.exists(name) or os.stat(name).st_mtime_ns == before:
            # A graph that does not raise only logs what went wrong (`checkpoint/CQ-5`).
            return {
                "checkpoint_path": name,
                "saved": False,
                "error": f"Failed to save checkpoint to '{name}'",
            }
    except Exception as error:
        return {"checkpoint_path": path, "saved": False, "error": str(error)}
    if engine is not None:
        engine._last_checkpoint_path = name
    return {"checkpoint_path": name, "saved": True}


def checkpoint_load(state: Any, path: Any, **_ignored: Any) -> dict[str, Any]:
    """Reads a checkpoint."""
    from ..stategraph import StateGraph

    try:
        record = StateGraph.load_checkpoint(path)
    except FileNotFoundError:
        return {"error": f"Checkpoint file not found: {path}"}
    except ValueError as error:
        return {"error": f"Invalid checkpoint file: {error}"}
    except Exception as error:
        return {"error": f"Failed to load checkpoint: {error}"}
    return {
        "checkpoint_state": record["state"],
        "checkpoint_node": record["node"],
        "checkpoint_config": record.get("config", {}),
        "checkpoint_timestamp": record.get("timestamp"),
        "checkpoint_version": record.get("version"),
    }


def register_actions(registry: MutableMapping[str, Callable[..., Any]], engine: Any) -> None:
    """Adds the actions of this module."""
    registry["notify"] = registry["actions.notify"] = notify
    registry["checkpoint.save"] = partial(checkpoint_save, engine=engine)
    registry["checkpoint.load"] = checkpoint_load
