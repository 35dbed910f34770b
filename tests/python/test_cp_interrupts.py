"""Interrupts: what is stored, when, and in which of the stores."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from support import LOGGER, chain, events, fan, places, single, types

from the_edge_agent import END, MemoryCheckpointer, ParallelFlowResult, StateGraph


class TestAutoSave:
    """CP-14 to CP-18."""

    def test_memory_first(self, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """CP-14 step 1: the directory, if any, is not used."""
        store = MemoryCheckpointer()
        made = chain("a", log_level=logging.INFO).compile(
            ["a"], checkpoint_dir=str(tmp_path), checkpointer=store
        )
        name = events(made, kind, {})[-1]["checkpoint_path"]
        assert store.list() == [name] and os.listdir(tmp_path) == []
        assert caplog.record_tuples == [(LOGGER, 20, f"Checkpoint saved to memory: '{name}'")]

    def test_directory_second(self, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """CP-14 step 2: the directory is made when it is needed."""
        place = tmp_path / "new" / "dir"
        made = chain("a", log_level=logging.INFO).compile(["a"], checkpoint_dir=str(place))
        path = events(made, kind, {})[-1]["checkpoint_path"]
        assert [os.path.join(place, name) for name in os.listdir(place)] == [path]
        assert caplog.record_tuples == [(LOGGER, 20, f"Checkpoint saved to '{path}' at node 'a'")]

    def test_neither(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """CP-14 step 3."""
        made = chain("a", log_level=logging.INFO)
        made.interrupt_before = ["a"]
        assert events(made, kind, {})[-1]["checkpoint_path"] is None and caplog.records == []

    def test_saved_before_the_event(self) -> None:
        """CP-14: right before the event is yielded, not earlier and not later."""
        store = MemoryCheckpointer()
        run = chain("a", "b").compile(["b"], checkpointer=store).stream({})
        next(run)
        assert len(store) == 0
        path = next(run)["checkpoint_path"]
        assert store.list() == [path]

    @pytest.mark.parametrize("which", ["before", "after"])
    def test_node_and_state(self, kind: str, which: str) -> None:
        """CP-18: for both kinds the node on which it fired; state before, or after the merge."""
        store = MemoryCheckpointer()
        made = chain("a", "b").compile(**{f"interrupt_{which}": ["b"]}, checkpointer=store)
        path = events(made, kind, {"x": 1}, config={"k": 1})[-1]["checkpoint_path"]
        record = store.load(path)
        assert record["node"] == "b" and record["config"] == {"k": 1}
        assert record["state"] == {"x": 1, "trail": ["a"] if which == "before" else ["a", "b"]}

    def test_config_is_that_of_the_run_at_that_moment(self, kind: str) -> None:
        """CP-1, SG-41: with what nodes put into it."""
        store = MemoryCheckpointer()
        made = single(lambda config: config.update(added=1)).compile([], ["n"], checkpointer=store)
        path = events(made, kind, {}, config={"k": 1})[-1]["checkpoint_path"]
        assert store.load(path)["config"] == {"k": 1, "added": 1}

    def test_nothing_is_deleted(self, kind: str) -> None:
        """CP-17: not after a resume, not at the end of a run."""
        store = MemoryCheckpointer()
        made = chain("a", "b").compile(["a", "b"], checkpointer=store)
        first = events(made, kind, {})[-1]["checkpoint_path"]
        second = events(made, kind, None, checkpoint=first)[-1]["checkpoint_path"]
        assert types(events(made, kind, None, checkpoint=second))[-1] == "final"
        assert store.list() == [first, second]

    def test_duplicates_in_the_lists(self, kind: str) -> None:
        """CP-43 allows them: one interrupt, one checkpoint."""
        store = MemoryCheckpointer()
        made = chain("a").compile(["a", "a"], checkpointer=store)
        assert len(events(made, kind, {})) == 1 and len(store) == 1

    def test_both_kinds_in_one_run(self, kind: str) -> None:
        """CP-29: before one node and after another."""
        store = MemoryCheckpointer()
        made = chain("a", "b", "c").compile(["b"], ["c"], checkpointer=store)
        one = events(made, kind, {})[-1]
        two = events(made, kind, None, checkpoint=one["checkpoint_path"])[-1]
        end = events(made, kind, None, checkpoint=two["checkpoint_path"])[-1]
        assert (one["node"], two["node"]) == ("b", "c")
        assert end["type"] == "final" and end["state"] == {"trail": ["a", "b", "c"]}

    def test_in_a_loop(self, kind: str) -> None:
        """CP-29: the same node in each round, each with an id of its own."""
        store = MemoryCheckpointer()
        made = StateGraph(dict)
        made.add_node("n", run=lambda state: {"n": state["n"] + 1})
        made.set_entry_point("n")
        made.add_conditional_edges("n", lambda state: state["n"] < 3, {True: "n", False: END})
        made.compile(["n"], checkpointer=store)
        got = events(made, kind, {"n": 0})[-1]
        seen = []
        while got["type"] != "final":
            seen.append(got["state"]["n"])
            got = events(made, kind, None, checkpoint=got["checkpoint_path"])[-1]
        assert seen == [0, 1, 2] and got["state"] == {"n": 3} and len(set(store.list())) == 3


class TestJoin:
    """SG-56, CP-3, parallel/PAR-70, parallel/PAR-71: interrupts of a fan-in node."""

    def made(self, before: list[str], after: list[str], store: Any, **options: Any) -> StateGraph:
        branches = {"p": lambda: {"v": 1}, "q": lambda: {"v": 2}}
        graph = fan(
            branches, join=lambda parallel_results: {"sum": sum(r["v"] for r in parallel_results)}, **options
        )
        return graph.compile(before, after, checkpointer=store)

    def test_before(self, kind: str) -> None:
        """SG-56: after the branches were joined; event and record hold the results."""
        store = MemoryCheckpointer()
        got = events(self.made(["j"], [], store), kind, {"x": 1})
        last = got[-1]
        assert (
            last["type"] == ("interrupt" if kind == "invoke" else "interrupt_before") and last["node"] == "j"
        )
        record = store.load(last["checkpoint_path"])
        for state in (last["state"], record["state"]):
            assert state["x"] == 1 and sorted(r["v"] for r in state["parallel_results"]) == [1, 2]
        expected = ParallelFlowResult if kind == "invoke" else dict
        assert {type(r) for r in record["state"]["parallel_results"]} == {expected}

    def test_after(self, kind: str) -> None:
        """SG-56: after its function."""
        store = MemoryCheckpointer()
        last = events(self.made([], ["j"], store), kind, {})[-1]
        assert (last["node"], last["state"]["sum"]) == ("j", 3)
        assert store.load(last["checkpoint_path"])["node"] == "j"

    def test_order_in_stream(self) -> None:
        """parallel/PAR-60: all branch events come first."""
        got = list(self.made(["j"], [], MemoryCheckpointer()).stream({}))
        assert sorted(places(got)[:2]) == [("parallel_state", "p"), ("parallel_state", "q")]
        assert places(got)[2:] == [("interrupt_before", "j")]

    def test_resume_before(self, kind: str) -> None:
        """CP-40: the fan-in runs as an ordinary node with the stored list."""
        made = self.made(["j"], [], MemoryCheckpointer())
        path = events(made, kind, {})[-1]["checkpoint_path"]
        got = events(made, kind, None, checkpoint=path)
        assert got[-1]["type"] == "final" and got[-1]["state"]["sum"] == 3
        assert places(got)[:-1] == ([("state", "j")] if kind == "stream" else [])

    def test_resume_before_from_file(self, kind: str, tmp_path: Path) -> None:
        """CP-3, CP-40: the results survive the file, and an update reaches the fan-in."""
        made = fan({"p": lambda: {"v": 1}, "q": lambda: {"v": 2}})
        made.node("j")["run"] = lambda parallel_results, state: {
            "sum": sum(r.get("v") for r in parallel_results) + state["extra"]
        }
        made.compile(["j"], checkpoint_dir=str(tmp_path))
        path = events(made, kind, {})[-1]["checkpoint_path"]
        assert events(made, kind, {"extra": 10}, checkpoint=path)[-1]["state"]["sum"] == 13

    def test_resume_after(self, kind: str) -> None:
        """CP-27: the fan-in is not run again."""
        made = self.made([], ["j"], MemoryCheckpointer())
        path = events(made, kind, {})[-1]["checkpoint_path"]
        got = events(made, kind, {"sum": 100}, checkpoint=path)
        assert places(got) == [("final", None)] and got[-1]["state"]["sum"] == 100

    def test_failed_branch_does_not_reach_the_interrupt(self) -> None:
        """SG-108: in `invoke` the run ends at the join."""
        store = MemoryCheckpointer()
        made = self.made(["j"], [], store)
        made.node("q")["run"] = lambda: 1 / 0
        assert types(list(made.invoke({}))) == ["error"] and len(store) == 0
        assert types(list(made.stream({})))[-1] == "interrupt_before"

    def test_both_lists(self, kind: str) -> None:
        """CQ-1, CP-59: a fan-in in both lists is run after the resume from its before-interrupt."""
        store = MemoryCheckpointer()
        made = self.made(["j"], ["j"], store)
        first = events(made, kind, {})[-1]
        assert "sum" not in first["state"] and store.load(first["checkpoint_path"])["interrupt"] == "before"
        second = events(made, kind, None, checkpoint=first["checkpoint_path"])[-1]
        assert second["state"]["sum"] == 3 and store.load(second["checkpoint_path"])["interrupt"] == "after"
        assert types(events(made, kind, None, checkpoint=second["checkpoint_path"])) == ["final"]
