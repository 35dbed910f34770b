"""Constructing a graph, adding nodes and edges, reading them back."""

from __future__ import annotations

import copy
import functools
import inspect
import logging
import pickle
from collections.abc import Callable

import pytest
from support import events, final, single, trail

from the_edge_agent import (
    END,
    START,
    CircuitBreakerRegistry,
    ParallelConfig,
    StateGraph,
)


@pytest.fixture
def graph() -> StateGraph:
    """Nodes a, b, c without edges."""
    made = StateGraph({"x": int})
    for name in "abc":
        made.add_node(name, run=trail)
    return made


class TestConstructor:
    """Section 2."""

    def test_parameters_by_position_and_their_defaults(self) -> None:
        """SG-6: order and defaults of the parameters."""
        parameters = list(inspect.signature(StateGraph).parameters.values())
        names = ["state_schema", "raise_exceptions", "max_workers", "log_level"]
        assert [p.name for p in parameters][:6] == [*names, "log_state_values", "parallel_config"]
        config = ParallelConfig(timeout_seconds=3)
        by_position = StateGraph(dict, True, 3, logging.ERROR, True, config)
        by_keyword = StateGraph(
            state_schema=dict,
            raise_exceptions=True,
            max_workers=3,
            log_level=logging.ERROR,
            log_state_values=True,
            parallel_config=config,
        )
        for made in (by_position, by_keyword):
            assert (made.raise_exceptions, made.max_workers, made.log_state_values) == (True, 3, True)
            assert made.parallel_config is config
            assert made.logger.level == logging.ERROR

    def test_state_schema_is_required(self) -> None:
        """SG-6."""
        with pytest.raises(TypeError, match="state_schema"):
            StateGraph()  # type: ignore[call-arg]

    def test_initial_attributes(self) -> None:
        """SG-7: the table of attributes."""
        schema = {"x": int}
        made = StateGraph(schema)
        assert made.state_schema is schema
        assert made.interrupt_before == [] and made.interrupt_after == []
        assert type(made.interrupt_before) is list and type(made.interrupt_after) is list
        assert (made.raise_exceptions, made.max_workers, made.log_state_values) == (False, None, False)
        assert made.parallel_sync == {}
        assert made.logger is logging.getLogger("the_edge_agent.stategraph")
        assert made.logger.level == logging.WARNING
        assert made.checkpoint_dir is None and made.checkpointer is None
        assert made.parallel_config == ParallelConfig() and made.parallel_config.strategy == "thread"
        assert isinstance(made.circuit_registry, CircuitBreakerRegistry)
        assert made.callback_manager is None
        assert made._max_active_threads is None

    def test_graphs_do_not_share_mutable_attributes(self) -> None:
        """SG-7, Q1: each graph has lists and a configuration of its own."""
        one, two = StateGraph(dict), StateGraph(dict)
        assert one.interrupt_before is not two.interrupt_before
        assert one.interrupt_before is not one.interrupt_after
        assert one.parallel_config is not two.parallel_config
        assert one.circuit_registry is not two.circuit_registry

    def test_schema_is_never_used(self, kind: str) -> None:
        """SG-7: no validation, typing or filtering by the schema."""
        made = single(lambda state: {"other": 1})
        made.state_schema = {"x": int}
        assert events(made, kind, {"x": "text", "y": 2})[-1]["state"] == {"x": "text", "y": 2, "other": 1}

    def test_extra_attributes(self) -> None:
        """SG-9: any attribute can be set; those of the YAML engine are absent, not None."""
        made = StateGraph(dict)
        for name in (
            "_input_schema",
            "_output_schema",
            "_yaml_engine",
            "_session_backend",
            "_session_settings",
        ):
            assert not hasattr(made, name)
        for name in ("_endpoint_config", "_agent_name", "_resume_checkpoint_path", "whatever"):
            assert not hasattr(made, name)
            setattr(made, name, 5)
            assert getattr(made, name) == 5

    @pytest.mark.parametrize("copier", [copy.deepcopy, pickle.dumps])
    @pytest.mark.parametrize("with_edge", [False, True])
    def test_no_copy_no_pickle(self, copier: Callable[[object], object], with_edge: bool) -> None:
        """SG-10: any of three exception classes."""
        made = StateGraph(dict)
        made.add_node("a")
        if with_edge:
            made.add_edge("a", END)
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
            copier(made)


