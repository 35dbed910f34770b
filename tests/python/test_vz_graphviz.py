"""Graphviz images of a graph."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import chain, fan

from the_edge_agent import END, START, StateGraph, visualization

try:
    import pygraphviz
except ImportError:
    pygraphviz = None

needs_pygraphviz = pytest.mark.skipif(pygraphviz is None, reason="pygraphviz is not installed")
needs_dot = pytest.mark.skipif(
    shutil.which("dot") is None, reason="Graphviz's program `dot` is not installed"
)


def named(state: dict[str, Any]) -> bool:
    return True


class Condition:
    """A condition without `__name__`."""

    def __call__(self, state: dict[str, Any]) -> bool:
        return True


def branching(condition: Any) -> StateGraph:
    graph = chain("a", "b")
    graph.add_node("c")
    graph.add_conditional_edges("b", condition, {True: "c", False: "a"})
    return graph


@needs_pygraphviz
class TestDrawing:
    """`render_graphviz`."""

    def test_nodes(self) -> None:
        """VZ-15: name, and three lines of label."""
        graph = chain("a", "b").compile(["a"], ["b"], checkpointer=_memory())
        drawing = graph.render_graphviz()
        assert isinstance(drawing, pygraphviz.AGraph) and drawing.directed
        assert set(drawing.nodes()) == {START, END, "a", "b"}
        labels = {n: drawing.get_node(n).attr["label"] for n in drawing.nodes()}
        assert labels["a"] == "a\ninterrupt_before: True\ninterrupt_after: False"
        assert labels["b"] == "b\ninterrupt_before: False\ninterrupt_after: True"
        assert labels[START] == f"{START}\ninterrupt_before: False\ninterrupt_after: False"

    def test_attributes(self) -> None:
        """VZ-15: of the graph, and defaults of nodes and edges."""
        drawing = chain("a").render_graphviz()
        assert (drawing.graph_attr["rankdir"], drawing.graph_attr["size"]) == ("TB", "8,8")
        assert dict(drawing.node_attr)["shape"] == "rectangle"
        assert (dict(drawing.node_attr)["style"], dict(drawing.node_attr)["fillcolor"]) == ("filled", "white")
        assert dict(drawing.edge_attr)["color"] == "black"

    @pytest.mark.parametrize(
        ("condition", "label"),
        [
            (named, "condition"),
            (lambda state: True, ""),
            (functools.partial(named), "condition"),
            (Condition(), "condition"),
        ],
    )
    def test_edges(self, condition: Any, label: str) -> None:
        """VZ-15, VZ-19, VQ-2: only named conditions and those that cannot have a name are labelled."""
        drawing = branching(condition).render_graphviz()
        assert {(u, v) for u, v in drawing.edges()} == {
            (START, "a"),
            ("a", "b"),
            ("b", END),
            ("b", "c"),
            ("b", "a"),
        }
        labels = {(u, v): drawing.get_edge(u, v).attr["label"] or "" for u, v in drawing.edges()}
        assert labels["b", "c"] == labels["b", "a"] == label
        assert labels["a", "b"] == labels[START, "a"] == ""

    def test_parallel_and_hand_made_edges(self) -> None:
        """VZ-15: parallel edges have no label; a dict of several entries counts as a condition."""
        graph = fan({"p": None, "q": None})
        graph.graph.add_edge("p", "q", cond={1: "q", 2: "p"})
        graph.graph.add_edge("q", "p", cond={1: "p"})
        drawing = graph.render_graphviz()
        labels = {(u, v): drawing.get_edge(u, v).attr["label"] or "" for u, v in drawing.edges()}
        assert (labels["s", "p"], labels["p", "q"], labels["q", "p"]) == ("", "condition", "")

    def test_loop_and_changed_graph(self) -> None:
        """Section 1: the graph need not be compiled, and drawing does not change it."""
        graph = chain("a")
        graph.add_edge("a", "a")
        before = (list(graph.graph.nodes()), list(graph.graph.edges()))
        assert ("a", "a") in graph.render_graphviz().edges()
        assert (list(graph.graph.nodes()), list(graph.graph.edges())) == before

    @needs_dot
    @pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
    def test_image(self, tmp_path: Path, suffix: str, start: bytes) -> None:
        """VZ-17: format by suffix; returns nothing."""
        path = tmp_path / f"graph.{suffix}"
        assert branching(named).save_graph_image(str(path)) is None
        assert path.read_bytes().startswith(start)

    @needs_dot
    def test_default_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """VZ-17."""
        monkeypatch.chdir(tmp_path)
        chain("a").save_graph_image()
        assert [p.name for p in tmp_path.iterdir()] == ["state_graph.png"]


def _memory() -> Any:
    from the_edge_agent import MemoryCheckpointer

    return MemoryCheckpointer()


def test_without_pygraphviz(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """VZ-16, VQ-1: an error that says what to install; no file."""
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    graph = chain("a")
    for call in (graph.render_graphviz, lambda: graph.save_graph_image(str(tmp_path / "g.png"))):
        with pytest.raises(ImportError) as caught:
            call()
        assert str(caught.value) == (
            "pygraphviz is required for graph visualization. Install it with: "
            "sudo apt-get install libgraphviz-dev graphviz && pip install pygraphviz"
        )
    assert list(tmp_path.iterdir()) == []


def test_names_of_the_module() -> None:
    """VZ-1, VQ-1: `HAS_PYGRAPHVIZ` tells about pygraphviz itself."""
    assert visualization.HAS_PYGRAPHVIZ is (pygraphviz is not None)
    assert visualization.to_agraph is None or callable(visualization.to_agraph)
    assert issubclass(StateGraph, visualization.VisualizationMixin)
    with pytest.raises(AttributeError, match="no_such_name"):
        visualization.no_such_name  # noqa: B018


def test_looking_does_not_load() -> None:
    """VZ-1: importing the module loads neither networkx nor pygraphviz."""
    program = (
        "import sys, the_edge_agent.visualization as v;"
        "print([m for m in ('networkx', 'pygraphviz') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
