"""The shapes of events: types, keys in order, number and sequence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import chain, events, fan, places, single, trail, types

from the_edge_agent import MemoryCheckpointer
from the_edge_agent.actions.http_response_actions import HTTPResponse

ERROR = ["type", "node", "error", "state"]
INTERRUPT = ["type", "node", "state", "checkpoint_path"]


def shapes(got: list[dict[str, Any]]) -> dict[str, list[str]]:
    return {event["type"]: list(event) for event in got}


class TestKeys:
    """Section 10: keys in this exact order; plain dicts."""

    def test_invoke_final(self) -> None:
        """SG-58: `output` is None without an output schema."""
        got = list(chain("a").invoke({"x": 1}))
        assert got == [{"type": "final", "state": {"x": 1, "trail": ["a"]}, "output": None}]
        assert list(got[0]) == ["type", "state", "output"]

    def test_stream(self) -> None:
        """SG-61: three events of two nodes; `final` without `output`."""
        got = list(chain("node1", "node2").stream({"value": 1}))
        assert places(got) == [("state", "node1"), ("state", "node2"), ("final", None)]
        assert shapes(got) == {"state": ["type", "node", "state"], "final": ["type", "state"]}

    def test_errors(self, kind: str) -> None:
        """Section 10: same keys in both methods."""
        got = events(single(lambda: 1 / 0), kind, {"x": 1})
        assert got == [{"type": "error", "node": "n", "error": "division by zero", "state": {"x": 1}}]
        assert list(got[0]) == ERROR

    @pytest.mark.parametrize("which", ["before", "after"])
    def test_interrupts(self, kind: str, which: str) -> None:
        """Section 10: the type differs between the methods, the keys do not."""
        store = MemoryCheckpointer()
        made = chain("a", "b").compile(**{f"interrupt_{which}": ["a"]}, checkpointer=store)
        got = events(made, kind, {"x": 1})
        assert got[-1]["type"] == ("interrupt" if kind == "invoke" else f"interrupt_{which}")
        assert list(got[-1]) == INTERRUPT and got[-1]["node"] == "a"
        assert got[-1]["checkpoint_path"] == store.list()[0]

    def test_http_response(self, kind: str) -> None:
        """Section 10, Q5."""

        def respond() -> None:
            raise HTTPResponse(418)

        got = events(single(respond), kind, {})
        assert list(got[-1]) == ["type", "node", "status", "body", "headers", "state"]

    def test_branch_events(self) -> None:
        """Section 10, SG-62: branch events; the internal completion message never shows."""
        got = list(fan({"good": trail, "bad": lambda: 1 / 0}).stream({"x": 1}))
        found = shapes(got)
        assert found["parallel_state"] == ["type", "branch", "node", "state"]
        assert found["parallel_error"] == ["type", "branch", "node", "error", "state"]
        assert sorted(types(got)) == ["final", "parallel_error", "parallel_state"]

    def test_resumed_final(self, kind: str) -> None:
        """Section 10, CP-32: no `output` in resumed runs."""
        made = chain("a", "b").compile(["b"], checkpointer=MemoryCheckpointer())
        path = events(made, kind, {})[-1]["checkpoint_path"]
        assert list(events(made, kind, None, checkpoint=path)[-1]) == ["type", "state"]
        assert list(list(made.resume_from_checkpoint(path))[-1]) == ["type", "state"]

    def test_exact_types(self, kind: str) -> None:
        """Section 10: events are plain dicts, types plain text."""
        for event in events(chain("a"), kind, {}):
            assert type(event) is dict and type(event["type"]) is str and type(event["state"]) is dict


class TestContents:
    """SG-59 to SG-61."""

    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (KeyError("k"), "'k'"),
            (ValueError(), ""),
            (ValueError("a", "b"), "('a', 'b')"),
            (ValueError("é\0"), "é\0"),
        ],
    )
    def test_error_is_the_text_of_the_exception(self, kind: str, error: Exception, text: str) -> None:
        """SG-59."""

        def fail() -> None:
            raise error

        assert events(single(fail), kind, {})[-1]["error"] == text

    def test_exception_whose_text_fails(self, kind: str) -> None:
        """SG-59: `str` of the exception raises; an exception or an event, no hang."""

        class Bad(Exception):
            def __str__(self) -> str:
                raise ZeroDivisionError("in str")

        def fail() -> None:
            raise Bad

        try:
            got = events(single(fail), kind, {})
        except (ZeroDivisionError, Bad):
            return
        assert types(got) == ["error"]

    def test_checkpoint_path_of_memory_and_file(self, kind: str, tmp_path: Path) -> None:
        """SG-60: a key or a path."""
        store = MemoryCheckpointer()
        made = chain("a").compile(["a"], checkpointer=store)
        assert events(made, kind, {})[-1]["checkpoint_path"] in store
        made.compile(["a"], checkpoint_dir=str(tmp_path))
        path = events(made, kind, {})[-1]["checkpoint_path"]
        assert type(path) is str and Path(path).parent == tmp_path and Path(path).is_file()

    @pytest.mark.parametrize("which", ["interrupt_before", "interrupt_after"])
    def test_checkpoint_path_without_storage(self, kind: str, which: str) -> None:
        """SG-60, CP-14 step 3: interrupts set on the attributes directly."""
        made = chain("a", "b")
        setattr(made, which, ["a"])
        got = events(made, kind, {"x": 1})
        assert got[-1]["type"].startswith("interrupt") and got[-1]["checkpoint_path"] is None
        assert list(got[-1]) == INTERRUPT

    def test_state_event_before_interrupt_after(self) -> None:
        """SG-61."""
        made = chain("a", "b").compile([], ["a"], checkpointer=MemoryCheckpointer())
        assert places(list(made.stream({}))) == [("state", "a"), ("interrupt_after", "a")]

    def test_pass_through_nodes_give_no_event(self) -> None:
        """SG-61: but their interrupts fire."""
        made = chain("a", "b", "c", run=None)
        assert places(list(made.stream({}))) == [("final", None)]
        made.compile(["b"], checkpointer=MemoryCheckpointer())
        assert places(list(made.stream({}))) == [("interrupt_before", "b")]

    def test_node_is_the_name_as_given(self) -> None:
        """SG-59: the very object."""
        name = ("tuple", 1)
        made = chain(name)  # type: ignore[arg-type]
        assert next(made.stream({}))["node"] is name


class TestInterruptedRuns:
    """SG-53 to SG-55: when interrupts fire."""

    def test_before_start(self, kind: str) -> None:
        """SG-53: START honours its interrupts."""
        made = chain("a").compile(["__start__"], checkpointer=MemoryCheckpointer())
        got = events(made, kind, {"x": 1})
        assert [(event["node"], event["state"]) for event in got] == [("__start__", {"x": 1})]

    def test_after_start(self, kind: str) -> None:
        """SG-53."""
        made = chain("a").compile([], ["__start__"], checkpointer=MemoryCheckpointer())
        assert [event["node"] for event in events(made, kind, {})] == ["__start__"]

    def test_end_never_fires(self, kind: str) -> None:
        """SG-54."""
        made = chain("a").compile(["__end__"], ["__end__"], checkpointer=MemoryCheckpointer())
        assert types(events(made, kind, {}))[-1] == "final"

    def test_interrupt_stops_the_run(self, kind: str) -> None:
        """SG-55 steps 1 and 4: nothing comes after; the node itself ran only for "after"."""
        ran: list[str] = []
        made = chain("a", "b", "c", run=lambda node: ran.append(node))
        made.compile(["b"], checkpointer=MemoryCheckpointer())
        run = getattr(made, kind)({})
        list(run)
        assert ran == ["a"] and list(run) == []
        ran.clear()
        made.compile([], ["b"], checkpointer=MemoryCheckpointer())
        events(made, kind, {})
        assert ran == ["a", "b"]

    def test_failing_node_does_not_reach_its_after_interrupt(self, kind: str) -> None:
        """SG-55 step 3."""
        store = MemoryCheckpointer()
        made = single(lambda: 1 / 0).compile([], ["n"], checkpointer=store)
        assert types(events(made, kind, {})) == ["error"] and len(store) == 0
