"""Helpers shared by the tests of graphs and checkpoints."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from the_edge_agent import StateGraph

LOGGER = "the_edge_agent.stategraph"

KINDS = ("invoke", "stream")


def trail(state: dict[str, Any], node: Any) -> dict[str, Any]:
    """Node function: append the node's name to the list `trail` of the state, without mutating it."""
    return {"trail": [*state.get("trail", []), node]}


def chain(*names: str, run: Callable[..., Any] = trail, **options: Any) -> StateGraph:
    """Graph of nodes in a row from START to END, each with the same function."""
    graph = StateGraph(dict, **options)
    for name in names:
        graph.add_node(name, run=run)
    graph.set_entry_point(names[0])
    for left, right in itertools.pairwise(names):
        graph.add_edge(left, right)
    graph.set_finish_point(names[-1])
    return graph


def single(run: Any, **options: Any) -> StateGraph:
    """Graph of one node `n` between START and END."""
    return chain("n", run=run, **options)


def fan(branches: dict[str, Any], join: Any = None, start: Any = None, **options: Any) -> StateGraph:
    """Graph `s` -> branches -> fan-in `j` -> END; the keys of `branches` are node names, values functions."""
    graph = StateGraph(dict, **options)
    graph.add_node("s", run=start)
    graph.add_fanin_node("j", run=join)
    for name, run in branches.items():
        graph.add_node(name, run=run)
        graph.add_parallel_edge("s", name, "j")
        graph.add_edge(name, "j")
    graph.set_entry_point("s")
    graph.set_finish_point("j")
    return graph


def events(graph: StateGraph, kind: str, state: Any, **arguments: Any) -> list[dict[str, Any]]:
    """All events of one run; `kind` is the name of the method."""
    return list(getattr(graph, kind)(state, **arguments))


def final(graph: StateGraph, state: Any, **arguments: Any) -> dict[str, Any]:
    """State of the final event of a run by `invoke`; anything but one final event is a failure."""
    got = list(graph.invoke(state, **arguments))
    assert [event["type"] for event in got] == ["final"], got
    return got[0]["state"]


def types(got: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in got]


def places(got: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """Type and node of each event, None where an event has no node."""
    return [(event["type"], event.get("node")) for event in got]


def drain(source: Iterator[dict[str, Any]], into: list[dict[str, Any]]) -> None:
    """Append events one by one, so that those before an exception are kept."""
    for event in source:
        into.append(event)


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Inside, file permissions count: a privileged process works as user `nobody`.

    Modules that are imported on demand must have been imported before."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def script(code: str, *arguments: str, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
    """Run Python code in a fresh interpreter; `sys.argv[1:]` are the arguments."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def script_ok(code: str, *arguments: str, timeout: float = 30.0) -> str:
    """Like `script`; exit code 0 and an empty stderr are demanded, stdout is returned."""
    done = script(code, *arguments, timeout=timeout)
    assert (done.returncode, done.stderr) == (0, ""), (done.returncode, done.stdout, done.stderr)
    return done.stdout
