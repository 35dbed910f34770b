"""Proves that an installed package works: one graph of every basic kind, with nothing but the package itself.

Run by ci/clean_install.sh with a Python whose environment holds only the wheel and its dependency.
"""

from __future__ import annotations

import logging
import sys
import sysconfig
import tempfile
from pathlib import Path

import the_edge_agent
from the_edge_agent import END, START, StateGraph


def add_one(state: dict[str, int]) -> dict[str, int]:
    return {"n": state["n"] + 1}


def build() -> StateGraph:
    """START -> step -> step (until n is 5) -> last -> END."""
    graph = StateGraph({"n": int})
    graph.add_node("step", run=add_one)
    graph.add_node("last", run=lambda state: {"done": True})
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", lambda state: state["n"] < 5, {True: "step", False: "last"})
    graph.add_edge("last", END)
    return graph


def main() -> None:
    place = Path(the_edge_agent.__file__).resolve()
    library = Path(sysconfig.get_paths()["platlib"]).resolve()
    assert library in place.parents, f"imported from {place}, expected the installed package below {library}"

    events = list(build().compile().stream({"n": 0}))
    assert [event["type"] for event in events] == ["state"] * 6 + ["final"], events
    assert events[-1]["state"] == {"n": 5, "done": True}, events[-1]

    with tempfile.TemporaryDirectory() as folder:
        graph = build().compile(interrupt_before=["last"], checkpoint_dir=folder)
        (stop,) = graph.invoke({"n": 0})
        assert stop["type"] == "interrupt" and Path(stop["checkpoint_path"]).parent == Path(folder), stop
        (final,) = build().invoke(None, checkpoint=stop["checkpoint_path"])
        assert final["type"] == "final" and final["state"] == {"n": 5, "done": True}, final

    def fail(state: dict[str, int]) -> None:
        raise LookupError("no such thing")

    graph = StateGraph(dict, raise_exceptions=True, log_level=logging.CRITICAL)
    graph.add_node("bad", run=fail)
    graph.set_entry_point("bad")
    graph.set_finish_point("bad")
    try:
        list(graph.invoke({}))
    except RuntimeError as error:
        assert isinstance(error.__cause__, LookupError), error.__cause__
    else:
        raise AssertionError("the node's error was lost")

    assert build().to_mermaid().startswith("graph TD\n    __start__((Start))")
    print(f"smoke: {the_edge_agent.__version__} works on Python {sys.version.split()[0]}, {place.parent}")


if __name__ == "__main__":
    main()
