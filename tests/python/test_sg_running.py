"""invoke and stream as generators: arguments, laziness, threads, re-entrancy."""

from __future__ import annotations

import collections
import sys
import threading
import time
import types as python_types
from typing import Any

import pytest
from support import KINDS, LOGGER, chain, events, fan, final, places, single, trail, types

from the_edge_agent import END, START, MemoryCheckpointer, ParallelConfig, StateGraph


class TestGenerators:
    """SG-28."""

    def test_types(self, kind: str) -> None:
        """SG-28: real generators; resume too."""
        made = chain("a")
        assert type(getattr(made, kind)({})) is python_types.GeneratorType
        assert type(made.resume_from_checkpoint("none")) is python_types.GeneratorType

    def test_nothing_happens_before_the_first_next(self, kind: str) -> None:
        """SG-28: no node runs and no argument error is raised."""
        ran: list[int] = []
        made = single(lambda: ran.append(1))
        runs = [getattr(made, kind)({}), getattr(made, kind)(), getattr(made, kind)(5)]
        runs.append(made.resume_from_checkpoint("none"))
        assert ran == []
        assert next(runs[0])["type"] in ("state", "final") and ran == [1]
        for run, error in zip(runs[1:], (ValueError, AttributeError, FileNotFoundError), strict=True):
            with pytest.raises(error):
                next(run)

    def test_work_only_while_the_consumer_asks(self) -> None:
        """SG-28: one node per event."""
        ran: list[str] = []
        made = chain("a", "b", "c", run=lambda node: ran.append(node))
        run = made.stream({})
        for expected in (["a"], ["a", "b"], ["a", "b", "c"]):
            next(run)
            assert ran == expected

    def test_close_stops(self) -> None:
        """SG-28: no further node; exhausted afterwards."""
        ran: list[str] = []
        run = chain("a", "b", "c", run=lambda node: ran.append(node)).stream({})
        next(run)
        run.close()
        assert ran == ["a"] and list(run) == []
        run.close()

    def test_dropped_half_way(self) -> None:
        """SG-28: a generator that is garbage ends like a closed one, and the graph stays usable."""
        made = chain("a", "b", "c")
        for _ in range(50):
            next(made.stream({}))
        assert final(made, {}) == {"trail": ["a", "b", "c"]}

    def test_close_before_the_first_next(self, kind: str) -> None:
        """SG-28."""
        ran: list[int] = []
        run = getattr(single(lambda: ran.append(1)), kind)({})
        run.close()
        assert list(run) == [] and ran == []

    def test_close_waits_for_branches(self) -> None:
        """SG-28, SG-96: pending branches have ended when `close` returns."""
        ended: list[str] = []
        slow = threading.Event()

        def branch(node: str) -> None:
            slow.wait(10 if node == "never" else 0.15)
            ended.append(node)

        made = fan({"a": branch}, start=trail)
        made.add_node("w", run=trail)
        made.add_edge("s", "w")
        made.add_edge("w", END)
        run = made.stream({})
        assert places([next(run), next(run)]) == [("state", "s"), ("state", "w")]
        run.close()
        assert ended == ["a"]

    def test_generator_is_exhausted_after_the_last_event(self, kind: str) -> None:
        """SG-64 for a good run."""
        run = getattr(chain("a"), kind)({})
        list(run)
        assert list(run) == []

    def test_exception_thrown_in_comes_out_unchanged(self) -> None:
        """Q11: it is no error of the node whose event was just yielded."""
        thrown = KeyError("mine")
        run = chain("a", "b").stream({})
        next(run)
        with pytest.raises(KeyError) as caught:
            run.throw(thrown)
        assert caught.value is thrown
        assert list(run) == []

    @pytest.mark.parametrize("raise_exceptions", [False, True])
    def test_exception_thrown_in_at_other_yields(self, raise_exceptions: bool) -> None:
        """Q11: at an interrupt and at the final event."""
        for made in (chain("a"), chain("a").compile(["a"], checkpointer=MemoryCheckpointer())):
            made.raise_exceptions = raise_exceptions
            run = made.invoke({})
            next(run)
            with pytest.raises(ZeroDivisionError):
                run.throw(ZeroDivisionError())

    def test_exception_thrown_in_at_a_branch_event(self) -> None:
        """Q11, SG-96: branches are waited for, the exception comes out."""
        run = fan({"a": trail, "b": trail}).stream({})
        assert next(run)["type"] == "parallel_state"
        with pytest.raises(ZeroDivisionError):
            run.throw(ZeroDivisionError())
        assert list(run) == []


