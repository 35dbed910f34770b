"""Resuming: ways in, updates, first-node rules, going back in time."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from support import chain, events, places, script_ok, single, trail, types

from the_edge_agent import END, START, MemoryCheckpointer, StateGraph


def stopped(
    before: list[str], after: list[str], *names: str, state: Any = None, config: Any = None
) -> tuple[StateGraph, MemoryCheckpointer, str]:
    """A chain that ran up to its first interrupt: graph, store, id."""
    store = MemoryCheckpointer()
    made = chain(*(names or ("a", "b", "c"))).compile(before, after, checkpointer=store)
    got = list(made.invoke({} if state is None else state, config=config))[-1]
    return made, store, got["checkpoint_path"]


class TestWaysIn:
    """CP-21 to CP-25."""

    def test_all_calls(self) -> None:
        """CP-21: the table."""
        made, _, path = stopped(["b"], [])
        invoked = [{"type": "final", "state": {"trail": ["a", "b", "c"]}}]
        assert list(made.invoke(None, checkpoint=path)) == invoked
        assert list(made.invoke(checkpoint=path)) == invoked
        assert list(made.invoke({}, checkpoint=path)) == invoked
        assert list(made.resume_from_checkpoint(path)) == invoked
        assert list(made.resume_from_checkpoint(path, None, None)) == invoked
        assert list(made.resume_from_checkpoint(checkpoint_id=path, config={}, state_update={})) == invoked
        for run in (
            made.stream(None, checkpoint=path),
            made.stream(checkpoint=path),
            made.stream({}, checkpoint=path),
        ):
            assert places(list(run)) == [("state", "b"), ("state", "c"), ("final", None)]

    def test_lazy(self) -> None:
        """CP-21: nothing is loaded before the first `next`."""
        made, store, path = stopped(["b"], [])
        run = made.resume_from_checkpoint(path)
        store.clear()
        with pytest.raises(KeyError, match=f"Checkpoint not found: {path}"):
            next(run)

    def test_interrupted_by_one_method_resumed_by_the_other(self) -> None:
        """CP-21."""
        made, _, path = stopped(["b"], [])
        assert types(list(made.stream(None, checkpoint=path))) == ["state", "state", "final"]
        path = list(made.stream({}))[-1]["checkpoint_path"]
        assert types(list(made.invoke(None, checkpoint=path))) == ["final"]

    def test_checkpointer_is_the_only_source(self, tmp_path: Path, kind: str) -> None:
        """CP-22: with a checkpointer a file path is an unknown key."""
        path = str(tmp_path / "f.pkl")
        made = chain("a").compile(checkpointer=MemoryCheckpointer(), checkpoint_dir=str(tmp_path))
        made.save_checkpoint(path, {}, "a", {})
        with pytest.raises(KeyError):
            events(made, kind, None, checkpoint=path)

    def test_uncompiled_graph(self, tmp_path: Path, kind: str) -> None:
        """CP-22, CP-23: from a file, by its full path; the directory plays no part."""
        path = str(tmp_path / "f.pkl")
        made = chain("a", "b")
        made.save_checkpoint(path, {"x": 1}, "b", {})
        assert events(made, kind, None, checkpoint=path)[-1]["state"] == {"x": 1, "trail": ["b"]}
        made.compile(checkpoint_dir=str(tmp_path))
        with pytest.raises(FileNotFoundError):
            events(made, kind, None, checkpoint="f.pkl")
        assert types(events(made, kind, None, checkpoint=path))[-1] == "final"

    @pytest.mark.parametrize("raise_exceptions", [False, True])
    def test_unknown_node(self, kind: str, raise_exceptions: bool) -> None:
        """CP-24: exact text."""
        made, store, _ = stopped(["b"], [])
        made.raise_exceptions = raise_exceptions
        store.save("id", {}, "gone", {})
        with pytest.raises(ValueError) as caught:
            events(made, kind, None, checkpoint="id")
        assert str(caught.value) == "Checkpoint node 'gone' does not exist in the graph."

    def test_node_none_is_start(self, tmp_path: Path, kind: str) -> None:
        """CQ-14, CP-6, CP-24: a `/save-state` file."""
        path = tmp_path / "x.state.pkl"
        record = {
            "state": {"x": 1},
            "node": None,
            "config": {},
            "timestamp": 1,
            "version": "1.1",
            "name": "x",
        }
        path.write_bytes(pickle.dumps(record))
        assert events(chain("a", "b"), kind, None, checkpoint=str(path))[-1]["state"] == {
            "x": 1,
            "trail": ["a", "b"],
        }

    def test_config_is_merged(self, kind: str) -> None:
        """CP-25: stored config, then the given one, at the top level."""
        made, store, path = stopped(["b"], [], config={"k": 1, "deep": {"x": 1}, "old": 0})
        made.node("b")["run"] = lambda config: {"seen": dict(config)}
        got = events(made, kind, None, checkpoint=path, config={"k": 2, "deep": {"y": 1}})
        assert got[-1]["state"]["seen"] == {"k": 2, "deep": {"y": 1}, "old": 0}
        got = list(made.resume_from_checkpoint(path, {"k": 3}))
        assert got[-1]["state"]["seen"]["k"] == 3
        assert store.load(path)["config"] == {"k": 1, "deep": {"x": 1}, "old": 0}

    def test_state_is_updated(self, kind: str) -> None:
        """CP-25: at the top level, no deep merge; before the first node runs."""
        made, store, path = stopped(["b"], [], state={"deep": {"x": 1}, "n": 1})
        made.node("b")["run"] = lambda state: {"seen": dict(state)}
        update = {"deep": {"y": 2}, "new": 3}
        got = events(made, kind, update, checkpoint=path)[-1]["state"]
        assert got["seen"] == {"deep": {"y": 2}, "n": 1, "trail": ["a"], "new": 3}
        assert store.load(path)["state"] == {"deep": {"x": 1}, "n": 1, "trail": ["a"]}
        assert update == {"deep": {"y": 2}, "new": 3}
        assert list(made.resume_from_checkpoint(path, None, {"new": 9}))[-1]["state"]["seen"]["new"] == 9

    def test_update_without_copy(self, kind: str) -> None:
        """CP-25: anything that `dict.update` takes."""
        made, _, path = stopped(["b"], [])
        assert events(made, kind, [("k", 1)], checkpoint=path)[-1]["state"]["k"] == 1

    def test_state_type(self, kind: str) -> None:
        """CP-25, SG-30: the stored type stays."""
        made, _, path = stopped(["b"], [], state=OrderedDict(x=1))
        assert type(events(made, kind, {"y": 1}, checkpoint=path)[-1]["state"]) is OrderedDict

    def test_resume_path_attribute(self, tmp_path: Path, kind: str) -> None:
        """CQ-4, SG-29: without input and checkpoint `_resume_checkpoint_path` counts, with an input not."""
        path = str(tmp_path / "f.pkl")
        made = chain("a", "b")
        made.save_checkpoint(path, {"x": 1}, "b", {})
        made._resume_checkpoint_path = path  # type: ignore[attr-defined]
        assert events(made, kind, None)[-1]["state"] == {"x": 1, "trail": ["b"]}
        assert events(made, kind, {})[-1]["state"] == {"trail": ["a", "b"]}
        made._resume_checkpoint_path = None  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="checkpoint parameter required"):
            events(made, kind, None)


class TestFirstNode:
    """CP-27, CP-28, CQ-1, CP-59."""

    def test_in_neither_list(self, kind: str) -> None:
        """CP-27: executed."""
        made, store, _ = stopped(["b"], [])
        store.save("id", {}, "a", {})
        made.interrupt_before.clear()
        assert events(made, kind, None, checkpoint="id")[-1]["state"] == {"trail": ["a", "b", "c"]}

    def test_before(self, kind: str) -> None:
        """CP-27: executed, its before-interrupt is not triggered again."""
        made, _, path = stopped(["b"], [])
        got = events(made, kind, None, checkpoint=path)
        assert got[-1]["type"] == "final" and got[-1]["state"] == {"trail": ["a", "b", "c"]}

    def test_after(self, kind: str) -> None:
        """CP-27: not executed again."""
        made, _, path = stopped([], ["b"])
        got = events(made, kind, None, checkpoint=path)
        assert got[-1]["type"] == "final" and got[-1]["state"] == {"trail": ["a", "b", "c"]}
        assert places(got)[:-1] == ([("state", "c")] if kind == "stream" else [])

    def test_lists_of_the_moment_count(self, kind: str) -> None:
        """CP-27: the graph's present lists decide, not those of the checkpoint."""
        made, _, path = stopped([], ["a"])
        made.compile(checkpointer=made.checkpointer)
        assert events(made, kind, None, checkpoint=path)[-1]["state"] == {"trail": ["a", "a", "b", "c"]}
        made.compile([], ["b"], checkpointer=made.checkpointer)
        got = events(made, kind, None, checkpoint=path)[-1]
        assert got["node"] == "b" and got["state"] == {"trail": ["a", "a", "b"]}

    def test_condition_sees_the_update(self, kind: str) -> None:
        """CP-25, CP-27: after an after-interrupt the update decides the way."""
        made = single(lambda: {"answer": "none"})
        made.graph.remove_edge("n", END)
        for name in ("yes", "none"):
            made.add_node(name, run=lambda node: {"took": node})
            made.set_finish_point(name)
        made.add_conditional_edges("n", lambda state: state["answer"], {"yes": "yes", "none": "none"})
        made.compile([], ["n"], checkpointer=MemoryCheckpointer())
        path = events(made, kind, {})[-1]["checkpoint_path"]
        assert events(made, kind, {"answer": "yes"}, checkpoint=path)[-1]["state"]["took"] == "yes"
        assert events(made, kind, None, checkpoint=path)[-1]["state"]["took"] == "none"

    @pytest.mark.parametrize("raise_exceptions", [False, True])
    def test_dead_end_after_a_skip(self, kind: str, raise_exceptions: bool) -> None:
        """CP-28: event of N with the updated state, or RuntimeError."""
        made, _, path = stopped([], ["a"])
        made.edge("a", "b")["cond"] = lambda: False
        made.raise_exceptions = raise_exceptions
        text = "No valid next node found from node 'a'"
        if raise_exceptions:
            with pytest.raises(RuntimeError) as caught:
                events(made, kind, {"u": 1}, checkpoint=path)
            assert str(caught.value) == text
        else:
            got = events(made, kind, {"u": 1}, checkpoint=path)
            assert got == [{"type": "error", "node": "a", "error": text, "state": {"trail": ["a"], "u": 1}}]

    def test_condition_error_after_a_skip(self, kind: str) -> None:
        """SG-47: unchanged."""
        made, _, path = stopped([], ["a"])
        made.edge("a", "b")["cond"] = lambda: 1 / 0
        with pytest.raises(ZeroDivisionError):
            events(made, kind, None, checkpoint=path)

    def test_start_and_end(self, kind: str) -> None:
        """CP-27: START is routed from, END gives `final` at once."""
        made, store, _ = stopped(["b"], [])
        made.interrupt_before.clear()
        store.save("start", {"x": 1}, START, {})
        store.save("end", {"x": 1}, END, {})
        assert events(made, kind, None, checkpoint="start")[-1]["state"]["trail"] == ["a", "b", "c"]
        assert events(made, kind, None, checkpoint="end") == [{"type": "final", "state": {"x": 1}}]

    def test_interrupts_of_start(self, kind: str) -> None:
        """CP-27, SG-53."""
        for before, after in (([START], []), ([], [START])):
            made, _, path = stopped(before, after)
            assert events(made, kind, None, checkpoint=path)[-1]["state"] == {"trail": ["a", "b", "c"]}

    def test_node_in_both_lists(self, kind: str) -> None:
        """CQ-1, CP-59: before-interrupt, run, after-interrupt, one resume each."""
        made, store, path = stopped(["b"], ["b"])
        assert list(store.load(path)) == ["state", "node", "config", "timestamp", "version", "interrupt"]
        assert store.load(path)["interrupt"] == "before" and store.load(path)["state"] == {"trail": ["a"]}
        got = events(made, kind, None, checkpoint=path)[-1]
        assert (got["node"], got["state"]) == ("b", {"trail": ["a", "b"]})
        assert store.load(got["checkpoint_path"])["interrupt"] == "after"
        got = events(made, kind, None, checkpoint=got["checkpoint_path"])[-1]
        assert got["type"] == "final" and got["state"] == {"trail": ["a", "b", "c"]}

    def test_both_lists_in_files(self, tmp_path: Path, kind: str) -> None:
        """CP-59: the sixth key is in the file, behind `version`; another graph object reads it."""

        def make() -> StateGraph:
            return chain("a", "b").compile(["a"], ["a"], checkpoint_dir=str(tmp_path))

        path = events(make(), kind, {})[-1]["checkpoint_path"]
        assert list(StateGraph.load_checkpoint(path).items())[-1] == ("interrupt", "before")
        path = events(make(), kind, None, checkpoint=path)[-1]["checkpoint_path"]
        assert list(StateGraph.load_checkpoint(path).items())[-1] == ("interrupt", "after")
        assert events(make(), kind, None, checkpoint=path)[-1]["state"] == {"trail": ["a", "b"]}

    def test_five_keys_otherwise(self, kind: str) -> None:
        """CP-59: a node in one list only has no sixth key, even if other nodes are in both."""
        made, store, path = stopped(["a", "b"], ["b"])
        assert len(store.load(path)) == 5
        path = events(made, kind, None, checkpoint=path)[-1]["checkpoint_path"]
        assert len(store.load(path)) == 6

    def test_record_without_the_key(self, kind: str) -> None:
        """CP-59, CP-27 last row: an old record of a node in both lists is skipped, as in the reference."""
        made, store, _ = stopped(["b"], ["b"])
        store.save("old", {"trail": ["a"]}, "b", {})
        assert events(made, kind, None, checkpoint="old")[-1]["state"] == {"trail": ["a", "c"]}

    def test_key_does_not_make_an_unlisted_node_skip(self, kind: str) -> None:
        """CP-27, CP-59: the present lists decide first."""
        made, store, _ = stopped(["b"], ["b"])
        made.compile(checkpointer=store)
        store.save("after", {"trail": ["a"]}, "b", {}, interrupt="after")
        assert events(made, kind, None, checkpoint="after")[-1]["state"] == {"trail": ["a", "b", "c"]}