class TestNodes:
    """Adding nodes."""

    def test_every_building_method_returns_none(self) -> None:
        """Section 3."""
        made = StateGraph(dict)
        assert made.add_node("a", run=trail) is None
        assert made.add_node("b") is None
        assert made.add_fanin_node("j") is None
        assert made.add_edge("a", "j") is None
        assert made.add_conditional_edges("a", lambda: 1, {1: "b"}) is None
        assert made.add_parallel_edge("a", "b", "j") is None
        assert made.set_entry_point("a") is None
        assert made.set_finish_point("j") is None

    @pytest.mark.parametrize("method", ["add_node", "add_fanin_node"])
    @pytest.mark.parametrize("name", ["a", START, END])
    def test_duplicate(self, graph: StateGraph, method: str, name: str) -> None:
        """SG-11 and the table of section 3; the first node stays."""
        before = graph.node(name)["run"]
        with pytest.raises(ValueError) as caught:
            getattr(graph, method)(name, run=len)
        assert str(caught.value) == f"Node '{name}' already exists in the graph."
        assert graph.node(name)["run"] is before

    def test_attributes(self, graph: StateGraph) -> None:
        """SG-13, SG-20: attribute dicts of nodes; `run` is the very function."""
        graph.add_fanin_node("j", run=trail)
        assert graph.node("a") == {"run": trail} and graph.node("a")["run"] is trail
        assert graph.node("j") == {"run": trail, "fan_in": True}
        assert graph.node(START) == {"run": None} and graph.node(END) == {"run": None}

    def test_none_and_unhashable_names(self) -> None:
        """SG-12."""
        made = StateGraph(dict)
        with pytest.raises(ValueError, match=r"^None cannot be a node$"):
            made.add_node(None)
        with pytest.raises(TypeError):
            made.add_node(["list"])
        with pytest.raises(TypeError):
            made.add_node({})
        assert made.successors(START) == []

    @pytest.mark.parametrize("name", [7, 2.5, ("t", 1), frozenset({1}), len, b"bytes", "\0", "é/\n", True])
    def test_any_hashable_name_runs(self, name: object, kind: str) -> None:
        """SG-12: names are not type-checked; events carry the very name."""
        got = events(single_named(name), kind, {})
        assert got[-1]["type"] == "final"
        assert got[-1]["state"] == {"seen": name}
        if kind == "stream":
            assert got[0]["node"] is name or got[0]["node"] == name
            assert type(got[0]["node"]) is type(name)

    @pytest.mark.parametrize("run", [None, 0, "", [], {}])
    def test_falsy_function_is_a_pass_through(self, run: object, kind: str) -> None:
        """SG-14, SG-61: no event and no record."""
        got = events(single(run), kind, {"x": 1})
        assert [(event["type"], event["state"]) for event in got] == [("final", {"x": 1})]

    def test_function_is_not_checked_when_added(self) -> None:
        """SG-14: a value that cannot be called is accepted, and fails as node error when it runs."""
        got = list(single("no function").invoke({}))
        assert got == [
            {"type": "error", "node": "n", "error": "'no function' is not a callable object", "state": {}}
        ]

    def test_a_node_function_may_be_replaced_through_its_attributes(self) -> None:
        """SG-20: the accessors return live objects."""
        made = single(lambda: {"x": 1})
        made.node("n")["run"] = lambda: {"x": 2}
        assert final(made, {}) == {"x": 2}


def single_named(name: object) -> StateGraph:
    made = StateGraph(dict)
    made.add_node(name, run=lambda node: {"seen": node})
    made.set_entry_point(name)
    made.set_finish_point(name)
    return made


