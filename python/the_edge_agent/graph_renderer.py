"""Text picture of a graph that shows how far a run has come.

Loaded on demand. The layout library `phart` is optional: without it the picture is a plain list of levels.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

__all__ = ["GraphLayout", "GraphProgressTracker", "NodeState", "RenderedNode", "render_simple_progress"]

_START = "__start__"
_END = "__end__"


class NodeState(str, Enum):
    """Progress of a node; members equal their strings."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"


_MARKERS = {NodeState.PENDING: "", NodeState.RUNNING: " *", NodeState.COMPLETED: " ✓"}


@dataclass
class RenderedNode:
    """What the picture knows about a node."""

    name: str
    display_name: str
    state: NodeState = NodeState.PENDING
    is_parallel_group: bool = False
    parallel_members: list[str] = field(default_factory=list)
    is_start: bool = False
    is_end: bool = False


@dataclass
class GraphLayout:
    """Structure of the picture. Keys of `parallel_item_states` are `(parent, item)`."""

    levels: list[list[str]] = field(default_factory=list)
    parallel_groups: dict[str, list[str]] = field(default_factory=dict)
    fan_in_nodes: set[str] = field(default_factory=set)
    node_info: dict[str, RenderedNode] = field(default_factory=dict)
    dynamic_parallel_items: dict[str, list[str]] = field(default_factory=dict)
    parallel_item_states: dict[tuple[str, str], NodeState] = field(default_factory=dict)


class GraphProgressTracker:
    """Node states of a graph and their picture.

    `compiled_graph.graph` is a networkx directed graph or anything with its `nodes()`, `edges()` and
    `successors(n)`. `engine_config` is the loaded YAML document, from which parallel groups are read;
    parts of it that have the wrong shape are ignored.
    """

    def __init__(self, compiled_graph: Any, engine_config: dict[str, Any] | None = None) -> None:
        self.compiled_graph = compiled_graph
        self.engine_config: dict[str, Any] = engine_config or {}
        self.layout = GraphLayout()
        self.node_states: dict[str, NodeState] = dict.fromkeys(self._nodes(), NodeState.PENDING)
        self._last_rendered_lines = 0
        if isinstance(self.engine_config, dict):
            self._read_config(self.engine_config)
        self.layout.levels = self._levels()
        for name in self._nodes():
            members = self.layout.parallel_groups.get(name)
            self.layout.node_info[name] = RenderedNode(
                name=name,
                display_name=name,
                is_parallel_group=members is not None,
                parallel_members=members or [],
                is_start=name == _START,
                is_end=name == _END,
            )

    # Structure

    def _nodes(self) -> list[Any]:
        return list(self.compiled_graph.graph.nodes())

    def _read_config(self, config: dict[str, Any]) -> None:
        nodes, edges = _maps(config.get("nodes")), _maps(config.get("edges"))
        layout = self.layout
        for node in nodes:
            name: Any = node.get("name", "")
            if not _hashable(name):
                continue
            if node.get("type") == "dynamic_parallel":
                candidates = (_texts(e.get("parallel")) for e in edges if e.get("from") == name)
                targets = next(filter(None, candidates), None)
                if targets:
                    layout.parallel_groups[name] = targets
                items = _texts(node.get("_render_items"))
                if items:
                    self._set_items(name, items)
            if node.get("fan_in"):
                layout.fan_in_nodes.add(name)
        for edge in edges:
            if edge.get("type") != "parallel":
                continue
            source: Any = edge.get("from")
            fan_in: Any = edge.get("fan_in")
            if source is not None and _hashable(source):
                group = layout.parallel_groups.setdefault(source, [])
                group.extend(t for t in _texts(edge.get("to")) if t not in group)
            if fan_in and _hashable(fan_in):
                layout.fan_in_nodes.add(fan_in)

    def _levels(self) -> list[list[str]]:
        """Nodes by distance from the start, in order of discovery; then those that cannot be reached."""
        nodes = self._nodes()
        known, levels, level = {_START}, [[_START]], [_START]
        while level:
            level = [s for n in level if n in self.node_states for s in self._new_successors(n, known)]
            if level:
                levels.append(level)
        unreached = [n for n in nodes if n not in known]
        return [*levels, unreached] if unreached else levels

    def _new_successors(self, node: str, known: set[str]) -> Iterator[str]:
        for successor in self.compiled_graph.graph.successors(node):
            if successor not in known:
                known.add(successor)
                yield successor

    # States

    def mark_running(self, node: str) -> None:
        """Set a node running; an unknown name does nothing."""
        self._mark(node, NodeState.RUNNING)

    def mark_completed(self, node: str) -> None:
        """Set a node completed; an unknown name does nothing."""
        self._mark(node, NodeState.COMPLETED)

    def mark_all_completed(self) -> None:
        """Set every node completed; items of parallel nodes keep their states."""
        for node in self.node_states:
            self._mark(node, NodeState.COMPLETED)

    def _mark(self, node: str, state: NodeState) -> None:
        if node in self.node_states:
            self.node_states[node] = state
            self.layout.node_info[node].state = state

    def register_parallel_items(self, parent_node: str, items: list[str]) -> None:
        """Show `items` (kept, not copied) as the branches of a parallel node, all pending."""
        self._set_items(parent_node, items)
        info = self.layout.node_info.get(parent_node)
        if info is not None:
            info.is_parallel_group = True
            info.parallel_members = items

    def _set_items(self, parent: str, items: list[str]) -> None:
        self.layout.dynamic_parallel_items[parent] = items
        self.layout.parallel_item_states.update({(parent, item): NodeState.PENDING for item in items})

    def mark_parallel_item_running(self, parent_node: str, item: str) -> None:
        """Set a registered item running; an unknown one does nothing."""
        self._mark_item(parent_node, item, NodeState.RUNNING)

    def mark_parallel_item_completed(self, parent_node: str, item: str) -> None:
        """Set a registered item completed; an unknown one does nothing."""
        self._mark_item(parent_node, item, NodeState.COMPLETED)

    def _mark_item(self, parent: str, item: str, state: NodeState) -> None:
        if (parent, item) in self.layout.parallel_item_states:
            self.layout.parallel_item_states[parent, item] = state

    # Picture

    def render(self) -> str:
        """The picture with the present states; `""` for an empty graph. Never fails on a graph's shape."""
        vertices, edges = self._drawing()
        if not vertices:
            return ""
        try:
            return _lay_out(vertices, edges)
        except Exception:  # the library fails in many ways on cyclic graphs
            edges = _without_cycles(vertices, edges)
        try:
            return _lay_out(vertices, edges)
        except Exception:  # as above, or it is not installed
            return self._plain()

    def _drawing(self) -> tuple[list[_Vertex], list[tuple[_Vertex, _Vertex]]]:
        """Vertices and edges to draw: those of the graph, with the items put behind their parents."""
        by_node = {n: _Vertex(i, self._label(n)) for i, n in enumerate(self._nodes())}
        vertices = list(by_node.values())
        items: dict[str, list[_Vertex]] = {}
        for parent, names in self.layout.dynamic_parallel_items.items():
            if parent in by_node:
                items[parent] = [
                    _Vertex(len(vertices) + i, f"{item}{_MARKERS[self._item_state(parent, item)]}")
                    for i, item in enumerate(dict.fromkeys(names))
                ]
                vertices += items[parent]
        edges: dict[tuple[_Vertex, _Vertex], None] = {}
        for source, target in self.compiled_graph.graph.edges():
            start, end = by_node[source], by_node[target]
            between = items.get(source)
            if not between:
                edges[start, end] = None
                continue
            for vertex in between:
                edges[start, vertex] = None
                edges[vertex, end] = None
        return vertices, list(edges)

    def _label(self, node: str) -> str:
        return f"{node}{_MARKERS[self.node_states.get(node, NodeState.PENDING)]}"

    def _item_state(self, parent: str, item: str) -> NodeState:
        return self.layout.parallel_item_states.get((parent, item), NodeState.PENDING)

    def _plain(self) -> str:
        shown = ([n for n in level if n in self.node_states] for level in self.layout.levels)
        return "\n↓\n".join("  ".join(f"[{self._label(n)}]" for n in level) for level in shown if level)

    def get_line_count(self) -> int:
        """Number of lines of the present picture."""
        return _count_lines(self.render())

    def clear_previous_render(self) -> str:
        """Terminal sequence that removes what `render_with_update` gave last; `""` before its first call."""
        if self._last_rendered_lines == 0:
            return ""
        return f"\x1b[{self._last_rendered_lines}A\x1b[J"

    def render_with_update(self) -> str:
        """The picture, preceded by the sequence that removes the previous one from a terminal."""
        text = self.render()
        update = self.clear_previous_render() + text
        self._last_rendered_lines = _count_lines(text)
        return update


