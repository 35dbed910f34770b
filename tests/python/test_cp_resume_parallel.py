"""Fan-outs, joins and failing branches in resumed runs: as in fresh ones."""

from __future__ import annotations

import contextvars
import threading
from pathlib import Path
from typing import Any

import pytest
from support import events, fan, places, trail, types

from the_edge_agent import MemoryCheckpointer, ParallelConfig, StateGraph


def named(node: str) -> dict[str, Any]:
    return {"by": node}


def boom() -> None:
    raise ValueError("boom")


def halted(
    branches: dict[str, Any], before: list[str], after: list[str], **options: Any
) -> tuple[StateGraph, str]:
    """Fan-out graph stopped by an interrupt at `s`: graph and id."""
    made = fan(branches, start=trail, **options).compile(before, after, checkpointer=MemoryCheckpointer())
    return made, list(made.invoke({"x": 1}))[-1]["checkpoint_path"]


BOTH_WAYS = pytest.mark.parametrize(("before", "after"), [(["s"], []), ([], ["s"])])


class TestFanOut:
    """CQ-2, CP-41, CP-58 first rows."""

    @BOTH_WAYS
    def test_all_branches_run(self, kind: str, before: list[str], after: list[str]) -> None:
        """CQ-2, CP-41: after an after-interrupt on the fan-out node too, the run goes on at step 5."""
        made, path = halted({"a": named, "b": named, "c": named}, before, after)
        got = events(made, kind, None, checkpoint=path)
        assert sorted(r["by"] for r in got[-1]["state"]["parallel_results"]) == ["a", "b", "c"]
        assert got[-1]["state"]["trail"] == ["s"] and "by" not in got[-1]["state"]

    @BOTH_WAYS
    def test_results_are_plain_dicts(self, kind: str, before: list[str], after: list[str]) -> None:
        """CP-36, CP-58: dicts in both methods; launch order in `invoke`."""
        done = threading.Event()
        branches = {
            "slow": lambda node: done.wait(10) and named(node),
            "fast": lambda node: done.set() or named(node),
        }
        made, path = halted(branches, before, after)
        results = events(made, kind, None, checkpoint=path)[-1]["state"]["parallel_results"]
        assert [type(result) for result in results] == [dict, dict]
        assert {result["by"] for result in results} == {"slow", "fast"}
        assert all(result["x"] == 1 and result["trail"] == ["s"] for result in results)
        if kind == "invoke":
            assert [result["by"] for result in results] == ["slow", "fast"]

    def test_update_reaches_the_branches(self, kind: str) -> None:
        """CP-25."""
        made, path = halted({"a": lambda state: {"seen": state["u"]}}, [], ["s"])
        got = events(made, kind, {"u": 5}, checkpoint=path)
        assert got[-1]["state"]["parallel_results"][0]["seen"] == 5

    def test_events_of_the_stream(self) -> None:
        """CP-58: `parallel_state` as fresh."""
        made, path = halted({"a": named, "b": named}, [], ["s"])
        got = list(made.stream(None, checkpoint=path))
        assert sorted(places(got)[:2]) == [("parallel_state", "a"), ("parallel_state", "b")]
        assert places(got)[2:] == [("final", None)]
        assert [list(event) for event in got[:2]] == [["type", "branch", "node", "state"]] * 2

    def test_normal_edge_beside_parallel_ones(self, kind: str) -> None:
        """CQ-2: step 5 splits the edges: the main flow takes the normal one, whatever the order is."""
        made = fan({"a": named}, start=trail)
        made.add_node("m", run=trail)
        made.add_edge("s", "m")
        made.compile([], ["s"], checkpointer=MemoryCheckpointer())
        path = events(made, kind, {})[-1]["checkpoint_path"]
        got = events(made, kind, None, checkpoint=path)[-1]["state"]
        assert got["trail"] == ["s", "m"] and [r["by"] for r in got["parallel_results"]] == ["a"]

    def test_missing_fan_in_after_a_skip(self, kind: str) -> None:
        """CQ-2, SG-55 step 6."""
        made, path = halted({"a": named}, [], ["s"])
        made.edge("s", "a")["fan_in_node"] = None
        got = events(made, kind, None, checkpoint=path)
        assert [(event["type"], event["node"]) for event in got] == [("error", "s")]
        assert got[0]["error"] == "Parallel edge from 's' to 'a' must have 'fan_in_node' specified"

    def test_list_in_the_stored_state(self, kind: str) -> None:
        """CP-58: a list that is already there stays as stored until a join replaces it."""
        made, path = halted({"a": lambda state: {"old": len(state["parallel_results"])}}, [], ["s"])
        got = events(made, kind, {"parallel_results": [1, 2, 3]}, checkpoint=path)[-1]["state"]
        assert [r["old"] for r in got["parallel_results"]] == [3]


