"""Memory stays flat over many runs, over one long run, and over many graphs."""

from __future__ import annotations

import contextlib
import gc
import os
import weakref
from typing import Any

import pytest
from support import chain, fan

from the_edge_agent import END, StateGraph

pytestmark = pytest.mark.skipif(
    not os.path.exists("/proc/self/statm"), reason="reads resident memory from /proc"
)

MIB = 1 << 20


def resident() -> int:
    """Resident memory of this process in bytes, native allocations included, after a collection."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def growth(work: Any, warm: int, rounds: int) -> int:
    """Growth in bytes over `rounds` calls, after `warm` calls that fill caches."""
    for _ in range(warm):
        work()
    before = resident()
    for _ in range(rounds):
        work()
    return resident() - before


def test_hundred_thousand_runs() -> None:
    """SG-105: nothing is kept of a finished run. A leak of 100 bytes per run would show."""
    made = chain("a", "b", run=lambda: {"x": 1})

    def work() -> None:
        for _event in made.invoke({"n": 1}):
            pass

    assert growth(work, 5_000, 95_000) < 6 * MIB


def test_one_run_of_a_million_steps() -> None:
    """SG-32: nothing is kept of a step that is done."""
    marks: dict[int, int] = {}

    def step(state: dict[str, Any]) -> dict[str, Any]:
        number = state["n"] + 1
        if number in (100_000, 1_000_000):
            marks[number] = resident()
        return {"n": number}

    made = StateGraph(dict)
    made.add_node("n", run=step)
    made.set_entry_point("n")
    made.add_conditional_edges("n", lambda state: state["n"] < 1_000_000, {True: "n", False: END})
    assert list(made.invoke({"n": 0}))[-1]["state"] == {"n": 1_000_000}
    assert marks[1_000_000] - marks[100_000] < 4 * MIB


@pytest.mark.parametrize("what", ["streams", "dropped", "errors", "raised", "graphs", "parallel", "growing"])
def test_other_ways(what: str) -> None:
    """SG-28, SG-63, SG-103: streams read to the end, generators dropped half-way, failing runs, whole graphs,
    fan-outs, and a graph that gets a node in each run and loses it again."""
    good = chain("a", "b", "c", run=lambda: {"x": 1}, log_level=60)
    bad = chain("a", run=lambda: 1 / 0, log_level=60)
    hard = chain("a", run=lambda: 1 / 0, log_level=60, raise_exceptions=True)
    forked = fan({"a": lambda: {"x": 1}, "b": lambda: {"y": 1}}, log_level=60)

    def streams() -> None:
        for _event in good.stream({}):
            pass

    def dropped() -> None:
        next(good.stream({}))

    def errors() -> None:
        list(bad.invoke({}))

    def raised() -> None:
        with pytest.raises(RuntimeError):
            list(hard.invoke({}))

    def graphs() -> None:
        list(chain("a", "b", run=lambda: {"x": 1}, log_level=60).invoke({}))

    def parallel() -> None:
        list(forked.invoke({}))

    def growing() -> None:
        good.add_node("extra", run=lambda: {})
        good.add_edge("extra", END)
        list(good.invoke({}))
        good.graph.remove_node("extra")

    rounds = {"parallel": 1_000, "graphs": 3_000, "raised": 5_000, "growing": 3_000}.get(what, 10_000)
    assert growth(locals()[what], rounds // 5, rounds) < 4 * MIB


class Thing:
    """An object whose end can be seen."""


@pytest.mark.parametrize(
    "end", ["final", "error", "raised", "interrupt", "closed", "dropped", "branches", "condition"]
)
def test_objects_of_a_run_are_released(end: str) -> None:
    """SG-103, D1: when a run is over, however it ends, the library holds no reference to its objects."""
    things: list[weakref.ref[Thing]] = []

    def make() -> dict[str, Any]:
        thing = Thing()
        things.append(weakref.ref(thing))
        return {"thing": thing}

    made = fan({"b": make}, start=make) if end == "branches" else chain("a", "b", run=make, log_level=60)
    if end in ("error", "raised"):
        made.node("b")["run"] = lambda: 1 / 0
        made.raise_exceptions = end == "raised"
    if end == "interrupt":
        made.interrupt_before = ["b"]
    if end == "condition":
        made.edge("a", "b")["cond"] = lambda: 1 / 0

    def run() -> None:
        given = {"given": (thing := Thing())}
        things.append(weakref.ref(thing))
        events = made.stream(given)
        if end in ("closed", "dropped"):
            next(events)
            if end == "closed":
                events.close()
        else:
            with contextlib.suppress(RuntimeError, ZeroDivisionError):
                list(events)

    run()
    gc.collect()
    assert len(things) >= 2 and [thing() for thing in things] == [None] * len(things)
