"""Mermaid text of a graph."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
from support import chain, fan

from the_edge_agent import END, START, StateGraph

HEAD = ["graph TD", "__start__((Start))", "__end__((End))"]


def text(body: str) -> str:
    """The expected text from an indented block."""
    return textwrap.dedent(body).strip("\n")


def lines(graph: StateGraph) -> list[str]:
    """The lines after the three that every graph has, without their indentation."""
    first, *rest = graph.to_mermaid().split("\n")
    assert first == "graph TD" and all(row.startswith("    ") and not row[4:5].isspace() for row in rest)
    stripped = [row[4:] for row in rest]
    assert [first, *stripped[:2]] == HEAD
    return stripped[2:]


def edges(graph: StateGraph) -> list[str]:
    """Only the lines of edges."""
    return [row for row in lines(graph) if "-->" in row]


def conditional(mapping: dict[Any, Any], condition: Any = None) -> list[str]:
    """Edges of a graph `n` with one conditional map over nodes `x`, `y`, `z`."""
    graph = StateGraph(dict)
    for name in ("n", "x", "y", "z"):
        graph.add_node(name)
    graph.add_conditional_edges("n", condition or (lambda state: True), mapping)
    return edges(graph)


class TestShape:
    """Lines and their order."""

    def test_empty(self) -> None:
        """VZ-2, VZ-10: three lines, no trailing newline; nothing needs compiling."""
        assert StateGraph(dict).to_mermaid() == text("""
            graph TD
                __start__((Start))
                __end__((End))
        """)

    def test_loop(self) -> None:
        """VZ-10."""
        graph = StateGraph(dict)
        graph.add_node("loop")
        graph.set_entry_point("loop")
        graph.add_conditional_edges("loop", lambda state: True, {True: "loop", False: END})
        assert graph.to_mermaid() == text("""
            graph TD
                __start__((Start))
                __end__((End))
                loop[loop]
                __start__-->loop
                loop-->|true|loop
                loop-->|false|__end__
        """)

    def test_order(self) -> None:
        """VZ-2, VZ-6: nodes as added; edges by source node, then in successor order."""
        graph = StateGraph(dict)
        for name in ("c", "a", "b"):
            graph.add_node(name)
        graph.add_edge("b", "a")
        graph.add_edge("c", "b")
        graph.add_edge("c", "a")
        graph.set_entry_point("c")
        graph.set_finish_point("a")
        assert lines(graph) == [
            "c[c]",
            "a[a]",
            "b[b]",
            "__start__-->c",
            "c-->b",
            "c-->a",
            "a-->__end__",
            "b-->a",
        ]

    def test_graph_is_not_changed(self) -> None:
        """Section 1: the same text before and after compiling, and twice."""
        graph = chain("a", "b")
        before = graph.to_mermaid()
        assert graph.compile().to_mermaid() == before == graph.to_mermaid()

    def test_changed_graph(self) -> None:
        """VZ-2, SG-22: the text shows the graph as it is now, also after changes through `graph.graph`."""
        graph = chain("a")
        graph.to_mermaid()
        graph.add_node("b")
        graph.graph.add_edge("a", "b")
        assert lines(graph)[1] == "b[b]" and "a-->b" in lines(graph)
        graph.graph.remove_edge("a", END)
        assert "a-->__end__" not in lines(graph)


class TestNames:
    """Ids and labels of nodes."""

    @pytest.mark.parametrize(
        ("name", "line"),
        [
            ("my node", "my_node[my node]"),
            ("step-1.a", "step_1_a[step-1.a]"),
            ("process(v1)", "process_v1_[process(v1)]"),
            ("A|B", "A_B[A/B]"),
            ("a<b>c", "a_b_c[a<b>c]"),
            ("a:b;c,d&e#f", "a_b_c_d_e_f[a:b;c,d&e#f]"),
            ("é/ü%@+", "é/ü%@+[é/ü%@+]"),
        ],
    )
    def test_plain(self, name: str, line: str) -> None:
        """VZ-3, VZ-4, VZ-5."""
        graph = StateGraph(dict)
        graph.add_node(name)
        assert lines(graph) == [line]

    @pytest.mark.parametrize(
        ("name", "line"),
        [("a[0]", 'a_0_["a[0]"]'), ("a]b", 'a_b["a]b"]'), ("{x}", '_x_["{x}"]')],
    )
    def test_quoted(self, name: str, line: str) -> None:
        """VQ-3: labels that Mermaid would misread are quoted; VZ-12: brackets stay balanced otherwise."""
        graph = StateGraph(dict)
        graph.add_node(name)
        assert lines(graph) == [line]

    def test_line_break(self) -> None:
        """VQ-3: a line break does not end the line of the label."""
        graph = StateGraph(dict)
        graph.add_node("a\nb")
        shown = graph.to_mermaid()
        assert '["a' in shown and shown.endswith('b"]')

    def test_equal_ids(self) -> None:
        """VQ-3: names that escape alike get ids of their own, in edges too."""
        graph = StateGraph(dict)
        for name in ("a b", "a-b", "a.b"):
            graph.add_node(name)
        graph.add_edge("a b", "a-b")
        graph.add_edge("a-b", "a.b")
        assert lines(graph) == ["a_b[a b]", "a_b_2[a-b]", "a_b_3[a.b]", "a_b-->a_b_2", "a_b_2-->a_b_3"]

    @pytest.mark.parametrize("name", [3, ("t",)])
    def test_no_text(self, name: Any) -> None:
        """VZ-11."""
        graph = StateGraph(dict)
        graph.add_node(name)
        with pytest.raises(AttributeError):
            graph.to_mermaid()

    def test_balance(self) -> None:
        """VZ-12: well-formed names."""
        graph = fan({"p(1)": None, "q": None})
        shown = graph.to_mermaid()
        assert shown.count("(") == shown.count(")") and shown.count("[") == shown.count("]")


class TestEdgeLabels:
    """VZ-7, VZ-8, VZ-9."""

    def test_parallel(self) -> None:
        """VZ-8.1, VZ-10: the id of the fan-in node."""
        graph = StateGraph(dict)
        for name in ("start", "task_a", "my join"):
            graph.add_node(name)
        graph.add_parallel_edge("start", "task_a", "my join")
        assert edges(graph) == ["start-->|parallel→my_join|task_a"]

    @pytest.mark.parametrize(
        ("mapping", "expected"),
        [
            ({True: "x"}, ["n-->x"]),
            ({1: "x"}, ["n-->x"]),
            ({False: "x"}, ["n-->|false|x"]),
            ({True: "x", False: "y"}, ["n-->|true|x", "n-->|false|y"]),
            ({1: "x", 0: "y"}, ["n-->|1|x", "n-->|0|y"]),
            ({"go": "x", 'say "a|b"': "y"}, ["n-->|go|x", "n-->|say 'a/b'|y"]),
            ({None: "x", 3: "y", 2.5: "z"}, ["n-->|None|x", "n-->|3|y", "n-->|2.5|z"]),
            ({"a": "x", "b": "x"}, ["n-->|a|x"]),
            ({"": "x", "b": "y"}, ["n-->x", "n-->|b|y"]),
        ],
    )
    def test_maps(self, mapping: dict[Any, Any], expected: list[str]) -> None:
        """VZ-8.2a, VZ-8.2b, VZ-9: first entry with the target; identity for truth values."""
        assert conditional(mapping) == expected

    @pytest.mark.parametrize("named", [True, False])
    def test_target_outside_the_map(self, named: bool) -> None:
        """VZ-8.2c: only by hand."""

        def decide(state: dict[str, Any]) -> str:
            return "x"

        graph = StateGraph(dict)
        for name in ("n", "x"):
            graph.add_node(name)
        cond = decide if named else (lambda state: "x")
        graph.graph.add_edge("n", "x", cond=cond, cond_map={"a": "elsewhere"})
        assert edges(graph) == (["n-->|condition|x"] if named else ["n-->x"])

    def test_hand_made_edges(self) -> None:
        """VZ-8.3, VZ-9: no map, or parallel without a fan-in node."""
        graph = StateGraph(dict)
        for name in ("n", "x", "y"):
            graph.add_node(name)
        graph.graph.add_edge("n", "x")
        graph.graph.add_edge("n", "y", parallel=True)
        assert edges(graph) == ["n-->x", "n-->y"]

    def test_start_and_end(self) -> None:
        """VZ-3: START and END in maps."""
        assert conditional({"again": START, "stop": END}) == ["n-->|again|__start__", "n-->|stop|__end__"]
