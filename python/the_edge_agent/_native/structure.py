"""Nodes and edges as dictionaries that notice every change.

These dictionaries are the single source of truth of a graph. The networkx view (`StateGraph.graph`) holds the very
same ones, so that a change made through networkx, or on an attribute dictionary, is seen by a run at its next step.
"""

from __future__ import annotations

from itertools import count
from typing import Any

_structures = count(1)


class Tracked(dict[Any, Any]):
    """A dictionary that bumps the version of its structure on every change. Copies and pickles are plain dicts."""

    __slots__ = ("owner",)

    owner: Structure

    def __setitem__(self, key: Any, value: Any) -> None:
        self.owner.version += 1
        dict.__setitem__(self, key, value)

    def __delitem__(self, key: Any) -> None:
        self.owner.version += 1
        dict.__delitem__(self, key)

    def clear(self) -> None:
        self.owner.version += 1
        dict.clear(self)

    def pop(self, *arguments: Any) -> Any:
        self.owner.version += 1
        return dict.pop(self, *arguments)

    def popitem(self) -> tuple[Any, Any]:
        self.owner.version += 1
        return dict.popitem(self)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        self.owner.version += 1
        return dict.setdefault(self, key, default)

    def update(self, *arguments: Any, **values: Any) -> None:
        self.owner.version += 1
        dict.update(self, *arguments, **values)

    def __ior__(self, other: Any) -> Tracked:  # type: ignore[misc]
        self.owner.version += 1
        dict.update(self, other)
        return self

    def __reduce_ex__(self, _protocol: Any) -> tuple[Any, ...]:
        return (dict, (dict(self),))

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[Any, Any]:
        from copy import deepcopy

        return deepcopy(dict(self), memo)


class Structure:
    """The nodes of a graph and the edges between them.

    `nodes`: name -> attributes; `successors` and `predecessors`: name -> (name -> attributes of the edge), one
    dictionary per edge for both directions. `version` changes with every change.
    """

    __slots__ = ("nodes", "predecessors", "successors", "version")

    def __init__(self) -> None:
        # Versions of two structures are never equal: a graph may be given another one while it runs.
        self.version = next(_structures) << 40
        self.nodes = self.tracked()
        self.successors = self.tracked()
        self.predecessors = self.tracked()

    def tracked(self) -> Tracked:
        """A new empty dictionary of this structure."""
        empty = Tracked()
        empty.owner = self
        return empty

    def filled(self, values: dict[Any, Any]) -> Tracked:
        """A new dictionary of this structure with these entries."""
        filled = Tracked(values)
        filled.owner = self
        return filled

    def add_node(self, name: Any, attributes: dict[str, Any]) -> None:
        """Adds a node that is not there yet."""
        self.version += 1
        dict.__setitem__(self.successors, name, self.tracked())
        dict.__setitem__(self.predecessors, name, self.tracked())
        dict.__setitem__(self.nodes, name, self.filled(attributes))

    def add_edge(self, source: Any, target: Any, attributes: dict[str, Any]) -> None:
        """Adds an edge, or merges the attributes into the one that is there, which keeps its place."""
        self.version += 1
        targets = self.successors[source]
        known = targets.get(target)
        if known is not None:
            dict.update(known, attributes)
            return
        edge = self.filled(attributes)
        dict.__setitem__(targets, target, edge)
        dict.__setitem__(self.predecessors[target], source, edge)


def networkx_view(structure: Structure) -> Any:
    """A `networkx.DiGraph` over the very dictionaries of a structure. Loads networkx."""
    try:
        import networkx
    except ImportError:
        raise ImportError(
            "StateGraph.graph is a networkx graph: install it with `pip install the_edge_agent[graph]`"
        ) from None
    view = networkx.DiGraph()
    # networkx makes every new dictionary through these; copies that it makes are ordinary graphs.
    view.node_attr_dict_factory = structure.tracked
    view.edge_attr_dict_factory = structure.tracked
    view.adjlist_inner_dict_factory = structure.tracked
    view._node = structure.nodes
    view._adj = structure.successors
    view._pred = structure.predecessors
    return view


def structure_of(graph: Any) -> Structure:
    """A structure over a foreign networkx graph. Its dictionaries are copied: later changes are not seen by
    themselves, see `StateGraph.graph`."""
    structure = Structure()
    for name, attributes in graph.nodes(data=True):
        structure.add_node(name, dict(attributes))
    for source, target, attributes in graph.edges(data=True):
        structure.add_edge(source, target, dict(attributes))
    return structure
