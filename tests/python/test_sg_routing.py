"""Conditions, maps and the choice of the next node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support import drain, events, final, single, types

from the_edge_agent import END, StateGraph


def router(
    *calls: tuple[Callable[..., Any] | None, Any],
    targets: str = "abc",
    node: Any = None,
    **options: Any,
) -> StateGraph:
    """Node `n` with targets that note their name; a call (function, map) or (None, target) adds edges."""
    made = StateGraph(dict, **options)
    made.add_node("n", run=node)
    made.set_entry_point("n")
    for name in targets:
        made.add_node(name, run=lambda node: {"at": node})
        made.set_finish_point(name)
    for func, target in calls:
        if func is None:
            made.add_edge("n", target)
        else:
            made.add_conditional_edges("n", func, target)
    return made


class TestLookup:
    """SG-44, SG-45."""

    @pytest.mark.parametrize("value", ["x", 1, 2.5, None, False, (1, "t"), b"x", frozenset({1})])
    def test_dict_lookup(self, value: Any, kind: str) -> None:
        """SG-44, SG-45: keys of any hashable type, None too."""
        made = router((lambda: value, {value: "b", "other": "a"}))
        assert events(made, kind, {})[-1]["state"]["at"] == "b"

    @pytest.mark.parametrize("value", [1, 1.0, True])
    def test_equal_keys_are_one_key(self, value: Any) -> None:
        """SG-45: 1, 1.0 and True."""
        for key in (1, 1.0, True):
            assert final(router((lambda: value, {key: "c"})), {})["at"] == "c"

    def test_unhashable_result(self, kind: str) -> None:
        """SG-45: TypeError out of the generator."""
        with pytest.raises(TypeError, match="unhashable"):
            events(router((lambda: ["x"], {"x": "a"})), kind, {})

    def test_first_key_in_map_order_does_not_matter(self) -> None:
        """SG-44: the map decides, not the edge's own target."""
        made = router((lambda state: state["k"], {"x": "a", "y": "b", "z": "c"}))
        assert [final(made, {"k": key})["at"] for key in "zyx"] == ["c", "b", "a"]

    def test_map_target_need_not_be_a_successor(self) -> None:
        """SG-44: a target that a hand-edited map names."""
        targets = {"x": "a"}
        made = router((lambda: "y", targets))
        targets["y"] = "c"
        assert final(made, {})["at"] == "c"

    def test_no_match_is_a_dead_end(self, kind: str) -> None:
        """SG-44, SG-63."""
        got = events(router((lambda: "zz", {"x": "a"})), kind, {"v": 1})
        text = "No valid next node found from node 'n'"
        assert got == [{"type": "error", "node": "n", "error": text, "state": {"v": 1}}]
        with pytest.raises(RuntimeError) as caught:
            events(router((lambda: "zz", {"x": "a"}), raise_exceptions=True), kind, {})
        assert str(caught.value) == text and caught.value.__cause__ is None

    def test_number_of_calls(self) -> None:
        """SG-45, Q9: once if the result is in the map, once per edge if it is not."""
        calls: list[int] = []

        def condition(state: dict[str, Any]) -> Any:
            calls.append(1)
            return state["k"]

        made = router((condition, {"x": "a", "y": "b", "z": "c"}))
        final(made, {"k": "z"})
        assert len(calls) == 1
        calls.clear()
        assert types(list(made.invoke({"k": "none"}))) == ["error"]
        assert len(calls) == 3

    @pytest.mark.parametrize("name", ["", 0, False, 0.0, ()])
    def test_falsy_names_are_reachable(self, name: Any, kind: str) -> None:
        """Q10, SG-12, SG-45: a falsy target that is a node of the graph is a match."""
        made = StateGraph(dict)
        made.add_node(name, run=lambda node: {"at": node})
        made.set_finish_point(name)
        made.set_entry_point(name)
        assert events(made, kind, {})[-1]["state"] == {"at": name}
        made = router((lambda: "go", {"go": "a"}))
        made.add_node(name, run=lambda node: {"at": node})
        made.set_finish_point(name)
        made.add_conditional_edges("n", lambda: "falsy", {"falsy": name})
        assert events(made, kind, {})[-1]["state"]["at"] == "a"
        made.edge("n", "a")["cond_map"] = {"other": "a"}
        assert events(made, kind, {})[-1]["state"]["at"] == name

    def test_none_and_missing_key_are_no_match(self) -> None:
        """Q10: a target None is "no match", the next edge is tried."""
        targets: dict[str, Any] = {"x": "a"}
        made = router((lambda: "x", targets), (None, "b"))
        targets["x"] = None
        assert final(made, {})["at"] == "b"

    @pytest.mark.parametrize("target", ["", 0, False])
    def test_falsy_target_that_is_no_node(self, target: Any) -> None:
        """SG-45, Q10: no match, as in the reference."""
        targets: dict[str, Any] = {"x": "a"}
        made = router((lambda: "x", targets), (None, "b"))
        targets["x"] = target
        assert final(made, {})["at"] == "b"