def _count_lines(text: str) -> int:
    return text.count("\n") + 1 if text else 0


def _maps(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, (list, tuple)) else []


def _hashable(value: Any) -> bool:
    return isinstance(value, Hashable)


def _texts(value: Any) -> list[Any]:
    """Names given as a list, or as one name."""
    if isinstance(value, (list, tuple)):
        return [v if _hashable(v) else str(v) for v in value]
    return [value] if isinstance(value, str) and value else []


class _Vertex:
    """A box of the picture. Equal labels stay different boxes; the number makes the layout repeatable."""

    def __init__(self, number: int, label: str) -> None:
        self._number = number
        self._label = label

    def __str__(self) -> str:
        return self._label

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other

    def __lt__(self, other: _Vertex) -> bool:
        return (self._label, self._number) < (other._label, other._number)


def _lay_out(vertices: Iterable[_Vertex], edges: Iterable[tuple[_Vertex, _Vertex]]) -> str:
    from importlib import import_module

    graph = import_module("networkx").DiGraph()
    graph.add_nodes_from(vertices)
    graph.add_edges_from(edges)
    return str(import_module("phart").ASCIIRenderer(graph).render())


def _without_cycles(
    vertices: Iterable[_Vertex], edges: list[tuple[_Vertex, _Vertex]]
) -> list[tuple[_Vertex, _Vertex]]:
    """The edges without self-loops and without those that lead back on a depth-first walk."""
    successors: dict[_Vertex, list[_Vertex]] = {}
    for source, target in edges:
        successors.setdefault(source, []).append(target)
    back: set[tuple[_Vertex, _Vertex]] = set()
    done: set[_Vertex] = set()
    for root in vertices:
        if root in done:
            continue
        on_path = {root}
        walk = [(root, iter(successors.get(root, ())))]
        while walk:
            vertex, rest = walk[-1]
            following = next(rest, None)
            if following is None:
                on_path.discard(vertex)
                done.add(vertex)
                walk.pop()
            elif following in on_path:
                back.add((vertex, following))
            elif following not in done:
                on_path.add(following)
                walk.append((following, iter(successors.get(following, ()))))
    return [edge for edge in edges if edge not in back]


def render_simple_progress(node: str, state: NodeState | str) -> str:
    """One line about one node, for output that is no terminal."""
    if state == NodeState.RUNNING:
        return f"[{node}] running..."
    if state == NodeState.COMPLETED:
        return f"[{node}] ✓"
    return f"[{node}] pending"
