"""`the_edge_agent.graph_renderer`: progress picture of a graph as text."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
from types import SimpleNamespace
from typing import Any

import pytest

from the_edge_agent.graph_renderer import (
    GraphLayout,
    GraphProgressTracker,
    NodeState,
    RenderedNode,
    render_simple_progress,
)

nx = pytest.importorskip("networkx", reason="networkx (extra 'visualization') is not installed")
pytest.importorskip("phart", reason="phart (extra 'visualization') is not installed")

S, E = "__start__", "__end__"


def tracker(*edges: tuple[str, str], config: Any = None, nodes: tuple[str, ...] = ()) -> GraphProgressTracker:
    graph = nx.DiGraph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from(edges)
    return GraphProgressTracker(SimpleNamespace(graph=graph), config)


def line(**options: Any) -> GraphProgressTracker:
    return tracker((S, "a"), ("a", "b"), ("b", E), **options)


def shape(text: str) -> list[str]:
    """The picture without indentation and blank lines at its end."""
    return [row.strip() for row in text.rstrip().split("\n")]


class TestData:
    """Data types."""

    def test_node_state(self) -> None:
        """VZ-20."""
        assert [(s.name, s == s.value) for s in NodeState] == [
            ("PENDING", True),
            ("RUNNING", True),
            ("COMPLETED", True),
        ]
        assert NodeState("running") is NodeState.RUNNING

    def test_fresh_defaults(self) -> None:
        """VZ-21, VZ-22."""
        one, two = RenderedNode("n", "n"), RenderedNode("n", "n")
        assert one == two and one.parallel_members is not two.parallel_members
        assert one == RenderedNode("n", "n", NodeState.PENDING, False, [], False, False)
        layout = GraphLayout()
        assert layout == GraphLayout([], {}, set(), {}, {}, {})
        assert layout.levels is not GraphLayout().levels


class TestStructure:
    """What the constructor reads from graph and configuration."""

    def test_attributes(self) -> None:
        """VZ-23, VZ-24, VZ-27."""
        made = line()
        assert made.engine_config == {} and made._last_rendered_lines == 0
        assert made.node_states == dict.fromkeys([S, "a", "b", E], NodeState.PENDING)
        assert list(made.layout.node_info) == [S, "a", "b", E]
        assert made.layout.node_info[S] == RenderedNode(S, S, is_start=True)
        assert made.layout.node_info[E] == RenderedNode(E, E, is_end=True)

    def test_levels(self) -> None:
        """VZ-26, VQ-8: distance when first found; nodes not reached at the end, in graph order."""
        edges = [(S, "a"), (S, "b"), ("b", "c"), ("a", "c"), ("a", "d"), ("d", E), ("c", "a")]
        assert tracker(*edges).layout.levels == [[S], ["a", "b"], ["c", "d"], [E]]
        lost = [f"x{i}" for i in range(9)]
        assert tracker((S, E), nodes=(S, E, *lost)).layout.levels == [[S], [E], lost]

    def test_levels_without_start(self) -> None:
        """VZ-26: the start is level 0, but no node."""
        made = tracker(("a", "b"))
        assert made.layout.levels == [[S], ["a", "b"]]
        assert S not in made.node_states and S not in made.layout.node_info and S not in made.render()
        empty = tracker()
        assert (empty.layout.levels, empty.render(), empty.get_line_count()) == ([[S]], "", 0)

    def test_configuration(self) -> None:
        """VZ-25, VZ-27: groups, items, fan-in nodes."""
        config = {
            "nodes": [
                {"name": "split", "type": "dynamic_parallel", "_render_items": ["i", "j"]},
                {"name": "lone", "type": "dynamic_parallel"},
                {"name": "join", "fan_in": True},
            ],
            "edges": [
                {"from": "split", "to": "x"},
                {"from": "split", "parallel": ["p", "q"]},
                {"from": "split", "parallel": ["r"]},
                {"from": "s", "to": "a", "type": "parallel", "fan_in": "j"},
                {"from": "s", "to": "b", "type": "parallel", "fan_in": "j"},
                {"from": "s", "to": "a", "type": "parallel"},
            ],
        }
        made = tracker(("s", "a"), ("split", "p"), nodes=(S,), config=config)
        assert made.layout.parallel_groups == {"split": ["p", "q"], "s": ["a", "b"]}
        assert made.layout.fan_in_nodes == {"join", "j"}
        assert made.layout.dynamic_parallel_items == {"split": ["i", "j"]}
        assert made.layout.parallel_item_states == dict.fromkeys(
            [("split", "i"), ("split", "j")], NodeState.PENDING
        )
        info = made.layout.node_info["s"]
        assert info.is_parallel_group and info.parallel_members == ["a", "b"]
        assert not made.layout.node_info["a"].is_parallel_group

    @pytest.mark.parametrize(
        "config",
        [
            {"nodes": None, "edges": None},
            {"nodes": 3, "edges": 4},
            {"nodes": ["a", None, 3, ["b"]], "edges": ["c", None]},
            {"nodes": {"a": {}}, "edges": {"b": {}}},
            {"nodes": [{}], "edges": [{}]},
            {
                "nodes": [{"name": ["x"], "type": "dynamic_parallel"}],
                "edges": [{"from": [], "type": "parallel"}],
            },
            {"nodes": [{"name": "a", "type": "dynamic_parallel", "_render_items": 5}]},
            {"edges": [{"from": "a", "parallel": True}, {"from": "a", "type": "parallel"}]},
            "text",
            [],
            7,
        ],
    )
    def test_wrong_shapes(self, config: Any) -> None:
        """VZ-37, VQ-9: no failure, and the picture is that of the graph alone."""
        assert line(config=config).render() == line().render()

    def test_tolerated_shapes(self) -> None:
        """VZ-37, VQ-9: a text is a list of one, a list in `to` adds each element."""
        config = {
            "nodes": [{"name": "a", "type": "dynamic_parallel", "_render_items": "item"}],
            "edges": [
                {"from": "a", "parallel": "x"},
                {"from": "b", "to": ["y", "z"], "type": "parallel"},
            ],
        }
        layout = line(config=config).layout
        assert layout.parallel_groups == {"a": ["x"], "b": ["y", "z"]}
        assert layout.dynamic_parallel_items == {"a": ["item"]}


class TestStates:
    """State methods."""

    def test_nodes(self) -> None:
        """VZ-28: both places change; unknown names do nothing."""
        made = line()
        made.mark_running("a")
        made.mark_completed("b")
        made.mark_running("nobody")
        made.mark_completed("nobody")
        assert [made.node_states[n] for n in ("a", "b")] == ["running", "completed"]
        assert made.layout.node_info["a"].state is NodeState.RUNNING
        assert "nobody" not in made.node_states
        made.mark_all_completed()
        assert set(made.node_states.values()) == {NodeState.COMPLETED}
        assert {info.state for info in made.layout.node_info.values()} == {NodeState.COMPLETED}

    def test_items(self) -> None:
        """VZ-28: registering keeps the list itself; `mark_all_completed` leaves items alone."""
        made = line()
        items = ["i", "j"]
        made.register_parallel_items("a", items)
        assert made.layout.dynamic_parallel_items["a"] is items
        assert made.layout.node_info["a"].parallel_members is items
        made.mark_parallel_item_running("a", "i")
        made.mark_parallel_item_completed("a", "j")
        made.mark_parallel_item_running("a", "other")
        made.mark_parallel_item_completed("b", "i")
        made.mark_all_completed()
        assert made.layout.parallel_item_states == {("a", "i"): "running", ("a", "j"): "completed"}


class TestPicture:
    """`render` and its relatives."""

    def test_line(self) -> None:
        """VZ-29, VZ-30."""
        made = line()
        made.mark_completed("a")
        made.mark_running("b")
        assert shape(made.render()) == [f"[{S}]", "↓", "[a ✓]", "↓", "[b *]", "↓", f"[{E}]"]

    def test_pending_has_no_marker(self) -> None:
        """VZ-30: no marker, no escape sequence."""
        text = line().render()
        assert not any(c in text for c in "✓*\x1b") and all(n in text for n in (S, "a", "b", E))

    def test_items(self) -> None:
        """VZ-29: every edge of the parent leads through each item."""
        made = line()
        made.register_parallel_items("a", ["i", "j"])
        made.mark_parallel_item_running("a", "i")
        made.mark_parallel_item_completed("a", "j")
        rows = shape(made.render())
        assert rows[2] == "[a]" and rows[4].startswith("[i *]") and rows[4].endswith("[j ✓]")
        assert "[b]" in rows[6] and rows[8] == f"[{E}]"

    def test_items_of_no_node(self) -> None:
        """VQ-5: ignored."""
        made = line()
        made.register_parallel_items("nobody", ["i"])
        assert made.render() == line().render()

    def test_equal_labels(self) -> None:
        """VQ-6: boxes with the same label stay apart."""
        made = line()
        made.register_parallel_items("a", ["same"])
        made.register_parallel_items("b", ["same"])
        assert made.render().count("[same]") == 2

    @pytest.mark.parametrize(
        "edges",
        [
            [(S, "l"), ("l", "l"), ("l", E)],
            [(S, "a"), ("a", "b"), ("b", "a")],
            [("b", "a"), ("b", "b"), ("b", E)],
            [(S, S)],
        ],
    )
    def test_cycles(self, edges: list[tuple[str, str]]) -> None:
        """VZ-36, VQ-4: graphs on which the library fails."""
        text = tracker(*edges).render()
        assert all(text.count(f"[{n}]") == 1 for edge in edges for n in edge)

    def test_random_graphs(self) -> None:
        """VZ-36: every node is shown, whatever the graph, and the same graph gives the same picture."""
        rng = random.Random(7)
        for _ in range(300):
            names = [S, *(f"n{i}" for i in range(rng.randint(1, 11))), E]
            edges = [(rng.choice(names), rng.choice(names)) for _ in range(rng.randint(1, 22))]
            made = tracker(*edges, nodes=tuple(names))
            text = made.render()
            assert all(f"[{n}]" in text for n in names), edges
            assert tracker(*edges, nodes=tuple(names)).render() == text

    def test_same_picture_in_every_process(self) -> None:
        """VZ-36: the picture does not depend on the seed of string hashes."""
        program = textwrap.dedent("""
            import networkx as nx, types
            from the_edge_agent.graph_renderer import GraphProgressTracker
            names = [f"node{i}" for i in range(8)]
            graph = nx.DiGraph([(a, b) for i, a in enumerate(names) for b in names[i % 3 :: 3]])
            print(GraphProgressTracker(types.SimpleNamespace(graph=graph)).render())
        """)
        runs = [
            subprocess.run(
                [sys.executable, "-c", program],
                env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
                capture_output=True,
                check=True,
            ).stdout
            for seed in ("1", "2", "3")
        ]
        assert runs[0].strip() and runs[0] == runs[1] == runs[2]

    def test_without_the_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """VZ-36, step 3: levels as plain text."""
        made = tracker((S, "a"), (S, "b"), ("a", E), ("b", E), ("b", "b"), nodes=(S, "a", "b", E, "x"))
        made.mark_completed("a")
        for module in ("phart", "networkx"):
            monkeypatch.setitem(sys.modules, module, None)
            assert made.render() == f"[{S}]\n↓\n[a ✓]  [b]\n↓\n[{E}]\n↓\n[x]"

    def test_needs_no_networkx_graph(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """VZ-23: `nodes`, `edges` and `successors` are enough."""

        class Plain:
            def nodes(self) -> list[str]:
                return [S, "a"]

            def edges(self) -> list[tuple[str, str]]:
                return [(S, "a")]

            def successors(self, node: str) -> list[str]:
                return ["a"] if node == S else []

        assert shape(GraphProgressTracker(SimpleNamespace(graph=Plain())).render()) == [f"[{S}]", "↓", "[a]"]

    def test_update(self) -> None:
        """VZ-31, VZ-32, VZ-33: only `render_with_update` remembers its height."""
        made = line()
        made.render()
        assert made.clear_previous_render() == "" and made._last_rendered_lines == 0
        first = made.render_with_update()
        height = len(first.split("\n"))
        assert first == made.render() and made.get_line_count() == height
        made.register_parallel_items("a", ["i"])
        second = made.render_with_update()
        assert second == f"\x1b[{height}A\x1b[J" + made.render()
        assert made.clear_previous_render() == f"\x1b[{made.get_line_count()}A\x1b[J"

    def test_lays_out_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """VQ-7: one layout per call."""
        import phart

        count = 0
        original = phart.ASCIIRenderer.render

        def counting(self: Any, *args: Any) -> Any:
            nonlocal count
            count += 1
            return original(self, *args)

        monkeypatch.setattr(phart.ASCIIRenderer, "render", counting)
        made = line()
        made.render_with_update()
        made.render_with_update()
        assert count == 2


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (NodeState.RUNNING, "[n] running..."),
        ("running", "[n] running..."),
        (NodeState.COMPLETED, "[n] ✓"),
        ("completed", "[n] ✓"),
        (NodeState.PENDING, "[n] pending"),
        ("other", "[n] pending"),
    ],
)
def test_simple_progress(state: Any, text: str) -> None:
    """VZ-34."""
    assert render_simple_progress("n", state) == text


def test_import_is_light() -> None:
    """Section 4: neither the layout library nor networkx is loaded before `render`."""
    program = (
        "import sys, the_edge_agent.graph_renderer;"
        "print([m for m in ('phart', 'networkx', 'pygraphviz') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