class TestOrder:
    """SG-44, SG-46."""

    def test_unconditional_first_always_wins(self, kind: str) -> None:
        """SG-46."""
        called: list[int] = []
        made = router((None, "a"), (lambda: called.append(1) or "x", {"x": "b"}))
        assert events(made, kind, {})[-1]["state"]["at"] == "a" and called == []

    def test_unconditional_last_is_the_fallback(self, kind: str) -> None:
        """SG-46."""
        made = router((lambda state: state["k"], {"x": "b"}), (None, "a"))
        assert events(made, kind, {"k": "x"})[-1]["state"]["at"] == "b"
        assert events(made, kind, {"k": "y"})[-1]["state"]["at"] == "a"

    def test_if_elif_chain(self) -> None:
        """SG-46: several calls to different targets, in order; later ones are not asked."""
        asked: list[str] = []

        def ask(name: str) -> Callable[..., Any]:
            return lambda state: asked.append(name) or state[name]

        made = router((ask("p"), {True: "a"}), (ask("q"), {True: "b"}), (ask("r"), {True: "c"}))
        assert final(made, {"p": False, "q": True, "r": True})["at"] == "b"
        assert asked == ["p", "q"]

    def test_order_is_that_of_first_addition(self) -> None:
        """SG-16, SG-17: an edge added again keeps its priority."""
        made = router((None, "a"), (lambda: True, {True: "b"}), (lambda: 1, {1: "a"}))
        assert made.successors("n") == ["a", "b"]
        assert final(made, {})["at"] == "a"

    def test_self_loop_with_exit(self, kind: str) -> None:
        """SG-32, SG-44."""
        made = StateGraph(dict)
        made.add_node("n", run=lambda state: {"n": state["n"] + 1})
        made.set_entry_point("n")
        made.add_conditional_edges(
            "n", lambda state: "again" if state["n"] < 4 else "out", {"again": "n", "out": END}
        )
        got = events(made, kind, {"n": 0})
        assert got[-1]["state"] == {"n": 4}
        assert types(got).count("state") == (4 if kind == "stream" else 0)

    def test_conditional_entry(self, kind: str) -> None:
        """SG-11, SG-53: conditions on START."""
        made = StateGraph(dict)
        for name in "ab":
            made.add_node(name, run=lambda node: {"at": node})
            made.set_finish_point(name)
        made.add_conditional_edges(
            "__start__", lambda state, node: (state["k"], node), {(1, "__start__"): "b"}
        )
        assert events(made, kind, {"k": 1})[-1]["state"] == {"k": 1, "at": "b"}