class TestEdges:
    """Adding edges."""

    @pytest.mark.parametrize(("source", "target"), [("a", "zz"), ("zz", "a"), ("zz", "yy")])
    def test_add_edge_unknown_node(self, graph: StateGraph, source: str, target: str) -> None:
        """Section 3: exact text; nothing is added."""
        with pytest.raises(ValueError) as caught:
            graph.add_edge(source, target)
        assert str(caught.value) == "Both nodes must exist in the graph."
        assert graph.successors("a") == []

    def test_conditional_edges_unknown_node(self, graph: StateGraph) -> None:
        """Section 3: exact texts."""
        with pytest.raises(ValueError) as caught:
            graph.add_conditional_edges("zz", trail, {1: "a"})
        assert str(caught.value) == "Node 'zz' does not exist in the graph."
        with pytest.raises(ValueError) as caught:
            graph.add_conditional_edges("a", trail, {1: "b", 2: "zz"})
        assert str(caught.value) == "Target node 'zz' does not exist in the graph."

    def test_conditional_edges_add_all_or_nothing(self, graph: StateGraph) -> None:
        """SG-18, Q13: no half-added set is left behind by an error."""
        with pytest.raises(ValueError, match="Target node 'zz'"):
            graph.add_conditional_edges("a", trail, {1: "b", 2: "zz", 3: "c"})
        assert graph.successors("a") == []

    def test_conditional_edges_empty_map_and_shared_target(self, graph: StateGraph) -> None:
        """SG-18."""
        graph.add_conditional_edges("a", trail, {})
        assert graph.successors("a") == []
        graph.add_conditional_edges("a", trail, {1: "b", 2: "b", 3: "c"})
        assert graph.successors("a") == ["b", "c"]

    @pytest.mark.parametrize("nodes", [("zz", "b", "c"), ("a", "zz", "c"), ("a", "b", "zz")])
    def test_parallel_edge_unknown_node(self, graph: StateGraph, nodes: tuple[str, str, str]) -> None:
        """Section 3: exact text; nothing is added."""
        with pytest.raises(ValueError) as caught:
            graph.add_parallel_edge(*nodes)
        assert str(caught.value) == "All nodes must exist in the graph."
        assert graph.successors("a") == []

    @pytest.mark.parametrize("method", ["set_entry_point", "set_finish_point"])
    def test_entry_and_finish_unknown_node(self, graph: StateGraph, method: str) -> None:
        """Section 3: exact text."""
        with pytest.raises(ValueError) as caught:
            getattr(graph, method)("zz")
        assert str(caught.value) == "Node 'zz' does not exist in the graph."

    def test_start_and_end_are_ordinary(self, graph: StateGraph) -> None:
        """SG-11: usable in every edge method."""
        graph.add_edge(START, "a")
        graph.add_conditional_edges("a", lambda: 1, {1: END})
        graph.add_parallel_edge(START, "b", "c")
        graph.add_parallel_edge("b", START, END)
        assert graph.successors(START) == ["a", "b"]
        assert graph.edge("b", START)["fan_in_node"] == END

    def test_attributes_of_plain_edges(self, graph: StateGraph) -> None:
        """SG-15: condition that takes any keywords and returns True, and a map."""
        graph.add_edge("a", "b")
        graph.set_entry_point("a")
        graph.set_finish_point("b")
        for source, target in (("a", "b"), (START, "a"), ("b", END)):
            edge = graph.edge(source, target)
            assert set(edge) == {"cond", "cond_map"}
            assert edge["cond"]() is True and edge["cond"](any=1, state={}) is True
            assert edge["cond"].__name__ == "<lambda>"
            assert edge["cond_map"] == {True: target}

    def test_attributes_of_conditional_edges_are_live(self, graph: StateGraph) -> None:
        """SG-15: the same function and the same dict object on all edges."""
        targets = {1: "b", 2: "c"}
        graph.add_conditional_edges("a", trail, targets)
        for target in "bc":
            assert graph.edge("a", target)["cond"] is trail
            assert graph.edge("a", target)["cond_map"] is targets

    def test_attributes_of_parallel_edges(self, graph: StateGraph) -> None:
        """SG-15."""
        config = ParallelConfig()
        graph.add_parallel_edge("a", "b", "c", config)
        edge = graph.edge("a", "b")
        assert set(edge) == {"cond", "cond_map", "parallel", "fan_in_node", "parallel_config"}
        assert edge["parallel"] is True and edge["fan_in_node"] == "c" and edge["parallel_config"] is config
        assert edge["cond"](x=1) is True and edge["cond_map"] == {True: "b"}
        graph.add_parallel_edge("a", "c", "b")
        assert graph.edge("a", "c")["parallel_config"] is None

    def test_edge_added_again_keeps_its_place_and_merges(self, graph: StateGraph) -> None:
        """SG-16, SG-17: order is that of the first addition; keys are merged."""
        graph.add_parallel_edge("a", "b", "c")
        graph.add_edge("a", "c")
        graph.add_edge("a", "b")
        assert graph.successors("a") == ["b", "c"]
        assert graph.edge("a", "b")["parallel"] is True and graph.edge("a", "b")["fan_in_node"] == "c"
        graph.add_conditional_edges("a", trail, {7: "c"})
        assert graph.edge("a", "c")["cond"] is trail and graph.edge("a", "c")["cond_map"] == {7: "c"}
        graph.add_edge("a", "c")
        assert graph.edge("a", "c")["cond_map"] == {True: "c"}

    def test_last_condition_for_a_target_wins(self) -> None:
        """SG-16: two calls with the same target keep only the later function and map."""
        made = single(lambda: None)
        made.add_node("m", run=lambda: {"result": "m"})
        made.add_conditional_edges("n", lambda: "x", {"x": END})
        made.add_conditional_edges("n", lambda: "y", {"y": "m", "z": END})
        made.add_conditional_edges("m", lambda: 0, {0: END})
        assert made.edge("n", END)["cond_map"] == {"y": "m", "z": END}
        assert final(made, {}) == {"result": "m"}

    def test_several_entry_points_first_wins(self, kind: str) -> None:
        """SG-19."""
        made = StateGraph(dict)
        for name in "ab":
            made.add_node(name, run=trail)
            made.set_finish_point(name)
        made.set_entry_point("b")
        made.set_entry_point("a")
        assert events(made, kind, {})[-1]["state"] == {"trail": ["b"]}


