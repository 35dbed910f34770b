"""Drawings of a graph: Mermaid text and Graphviz images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    HAS_PYGRAPHVIZ: bool
    to_agraph: Callable[[Any], Any] | None

__all__ = ["HAS_PYGRAPHVIZ", "VisualizationMixin", "to_agraph"]

_INSTALL_HINT = (
    "pygraphviz is required for graph visualization. Install it with: "
    "sudo apt-get install libgraphviz-dev graphviz && pip install pygraphviz"
)


def __getattr__(name: str) -> Any:
    # Evaluated on first use: looking for pygraphviz and networkx would slow down every import of the package.
    if name == "HAS_PYGRAPHVIZ":
        value: Any = _pygraphviz() is not None
    elif name == "to_agraph":
        value = _to_agraph()
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def _pygraphviz() -> Any:
    return _optional("pygraphviz")


def _to_agraph() -> Any:
    bridge = _optional("networkx.drawing.nx_agraph")
    return None if bridge is None else bridge.to_agraph


def _optional(module: str) -> Any:
    # By name, because neither library need be installed, nor its types.
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError:
        return None


class VisualizationMixin:
    """Drawing methods of `StateGraph`. None of them needs a compiled graph or changes the graph."""

    if TYPE_CHECKING:
        graph: Any
        interrupt_before: list[Any]
        interrupt_after: list[Any]

        def _mermaid(self) -> str: ...

    def to_mermaid(self) -> str:
        """The graph as Mermaid text (`graph TD`), without a trailing newline."""
        return self._mermaid()

    def render_graphviz(self) -> Any:
        """The graph as a `pygraphviz.AGraph`. Raises `ImportError` if pygraphviz is not installed."""
        pygraphviz = _pygraphviz()
        if pygraphviz is None:
            raise ImportError(_INSTALL_HINT)
        drawing = pygraphviz.AGraph(directed=True, strict=False)
        drawing.graph_attr.update(rankdir="TB", size="8,8")
        drawing.node_attr.update(shape="rectangle", style="filled", fillcolor="white")
        drawing.edge_attr.update(color="black")
        for node in self.graph.nodes():
            before, after = node in self.interrupt_before, node in self.interrupt_after
            drawing.add_node(node, label=f"{node}\ninterrupt_before: {before}\ninterrupt_after: {after}")
        for source, target, attributes in self.graph.edges(data=True):
            drawing.add_edge(source, target, label=_edge_label(attributes.get("cond")))
        return drawing

    def save_graph_image(self, filename: str | os.PathLike[str] = "state_graph.png") -> None:
        """Lay the graph out with Graphviz's `dot` and write it to `filename`; the suffix is the format."""
        drawing = self.render_graphviz()
        drawing.layout(prog="dot")
        drawing.draw(filename)


def _edge_label(cond: Any) -> str:
    if callable(cond):
        # A partial or a callable object has no name, and is a condition all the same.
        return "" if getattr(cond, "__name__", None) == "<lambda>" else "condition"
    return "condition" if isinstance(cond, dict) and len(cond) > 1 else ""