class TestConditions:
    """SG-42, SG-47."""

    def test_injection(self) -> None:
        """SG-42: the four values by name, as for nodes."""
        found: list[Any] = []

        def condition(graph: Any, node: Any, config: Any, state: Any, extra: Any = 1) -> str:
            found.append((graph, node, dict(config), dict(state), extra))
            return "x"

        made = router((condition, {"x": "a"}))
        final(made, {"v": 1}, config={"k": 2})
        assert found == [(made, "n", {"k": 2}, {"v": 1}, 1)]

    def test_kwargs(self) -> None:
        """SG-36: the same four, in order."""
        found: list[Any] = []
        made = router((lambda **kw: found.append(list(kw)), {None: "a"}))
        final(made, {"parallel_results": []})
        assert found == [["state", "config", "node", "graph"]]

    def test_no_parameters(self) -> None:
        """SG-35 rule 1 for conditions."""
        assert final(router((lambda: 1, {1: "a"})), {})["at"] == "a"

    def test_parallel_results_is_not_available(self, kind: str) -> None:
        """SG-42: an error of rule 5, unchanged out of the generator."""
        made = router((lambda parallel_results: 1, {1: "a"}))
        text = "Required parameter 'parallel_results' not provided for function '<lambda>'"
        with pytest.raises(ValueError, match=text):
            events(made, kind, {"parallel_results": []})

    def test_condition_may_change_the_state(self, kind: str) -> None:
        """SG-42: a counter that a condition increments."""

        def count(state: dict[str, Any]) -> bool:
            state["count"] += 1
            return state["count"] < 3

        made = StateGraph(dict)
        made.add_node("n", run=lambda: {})
        made.set_entry_point("n")
        made.add_conditional_edges("n", count, {True: "n", False: END})
        assert events(made, kind, {"count": 0})[-1]["state"] == {"count": 3}

    def test_condition_may_change_the_config(self) -> None:
        """SG-42: config is live too."""

        def note(config: dict[str, Any]) -> str:
            config["noted"] = 1
            return "x"

        made = router((note, {"x": "a"}))
        made.node("a")["run"] = lambda config: {"seen": dict(config)}
        assert final(made, {})["seen"] == {"noted": 1}

    @pytest.mark.parametrize("raise_exceptions", [False, True])
    @pytest.mark.parametrize("error", [ValueError("v"), KeyError("k"), KeyboardInterrupt(), StopIteration(1)])
    def test_exceptions_come_out_unchanged(
        self, kind: str, raise_exceptions: bool, error: BaseException
    ) -> None:
        """SG-47, Q3: the very object, whatever the policy; no event. (Python turns StopIteration round.)"""

        def condition() -> None:
            raise error

        made = router((condition, {"x": "a"}), raise_exceptions=raise_exceptions, node=lambda: {"ran": 1})
        got: list[dict[str, Any]] = []
        expected = RuntimeError if isinstance(error, StopIteration) else type(error)
        run = getattr(made, kind)({})
        with pytest.raises(expected) as caught:
            drain(run, got)
        if expected is RuntimeError:
            assert caught.value.__cause__ is error
        else:
            assert caught.value is error
        assert types(got) == (["state"] if kind == "stream" else [])
        assert list(run) == []

    def test_bad_signature_of_a_condition(self, kind: str) -> None:
        """SG-42, SG-47: an injection error is an exception of the condition."""
        with pytest.raises(ValueError, match="Required parameter 'stranger' not provided for function"):
            events(router((lambda stranger: 1, {1: "a"})), kind, {})
        with pytest.raises(TypeError, match="5 is not a callable object"):
            events(router((5, {1: "a"})), kind, {})  # type: ignore[arg-type]

    def test_exception_before_a_fallback(self) -> None:
        """SG-47: a failing condition does not fall through to the next edge."""
        made = router((lambda: 1 / 0, {"x": "a"}), (None, "b"))
        with pytest.raises(ZeroDivisionError):
            list(made.invoke({}))


class TestNormalEdgesOnly:
    """SG-43: parallel edges take no part in the main flow's routing."""

    def test_parallel_edge_first_in_order(self, kind: str) -> None:
        """SG-43, SG-75: the main flow takes the normal edge, in spite of the order."""
        made = router((None, "a"))
        made = StateGraph(dict)
        for name in ("n", "b", "m", "j"):
            made.add_node(name, run=lambda node: {"at": node})
        made.set_entry_point("n")
        made.add_parallel_edge("n", "b", "j")
        made.add_edge("n", "m")
        made.add_edge("b", "j")
        made.set_finish_point("m")
        made.set_finish_point("j")
        assert events(made, kind, {})[-1]["state"] == {"at": "m"}

    def test_truth_value_without_map(self) -> None:
        """SG-44: no map, so any truthy result goes to the edge's own target."""
        made = single(None)
        made.graph.remove_edge("n", END)
        made.add_node("m", run=lambda: {"at": "m"})
        made.set_finish_point("m")
        made.graph.add_edge("n", "m", cond=lambda: ["truthy", "unhashable"])
        assert final(made, {}) == {"at": "m"}