class TestChains:
    """CP-29 to CP-31."""

    def test_example(self, kind: str) -> None:
        """CP-31."""
        ran: list[str] = []
        made = chain("a", "b", "c", run=lambda node: ran.append(node))
        made.compile(["b", "c"], checkpointer=MemoryCheckpointer())
        one = events(made, kind, {})[-1]
        assert (one["node"], ran) == ("b", ["a"])
        two = events(made, kind, None, checkpoint=one["checkpoint_path"])[-1]
        assert (two["node"], ran) == ("c", ["a", "b"])
        assert one["checkpoint_path"] != two["checkpoint_path"]
        assert types(events(made, kind, None, checkpoint=two["checkpoint_path"]))[-1] == "final"
        assert ran == ["a", "b", "c"]

    def test_example_after(self, kind: str) -> None:
        """CP-31: `a` runs once in total."""
        ran: list[str] = []
        made = chain("a", "b", run=lambda node: ran.append(node))
        made.compile([], ["a"], checkpointer=MemoryCheckpointer())
        path = events(made, kind, {})[-1]["checkpoint_path"]
        events(made, kind, None, checkpoint=path)
        assert ran == ["a", "b"]

    def test_any_number_of_times(self, kind: str) -> None:
        """CP-30: the same checkpoint with other updates; later checkpoints stay valid."""
        made, _, path = stopped(["b", "c"], [])
        later = [
            events(made, kind, {"u": number}, checkpoint=path)[-1]["checkpoint_path"] for number in range(3)
        ]
        assert len(set(later)) == 3
        for number, name in reversed(list(enumerate(later))):
            got = events(made, kind, None, checkpoint=name)[-1]
            assert got["state"] == {"trail": ["a", "b", "c"], "u": number}

    def test_other_instance_and_process(self, tmp_path: Path, kind: str) -> None:
        """CP-30: files, from a graph built anew and in a process of its own."""
        made = chain("a", "b").compile(["b"], checkpoint_dir=str(tmp_path))
        path = events(made, kind, {"x": 1})[-1]["checkpoint_path"]
        assert events(chain("z", "b"), kind, None, checkpoint=path)[-1]["state"]["trail"] == ["a", "b"]
        out = script_ok(
            """
            import sys, the_edge_agent as tea
            graph = tea.StateGraph(dict)
            graph.add_node("b", run=lambda state: {"trail": state["trail"] + ["there"]})
            graph.set_finish_point("b")
            print(list(getattr(graph, sys.argv[2])(None, checkpoint=sys.argv[1]))[-1]["state"])
            """,
            path,
            kind,
        )
        assert out == "{'x': 1, 'trail': ['a', 'there']}\n"

    def test_error_after_resume(self, kind: str) -> None:
        """CP-58: the error policy is that of fresh runs; the checkpoint can be tried again."""
        made, _, path = stopped(["b"], [])
        made.node("b")["run"] = lambda: 1 / 0
        assert events(made, kind, None, checkpoint=path)[-1]["error"] == "division by zero"
        made.raise_exceptions = True
        with pytest.raises(RuntimeError, match=r"^Error in node 'b': division by zero$"):
            events(made, kind, None, checkpoint=path)
        made.node("b")["run"] = trail
        assert types(events(made, kind, None, checkpoint=path))[-1] == "final"

    def test_step_limit_in_resumed_runs(self, kind: str) -> None:
        """Q15, CP-58: one loop for all runs; each resume counts anew."""
        made = chain("a", "b", "c", "d").compile(["b"], checkpointer=MemoryCheckpointer(), step_limit=2)
        path = events(made, kind, {})[-1]["checkpoint_path"]
        got = events(made, kind, None, checkpoint=path)[-1]
        assert (got["type"], got["node"], got["error"]) == ("error", "d", "Step limit of 2 reached")

    def test_closing_a_resumed_run(self) -> None:
        """SG-28 for resumed runs."""
        made, _, path = stopped(["b"], [])
        run = made.stream(None, checkpoint=path)
        next(run)
        run.close()
        assert list(run) == []

    def test_saving_inside_a_run(self, tmp_path: Path, kind: str) -> None:
        """Section 3: `save_checkpoint` by a node in the middle of a run; the node runs again on resume."""

        def save(state: Any, graph: StateGraph, node: str, config: Any) -> dict[str, Any]:
            graph.save_checkpoint(str(tmp_path / "mid.pkl"), state, node, config)
            return {"saved": state.get("saved", 0) + 1}

        made = chain("a", "b")
        made.node("b")["run"] = save
        events(made, kind, {}, config={"k": 1})
        got = events(made, kind, {"saved": 10}, checkpoint=str(tmp_path / "mid.pkl"))[-1]["state"]
        assert got == {"trail": ["a"], "saved": 11}
