"""Random sequential graphs against a plain re-telling of the main loop: events, exceptions and records."""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import LOGGER

from the_edge_agent import END, START, MemoryCheckpointer, StateGraph

SEEDS = range(150)

D, I, W, E = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR  # noqa: E741


class Plan:
    """A random graph as data: `runs` name -> function or None, `edges` name -> {target: (condition, map)}."""

    def __init__(self, seed: int) -> None:
        dice = random.Random(seed)
        self.names = [f"n{number}" for number in range(dice.randint(2, 5))]
        self.runs: dict[str, Any] = {name: self.function(dice.choice("ccccnrpm")) for name in self.names}
        self.edges: dict[str, dict[str, Any]] = {name: {} for name in [START, END, *self.names]}
        self.calls: list[tuple[Any, ...]] = []
        for name in [START, *self.names]:
            for _ in range(dice.choice((1, 1, 2, 2, 3)) if name == START or dice.random() < 0.95 else 0):
                self.add(dice, name)
        self.raise_exceptions = dice.random() < 0.3
        self.values = dice.random() < 0.3
        stops = [name for name in [START, END, *self.names] if dice.random() < 0.25]
        self.before = [name for name in stops if dice.random() < 0.7]
        self.after = [name for name in stops if dice.random() < 0.5]

    def add(self, dice: random.Random, name: str) -> None:
        """One call of an edge method; a node without function gets conditional edges, so that loops end."""
        targets = [END, *self.names]
        if name != START and (self.runs[name] is None or dice.random() < 0.6):
            size = dice.randint(1, 3)
            mapping = {number: dice.choice(targets) for number in range(size) if dice.random() < 0.85}
            condition = self.condition(size)
            self.calls.append(("add_conditional_edges", name, condition, mapping))
            for target in mapping.values():
                self.edges[name][target] = (condition, mapping)
        else:
            target = dice.choice(targets)
            self.calls.append(("add_edge", name, target))
            self.edges[name][target] = (lambda state: True, {True: target})

    @staticmethod
    def function(kind: str) -> Callable[..., Any] | None:
        def run(state: dict[str, Any], node: str) -> Any:
            if state["c"] >= 25:
                raise OverflowError(f"enough of {node}")
            if kind == "r" and state["c"] % 3 == 2:
                state["half"] = node
                raise KeyError(node)
            if kind == "m":
                state["c"] += 1
                return None
            return {"c": state["c"] + 1} if kind == "c" else state.update(c=state["c"] + 1) or [node]

        return None if kind == "p" else run

    @staticmethod
    def condition(size: int) -> Callable[..., Any]:
        def choose(state: dict[str, Any]) -> int:
            state["q"] += 1
            if state["q"] > 40:
                raise ZeroDivisionError("too many questions")
            return (state["c"] + state["q"]) % size

        return choose

    def graph(self) -> StateGraph:
        made = StateGraph(dict, self.raise_exceptions, None, D, self.values)
        for name, run in self.runs.items():
            made.add_node(name, run=run)
        for method, *arguments in self.calls:
            getattr(made, method)(*arguments)
        return made


