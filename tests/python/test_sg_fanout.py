"""Plain fan-out and fan-in: launching, joining, results, failing branches."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from support import LOGGER, chain, events, fan, final, places, trail, types

from the_edge_agent import END, ParallelConfig, ParallelFlowResult, StateGraph
from the_edge_agent.serialization import dumps


def named(node: str) -> dict[str, Any]:
    return {"by": node, node: True}


def boom() -> None:
    raise ValueError("boom")


def of(results: list[Any], key: str = "by") -> list[Any]:
    return [result[key] for result in results]


class TestJoin:
    """SG-56, SG-76, Q7."""

    @pytest.mark.parametrize("names", ["a", "ab", "abc"])
    def test_invoke(self, names: str) -> None:
        """SG-76: ParallelFlowResult objects in launch order, the injected list is that of the state."""
        seen: list[Any] = []
        made = fan(
            dict.fromkeys(names, named), join=lambda parallel_results: seen.append(parallel_results) or {}
        )
        got = final(made, {"x": 1})
        results = got["parallel_results"]
        assert seen[0] is results and type(results) is list
        assert [type(result) for result in results] == [ParallelFlowResult] * len(names)
        assert [(r.branch, r.success, r.error, r.timeout, r.retry_count) for r in results] == [
            (name, True, None, False, 0) for name in names
        ]
        assert [r.state for r in results] == [{"x": 1, "by": name, name: True} for name in names]
        assert all(type(r.timing_ms) is float and r.timing_ms >= 0 for r in results)
        assert "by" not in got

    @pytest.mark.parametrize("names", ["a", "ab", "abc"])
    def test_stream(self, names: str) -> None:
        """SG-76, Q7: plain dicts of the good branches."""
        got = list(fan(dict.fromkeys(names, named)).stream({"x": 1}))
        results = got[-1]["state"]["parallel_results"]
        assert type(results) is list and {type(result) for result in results} == {dict}
        assert sorted(results, key=lambda r: r["by"]) == [{"x": 1, "by": n, n: True} for n in names]

    def test_launch_order_in_invoke(self) -> None:
        """SG-76: the first branch ends last and stays first in the list."""
        done = threading.Event()
        branches = {
            "slow": lambda node: done.wait(10) and named(node),
            "fast": lambda node: done.set() or named(node),
        }
        assert of(final(fan(branches), {})["parallel_results"]) == ["slow", "fast"]

    def test_completion_order_in_stream(self) -> None:
        """SG-76: the slow branch is let go only after the fast one's event, and a little time for its end."""
        done = threading.Event()
        made = fan({"slow": lambda node: done.wait(10) and named(node), "fast": named})
        run = made.stream({})
        assert next(run)["branch"] == "fast"
        threading.Timer(0.1, done.set).start()
        assert of(list(run)[-1]["state"]["parallel_results"]) == ["fast", "slow"]

    def test_same_access_in_both_forms(self, kind: str) -> None:
        """SG-76: `r["k"]`, `r.get`, `in` work with objects and with dicts."""

        def join(parallel_results: list[Any]) -> dict[str, Any]:
            return {
                "sum": sum(r["v"] + r.get("none", 10) + ("v" in r) + ("w" in r) for r in parallel_results)
            }

        made = fan({"a": lambda: {"v": 1}, "b": lambda: {"v": 2}}, join=join)
        assert events(made, kind, {})[-1]["state"]["sum"] == 25

    def test_results_stay_in_the_state(self, kind: str) -> None:
        """SG-34, SG-51: later nodes get them as parameter too."""
        made = fan({"a": named}, join=lambda: {})
        made.graph.remove_edge("j", END)
        made.add_node("later", run=lambda parallel_results: {"n": len(parallel_results)})
        made.add_edge("j", "later")
        made.add_edge("later", END)
        assert events(made, kind, {})[-1]["state"]["n"] == 1

    def test_plain_node_as_fan_in_and_marked_node_as_plain(self, kind: str) -> None:
        """SG-13: the mark has no effect."""
        made = StateGraph(dict)
        made.add_node("s")
        made.add_node("b", run=named)
        made.add_node("plain", run=lambda parallel_results: {"n": len(parallel_results)})
        made.add_fanin_node("marked", run=lambda: {"m": 1})
        made.set_entry_point("s")
        made.add_parallel_edge("s", "b", "plain")
        made.add_edge("b", "plain")
        made.add_edge("plain", "marked")
        made.set_finish_point("marked")
        got = events(made, kind, {})[-1]["state"]
        assert (got["n"], got["m"]) == (1, 1)

    def test_fan_in_without_function(self, kind: str) -> None:
        """SG-56: no event of its own, the run goes on."""
        got = events(fan({"a": None}), kind, {"x": 1})
        assert types(got) == ["final"] and of(got[0]["state"]["parallel_results"], "x") == [1]

    def test_events_of_the_stream(self) -> None:
        """SG-78, parallel/PAR-62: branch events between the start's and the fan-in's."""
        got = list(fan({"a": named, "b": named}, join=lambda: {}, start=lambda: {"s": 1}).stream({}))
        assert places(got)[0] == ("state", "s") and places(got)[-2:] == [("state", "j"), ("final", None)]
        assert sorted(places(got)[1:3]) == [("parallel_state", "a"), ("parallel_state", "b")]
        for event in got[1:3]:
            assert event["branch"] == event["node"]
            assert event["state"] == {"s": 1, "by": event["node"], event["node"]: True}
        assert [event for event in got if event["type"] == "branch_complete"] == []

    def test_events_of_one_branch_are_in_order(self) -> None:
        """SG-78, parallel/PAR-60: branches of several nodes."""
        made = fan({"a": trail, "b": trail})
        for name in "ab":
            made.graph.remove_edge(name, "j")
            made.add_node(f"{name}2", run=trail)
            made.add_edge(name, f"{name}2")
            made.add_edge(f"{name}2", "j")
        got = [event for event in made.stream({}) if event["type"] == "parallel_state"]
        for name in "ab":
            own = [event for event in got if event["branch"] == name]
            assert [event["node"] for event in own] == [name, f"{name}2"]
            assert [event["state"]["trail"] for event in own] == [[name], [name, f"{name}2"]]

    def test_no_branch_event_before_the_join(self) -> None:
        """SG-78: even if the branch is long finished."""
        ran = threading.Event()
        made = StateGraph(dict)
        for name, run in {
            "s": trail,
            "b": lambda: ran.set(),
            "m": lambda: ran.wait(10) and {},
            "j": None,
        }.items():
            made.add_node(name, run=run)
        made.set_entry_point("s")
        made.add_parallel_edge("s", "b", "j")
        made.add_edge("s", "m")
        made.add_edge("b", "j")
        made.set_finish_point("j")
        got = list(made.stream({}))
        assert places(got) == [("state", "s"), ("state", "m"), ("parallel_state", "b"), ("final", None)]

    def test_every_event_can_be_encoded(self, kind: str) -> None:
        """SG-102, last line."""
        for event in events(fan({"a": named, "b": boom, "c": named}), kind, {"x": 1}):
            assert dumps(event)

    def test_many_branches(self, kind: str) -> None:
        """SG-55 step 7: a hundred branches, more than there are workers."""
        made = fan({f"b{number}": named for number in range(100)})
        got = events(made, kind, {})[-1]["state"]["parallel_results"]
        assert sorted(of(got)) == sorted(f"b{number}" for number in range(100))

    def test_branch_of_many_nodes_with_a_loop(self, kind: str) -> None:
        """SG-79, parallel/PAR-33: conditions work inside branches."""
        made = fan({"a": lambda state: {"n": state["n"] + 1}})
        made.graph.remove_edge("a", "j")
        made.add_conditional_edges("a", lambda state: state["n"] < 50, {True: "a", False: "j"})
        got = events(made, kind, {"n": 0})
        assert got[-1]["state"]["n"] == 0 and of(got[-1]["state"]["parallel_results"], "n") == [50]


