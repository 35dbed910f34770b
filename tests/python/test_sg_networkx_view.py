"""`graph.graph`, the networkx object, and graphs that change while they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import networkx
import pytest
from support import chain, drain, events, final, single, trail, types

from the_edge_agent import END, START, StateGraph

NOT_FOUND = "Node 'gone' not found in the graph"


class TestView:
    """SG-7, SG-22: what callers read and write."""

    def test_fresh_graph(self) -> None:
        """SG-7: a DiGraph with START, then END."""
        made = StateGraph(dict)
        assert isinstance(made.graph, networkx.DiGraph)
        assert list(made.graph.nodes) == [START, END]
        assert dict(made.graph.nodes(data=True)) == {START: {"run": None}, END: {"run": None}}
        assert made.graph is made.graph

    def test_reads(self) -> None:
        """SG-22, section 22: container, call, length, attributes, successors, edges."""
        made = chain("a", "b")
        view = made.graph
        assert "a" in view.nodes and "zz" not in view.nodes
        assert len(view.nodes) == 4 and list(view.nodes()) == [START, END, "a", "b"]
        assert view.nodes["a"]["run"] is trail
        assert list(view.successors("a")) == ["b"]
        assert list(view.edges()) == [(START, "a"), ("a", "b"), ("b", END)]
        assert [(u, v, d["cond_map"]) for u, v, d in view.edges(data=True)][1] == ("a", "b", {True: "b"})
        assert view.has_edge("a", "b") and not view.has_edge("b", "a")

    def test_view_follows_the_building_methods(self) -> None:
        """SG-22: one source of truth, whichever was asked first."""
        made = StateGraph(dict)
        view = made.graph
        made.add_node("a", run=trail)
        made.add_edge("a", END)
        assert "a" in view.nodes and view.has_edge("a", END)
        assert made.graph is view

    def test_accessors_and_view_share_the_attribute_dicts(self) -> None:
        """SG-20, SG-22: the very same dicts."""
        made = chain("a", "b")
        assert made.graph.nodes["a"] is made.node("a")
        assert made.graph.edges["a", "b"] is made.edge("a", "b")
        assert made.graph["a"]["b"] is made.edge("a", "b")

    def test_nodes_and_edges_put_there_directly(self, kind: str) -> None:
        """SG-22: a node without `run` is passed through, an edge without attributes is always taken."""
        made = StateGraph(dict)
        made.graph.add_node("x")
        made.graph.add_node("y", run=lambda: {"y": 1})
        made.graph.add_edge(START, "x")
        made.graph.add_edge("x", "y")
        made.graph.add_edge("y", END)
        got = events(made, kind, {})
        assert got[-1]["type"] == "final" and got[-1]["state"] == {"y": 1}
        with pytest.raises(ValueError, match="already exists"):
            made.add_node("x")

    def test_edge_condition_without_map_is_a_truth_value(self) -> None:
        """SG-22, SG-44: missing or empty `cond_map` makes the result count for the edge's own target."""
        made = single(None)
        made.graph.remove_edge("n", END)
        for name in ("m", "o"):
            made.add_node(name, run=lambda node: {"at": node})
            made.add_edge(name, END)
        made.graph.add_edge("n", "m", cond=lambda state: state["go"])
        made.graph.add_edge("n", "o", cond=lambda state: 1, cond_map={})
        assert final(made, {"go": "yes"})["at"] == "m"
        assert final(made, {"go": ""})["at"] == "o"

    @pytest.mark.parametrize("attributes", [{"cond": None}, {"cond": None, "cond_map": {True: END}}])
    def test_explicit_none_as_condition(self, attributes: dict[str, Any], kind: str) -> None:
        """SG-22: only a missing `cond` means "always"."""
        made = single(None)
        made.graph.remove_edge("n", END)
        made.graph.add_edge("n", END, **attributes)
        with pytest.raises(TypeError, match=r"^None is not a callable object$"):
            events(made, kind, {})

    def test_direct_parallel_edge_without_fan_in(self, kind: str) -> None:
        """SG-22, SG-55 step 6."""
        made = single(None)
        made.add_node("b", run=trail)
        made.graph.add_edge("n", "b", parallel=True)
        got = events(made, kind, {"x": 1})
        text = "Parallel edge from 'n' to 'b' must have 'fan_in_node' specified"
        assert got == [{"type": "error", "node": "n", "error": text, "state": {"x": 1}}]

    def test_removed_edge_and_node(self) -> None:
        """SG-22: removals through the view count."""
        made = chain("a", "b")
        made.graph.remove_edge("a", "b")
        made.graph.add_edge("a", END)
        assert final(made, {}) == {"trail": ["a"]}
        made.graph.remove_node("b")
        with pytest.raises(KeyError):
            made.node("b")
        made.add_node("b", run=trail)
        assert made.successors("b") == []

    def test_networkx_algorithms(self) -> None:
        """SG-22: a real networkx graph; copies do not act back."""
        made = chain("a", "b", "c")
        assert networkx.shortest_path(made.graph, START, END) == [START, "a", "b", "c", END]
        other = made.graph.copy()
        other.remove_node("b")
        other.nodes["a"]["run"] = None
        assert final(made, {}) == {"trail": ["a", "b", "c"]}