class Oracle:
    """The main loop of SG-107 without parallel edges, with the targets of SG-111."""

    def __init__(self, plan: Plan, kind: str) -> None:
        self.plan, self.kind, self.lines = plan, kind, []
        self.kept: tuple[dict[str, Any], str, str] | None = None

    def log(self, level: int, text: str, *, value: bool = False) -> None:
        if self.plan.values or not value:
            self.lines.append((level, text))

    def fail(self, node: str, state: dict[str, Any], text: str, cause: Any = None) -> dict[str, Any]:
        if self.plan.raise_exceptions:
            raise RuntimeError(f"Error in node '{node}': {text}" if cause else text) from cause
        return {"type": "error", "node": node, "error": text, "state": state.copy()}

    def stop(self, node: str, state: dict[str, Any], when: str) -> dict[str, Any]:
        self.log(I, "Checkpoint saved to memory: 'ID'")
        self.kept = (state.copy(), node, when)
        name = "interrupt" if self.kind == "invoke" else f"interrupt_{when}"
        return {"type": name, "node": node, "state": state.copy(), "checkpoint_path": "ID"}

    def fresh(self, state: dict[str, Any]) -> Iterator[dict[str, Any]]:
        word = "stream execution" if self.kind == "stream" else "execution"
        self.log(D, f"Starting {word} with state keys: {list(state)}")
        self.log(D, f"Initial state: {state}", value=True)
        yield from self.loop(state.copy(), START, output=self.kind == "invoke")

    def resumed(self) -> Iterator[dict[str, Any]]:
        assert self.kept is not None
        state, node, when = self.kept
        one, two = ("stream ", "stream") if self.kind == "stream" else ("", "execution")
        self.log(I, f"Resuming {one}from checkpoint at node '{node}'")
        self.log(D, f"Resuming {two} from node '{node}' with state keys: {list(state)}")
        self.log(D, f"Resume state: {state}", value=True)
        both = node in self.plan.before and node in self.plan.after
        skip = node in self.plan.after and not (both and when == "before")
        yield from self.loop(state.copy(), node, resumed=True, skip=skip)

    def loop(
        self,
        state: dict[str, Any],
        node: str,
        output: bool = False,
        resumed: bool = False,
        skip: bool = False,
    ) -> Iterator[dict[str, Any]]:
        plan = self.plan
        while node != END:
            if not resumed and node in plan.before:
                yield self.stop(node, state, "before")
                return
            run = plan.runs.get(node)
            if run and not skip:
                self.log(D, f"Entering node: {node}")
                self.log(D, f"Node '{node}' input state: {state}", value=True)
                try:
                    result = run(state, node)
                except Exception as error:
                    self.log(E, f"Error in node '{node}': {error}")
                    yield self.fail(node, state, str(error), error)
                    return
                state.update(result if isinstance(result, dict) else {"result": result})
                self.log(I, f"Node '{node}' completed successfully")
                self.log(D, f"Node '{node}' output state: {state}", value=True)
                if self.kind == "stream":
                    yield {"type": "state", "node": node, "state": state.copy()}
            if not skip and node in plan.after:
                yield self.stop(node, state, "after")
                return
            resumed = skip = False
            following = None
            for target, (condition, mapping) in plan.edges[node].items():
                result = condition(state)
                self.log(D, f"Edge '{node}' -> '{target}': condition result = {result}")
                following = mapping.get(result)
                if following is not None:
                    self.log(D, f"Transitioning from '{node}' to '{following}'")
                    break
            if following is None:
                text = f"No valid next node found from node '{node}'"
                if plan.edges[node]:
                    self.log(W, text)
                yield self.fail(node, state, text)
                return
            node = following
        self.log(I, f"{'Stream execution' if self.kind == 'stream' else 'Execution'} completed successfully")
        self.log(D, f"Final state keys: {list(state)}")
        self.log(D, f"Final state: {state}", value=True)
        yield {"type": "final", "state": state, **({"output": None} if output else {})}


def outcome(run: Iterator[dict[str, Any]]) -> tuple[list[list[tuple[str, Any]]], Any]:
    """Events as lists of pairs, so that key order counts, and what was raised."""
    got: list[list[tuple[str, Any]]] = []
    try:
        for event in run:
            shown = {**event, "state": list(event["state"].items())}
            if "checkpoint_path" in event:
                shown["checkpoint_path"] = "ID"
            got.append(list(shown.items()))
    except Exception as error:
        return got, (type(error), str(error), type(error.__cause__), str(error.__cause__))
    return got, None


@pytest.mark.parametrize("seed", SEEDS)
def test_against_the_oracle(seed: int, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """SG-107, SG-110, SG-111, SG-44, SG-52 to SG-58, SG-63, SG-91; resumed up to six times: CP-27, CP-58."""
    plan = Plan(seed)
    made, store = plan.graph(), MemoryCheckpointer()
    made.compile(plan.before, plan.after, checkpointer=store)
    oracle = Oracle(plan, kind)
    given = {"c": seed % 4, "q": 0}
    expected, actual = oracle.fresh(given), getattr(made, kind)(given)
    for _ in range(7):
        caplog.clear()
        oracle.lines.clear()
        want = outcome(expected)
        assert outcome(actual) == want
        records = [
            (level, re.sub(r"memory: '.*'", "memory: 'ID'", text)) for _, level, text in caplog.record_tuples
        ]
        assert records == oracle.lines
        assert {name for name, _, _ in caplog.record_tuples} == {LOGGER}
        if not want[0] or not dict(want[0][-1])["type"].startswith("interrupt"):
            break
        expected, actual = oracle.resumed(), getattr(made, kind)(None, checkpoint=store.list()[-1])


def test_the_random_graphs_are_worth_it() -> None:
    """The plans above reach every kind of ending, and interrupts, often enough to prove something."""
    seen: dict[Any, int] = {}
    for seed in SEEDS:
        oracle = Oracle(Plan(seed), "stream")
        run = oracle.fresh({"c": seed % 4, "q": 0})
        for _ in range(7):
            got, raised = outcome(run)
            kind = raised[0].__name__ if raised else dict(got[-1])["type"]
            seen[kind] = seen.get(kind, 0) + 1
            if not kind.startswith("interrupt"):
                break
            run = oracle.resumed()
    for kind in (
        "final",
        "error",
        "RuntimeError",
        "interrupt_before",
        "interrupt_after",
        "ZeroDivisionError",
    ):
        assert seen.get(kind, 0) >= 3, seen
