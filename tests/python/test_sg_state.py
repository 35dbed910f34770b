"""The state: what it may hold, what is copied and what is shared."""

from __future__ import annotations

import copy
import random
import threading
from collections import OrderedDict
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
from support import KINDS, chain, events, fan, final, single

from the_edge_agent import MemoryCheckpointer, ParallelFlowResult, StateGraph


class TestValues:
    """SG-48."""

    @hypothesis.given(st.dictionaries(st.text(), st.integers()))
    def test_any_text_keys_and_integers(self, state: dict[str, int]) -> None:
        """SG-48: arbitrary Unicode keys, unbounded integers; default deadline of the library."""
        made = StateGraph({"values": dict, "total": int})
        made.add_node("sum", run=lambda state: {"total": sum(v for k, v in state.items() if k != "total")})
        made.set_entry_point("sum")
        made.set_finish_point("sum")
        got = list(made.compile().invoke(state))
        assert [event["type"] for event in got] == ["final"]
        assert got[0]["state"]["total"] == sum(v for k, v in state.items() if k != "total")
        assert {k: v for k, v in got[0]["state"].items() if k != "total"} == {
            k: v for k, v in state.items() if k != "total"
        }

    @hypothesis.given(
        st.lists(
            st.dictionaries(st.text() | st.integers() | st.binary(), st.floats() | st.none(), max_size=5)
        )
    )
    def test_merging_is_dict_update(self, results: list[dict[Any, Any]]) -> None:
        """SG-37, SG-48, D9: any sequence of results gives what `dict.update` gives, in the same key order."""
        made = StateGraph(dict)
        expected: dict[Any, Any] = {"seed": 0}
        made.add_node("n0", run=lambda: {})
        made.set_entry_point("n0")
        for number, result in enumerate(results, start=1):
            made.add_node(f"n{number}", run=lambda result=result: result)
            made.add_edge(f"n{number - 1}", f"n{number}")
            expected.update(result)
        made.set_finish_point(f"n{len(results)}")
        got = final(made, {"seed": 0})
        assert [(repr(k), repr(v)) for k, v in got.items()] == [
            (repr(k), repr(v)) for k, v in expected.items()
        ]

    @hypothesis.given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
            max_leaves=20,
        )
    )
    def test_nested_values_come_back_as_the_same_objects(self, value: Any) -> None:
        """SG-48, D1: nothing is converted on the way through a node and a condition."""
        made = StateGraph(dict)
        made.add_node("n", run=lambda state: {"b": state["a"]})
        made.set_entry_point("n")
        made.add_conditional_edges("n", lambda state: state["b"] is value, {True: "__end__"})
        got = final(made, {"a": value})
        assert got["a"] is value and got["b"] is value

    def test_any_object(self, kind: str) -> None:
        """SG-48: functions, locks, instances, results, coroutines, huge numbers, NaN, bytes, U+0000."""

        class Thing:
            pass

        async def coroutine() -> None: ...

        pending = coroutine()
        given: dict[Any, Any] = {
            "function": len,
            "lambda": lambda: 1,
            "lock": threading.Lock(),
            "thing": Thing(),
            "result": ParallelFlowResult(branch="b", success=True),
            "coroutine": pending,
            "big": 10**400,
            "negative": -(2**63) - 1,
            "nan": float("nan"),
            "inf": float("-inf"),
            "bytes": b"\0\xff",
            "class": Thing,
            "": "empty key",
            "\0": "\0text\0",
            "\ud800": "lone surrogate",
            7: "seven",
            None: None,
            (1, 2): {3},
            Thing: Ellipsis,
        }
        seen: list[Any] = []
        try:
            got = events(single(lambda state: seen.append(dict(state)) or {}), kind, given)[-1]["state"]
        finally:
            pending.close()
        assert list(got) == list(given) and list(seen[0]) == list(given)
        for key, value in given.items():
            assert got[key] is value and seen[0][key] is value

    def test_large_state(self, kind: str) -> None:
        """SG-48: a hundred thousand keys, through two nodes."""
        given = {str(number): number for number in range(100_000)}
        got = events(chain("a", "b", run=lambda: {"x": 1}), kind, given)[-1]["state"]
        assert len(got) == 100_001 and got["99999"] == 99999

    def test_reserved_keys_are_the_users_until_written(self, kind: str) -> None:
        """SG-51: values under `result`, `parallel_results`, `_scoped_error`, `session_id` pass unharmed."""
        given = {"result": 1, "parallel_results": "mine", "_scoped_error": 2, "session_id": "s"}
        assert events(single(lambda: {}), kind, given)[-1]["state"] == given

    def test_keys_deleted_by_a_node_are_gone(self, kind: str) -> None:
        """SG-40: deletion is by mutation only."""

        def drop(state: dict[str, Any]) -> dict[str, Any]:
            state.clear()
            return {"only": 1}

        assert events(single(drop), kind, {"a": 1, "b": 2})[-1]["state"] == {"only": 1}