class TestChangingWhileRunning:
    """SG-21."""

    def test_node_adds_nodes(self, kind: str) -> None:
        """SG-21: a node adds two nodes, edges and a finish point; the run goes through them."""

        def grow(graph: StateGraph) -> dict[str, Any]:
            graph.add_node("new1", run=trail)
            graph.add_node("new2", run=trail)
            graph.add_edge("grow", "new1")
            graph.add_edge("new1", "new2")
            graph.set_finish_point("new2")
            return {"trail": ["grow"]}

        made = StateGraph(dict)
        made.add_node("grow", run=grow)
        made.set_entry_point("grow")
        got = events(made, kind, {})
        assert got[-1]["type"] == "final" and got[-1]["state"] == {"trail": ["grow", "new1", "new2"]}

    def test_node_adds_nodes_through_the_view(self) -> None:
        """SG-21, SG-22: the same by networkx calls and by hand-edited attribute dicts."""

        def grow(graph: StateGraph) -> None:
            graph.graph.add_node("x", run=lambda: {"x": 1})
            graph.graph.add_edge("x", END)
            graph.edge("n", END)["cond_map"] = {True: "x"}

        assert final(single(grow), {})["x"] == 1

    def test_node_replaces_its_successor_function(self) -> None:
        """SG-21: read when the run gets there."""
        made = chain("a", "b")

        def swap(graph: StateGraph) -> None:
            graph.node("b")["run"] = lambda: {"b": "new"}

        made.node("a")["run"] = swap
        assert final(made, {})["b"] == "new"

    def test_consumer_changes_between_events(self) -> None:
        """SG-21: changes between two `next()` calls are honoured."""
        made = chain("a", "b")
        run = made.stream({})
        assert next(run)["node"] == "a"
        made.add_node("c", run=trail)
        made.add_edge("c", END)
        made.edge("a", "b")["cond_map"] = {True: "c"}
        assert next(run)["node"] == "c"
        assert next(run)["type"] == "final"

    def test_edges_added_and_removed_between_events(self) -> None:
        """SG-21: an edge removed while the run stands on its node is not taken."""
        made = chain("a", "b")
        run = made.stream({})
        next(run)
        made.graph.remove_edge("a", "b")
        assert next(run)["error"] == "No valid next node found from node 'a'"

    def test_node_that_adds_a_node_in_each_round(self) -> None:
        """SG-21: growth inside a loop, with routing over nodes that did not exist at the start."""

        def grow(state: dict[str, Any], graph: StateGraph) -> dict[str, Any]:
            number = state.get("n", 0) + 1
            graph.add_node(f"x{number}", run=trail)
            graph.add_edge(f"x{number}", "n")
            graph.edge("n", "out")["cond_map"] = {True: f"x{number}" if number < 20 else "out"}
            return {"n": number}

        made = StateGraph(dict)
        made.add_node("n", run=grow)
        made.add_node("out")
        made.set_entry_point("n")
        made.add_edge("n", "out")
        made.set_finish_point("out")
        assert final(made, {})["trail"] == [f"x{number}" for number in range(1, 20)]


