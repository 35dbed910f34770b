"""The same small workloads for a bare loop, libtea, and the peers that are installed.

Each contestant offers some of `chain`, `loop`, `stream`: they build once and give a function that runs the
whole workload and returns its final counter (for `stream`, the number of events): wrong results are noticed.
Node functions are the same everywhere: read `k`, give back `k + 1`.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterator
from typing import Any

State = dict[str, Any]
Run = Callable[[], int]


def step(state: State) -> State:
    return {"k": state["k"] + 1}


def steps(n: int) -> list[Callable[[State], State]]:
    """n distinct function objects, as in a real graph."""

    def one() -> Callable[[State], State]:
        return lambda state: {"k": state["k"] + 1}

    return [one() for _ in range(n)]


class Bare:
    """What the work itself costs: calls and dict updates, nothing around them."""

    @staticmethod
    def chain(n: int, extra: State) -> Run:
        functions = steps(n)

        def run() -> int:
            state = {**extra, "k": 0}
            for function in functions:
                state.update(function(state))
            return state["k"]

        return run

    @staticmethod
    def loop(n: int) -> Run:
        def again(state: State) -> bool:
            return state["k"] < n

        def run() -> int:
            state: State = {"k": 0}
            while True:
                state.update(step(state))
                if not again(state):
                    return state["k"]

        return run

    @staticmethod
    def stream(n: int, extra: State) -> Run:
        functions = [(f"n{i}", function) for i, function in enumerate(steps(n))]

        def events() -> Iterator[State]:
            state = {**extra, "k": 0}
            for name, function in functions:
                state.update(function(state))
                yield {"type": "state", "node": name, "state": state.copy()}

        def run() -> int:
            return sum(1 for _ in events())

        return run


class Tea:
    """libtea, through its Python package."""

    @staticmethod
    def _chain(n: int) -> Any:
        from the_edge_agent import StateGraph

        graph = StateGraph({"k": int})
        for i, function in enumerate(steps(n)):
            graph.add_node(f"n{i}", run=function)
        for i in range(n - 1):
            graph.add_edge(f"n{i}", f"n{i + 1}")
        graph.set_entry_point("n0")
        graph.set_finish_point(f"n{n - 1}")
        return graph.compile()

    @staticmethod
    def chain(n: int, extra: State) -> Run:
        graph = Tea._chain(n)

        def run() -> int:
            (final,) = graph.invoke({**extra, "k": 0})
            return int(final["state"]["k"])

        return run

    @staticmethod
    def loop(n: int) -> Run:
        from the_edge_agent import END, StateGraph

        graph = StateGraph({"k": int})
        graph.add_node("step", run=step)
        graph.set_entry_point("step")
        graph.add_conditional_edges("step", lambda state: state["k"] < n, {True: "step", False: END})
        graph.compile()

        def run() -> int:
            (final,) = graph.invoke({"k": 0})
            return int(final["state"]["k"])

        return run

    @staticmethod
    def stream(n: int, extra: State) -> Run:
        graph = Tea._chain(n)

        def run() -> int:
            return sum(event["type"] == "state" for event in graph.stream({**extra, "k": 0}))

        return run


class PocketFlow:
    """PocketFlow, a hundred lines of pure Python. It has no stream of events."""

    @staticmethod
    def _node(
        run: Callable[[State], State], after: Callable[[State], str | None] = lambda shared: None
    ) -> Any:
        from pocketflow import Node

        class Step(Node):
            def post(self, shared: State, prep_res: Any, exec_res: Any) -> str | None:
                shared.update(run(shared))
                return after(shared)

        return Step()

    @staticmethod
    def chain(n: int, extra: State) -> Run:
        from pocketflow import Flow

        nodes = [PocketFlow._node(function) for function in steps(n)]
        for left, right in itertools.pairwise(nodes):
            left >> right
        flow = Flow(start=nodes[0])

        def run() -> int:
            shared = {**extra, "k": 0}
            flow.run(shared)
            return shared["k"]

        return run

    @staticmethod
    def loop(n: int) -> Run:
        from pocketflow import Flow

        node = PocketFlow._node(step, lambda shared: "again" if shared["k"] < n else "stop")
        node - "again" >> node
        node - "stop" >> PocketFlow._node(lambda shared: {})
        flow = Flow(start=node)

        def run() -> int:
            shared: State = {"k": 0}
            flow.run(shared)
            return shared["k"]

        return run


class LangGraph:
    """LangGraph without a checkpointer."""

    @staticmethod
    def _schema(extra: State) -> Any:
        from typing import TypedDict

        return TypedDict("Schema", {"k": int, **dict.fromkeys(extra, object)})  # type: ignore[operator]

    @staticmethod
    def _chain(n: int, extra: State) -> Any:
        from langgraph.graph import END, START, StateGraph

        graph = StateGraph(LangGraph._schema(extra))
        for i, function in enumerate(steps(n)):
            graph.add_node(f"n{i}", function)
        for left, right in zip(
            [START, *(f"n{i}" for i in range(n))], [*(f"n{i}" for i in range(n)), END], strict=True
        ):
            graph.add_edge(left, right)
        return graph.compile()

    @staticmethod
    def chain(n: int, extra: State) -> Run:
        app = LangGraph._chain(n, extra)
        config = {"recursion_limit": n + 10}
        return lambda: int(app.invoke({**extra, "k": 0}, config)["k"])

    @staticmethod
    def loop(n: int) -> Run:
        from langgraph.graph import END, START, StateGraph

        graph = StateGraph(LangGraph._schema({}))
        graph.add_node("step", step)
        graph.add_edge(START, "step")
        graph.add_conditional_edges("step", lambda state: state["k"] < n, {True: "step", False: END})
        app = graph.compile()
        config = {"recursion_limit": n + 10}
        return lambda: int(app.invoke({"k": 0}, config)["k"])

    @staticmethod
    def stream(n: int, extra: State) -> Run:
        app = LangGraph._chain(n, extra)
        config = {"recursion_limit": n + 10}
        return lambda: sum(1 for _ in app.stream({**extra, "k": 0}, config, stream_mode="values")) - 1


PACKAGES = {"tea": "the_edge_agent", "pocketflow": "pocketflow", "langgraph": "langgraph"}
IMPORTS = {
    "tea": "from the_edge_agent import StateGraph",
    "pocketflow": "from pocketflow import Flow, Node",
    "langgraph": "from langgraph.graph import StateGraph",
}
CONTESTANTS: dict[str, Any] = {"bare": Bare, "tea": Tea, "pocketflow": PocketFlow, "langgraph": LangGraph}


def present() -> list[str]:
    """Names of the contestants that can run here; the bare loop comes first."""
    return ["bare", *(name for name, package in PACKAGES.items() if importlib.util.find_spec(package))]