class TestCopies:
    """SG-49, SG-50: the copy table."""

    def test_run_start_is_shallow(self, kind: str) -> None:
        """SG-49: nested objects of the caller are shared, in state and config."""
        given: dict[str, Any] = {"deep": []}
        config: dict[str, Any] = {"deep": []}

        def run(state: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
            state["deep"].append(1)
            config["deep"].append(2)
            return {}

        events(single(run), kind, given, config=config)
        assert given == {"deep": [1]} and config == {"deep": [2]}

    def test_event_states_are_new_dicts(self) -> None:
        """SG-49, SG-50: top-level changes by the consumer do not reach the run."""
        run = chain("a", "b").stream({"x": 1})
        first = next(run)
        first["state"]["x"] = 99
        del first["state"]["trail"]
        first["state"]["new"] = 1
        second = next(run)
        assert second["state"] == {"x": 1, "trail": ["a", "b"]}
        assert first["state"] is not second["state"]
        last = next(run)
        assert last["state"] == second["state"] and last["state"] is not second["state"]

    def test_nested_changes_of_the_consumer_reach_the_run(self) -> None:
        """SG-50: nested objects are shared."""
        run = chain("a", "b", run=lambda: {}).stream({"deep": []})
        next(run)["state"]["deep"].append("consumer")
        assert next(run)["state"] == {"deep": ["consumer"]}

    def test_later_nodes_change_nested_objects_in_earlier_events(self) -> None:
        """SG-50."""

        def run(state: dict[str, Any], node: str) -> None:
            state["deep"].append(node)

        got = list(chain("a", "b", run=run).stream({"deep": []}))
        assert [event["state"]["deep"] for event in got] == [["a", "b"]] * 3
        assert got[0]["state"]["deep"] is got[-1]["state"]["deep"]

    def test_every_events_state_is_a_copy(self) -> None:
        """SG-49: also that of errors and interrupts, for both methods."""
        for kind in KINDS:
            live: list[Any] = []
            failing = single(lambda state, live=live: live.append(state) or 1 / 0)
            assert events(failing, kind, {"x": 1})[-1]["state"] is not live[0]
            good = single(lambda state, live=live: live.append(state) or {})
            assert all(event["state"] is not live[-1] for event in events(good, kind, {"x": 1}))
            stopping = single(lambda state, live=live: live.append(state) or {})
            stopping.compile(interrupt_after=["n"], checkpointer=MemoryCheckpointer())
            assert events(stopping, kind, {"x": 1})[-1]["state"] is not live[-1]

    def test_scoped_copies(self) -> None:
        """SG-49, SG-83: state shallow, config not at all."""
        given: dict[str, Any] = {"deep": []}
        config: dict[str, Any] = {"k": 1}

        def run(state: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
            state["deep"].append(1)
            config["touched"] = True
            return {"x": 1}

        got = single(run).execute_scoped(given, "n", "__end__", config=config)
        assert got == {"deep": [1], "x": 1} and got is not given
        assert given == {"deep": [1]} and config == {"k": 1, "touched": True}


class Box:
    """A mutable object of the user's."""

    def __init__(self, value: Any) -> None:
        self.value = value


class OwnList(list):  # type: ignore[type-arg]
    """A list subclass with an attribute."""


class Counted:
    """Decides itself what its deep copy is."""

    def __deepcopy__(self, memo: dict[int, Any]) -> str:
        return "copied by itself"


def random_value(dice: random.Random, made: list[Any], depth: int = 0) -> Any:
    """A nested value in which objects are shared, and some refer to themselves."""
    if made and dice.random() < 0.2:
        return dice.choice(made)
    kind = dice.randrange(13 if depth < 4 else 4)
    if kind < 4:
        return (None, 2**70, "text", b"bytes")[kind]
    if kind == 4:
        value: Any = bytearray(b"x")
    elif kind == 5:
        value = {1, "two", (3, 4)}
    elif kind == 6:
        return Counted()
    elif kind == 7:
        return (1, random_value(dice, made, depth + 1))
    else:
        value = ([], {}, OwnList(), OrderedDict(), Box(None))[kind - 8]
        made.append(value)
        for number in range(dice.randrange(4)):
            inner = random_value(dice, made, depth + 1)
            if isinstance(value, list):
                value.append(inner)
            elif isinstance(value, dict):
                value[f"k{number}"] = inner
            else:
                value.value = inner
        if isinstance(value, OwnList):
            value.note = [kind]  # type: ignore[attr-defined]
        return value
    made.append(value)
    return value


def anatomy(value: Any, seen: dict[int, int]) -> Any:
    """Types, contents and sharing of a value, as something that can be compared."""
    if value is None or isinstance(value, (int, str, bytes)):
        return value
    if id(value) in seen:
        return ("again", seen[id(value)])
    seen[id(value)] = len(seen)
    head = (type(value).__name__, seen[id(value)])
    if isinstance(value, dict):
        body = [(key, anatomy(inner, seen)) for key, inner in value.items()]
    elif isinstance(value, (list, tuple)):
        body = [anatomy(inner, seen) for inner in value]
    elif isinstance(value, (set, bytearray)):
        return (*head, repr(sorted(map(repr, value))))
    else:
        body = []
    return (
        *head,
        body,
        [(key, anatomy(inner, seen)) for key, inner in sorted(getattr(value, "__dict__", {}).items())],
    )


@pytest.mark.parametrize("seed", range(60))
def test_branches_get_a_true_deep_copy(seed: int, kind: str) -> None:
    """SG-49, SG-74: the copy cannot be told from `copy.deepcopy`, in types, contents and sharing."""
    made: list[Any] = []
    dice = random.Random(seed)
    state = {f"s{number}": random_value(dice, made) for number in range(6)}
    before = anatomy(state, {})
    seen: list[Any] = []
    graph = fan({"a": lambda state: seen.append(state)})
    events(graph, kind, state)
    got = {key: value for key, value in seen[0].items() if key != "result"}
    assert anatomy(got, {})[2] == anatomy(copy.deepcopy(state), {})[2]
    assert anatomy(state, {}) == before
    originals = {id(value) for value in made}
    stack: list[Any] = [got]
    visited: set[int] = set()
    while stack:
        value = stack.pop()
        if id(value) in visited:
            continue
        visited.add(id(value))
        assert id(value) not in originals
        stack += (
            value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else []
        )
        stack += getattr(value, "__dict__", {}).values()