class TestLaunch:
    """SG-74, SG-49."""

    def test_state_is_deep_copied_and_config_shallow(self, kind: str) -> None:
        """SG-49, SG-74: branches do not see each other's nor change the main state."""
        configs: list[Any] = []

        def run(state: dict[str, Any], config: dict[str, Any], node: str) -> None:
            state["deep"].append(node)
            config[node] = 1
            config["shared"].append(node)
            configs.append(config)

        config: dict[str, Any] = {"shared": []}
        got = events(fan({"a": run, "b": run}), kind, {"deep": []}, config=config)[-1]["state"]
        assert got["deep"] == [] and sorted(of(got["parallel_results"], "deep")) == [["a"], ["b"]]
        assert sorted(config["shared"]) == ["a", "b"] and list(config) == ["shared"]
        assert configs[0] is not configs[1] and all(len(own) == 2 for own in configs)

    def test_identity_inside_a_branch_state(self, kind: str) -> None:
        """SG-74: one deep copy, so objects that were one stay one, and cycles work."""
        shared: list[Any] = []
        shared.append(shared)
        made = fan({"a": lambda state: {"same": state["p"] is state["q"] and state["p"][0] is state["p"]}})
        got = events(made, kind, {"p": shared, "q": shared})[-1]["state"]["parallel_results"]
        assert of(got, "same") == [True]

    def test_record_before_a_failing_copy(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """SG-74: after the `Launching` line of the first branch."""
        made = fan({"a": named, "b": named}, log_level=10)
        with pytest.raises(TypeError, match="cannot pickle"):
            events(made, kind, {"lock": threading.Lock()})
        word = "stream flow" if kind == "stream" else "flow"
        assert caplog.messages[-2:] == [
            "Starting 2 parallel flow(s) from node 's'",
            f"Launching parallel {word} to node 'a' (fan-in: 'j')",
        ]

    def test_workers_limit(self, kind: str) -> None:
        """SG-93, parallel/PAR-30: with one worker, branches run one after the other in launch order."""
        order: list[str] = []

        def run(node: str) -> None:
            order.append(f"+{node}")
            threading.Event().wait(0.01)
            order.append(f"-{node}")

        for options, config in (({"max_workers": 1}, {}), ({"max_workers": 5}, {"max_workers": 1})):
            order.clear()
            events(fan(dict.fromkeys("abc", run), **options), kind, {}, config=config)
            assert order == ["+a", "-a", "+b", "-b", "+c", "-c"]

    def test_branches_run_at_the_same_time(self, kind: str) -> None:
        """SG-95: a barrier that only opens when all three are there."""
        barrier = threading.Barrier(3, timeout=10)
        made = fan(dict.fromkeys("abc", lambda: barrier.wait() and None))
        got = events(made, kind, {}, config={"max_workers": None})
        assert len(got[-1]["state"]["parallel_results"]) == 3

    def test_thread_names(self, kind: str) -> None:
        """SG-106: a non-empty name, and never the main thread."""
        made = fan({"a": lambda: {"at": threading.current_thread().name, "id": threading.get_ident()}})
        got = events(made, kind, {})[-1]["state"]["parallel_results"][0]
        assert isinstance(got["at"], str) and got["at"]
        assert got["id"] != threading.main_thread().ident

    def test_no_threads_left(self, kind: str) -> None:
        """SG-96: the pool is closed at the end of the run."""
        before = threading.active_count()
        for branches in ({"a": named, "b": named}, {"a": named, "b": boom}):
            events(fan(branches), kind, {})
        assert threading.active_count() == before

    def test_context_variables(self, kind: str) -> None:
        """parallel/PAR-42: the caller's values are visible in branches, theirs not outside."""
        variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
        variable.set("caller")

        def run() -> dict[str, Any]:
            seen = variable.get()
            variable.set("branch")
            return {"seen": seen}

        got = events(fan({"a": run, "b": run}), kind, {})[-1]["state"]["parallel_results"]
        assert of(got, "seen") == ["caller"] * 2 and variable.get() == "caller"

    def test_graph_inside_a_branch(self, kind: str) -> None:
        """SG-104: any depth, its own pool even with one worker (parallel/PAR-30)."""
        inner = fan({"x": named, "y": named}, max_workers=1)
        run = lambda: {"inner": len(list(inner.invoke({}))[-1]["state"]["parallel_results"])}  # noqa: E731
        got = events(fan({"a": run, "b": run}, max_workers=1), kind, {})[-1]["state"]["parallel_results"]
        assert of(got, "inner") == [2, 2]

    def test_parallel_edges_from_start(self, kind: str) -> None:
        """SG-11: START may fan out."""
        made = StateGraph(dict)
        for name in "ab":
            made.add_node(name, run=named)
        made.add_node("j", run=lambda parallel_results: {"n": len(parallel_results)})
        for name in "ab":
            made.add_parallel_edge("__start__", name, "j", ParallelConfig())
            made.add_edge(name, "j")
        made.set_finish_point("j")
        assert events(made, kind, {})[-1]["state"]["n"] == 2


class TestMainFlow:
    """SG-75, Q8: what the main flow does meanwhile."""

    def overtaking(self, branch: Callable[..., Any]) -> StateGraph:
        """`s` has a parallel edge to `b` (fan-in `j`) and a normal one to `m`."""
        made = StateGraph(dict)
        for name, run in {"s": None, "b": branch, "m": trail}.items():
            made.add_node(name, run=run)
        made.add_node("j", run=lambda state: {"joined": len(state.get("parallel_results", []))})
        made.set_entry_point("s")
        made.add_parallel_edge("s", "b", "j")
        made.add_edge("s", "m")
        made.add_edge("b", "j")
        made.set_finish_point("j")
        return made

    def test_joins_where_it_has_no_normal_edge(self, kind: str) -> None:
        """SG-75: the main flow goes on over its normal edge and joins at its end."""
        got = events(self.overtaking(named), kind, {})[-1]["state"]
        assert (got["trail"], got["joined"]) == (["m"], 1)

    def test_fan_in_reached_over_a_normal_edge(self, kind: str) -> None:
        """SG-75: runs as an ordinary node without results."""
        made = self.overtaking(named)
        made.add_edge("m", "j")
        got = events(made, kind, {})[-1]["state"]
        assert got["joined"] == 0 and "parallel_results" not in got

    def test_end_with_pending_branches(self, kind: str) -> None:
        """SG-57, SG-75, SG-96: waited for, results dropped."""
        ended: list[int] = []
        made = self.overtaking(lambda: threading.Event().wait(0.1) or ended.append(1))
        made.add_edge("m", END)
        got = events(made, kind, {})
        assert got[-1]["type"] == "final" and got[-1]["state"] == {"trail": ["m"]} and ended == [1]

    def test_executor_is_closed_before_the_finish_lines(self, kind: str) -> None:
        """SG-57: pending branches are waited for, then come the finish lines, then the event."""
        order: list[str] = []

        class Note(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if "xecution completed" in record.getMessage():
                    order.append("line")

        made = self.overtaking(lambda: threading.Event().wait(0.1) or order.append("branch"))
        made.add_edge("m", END)
        handler = Note()
        logger = logging.getLogger(LOGGER)
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        try:
            for event in getattr(made, kind)({}):
                order.append(event["type"])
        finally:
            logger.removeHandler(handler)
        assert [entry for entry in order if entry != "state"] == ["branch", "line", "final"]

    def test_error_with_pending_branches(self, kind: str) -> None:
        """SG-96: the generator ends after the branches."""
        ended: list[int] = []
        made = self.overtaking(lambda: threading.Event().wait(0.1) or ended.append(1))
        made.node("m")["run"] = boom
        assert types(events(made, kind, {}))[-1] == "error" and ended == [1]
        made.raise_exceptions = True
        with pytest.raises(RuntimeError):
            events(made, kind, {})
        assert ended == [1, 1]

    def test_same_branch_launched_twice(self, kind: str) -> None:
        """parallel/Q8: one result per launch."""
        made = StateGraph(dict)
        made.add_node("s", run=lambda state: {"n": state["n"] + 1})
        for name in ("b", "m"):
            made.add_node(name, run=lambda: {})
        made.add_node("j")
        made.set_entry_point("s")
        made.add_parallel_edge("s", "b", "j")
        made.add_conditional_edges("s", lambda state: state["n"] < 3, {True: "s", False: "m"})
        made.add_edge("b", "j")
        made.set_finish_point("j")
        got = events(made, kind, {"n": 0})[-1]["state"]["parallel_results"]
        assert sorted(of(got, "n")) == [1, 2, 3]

    def test_two_fan_ins_pending(self, kind: str) -> None:
        """SG-56, parallel/Q5: the one registered first is joined first; the other's results are kept."""
        fast = threading.Event()
        made = StateGraph(dict)
        made.add_node("s")
        made.add_node("x", run=lambda: fast.wait(10) and {"by": "x"})
        made.add_node("y", run=lambda: fast.set() or {"by": "y"})
        for name in ("X", "Y"):
            made.add_node(
                name, run=lambda node, parallel_results: {node: [r["by"] for r in parallel_results]}
            )
        made.add_node("m")
        made.set_entry_point("s")
        made.add_parallel_edge("s", "x", "X")
        made.add_parallel_edge("s", "y", "Y")
        made.add_edge("x", "X")
        made.add_edge("y", "Y")
        made.add_edge("X", "m")
        made.set_finish_point("Y")
        got = events(made, kind, {})[-1]["state"]
        assert (got["X"], got["Y"]) == (["x"], ["y"])

    def test_fan_in_that_fans_out(self, kind: str) -> None:
        """parallel/Q4, SG-111: parallel edges of a fan-in node are all launched."""
        made = fan({"a": named, "b": named})
        made.graph.remove_edge("j", END)
        made.add_node("k", run=lambda parallel_results: {"second": sorted(r["by"] for r in parallel_results)})
        for name in "cd":
            made.add_node(name, run=named)
            made.add_parallel_edge("j", name, "k")
            made.add_edge(name, "k")
        made.set_finish_point("k")
        assert events(made, kind, {})[-1]["state"]["second"] == ["c", "d"]


class TestEndAsFanIn:
    """Q17, SG-54."""

    def made(self) -> StateGraph:
        graph = StateGraph(dict)
        graph.add_node("s")
        graph.set_entry_point("s")
        for name in "ab":
            graph.add_node(name, run=named)
            graph.add_parallel_edge("s", name, END)
            graph.add_edge(name, END)
        return graph

    def test_run_ends_with_results(self, kind: str) -> None:
        """Q17: `final` after the join."""
        got = events(self.made(), kind, {})
        assert types(got)[-1] == "final"
        assert sorted(of(got[-1]["state"]["parallel_results"])) == ["a", "b"]

    def test_no_function_and_no_interrupt_of_end(self, kind: str) -> None:
        """Q17."""
        made = self.made()
        made.node(END)["run"] = trail
        made.interrupt_before, made.interrupt_after = [END], [END]
        got = events(made, kind, {})
        assert got[-1]["type"] == "final" and "trail" not in got[-1]["state"]

    def test_failing_branch(self) -> None:
        """Q17 does not change what a failed branch does."""
        made = self.made()
        made.node("b")["run"] = boom
        assert types(list(made.invoke({}))) == ["error"]
        got = list(made.stream({}))
        assert got[-1]["type"] == "final" and of(got[-1]["state"]["parallel_results"]) == ["a"]


class TestFailingBranch:
    """SG-77, SG-80, Q4."""

    def test_invoke(self) -> None:
        """SG-77: first failed result in launch order; node = branch; the fan-in does not run."""
        ran: list[int] = []
        branches = {"a": named, "b": boom, "c": lambda: 1 / 0}
        got = list(fan(branches, join=lambda: ran.append(1)).invoke({"x": 1}))
        assert got == [{"type": "error", "node": "b", "error": "boom", "state": {"x": 1}}] and ran == []

    def test_invoke_raised(self) -> None:
        """SG-77, parallel/Q19: the doubled text, no cause."""
        with pytest.raises(RuntimeError) as caught:
            list(fan({"a": named, "b": boom}, raise_exceptions=True).invoke({}))
        assert str(caught.value) == "Error in node 'b': Error in node 'b': boom"
        assert caught.value.__cause__ is None

    def test_state_of_the_event_is_the_branchs(self) -> None:
        """SG-77: as far as the branch came."""

        def half(state: dict[str, Any]) -> None:
            state["half"] = 1
            boom()

        assert list(fan({"a": half}).invoke({"x": 1}))[-1]["state"] == {"x": 1, "half": 1}

    def test_node_is_the_branch_not_the_failing_node(self) -> None:
        """SG-77: error deeper in the branch."""
        made = fan({"a": named})
        made.graph.remove_edge("a", "j")
        made.add_node("deep", run=boom)
        made.add_edge("a", "deep")
        made.add_edge("deep", "j")
        got = list(made.invoke({}))
        assert (got[0]["node"], got[0]["error"]) == ("a", "boom")

    @pytest.mark.parametrize("raise_exceptions", [False, True])
    def test_stream(self, raise_exceptions: bool) -> None:
        """Q4, SG-63: one `parallel_error`, the fan-in runs with the good results, nothing is raised."""
        made = fan({"a": named, "b": boom}, join=lambda: {"joined": 1}, raise_exceptions=raise_exceptions)
        got = list(made.stream({"x": 1}))
        assert sorted(types(got)[:2]) == ["parallel_error", "parallel_state"]
        assert types(got)[2:] == ["state", "final"]
        error = next(event for event in got if event["type"] == "parallel_error")
        expected = {"type": "parallel_error", "branch": "b", "node": "b", "error": "boom", "state": {"x": 1}}
        assert error == expected
        assert of(got[-1]["state"]["parallel_results"]) == ["a"] and got[-1]["state"]["joined"] == 1

    def test_all_failed_in_stream(self) -> None:
        """SG-63: the fan-in runs with an empty list."""
        got = list(fan({"a": boom, "b": boom}, join=lambda: {"joined": 1}).stream({}))
        assert types(got) == ["parallel_error", "parallel_error", "state", "final"]
        assert got[-1]["state"] == {"parallel_results": [], "joined": 1}

    def test_condition_in_a_branch(self) -> None:
        """SG-47: there it becomes a branch error."""
        made = fan({"a": named})
        made.graph.remove_edge("a", "j")
        made.add_conditional_edges("a", boom, {1: "j"})
        got = list(made.invoke({}))
        assert [(event["type"], event["node"], event["error"]) for event in got] == [("error", "a", "boom")]
        assert types(list(made.stream({}))) == ["parallel_state", "parallel_error", "final"]

    def test_no_path_to_the_fan_in(self, caplog: pytest.LogCaptureFixture) -> None:
        """SG-80: a dead end inside the branch; launch and join lines appear."""
        made = fan({"a": named}, log_level=20)
        made.graph.remove_edge("a", "j")
        got = list(made.invoke({}))
        text = "No valid next node found from node 'a' in parallel flow"
        assert [(event["type"], event["node"], event["error"]) for event in got] == [("error", "a", text)]
        for line in (
            "Starting 1 parallel flow(s) from node 's'",
            "Joining 1 parallel flow(s) at fan-in node 'j'",
        ):
            assert (LOGGER, 20, line) in caplog.record_tuples
        got = list(made.stream({}))
        assert got[1]["error"] == "No valid next node from 'a'" and got[-1]["type"] == "final"

    def test_interrupts_inside_branches_are_ignored(self, kind: str) -> None:
        """SG-79."""
        made = fan({"a": named})
        made.interrupt_before, made.interrupt_after = ["a"], ["a"]
        assert types(events(made, kind, {}))[-1] == "final"

    def test_branch_that_reaches_end(self, kind: str) -> None:
        """SG-79, parallel/PAR-33: counts as joined."""
        made = fan({"a": named})
        made.graph.remove_edge("a", "j")
        made.add_edge("a", END)
        assert of(events(made, kind, {})[-1]["state"]["parallel_results"]) == ["a"]

    def test_branch_whose_first_node_is_the_fan_in(self, kind: str) -> None:
        """parallel/PAR-33: succeeds at once."""
        made = chain("s", "j", run=None)
        made.graph.remove_edge("s", "j")
        made.add_parallel_edge("s", "j", "j")
        assert len(events(made, kind, {})[-1]["state"]["parallel_results"]) == 1

    def test_registry_of_circuits(self) -> None:
        """SG-88: nothing is there without a breaker."""
        made = fan({"a": named})
        list(made.invoke({}))
        assert made.get_circuit_states() == {}
        assert made.reset_all_circuits() is None
