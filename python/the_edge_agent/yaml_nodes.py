"""Nodes of agents: functions for nodes that are described as in an agent, their spans, their streams."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from .stategraph import StateGraph

__all__ = ["NodeFactory", "NodeStreamsConfig", "StreamSettings"]

logger = logging.getLogger("the_edge_agent.yaml_nodes")


class NodeFactory:
    """Makes functions of nodes that are described as in an agent; the library does their work."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._lua_runtime: Any = None
        self._prolog_runtime: Any = None

    def create_run_function(self, node: dict[str, Any]) -> Callable[..., Any] | None:
        """The function of a node; None for one without work. A missing name is made up."""
        return self._function({"name": "node", **node})

    def _function(self, node: dict[str, Any]) -> Callable[..., Any] | None:
        from ._native.graph import NativeNode

        engine = self._engine
        # Where a run goes next is no part of a node's work.
        node = {key: value for key, value in node.items() if key not in ("goto", "interrupt")}
        agent = engine._agent({"settings": engine._config.get("settings") or {}, "nodes": [node]}, {})
        agent.replace(
            variables=engine.variables or {},
            secrets=engine.secrets or {},
            data=engine.data or {},
            llm_settings=engine.llm_settings or {},
            checkpoint=engine._checkpoint_root,
        )
        number = agent.info["nodes"][0]["program"]
        return None if number is None else NativeNode(agent, number, node["name"])

    def _create_action_function(
        self, action_name: str, params: Any, output_config: Any = None
    ) -> Callable[..., Any]:
        """The function of a node that uses an action; `output_config` is its `output`."""
        node = {"name": action_name, "uses": action_name, "with": params}
        if output_config is not None:
            node["output"] = output_config
        function = self._function(node)
        assert function is not None
        return function

    def add_node_from_config(self, graph: StateGraph, node: dict[str, Any]) -> None:
        """Adds a node. Raises KeyError without a name, ValueError for a name that is taken."""
        add = graph.add_fanin_node if node.get("fan_in") else graph.add_node
        add(node["name"], self._function(node))

    def build_stream_registry(self, config: dict[str, Any], parallel_strategy: str) -> Any:
        """The channels between the nodes of an agent; None unless `settings.parallel.streams` enables them."""
        settings = StreamSettings.from_dict(config.get("settings") or {})
        if not settings.enabled:
            return None
        try:
            from importlib import import_module

            streams = import_module("the_edge_agent.streams")
        except ImportError:
            logger.warning("settings.parallel.streams has no effect: channels are not part of this release")
            return None
        streams.validate_platform()
        if parallel_strategy != "process":
            raise ValueError(
                f"Streams require parallel_strategy: process, got '{parallel_strategy}'. "
                "Add 'settings.parallel.strategy: process' to your YAML."
            )
        return streams.build_registry(config)


class NodeStreamsConfig:
    """The channels of a node by name."""

    def __init__(
        self, stdin: str | None = None, stdout: str | None = None, stderr: str | None = None
    ) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr

    @classmethod
    def from_dict(cls, node: dict[str, Any]) -> NodeStreamsConfig | None:
        """Of a node; None without `streams`."""
        streams = node.get("streams")
        if not streams:
            return None
        return cls(streams.get("stdin"), streams.get("stdout"), streams.get("stderr"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NodeStreamsConfig) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return f"NodeStreamsConfig(stdin={self.stdin!r}, stdout={self.stdout!r}, stderr={self.stderr!r})"


class StreamSettings:
    """`settings.parallel.streams`: whether channels are on, their buffer in bytes, their timeout in seconds."""

    def __init__(self, enabled: bool = False, buffer_size: int = 65536, timeout: float | None = None) -> None:
        self.enabled = enabled
        self.buffer_size = buffer_size
        self.timeout = timeout

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> StreamSettings:
        """Of the section `settings` of an agent."""
        streams = (settings.get("parallel") or {}).get("streams") or {}
        return cls(streams.get("enabled", False), streams.get("buffer_size", 65536), streams.get("timeout"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StreamSettings) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return f"StreamSettings(enabled={self.enabled!r}, buffer_size={self.buffer_size!r}, timeout={self.timeout!r})"


def traced(engine: Any, graph: StateGraph, nodes: list[dict[str, Any]]) -> None:
    """Puts the functions of a graph's nodes between spans and events, as the engine's settings say."""
    for node in nodes:
        attributes = graph._structure.nodes[node["name"]]
        function = attributes.get("run")
        if function is None:
            continue
        if engine._auto_trace and engine._trace_context is not None:
            function = _spanned(engine._trace_context, node, function)
        if engine._enable_observability:
            function = _observed(engine._observability_context, node, function)
        attributes["run"] = function


def _spanned(context: Any, node: dict[str, Any], function: Callable[..., Any]) -> Callable[..., Any]:
    action = node.get("uses")

    def run(state: Any, **more: Any) -> Any:
        context.start_span(node["name"], metadata={"node": node["name"], "action_type": action or "inline"})
        begin = time.time()
        try:
            result = function(state=state, **more)
        except Exception as error:
            context.end_span(status="error", error=str(error))
            raise
        milliseconds = (time.time() - begin) * 1000
        metrics: dict[str, Any] = {"duration_ms": milliseconds, **_tokens(result)}
        if action in ("http.get", "http.post"):
            metrics["http_latency_ms"] = milliseconds
        context.log_event(metrics=metrics)
        context.end_span(status="ok")
        return result

    return run


def _observed(context: Any, node: dict[str, Any], function: Callable[..., Any]) -> Callable[..., Any]:
    name = node["name"]
    metadata = {"node": name, "action_type": node.get("uses") or "inline"}

    def run(state: Any, **more: Any) -> Any:
        state["_observability"] = {"flow_id": context.flow_id, "enabled": True}
        context.start_node_span(name, metadata)
        try:
            result = function(state=state, **more)
        except Exception as error:
            context.end_node_span(name, "error", str(error))
            raise
        usage = result.get("usage") if isinstance(result, dict) else None
        context.end_node_span(name, "ok", usage=usage if isinstance(usage, dict) else None)
        return result

    return run


def _tokens(result: Any) -> dict[str, Any]:
    usage = result.get("usage") if isinstance(result, dict) else None
    if not isinstance(usage, dict):
        return {}
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {name: usage[name] for name in names if name in usage}
