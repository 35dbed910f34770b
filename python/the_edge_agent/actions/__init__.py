"""Built-in actions of YAML agents.

What the engine does itself is in the registry as a marker, which nodes run without a detour through Python and which
can be called like any other action. The rest are functions of modules with `register_actions(registry, engine)`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["build_actions_registry"]

# Modules of actions in Python. They win over actions of the engine, for they need Python's objects.
_MODULES = (
    "the_edge_agent.actions.core_actions",
    "the_edge_agent.actions.observability_actions",
    "the_edge_agent.actions.secrets_actions",
    "the_edge_agent.memory.actions_memory",
    "the_edge_agent.memory.actions_ltm",
    "the_edge_agent.memory.actions_graph",
    "the_edge_agent.memory.actions_rag",
    "the_edge_agent.memory.actions_search",
    "the_edge_agent.memory.actions_vector",
)


def build_actions_registry(engine: Any) -> dict[str, Callable[..., Any]]:
    """The built-in actions of an engine by name, as a new dictionary."""
    registry: dict[str, Callable[..., Any]] = {}
    _add_core(registry, engine)
    for module in _MODULES:
        import_module(module).register_actions(registry, engine)
    return registry


def _add_core(registry: dict[str, Callable[..., Any]], engine: Any) -> None:
    """The actions of the engine; names of one action share one marker."""
    from .._native.agent import CoreAction, core_actions

    names = list(core_actions())
    # `actions.json_parse` and `json_parse` are other names of `json.parse`.
    dotted = {
        name.replace(".", "_"): name for name in names if not name.startswith("actions.") and "." in name
    }
    for name in names:
        home = dotted.get(name.removeprefix("actions."), name)
        marker = registry.get(home)
        if not isinstance(marker, CoreAction):
            marker = registry[home] = CoreAction(home, engine)
        marker.names.add(name)
        registry[name] = marker