class TestInterruptsAtTheJoin:
    """CQ-3, CP-38, CP-58."""

    @pytest.mark.parametrize("which", ["before", "after"])
    def test_stops_with_a_checkpoint(self, kind: str, which: str) -> None:
        """CQ-3: as in a fresh run, with `checkpoint_path`, and the run stops."""
        store = MemoryCheckpointer()
        made = fan({"a": named, "b": named}, join=lambda: {"joined": 1}, start=trail)
        lists: dict[str, list[str]] = {"before": ["s"], "after": []}
        lists[which] = [*lists[which], "j"]
        made.compile(lists["before"], lists["after"], checkpointer=store)
        path = events(made, kind, {})[-1]["checkpoint_path"]
        got = events(made, kind, None, checkpoint=path)
        last = got[-1]
        assert last["type"] == ("interrupt" if kind == "invoke" else f"interrupt_{which}")
        assert list(last) == ["type", "node", "state", "checkpoint_path"] and last["node"] == "j"
        assert last["checkpoint_path"] in store and len(store) == 2
        assert ("joined" in last["state"]) == (which == "after")
        end = events(made, kind, None, checkpoint=last["checkpoint_path"])
        assert end[-1]["type"] == "final" and end[-1]["state"]["joined"] == 1
        assert len(end[-1]["state"]["parallel_results"]) == 2

    def test_in_files(self, kind: str, tmp_path: Path) -> None:
        """CQ-3: the same through files."""
        made = fan({"a": named}, join=lambda parallel_results: {"n": len(parallel_results)}, start=trail)
        made.compile(["s", "j"], checkpoint_dir=str(tmp_path))
        first = events(made, kind, {})[-1]["checkpoint_path"]
        second = events(made, kind, None, checkpoint=first)[-1]["checkpoint_path"]
        assert events(made, kind, None, checkpoint=second)[-1]["state"]["n"] == 1


