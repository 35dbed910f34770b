"""The error policy: events, raised errors, and what is never converted."""

from __future__ import annotations

import asyncio
import builtins
import sys
from collections.abc import Callable
from typing import Any

import pytest
from support import KINDS, chain, drain, events, fan, single, trail, types

from the_edge_agent import END, StateGraph


class NotAnException(BaseException):
    """An error class outside of `Exception`."""


def raiser(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


class TestNodeErrors:
    """SG-63, first row."""

    @pytest.mark.parametrize(
        "error",
        [ValueError("v"), KeyError("k"), StopIteration("s"), StopAsyncIteration("s"), OSError(2, "no file")],
    )
    def test_event(self, kind: str, error: Exception) -> None:
        """SG-63: one event with the text, StopIteration included."""
        got = events(single(raiser(error)), kind, {"x": 1})
        assert got == [{"type": "error", "node": "n", "error": str(error), "state": {"x": 1}}]

    @pytest.mark.parametrize(
        "error", [ValueError("v"), KeyError("k"), StopIteration("s"), GeneratorExit("e"), AssertionError("a")]
    )
    def test_raised(self, kind: str, error: BaseException) -> None:
        """SG-63: RuntimeError with the very exception as cause; a BaseException comes out as it is."""
        made = single(raiser(error), raise_exceptions=True)
        if isinstance(error, Exception):
            with pytest.raises(RuntimeError) as caught:
                events(made, kind, {})
            assert type(caught.value) is RuntimeError
            assert str(caught.value) == f"Error in node 'n': {error}"
            assert caught.value.__cause__ is error
        else:
            with pytest.raises(GeneratorExit) as ended:
                events(made, kind, {})
            assert ended.value is error

    def test_events_before_the_error_are_kept(self) -> None:
        """SG-63, SG-64."""
        made = chain("a", "b", raise_exceptions=True)
        made.node("b")["run"] = raiser(ValueError("v"))
        got: list[dict[str, Any]] = []
        run = made.stream({})
        with pytest.raises(RuntimeError):
            drain(run, got)
        assert types(got) == ["state"] and list(run) == []

    def test_nothing_after_an_error_event(self, kind: str) -> None:
        """SG-64: no `final`, no further node."""
        ran: list[int] = []
        made = chain("a", "b")
        made.node("a")["run"] = raiser(ValueError("v"))
        made.node("b")["run"] = lambda: ran.append(1)
        run = getattr(made, kind)({})
        assert types(list(run)) == ["error"] and list(run) == [] and ran == []

    def test_cause_keeps_its_traceback(self) -> None:
        """D6: the traceback leads to the line in the node function."""

        def inner() -> None:
            raise ValueError("deep")

        with pytest.raises(RuntimeError) as caught:
            list(single(lambda: inner(), raise_exceptions=True).invoke({}))
        cause = caught.value.__cause__
        assert cause is not None and cause.__traceback__ is not None
        names = []
        place = cause.__traceback__
        while place is not None:
            names.append(place.tb_frame.f_code.co_name)
            place = place.tb_next  # type: ignore[assignment]
        assert names[-1] == "inner"

    def test_error_after_in_place_changes(self, kind: str) -> None:
        """SG-65: partial effects stay."""

        def half(state: dict[str, Any]) -> None:
            state["half"] = True
            raise ValueError("v")

        assert events(single(half), kind, {})[-1]["state"] == {"half": True}

    def test_result_that_fails_while_merging(self, kind: str) -> None:
        """SG-55 step 3: merging is inside the guard."""

        class Hostile(dict):  # type: ignore[type-arg]
            def keys(self) -> Any:
                raise ValueError("no keys")

            def __iter__(self) -> Any:
                raise ValueError("no iteration")

        got = events(single(lambda: Hostile(a=1)), kind, {})
        assert [(event["type"], event["error"]) for event in got] == [("error", "no keys")]

    def test_same_exception_object_twice(self) -> None:
        """SG-103, D6: an exception raised again in a later run is still the cause."""
        error = ValueError("same")
        made = single(raiser(error), raise_exceptions=True)
        for _ in range(3):
            with pytest.raises(RuntimeError) as caught:
                list(made.invoke({}))
            assert caught.value.__cause__ is error

    def test_graph_is_usable_after_an_error(self, kind: str) -> None:
        """SG-103: a failed run leaves nothing behind."""
        made = single(lambda state: {"v": 1 // state["d"]})
        assert types(events(made, kind, {"d": 0})) == ["error"]
        assert events(made, kind, {"d": 1})[-1]["state"] == {"d": 1, "v": 1}


class TestBaseExceptions:
    """SG-63, last row: whatever the policy is, and wherever they come from."""

    @pytest.mark.parametrize("raise_exceptions", [False, True])
    @pytest.mark.parametrize(
        "error", [KeyboardInterrupt("k"), SystemExit(3), NotAnException("n"), asyncio.CancelledError("c")]
    )
    def test_node(self, kind: str, raise_exceptions: bool, error: BaseException) -> None:
        """SG-63: the very object out of `next()`; exhausted afterwards."""
        run = getattr(single(raiser(error), raise_exceptions=raise_exceptions), kind)({})
        with pytest.raises(type(error)) as caught:
            next(run)
        assert caught.value is error
        assert list(run) == []

    def test_condition(self, kind: str) -> None:
        """SG-63."""
        error = NotAnException()
        made = single(None)
        made.graph.remove_edge("n", END)
        made.add_conditional_edges("n", raiser(error), {1: END})
        with pytest.raises(NotAnException) as caught:
            events(made, kind, {})
        assert caught.value is error

    def test_fan_in(self, kind: str) -> None:
        """SG-63."""
        error = NotAnException()
        with pytest.raises(NotAnException) as caught:
            events(fan({"a": trail}, join=raiser(error)), kind, {})
        assert caught.value is error

    @pytest.mark.parametrize("kind_", KINDS)
    @pytest.mark.parametrize("error", [SystemExit(3), NotAnException("n")])
    def test_branch(self, kind_: str, error: BaseException) -> None:
        """SG-63 "anywhere" (parallel/PAR-41, parallel/Q7): raised again at the join, the very object."""
        with pytest.raises(type(error)) as caught:
            events(fan({"good": trail, "bad": raiser(error)}), kind_, {})
        assert caught.value is error

    def test_scoped(self) -> None:
        """SG-63, SG-84."""
        error = NotAnException()
        with pytest.raises(NotAnException) as caught:
            single(raiser(error)).execute_scoped({}, "n", END)
        assert caught.value is error

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups came with Python 3.11")
    def test_exception_group(self, kind: str) -> None:
        """SG-63: a group of plain exceptions is an Exception, one of others is not."""
        assert types(events(single(raiser(builtins.ExceptionGroup("g", [ValueError()]))), kind, {})) == [
            "error"
        ]
        with pytest.raises(builtins.BaseExceptionGroup):
            events(single(raiser(builtins.BaseExceptionGroup("g", [NotAnException()]))), kind, {})


class TestDeadEnds:
    """SG-63, second row."""

    def test_node_without_edges(self, kind: str) -> None:
        """SG-55 step 10."""
        made = chain("a", "b")
        made.graph.remove_edge("b", END)
        text = "No valid next node found from node 'b'"
        got = events(made, kind, {})
        assert got[-1] == {"type": "error", "node": "b", "error": text, "state": {"trail": ["a", "b"]}}
        made.raise_exceptions = True
        with pytest.raises(RuntimeError) as caught:
            events(made, kind, {})
        assert str(caught.value) == text and caught.value.__cause__ is None

    def test_fan_in_without_match(self, kind: str) -> None:
        """SG-56: the ordinary text also after a fan-in."""
        made = fan({"a": trail}, join=lambda: {"joined": 1})
        made.graph.remove_edge("j", END)
        made.add_conditional_edges("j", lambda: "none", {"x": END})
        got = events(made, kind, {})
        assert (got[-1]["type"], got[-1]["node"]) == ("error", "j")
        assert got[-1]["error"] == "No valid next node found from node 'j'"
        assert got[-1]["state"]["joined"] == 1
        made.raise_exceptions = True
        with pytest.raises(RuntimeError, match=r"^No valid next node found from node 'j'$"):
            events(made, kind, {})


class TestParallelErrors:
    """SG-63, the rows about parallel edges."""

    @pytest.mark.parametrize("value", ["missing", None])
    def test_no_fan_in_launches_nothing(self, kind: str, value: str | None) -> None:
        """SG-55 step 6: an earlier good parallel edge is not launched either."""
        ran: list[str] = []
        made = StateGraph(dict)
        for name in ("s", "good", "bad", "j"):
            made.add_node(name, run=lambda node: ran.append(node))
        made.set_entry_point("s")
        made.add_parallel_edge("s", "good", "j")
        made.add_parallel_edge("s", "bad", "j")
        if value is None:
            made.edge("s", "bad")["fan_in_node"] = None
        else:
            del made.edge("s", "bad")["fan_in_node"]
        text = "Parallel edge from 's' to 'bad' must have 'fan_in_node' specified"
        got = events(made, kind, {})
        assert (got[-1]["type"], got[-1]["node"], got[-1]["error"]) == ("error", "s", text)
        assert ran == ["s"]
        made.raise_exceptions = True
        with pytest.raises(RuntimeError) as caught:
            events(made, kind, {})
        assert str(caught.value) == text

    def test_failing_fan_in_function(self, kind: str) -> None:
        """SG-63 first row for the fan-in."""
        error = ValueError("v")
        made = fan({"a": trail}, join=raiser(error))
        got = events(made, kind, {})
        assert (got[-1]["type"], got[-1]["node"], got[-1]["error"]) == ("error", "j", "v")
        assert len(got[-1]["state"]["parallel_results"]) == 1
        made.raise_exceptions = True
        with pytest.raises(RuntimeError, match=r"^Error in node 'j': v$") as caught:
            events(made, kind, {})
        assert caught.value.__cause__ is error

    @pytest.mark.parametrize("raise_exceptions", [False, True])
    def test_state_that_cannot_be_copied(self, kind: str, raise_exceptions: bool) -> None:
        """SG-63, SG-74: the exception of deepcopy, unchanged, and no branch has run."""
        ran: list[int] = []
        made = fan({"a": lambda: ran.append(1)}, raise_exceptions=raise_exceptions)
        with pytest.raises(TypeError, match="cannot pickle"), open(__file__, "rb") as handle:
            events(made, kind, {"handle": handle})
        assert ran == []

    def test_uncopyable_with_own_error(self, kind: str) -> None:
        """SG-63: the very exception."""

        class Secret:
            def __deepcopy__(self, memo: Any) -> Any:
                raise error

        error = LookupError("not for copying")
        with pytest.raises(LookupError) as caught:
            events(fan({"a": trail}), kind, {"x": Secret()})
        assert caught.value is error