class TestAccessors:
    """SG-20."""

    def test_errors(self, graph: StateGraph) -> None:
        """SG-20: exact texts."""
        for call, text in (
            (functools.partial(graph.node, "zz"), "Node 'zz' not found in the graph"),
            (functools.partial(graph.successors, "zz"), "Node 'zz' not found in the graph"),
            (functools.partial(graph.edge, "a", "b"), "Edge from 'a' to 'b' not found in the graph"),
            (functools.partial(graph.edge, "zz", "b"), "Edge from 'zz' to 'b' not found in the graph"),
        ):
            with pytest.raises(KeyError) as caught:
                call()
            assert caught.value.args == (text,)

    def test_live_attribute_dicts_and_new_lists(self, graph: StateGraph) -> None:
        """SG-20: attribute dicts are the stored ones, lists of successors are new."""
        graph.add_edge("a", "b")
        graph.edge("a", "b")["note"] = 1
        assert graph.edge("a", "b")["note"] == 1
        graph.node("a")["note"] = 2
        assert graph.node("a")["note"] == 2
        graph.successors("a").append("zz")
        assert graph.successors("a") == ["b"]
        assert type(graph.successors("a")) is list

    def test_changed_map_is_used(self) -> None:
        """SG-15, SG-20: a map changed after the call changes the routing."""
        made = single(None)
        made.add_node("m", run=lambda: {"m": 1})
        made.add_edge("m", END)
        made.edge("n", END)["cond_map"][True] = "m"
        assert final(made, {}) == {"m": 1}