class TestArguments:
    """SG-29, SG-30, SG-33."""

    def test_nothing_given(self, kind: str) -> None:
        """SG-29: exact text; a config alone does not help."""
        text = (
            "checkpoint parameter required when input_state is None. "
            f"Use {kind}(None, checkpoint='...') to resume from an interrupt."
        )
        for arguments in ({}, {"config": {}}, {"input_state": None}):
            with pytest.raises(ValueError) as caught:
                list(getattr(chain("a"), kind)(**arguments))
            assert str(caught.value) == text

    def test_positional_order(self, kind: str) -> None:
        """Section 5: input_state, config, checkpoint."""
        made = single(lambda config: {"seen": dict(config)})
        assert events(made, kind, {"x": 1})[-1]["state"]["seen"] == {}
        assert list(getattr(made, kind)({}, {"k": 1}))[-1]["state"]["seen"] == {"k": 1}
        with pytest.raises(FileNotFoundError):
            list(getattr(made, kind)({}, {}, "missing"))

    @pytest.mark.parametrize("state", [None, {}, {"x": 1}])
    def test_any_checkpoint_value_means_resume(self, kind: str, state: Any) -> None:
        """SG-29: also the empty text, also with an empty or a full input."""
        made = chain("a").compile(checkpointer=MemoryCheckpointer())
        with pytest.raises(KeyError, match="Checkpoint not found: "):
            events(made, kind, state, checkpoint="")

    def test_empty_input_is_a_fresh_run(self, kind: str) -> None:
        """SG-29."""
        assert events(chain("a"), kind, {})[-1]["state"] == {"trail": ["a"]}

    @pytest.mark.parametrize("state", [5, "text", object()])
    def test_input_without_copy(self, kind: str, state: Any) -> None:
        """SG-30: AttributeError out of the generator."""
        with pytest.raises(AttributeError, match="copy"):
            events(chain("a"), kind, state)

    def test_dict_subclass_keeps_its_type(self, kind: str) -> None:
        """SG-30: in all events."""
        got = events(chain("a", "b"), kind, collections.OrderedDict(x=1))
        assert {type(event["state"]) for event in got} == {collections.OrderedDict}
        got = events(chain("a"), kind, collections.defaultdict(list, x=1))
        assert type(got[-1]["state"]) is collections.defaultdict and got[-1]["state"]["new"] == []

    def test_caller_dicts_are_not_changed(self, kind: str) -> None:
        """SG-30, SG-49: copies at the start."""
        state, config = {"x": 1}, {"k": 1}

        def run(state: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
            state["direct"] = config["direct"] = 1
            return {"x": 2}

        events(single(run), kind, state, config=config)
        assert (state, config) == ({"x": 1}, {"k": 1})

    def test_config_none_is_empty(self, kind: str) -> None:
        """SG-30."""
        made = single(lambda config: {"seen": config})
        assert events(made, kind, {}, config=None)[-1]["state"]["seen"] == {}

    @pytest.mark.parametrize("config", [5, "text"])
    def test_config_without_copy(self, kind: str, config: Any) -> None:
        """SG-30."""
        with pytest.raises(AttributeError, match="copy"):
            events(chain("a"), kind, {}, config=config)

    def test_config_keys_are_free(self, kind: str) -> None:
        """SG-33: no key but `max_workers` has a meaning to the runtime."""
        config = {"recursion_limit": 1, "timeout": 0, "checkpoint": "x", "raise_exceptions": True, 5: 5}
        config |= {"interrupt_before": ["a"], "strategy": "nope", "configurable": {"thread_id": 1}}
        made = chain("a", "b")
        got = events(made, kind, {}, config=config)
        assert got[-1]["type"] == "final" and got[-1]["state"] == {"trail": ["a", "b"]}


class TestLoop:
    """SG-52 to SG-58."""

    def test_start_and_end(self, kind: str) -> None:
        """SG-53, SG-54: START has edges and no event; a function of END never runs."""
        made = chain("a")
        made.node(END)["run"] = lambda: {"end": 1}
        assert places(events(made, kind, {})) == [("state", "a")] * (kind == "stream") + [("final", None)]

    def test_function_on_start(self, kind: str) -> None:
        """SG-53: START is processed like any node."""
        made = chain("a")
        made.node(START)["run"] = trail
        got = events(made, kind, {})
        assert got[-1]["state"] == {"trail": [START, "a"]}
        if kind == "stream":
            assert got[0] == {"type": "state", "node": START, "state": {"trail": [START]}}

    def test_start_to_end(self, kind: str) -> None:
        """SG-53, SG-54: a graph without nodes of its own."""
        made = StateGraph(dict)
        made.add_edge(START, END)
        got = events(made, kind, {"x": 1})
        assert types(got) == ["final"] and got[0]["state"] == {"x": 1}

    def test_no_edges_at_all(self, kind: str) -> None:
        """SG-55 step 10."""
        text = f"No valid next node found from node '{START}'"
        got = events(StateGraph(dict), kind, {"x": 1})
        assert got == [{"type": "error", "node": START, "error": text, "state": {"x": 1}}]

    def test_edges_out_of_end_are_not_followed(self, kind: str) -> None:
        """SG-54: reaching END ends the loop at once."""
        made = chain("a")
        made.add_edge(END, "a")
        assert events(made, kind, {})[-1]["state"] == {"trail": ["a"]}

    def test_loop_back_to_start(self, kind: str) -> None:
        """SG-11, SG-53: START may be a target."""
        made = StateGraph(dict)
        made.add_node("n", run=lambda state: {"n": state["n"] + 1})
        made.set_entry_point("n")
        made.add_conditional_edges("n", lambda state: state["n"] < 3, {True: START, False: END})
        assert events(made, kind, {"n": 0})[-1]["state"] == {"n": 3}

    def test_one_event_from_invoke(self) -> None:
        """SG-58."""
        assert len(list(chain("a", "b", "c").invoke({}))) == 1
        assert len(list(chain("a", "b", run=lambda: 1 / 0).invoke({}))) == 1
        made = chain("a", "b").compile(["b"], checkpointer=MemoryCheckpointer())
        assert len(list(made.invoke({}))) == 1

    def test_long_chain_and_long_loop(self, kind: str) -> None:
        """SG-32: neither is limited, by recursion depth or otherwise."""
        names = [f"x{number}" for number in range(3000)]
        made = chain(*names, run=lambda state: {"n": state["n"] + 1})
        got = events(made, kind, {"n": 0})
        assert got[-1]["state"] == {"n": 3000}
        assert len(got) == (1 if kind == "invoke" else 3001)

    def test_attributes_are_read_at_every_step(self) -> None:
        """SG-8: a running stream sees interrupts, error policy and store that came later."""
        made = chain("a", "b", "c")
        run = made.stream({})
        next(run)
        made.checkpointer = MemoryCheckpointer()
        made.interrupt_before.append("c")
        assert next(run)["node"] == "b"
        last = next(run)
        assert (last["type"], last["node"]) == ("interrupt_before", "c")
        assert last["checkpoint_path"] in made.checkpointer and list(run) == []

    def test_interrupt_list_replaced_while_running(self) -> None:
        """SG-8: also a new list object, also by a node function."""
        made = chain("a", "b", "c")

        def arm(graph: StateGraph) -> None:
            graph.interrupt_after = ["b"]

        made.node("a")["run"] = arm
        assert places(list(made.stream({})))[-1] == ("interrupt_after", "b")

    @pytest.mark.parametrize("error", [LookupError("l"), KeyboardInterrupt("k")])
    @pytest.mark.parametrize("which", ["interrupt_before", "interrupt_after"])
    def test_interrupt_list_that_fails(self, kind: str, which: str, error: BaseException) -> None:
        """SG-8, D6: the lists are the caller's objects; what they raise comes out as the very object."""

        class Hostile(list):  # type: ignore[type-arg]
            def __contains__(self, node: object) -> bool:
                if node == "b":
                    raise error
                return False

        made = chain("a", "b")
        setattr(made, which, Hostile(["b"]))
        run = getattr(made, kind)({})
        with pytest.raises(type(error)) as caught:
            list(run)
        assert caught.value is error and list(run) == []

    def test_raise_exceptions_is_read_when_it_matters(self) -> None:
        """SG-8."""
        made = chain("a", "b")
        made.node("b")["run"] = lambda: 1 / 0
        run = made.stream({})
        next(run)
        made.raise_exceptions = True
        with pytest.raises(RuntimeError, match="Error in node 'b': division by zero"):
            next(run)

    def test_log_state_values_is_read_at_every_step(self, caplog: pytest.LogCaptureFixture) -> None:
        """SG-8."""
        made = chain("a", "b", log_level=10)
        caplog.set_level(10, LOGGER)
        run = made.stream({})
        next(run)
        made.log_state_values = True
        list(run)
        assert not [m for m in caplog.messages if m.startswith("Node 'a' input")]
        assert [m for m in caplog.messages if m.startswith("Node 'b' input")]


class TestExecutor:
    """SG-93 to SG-95: what opens with each run."""

    def test_unknown_strategy(self, kind: str) -> None:
        """SG-93: also for a sequential graph; exact text."""
        made = chain("a", parallel_config=ParallelConfig(strategy="nope"))
        with pytest.raises(ValueError) as caught:
            events(made, kind, {})
        expected = "Unknown parallel strategy: 'nope'. Valid strategies are: process, remote, thread"
        assert str(caught.value) == expected

    @pytest.mark.parametrize("value", [0, -1])
    def test_bad_max_workers(self, kind: str, value: int) -> None:
        """SG-93: from the graph and from the run's config."""
        for made, config in ((chain("a", max_workers=value), {}), (chain("a"), {"max_workers": value})):
            with pytest.raises(ValueError, match=r"^max_workers must be greater than 0$"):
                events(made, kind, {}, config=config)

    def test_config_beats_graph(self, kind: str) -> None:
        """SG-93, SG-94: None in the config is taken as given and does not fall back."""
        made = chain("a", max_workers=0)
        for value in (2, None):
            assert events(made, kind, {}, config={"max_workers": value})[-1]["type"] == "final"

    def test_configs_own_max_workers_is_not_consulted(self, kind: str) -> None:
        """SG-94: `parallel_config.max_workers` does nothing."""
        made = chain("a", parallel_config=ParallelConfig(max_workers=0))
        assert events(made, kind, {})[-1]["type"] == "final"

    def test_strategy_is_read_at_run_start(self) -> None:
        """SG-8: later changes do not matter to a running run."""
        made = chain("a", "b")
        run = made.stream({})
        next(run)
        made.parallel_config = ParallelConfig(strategy="nope")
        made.max_workers = 0
        assert types(list(run)) == ["state", "final"]


class TestThreads:
    """SG-31, SG-95, SG-103 to SG-105."""

    @pytest.mark.parametrize("kind_", KINDS)
    def test_callers_thread_and_no_new_ones(self, kind_: str) -> None:
        """SG-31, SG-95: nodes and conditions run where `next` is called."""
        found: list[Any] = []
        before = threading.active_count()
        made = StateGraph(dict)
        made.add_node("n", run=lambda: found.append(threading.current_thread()))
        made.set_entry_point("n")
        made.add_conditional_edges("n", lambda: found.append(threading.current_thread()), {None: END})
        events(made, kind_, {})
        assert found == [threading.current_thread()] * 2
        assert threading.active_count() == before

    def test_no_thread_left_by_a_failing_run(self, kind: str) -> None:
        """SG-31, section 22."""
        before = threading.active_count()
        events(single(lambda: 1 / 0), kind, {})
        assert threading.active_count() == before

    def test_generator_moved_between_threads(self) -> None:
        """SG-31: the run goes on in whatever thread asks next."""
        found: list[str] = []
        run = chain("a", "b", "c", run=lambda: found.append(threading.current_thread().name)).stream({})
        for name in ("one", "two", "three"):
            thread = threading.Thread(target=lambda: next(run), name=name)
            thread.start()
            thread.join()
        assert found == ["one", "two", "three"]
        assert next(run)["type"] == "final"

    def test_runs_do_not_leak_into_each_other(self, kind: str) -> None:
        """SG-105."""
        made = single(lambda state: {"n": state.get("n", 0) + 1})
        assert events(made, kind, {}) == events(made, kind, {})

    def test_concurrent_runs_of_one_graph(self, kind: str) -> None:
        """SG-103: each thread has its own run."""
        made = chain("a", "b", "c", run=lambda state: time.sleep(0.001) or {"n": state["n"] * 2})
        results: dict[int, Any] = {}

        def work(number: int) -> None:
            results[number] = [events(made, kind, {"n": number})[-1]["state"]["n"] for _ in range(5)]

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == {number: [number * 8] * 5 for number in range(8)}

    def test_first_runs_at_the_same_time(self, kind: str) -> None:
        """SG-103: several threads start the very first run of a graph, and the first after a change, at once.

        Threads are switched as often as possible, so that a half-made preparation would be seen."""
        bad: list[BaseException] = []

        def work(made: StateGraph, gate: threading.Barrier) -> None:
            try:
                gate.wait(10)
                assert events(made, kind, {"n": 1})[-1]["state"] == {"n": 8}
            except BaseException as error:
                bad.append(error)

        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for _ in range(40):
                made = chain("a", "b", "c", run=lambda state: {"n": state["n"] * 2})
                for name in ("", "late"):
                    if name:
                        made.add_node(name, run=lambda: {"never": 1})
                    gate = threading.Barrier(6)
                    threads = [threading.Thread(target=work, args=(made, gate)) for _ in range(6)]
                    for thread in threads:
                        thread.start()
                    for thread in threads:
                        thread.join()
        finally:
            sys.setswitchinterval(before)
        assert bad == []

    def test_interleaved_generators(self) -> None:
        """SG-103."""
        made = chain("a", "b", run=lambda state: {"n": state["n"] + 1})
        runs = [made.stream({"n": number * 100}) for number in range(5)]
        rows = list(zip(*runs, strict=True))
        assert [[event["state"]["n"] for event in row] for row in rows] == [
            [number * 100 + step for number in range(5)] for step in (1, 2, 2)
        ]

    def test_same_graph_inside_a_node_fifty_deep(self, kind: str) -> None:
        """SG-104: the node runs its own graph."""

        def deeper(state: dict[str, Any], graph: StateGraph) -> dict[str, Any]:
            if state["n"] == 50:
                return {"depth": 50}
            inner = list(getattr(graph, kind)({"n": state["n"] + 1}))[-1]["state"]
            return {"depth": inner["depth"]}

        assert events(single(deeper), kind, {"n": 0})[-1]["state"] == {"n": 0, "depth": 50}

    def test_fifty_graphs_inside_each_other(self, kind: str) -> None:
        """SG-104: each graph is the function of a node of the next; an error comes out through all."""
        innermost = single(lambda: {"v": 1})
        made, bad = innermost, single(lambda: 1 / 0, raise_exceptions=True)
        for _ in range(50):
            made = single(lambda inner=made: {"v": events(inner, kind, {})[-1]["state"]["v"] + 1})
            bad = single(lambda inner=bad: events(inner, kind, {}), raise_exceptions=True)
        assert events(made, kind, {})[-1]["state"] == {"v": 51}
        with pytest.raises(RuntimeError) as caught:
            events(bad, kind, {})
        assert str(caught.value) == "Error in node 'n': " * 51 + "division by zero"

    def test_other_graph_inside_a_condition(self) -> None:
        """SG-104: no lock is held across a condition."""
        inner = chain("i")
        made = single(trail)
        made.graph.remove_edge("n", END)
        made.add_conditional_edges("n", lambda: final(inner, {})["trail"][0], {"i": END})
        assert final(made, {}) == {"trail": ["n"]}

    def test_recursion_limit_is_pythons(self) -> None:
        """SG-104: endless nesting is a RecursionError of the innermost node, not a crash."""

        def deeper(graph: StateGraph) -> Any:
            return list(graph.invoke({}))

        got = list(single(deeper).invoke({}))
        assert [event["type"] for event in got] == ["final"]

    def test_generator_reentered_by_its_own_node(self) -> None:
        """SG-28, SG-104: asking a running generator for its next event is Python's ValueError, no crash."""
        box: list[Any] = []
        run = single(lambda: next(box[0])).stream({})
        box.append(run)
        got = list(run)
        assert [event["type"] for event in got] == ["error"]
        assert got[0]["error"] == "generator already executing"