class TestFailures:
    """CP-37, CP-58."""

    def test_invoke(self) -> None:
        """CP-37: the fresh form: `node` = branch, as SG-77."""
        made, path = halted({"a": named, "b": named}, ["s"], [])
        made.graph.remove_edge("b", "j")
        made.add_node("deep", run=boom)
        made.add_edge("b", "deep")
        made.add_edge("deep", "j")
        got = list(made.invoke(None, checkpoint=path))
        assert [(event["type"], event["node"], event["error"]) for event in got] == [("error", "b", "boom")]
        made.raise_exceptions = True
        with pytest.raises(RuntimeError) as caught:
            list(made.invoke(None, checkpoint=path))
        assert str(caught.value) == "Error in node 'b': Error in node 'deep': boom"
        assert caught.value.__cause__ is None

    @pytest.mark.parametrize("place", ["node", "condition"])
    def test_state_of_the_event_is_the_branchs(self, place: str) -> None:
        """CP-58, SG-77: as far as the branch came, as in a fresh run."""

        def half(state: dict[str, Any]) -> None:
            state["half"] = 1
            boom()

        made, path = halted({"a": half if place == "node" else None}, ["s"], [])
        if place == "condition":
            made.edge("a", "j")["cond"] = half
        expected = {"x": 1, "trail": ["s"], "half": 1}
        for got in (list(made.invoke(None, checkpoint=path)), list(made.resume_from_checkpoint(path))):
            assert [(event["type"], event["node"], event["state"]) for event in got] == [
                ("error", "a", expected)
            ]

    @pytest.mark.parametrize("raise_exceptions", [False, True])
    def test_stream(self, raise_exceptions: bool) -> None:
        """CP-37, CP-58: `parallel_error` with `node` = branch; the run goes on."""
        made, path = halted({"a": named, "b": boom}, ["s"], [], raise_exceptions=raise_exceptions)
        got = list(made.stream(None, checkpoint=path))
        assert types(got)[0] == "state" and types(got)[-1] == "final"
        error = next(event for event in got if event["type"] == "parallel_error")
        assert (error["branch"], error["node"], error["error"]) == ("b", "b", "boom")
        assert [r["by"] for r in got[-1]["state"]["parallel_results"]] == ["a"]

    def test_dead_end_texts(self) -> None:
        """CP-58: those of fresh runs."""
        made, path = halted({"a": named}, ["s"], [])
        made.graph.remove_edge("a", "j")
        got = list(made.invoke(None, checkpoint=path))
        assert got[0]["error"] == "No valid next node found from node 'a' in parallel flow"
        got = [event for event in made.stream(None, checkpoint=path) if event["type"] == "parallel_error"]
        assert [event["error"] for event in got] == ["No valid next node from 'a'"]

    @pytest.mark.parametrize("raise_exceptions", [False, True])
    def test_node_that_is_gone(self, raise_exceptions: bool) -> None:
        """CP-58, SG-21, parallel/Q29: a failure of the branch; never a hang."""
        made, path = halted({"a": named}, ["s"], [], raise_exceptions=raise_exceptions)
        made.edge("a", "j")["cond_map"] = {True: "gone"}
        got = list(made.stream(None, checkpoint=path))
        assert types(got) == ["state", "parallel_state", "parallel_error", "final"]
        assert got[2]["error"] == "\"Node 'gone' not found in the graph\""
        if raise_exceptions:
            with pytest.raises(RuntimeError, match="Node 'gone' not found in the graph"):
                list(made.invoke(None, checkpoint=path))
        else:
            assert [(e["type"], e["node"]) for e in made.invoke(None, checkpoint=path)] == [("error", "a")]

    def test_state_that_cannot_be_copied(self, kind: str) -> None:
        """SG-74 for resumed runs."""
        made, path = halted({"a": named}, ["s"], [])
        with pytest.raises(TypeError, match="cannot pickle"):
            events(made, kind, {"lock": threading.Lock()}, checkpoint=path)


class TestExecutor:
    """CP-34, CP-58: as fresh, errors included."""

    def test_unknown_strategy(self, kind: str) -> None:
        """CP-58."""
        made, path = halted({"a": named}, ["s"], [])
        made.parallel_config = ParallelConfig(strategy="nope")
        with pytest.raises(ValueError, match=r"^Unknown parallel strategy: 'nope'"):
            events(made, kind, None, checkpoint=path)

    def test_max_workers(self, kind: str) -> None:
        """CP-34, CP-25: from the merged config, else the graph."""
        order: list[str] = []

        def run(node: str) -> None:
            order.append(f"+{node}")
            threading.Event().wait(0.01)
            order.append(f"-{node}")

        made, path = halted({"a": run, "b": run}, ["s"], [])
        events(made, kind, None, checkpoint=path, config={"max_workers": 1})
        assert order == ["+a", "-a", "+b", "-b"]
        with pytest.raises(ValueError, match=r"^max_workers must be greater than 0$"):
            events(made, kind, None, checkpoint=path, config={"max_workers": 0})

    def test_context_variables(self, kind: str) -> None:
        """CP-58: carried into branches."""
        variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
        made, path = halted({"a": lambda: {"seen": variable.get()}}, ["s"], [])
        variable.set("caller")
        assert (
            events(made, kind, None, checkpoint=path)[-1]["state"]["parallel_results"][0]["seen"] == "caller"
        )
