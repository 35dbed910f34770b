"""Edges of agents: `goto`, implicit chaining, the list `edges`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .stategraph import StateGraph

__all__ = ["EdgeFactory"]


class EdgeFactory:
    """Adds edges that are described as in an agent to graphs."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._nodes_with_goto: set[str] = set()

    @property
    def nodes_with_goto(self) -> set[str]:
        """The names of the nodes of the last load that have a `goto`."""
        return self._nodes_with_goto

    def note(self, nodes: list[Any]) -> None:
        """Remembers which nodes have a `goto`."""
        self._nodes_with_goto = {node["name"] for node in nodes if node.get("goto") is not None}

    def process_goto_and_implicit_edges(self, graph: StateGraph, nodes: Any, edges: Any) -> None:
        """Adds the edges of `goto` and of the order of the nodes; `edges` is the list of the agent, which decides
        where no implicit ones are needed, and is not added itself."""
        self.note(nodes)
        agent = self._described(nodes, edges or [])
        given = {(edge.get("from"), edge.get("to")) for edge in edges or []}
        self._take(graph, agent, lambda source, target: (source, target) not in given)

    def add_edge_from_config(self, graph: StateGraph, edge: dict[str, Any]) -> None:
        """Adds one edge of the list `edges`."""
        names = [name for name in graph._structure.nodes if name not in ("__start__", "__end__")]
        agent = self._described([{"name": name} for name in names], [edge])
        ends = (edge.get("from", "__start__"), edge.get("to"))
        if edge.get("type") == "entry":
            ends = ("__start__", edge.get("to"))
        elif edge.get("type") == "finish":
            ends = (edge.get("from"), "__end__")
        self._take(graph, agent, lambda source, target: (source, target) == ends)

    def _described(self, nodes: list[Any], edges: list[Any]) -> Any:
        only = [{key: node[key] for key in ("name", "goto", "fan_in") if key in node} for node in nodes]
        return self._engine._agent({"nodes": only, "edges": edges}, {})

    def _take(self, graph: StateGraph, agent: Any, wanted: Any) -> None:
        from ._native.graph import NativeCondition

        roots = {name: getattr(self._engine, name) or {} for name in ("variables", "secrets", "data")}
        agent.replace(**roots)
        for edge in agent.info["edges"]:
            source, target, number = edge["from"], edge["to"], edge["condition"]
            if not wanted(source, target):
                continue
            if edge["fan_in"] is not None:
                graph.add_parallel_edge(source, target, edge["fan_in"])
            elif number is None:
                graph.add_edge(source, target)
            else:
                graph.add_conditional_edges(source, NativeCondition(agent, number), {True: target})

    def _evaluate_goto_condition(self, expression: Any, state: Any, result: Any = None) -> bool:
        truth: bool = self._engine._template_processor.evaluate_goto(expression, state, result)
        return truth