class TestMissingTarget:
    """SG-21, Q20: a target that is not in the graph."""

    @pytest.mark.parametrize("raise_exceptions", [False, True])
    def test_main_flow(self, kind: str, raise_exceptions: bool, caplog: pytest.LogCaptureFixture) -> None:
        """Q20: KeyError, unchanged, after the `Transitioning` line; events before it are delivered."""
        made = single(trail, raise_exceptions=raise_exceptions, log_level=10)
        made.edge("n", END)["cond_map"] = {True: "gone"}
        got: list[dict[str, Any]] = []
        with pytest.raises(KeyError) as caught:
            drain(getattr(made, kind)({}), got)
        assert caught.value.args == (NOT_FOUND,)
        assert types(got) == (["state"] if kind == "stream" else [])
        assert caplog.messages[-1] == "Transitioning from 'n' to 'gone'"

    @pytest.mark.parametrize("raise_exceptions", [False, True])
    def test_scoped(self, raise_exceptions: bool) -> None:
        """Q20: out of `execute_scoped` too."""
        made = chain("a", "b", raise_exceptions=raise_exceptions)
        made.edge("a", "b")["cond_map"] = {True: "gone"}
        with pytest.raises(KeyError) as caught:
            made.execute_scoped({}, "a", "b")
        assert caught.value.args == (NOT_FOUND,)

    def test_fan_in_that_is_not_in_the_graph(self, kind: str) -> None:
        """SG-21, SG-55 step 6: fails at the join, whatever `raise_exceptions` is."""
        made = single(None)
        made.graph.remove_edge("n", END)
        made.add_node("b", run=trail)
        made.add_edge("b", END)
        made.add_parallel_edge("n", "b", END)
        made.edge("n", "b")["fan_in_node"] = "gone"
        with pytest.raises(KeyError) as caught:
            events(made, kind, {})
        assert caught.value.args == (NOT_FOUND,)

    @pytest.mark.parametrize("fan_in", ["gone", "", 0, False])
    def test_missing_fan_in_does_no_harm_if_never_joined(self, kind: str, fan_in: Any) -> None:
        """SG-55 step 6: no error if the run ends before a join; falsy values are no exception."""
        made = single(None)
        made.add_node("b", run=trail)
        made.add_edge("b", END)
        made.add_parallel_edge("n", "b", END)
        made.edge("n", "b")["fan_in_node"] = fan_in
        assert types(events(made, kind, {})) == ["final"]

    def test_branch_invoke(self, broken_branch: Callable[..., StateGraph]) -> None:
        """SG-21, PAR-34: a failure of the branch, text with the quotes of `str(KeyError)`."""
        got = list(broken_branch().invoke({}))
        assert [(e["type"], e["node"], e["error"]) for e in got] == [("error", "b", f'"{NOT_FOUND}"')]
        with pytest.raises(RuntimeError) as caught:
            list(broken_branch(raise_exceptions=True).invoke({}))
        assert NOT_FOUND in str(caught.value)

    def test_branch_stream(self, broken_branch: Callable[..., StateGraph]) -> None:
        """SG-21: one `parallel_error`, the join goes on."""
        got = list(broken_branch().stream({}))
        assert types(got) == ["parallel_state", "parallel_error", "final"]
        assert (got[1]["branch"], got[1]["node"], got[1]["error"]) == ("b", "b", f'"{NOT_FOUND}"')
        assert got[-1]["state"]["parallel_results"] == []

    @pytest.fixture
    def broken_branch(self) -> Callable[..., StateGraph]:
        """Branch `b` whose edge leads to a node that is not there."""

        def make(**options: Any) -> StateGraph:
            made = StateGraph(dict, **options)
            for name in ("s", "b", "j"):
                made.add_node(name, run=trail if name == "b" else None)
            made.set_entry_point("s")
            made.add_parallel_edge("s", "b", "j")
            made.add_edge("b", "j")
            made.edge("b", "j")["cond_map"] = {True: "gone"}
            made.set_finish_point("j")
            return made

        return make
