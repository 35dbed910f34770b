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

# Modules of actions in Python, in the order in which their names count.
_MODULES = (
    "the_edge_agent.memory.actions_memory",
    "the_edge_agent.memory.actions_ltm",
    "the_edge_agent.memory.actions_graph",
    "the_edge_agent.memory.actions_rag",
    "the_edge_agent.memory.actions_search",
    "the_edge_agent.memory.actions_vector",
)


def build_actions_registry(engine: Any) -> dict[str, Callable[..., Any]]:
    """The built-in actions of an engine by name, as a new dictionary."""
    from .._native.agent import CoreAction, core_actions

    registry: dict[str, Callable[..., Any]] = {}
    for module in _MODULES:
        import_module(module).register_actions(registry, engine)
    for name in core_actions():
        registry[name] = CoreAction(name, engine)
    # Two names of one action are one object.
    for name in list(registry):
        alias = "actions." + name.replace(".", "_")
        if isinstance(registry.get(alias), CoreAction):
            registry[alias] = registry[name]
    return registry
