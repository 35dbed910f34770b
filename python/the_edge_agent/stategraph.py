"""`StateGraph`: graphs of Python functions over a shared state.

Nodes get the state and return updates; edges, conditions, branches, interrupts and errors are libtea's business
(`_native`). This module is the public face: building, settings, and the hooks around a run.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from . import _hooks
from ._native.driver import (
    ANSWER_FAILED,
    ANSWER_RESPOND,
    FRESH,
    Start,
    drive,
    tell_failure,
    tell_status,
)
from ._native.graph import ALWAYS, Twin
from ._native.structure import Structure, networkx_view, structure_of
from .checkpoint import CheckpointMixin
from .visualization import VisualizationMixin

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from .parallel import CallbackManager, CircuitBreakerRegistry, ParallelConfig

    Event = dict[str, Any]

START = "__start__"
END = "__end__"

# Default of list parameters: callers append to the lists, so each call needs one of its own.
_NEW_LIST: Any = object()

# Names that are reachable here for compatibility, loaded on first use.
_PARALLEL = (
    "CallbackManager",
    "CancellationToken",
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitBreakerRegistry",
    "CircuitOpenError",
    "CircuitState",
    "ParallelConfig",
    "ParallelFlowCallback",
    "ParallelFlowContext",
    "ParallelFlowResult",
    "RetryExhaustedError",
    "RetryPolicy",
)


def __getattr__(name: str) -> Any:
    if name in _PARALLEL:
        from . import parallel as module
    elif name == "get_executor":
        from . import parallel_executors as module  # type: ignore[no-redef]
    elif name == "HTTPResponse":
        from .actions import http_response_actions as module  # type: ignore[no-redef]
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(module, name)
    globals()[name] = value
    return value


class StateGraph(CheckpointMixin, VisualizationMixin):
    """A graph of functions over a shared state.

    Args:
        state_schema: kept as it is, never used to check anything.
        raise_exceptions: a failing node raises RuntimeError instead of yielding an `error` event.
        max_workers: how many branches run at once; None is `min(32, cpu_count + 4)`.
        log_level: level of the logger `the_edge_agent.stategraph`, which all graphs share.
        log_state_values: records may show what is in the state.
        parallel_config: settings of parallel edges that have none of their own.

    All attributes may be changed at any time; a running graph sees changes at its next step.
    """

    # No `__getattr__`, and no use of `__dict__`, here or in the base classes: both slow down every look at an
    # attribute of a graph, and a run takes several of them at each step.

    callback_manager: CallbackManager | None

    def __init__(
        self,
        state_schema: Any,
        raise_exceptions: bool = False,
        max_workers: int | None = None,
        log_level: int = logging.WARNING,
        log_state_values: bool = False,
        parallel_config: ParallelConfig | None = None,
    ) -> None:
        self.state_schema = state_schema
        self._structure = Structure()
        self._view: Any = None
        self._twin_: Twin | None = None
        for name in (START, END):
            self._structure.add_node(name, {"run": None})
        self.interrupt_before: Any = []
        self.interrupt_after: Any = []
        self.raise_exceptions = raise_exceptions
        self.max_workers = max_workers
        self.log_state_values = log_state_values
        self.parallel_sync: dict[Any, Any] = {}
        self.logger = logging.getLogger("the_edge_agent.stategraph")
        self.logger.setLevel(log_level)
        self.checkpoint_dir: Any = None
        self.checkpointer: Any = None
        self._checkpoint_format = "pickle"
        self._interrupt_kinds: dict[Any, str] = {}
        self._issued_ids: tuple[int, set[str]] = (0, set())
        self._step_limit: int | None = None
        # Made when first asked for: their module costs more than all else that an import loads.
        self._parallel_config: ParallelConfig | None = parallel_config
        self._circuit_registry: CircuitBreakerRegistry | None = None
        self.callback_manager = None
        self._max_active_threads: int | None = None

    def __reduce_ex__(self, _protocol: Any) -> Any:
        raise TypeError("cannot pickle or copy a 'StateGraph': it holds functions and a graph of the library")

    @property
    def parallel_config(self) -> ParallelConfig:
        """Settings of parallel edges that have none of their own."""
        if self._parallel_config is None:
            from .parallel import ParallelConfig

            self._parallel_config = ParallelConfig()
        return self._parallel_config

    @parallel_config.setter
    def parallel_config(self, settings: ParallelConfig) -> None:
        self._parallel_config = settings

    @property
    def circuit_registry(self) -> CircuitBreakerRegistry:
        """The circuit breakers of the graph's branches."""
        if self._circuit_registry is None:
            from .parallel import CircuitBreakerRegistry

            self._circuit_registry = CircuitBreakerRegistry(scope="graph")
        return self._circuit_registry

    @circuit_registry.setter
    def circuit_registry(self, registry: CircuitBreakerRegistry) -> None:
        self._circuit_registry = registry

    # Structure

    @property
    def graph(self) -> Any:
        """The graph as a live `networkx.DiGraph`: changes of either show in the other. Loads networkx."""
        if self._view is None:
            self._view = networkx_view(self._structure)
        return self._view

    @graph.setter
    def graph(self, graph: Any) -> None:
        # A graph of the user's own is taken as it is now.
        self._structure = structure_of(graph)
        self._view = None
        self._twin_ = None

    def _twin(self) -> Twin:
        if self._twin_ is None:
            self._twin_ = Twin()
            self._configure()
        return self._twin_

    def _configure(self) -> None:
        if self._twin_ is not None:
            limit = self._step_limit
            self._twin_.configure(f'{{"step_limit":{"null" if limit is None else limit}}}')

    def add_node(self, node: Any, run: Callable[..., Any] | None = None) -> None:
        """Adds a node; without `run` it is passed through. Raises ValueError if it exists."""
        self._add_node(node, {"run": run})

    def add_fanin_node(self, node: Any, run: Callable[..., Any] | None = None) -> None:
        """Adds a node where branches join. Raises ValueError if it exists."""
        self._add_node(node, {"run": run, "fan_in": True})

    def _add_node(self, node: Any, attributes: dict[str, Any]) -> None:
        if node in self._structure.nodes:
            raise ValueError(f"Node '{node}' already exists in the graph.")
        if node is None:
            raise ValueError("None cannot be a node")
        self._structure.add_node(node, attributes)

    def add_edge(self, in_node: Any, out_node: Any) -> None:
        """Adds an unconditional edge. Raises ValueError for an unknown node."""
        nodes = self._structure.nodes
        if in_node not in nodes or out_node not in nodes:
            raise ValueError("Both nodes must exist in the graph.")
        self._add_edge(in_node, out_node)

    def _add_edge(self, source: Any, target: Any, **more: Any) -> None:
        structure = self._structure
        mapping = structure.filled({True: target})
        structure.add_edge(source, target, {"cond": ALWAYS, "cond_map": mapping, **more})

    def add_conditional_edges(self, in_node: Any, func: Callable[..., Any], cond: dict[Any, Any]) -> None:
        """Adds an edge for each target of `cond`, which maps values of `func` to node names.

        Raises ValueError for an unknown node, before anything is added.
        """
        nodes = self._structure.nodes
        if in_node not in nodes:
            raise ValueError(f"Node '{in_node}' does not exist in the graph.")
        for target in cond.values():
            if target not in nodes:
                raise ValueError(f"Target node '{target}' does not exist in the graph.")
        for target in cond.values():
            self._structure.add_edge(in_node, target, {"cond": func, "cond_map": cond})

    def add_parallel_edge(
        self, in_node: Any, out_node: Any, fan_in_node: Any, config: ParallelConfig | None = None
    ) -> None:
        """Adds an edge that starts a branch at `out_node`, which runs beside others until `fan_in_node`.

        `config`: settings of this branch instead of the graph's. Raises ValueError for an unknown node.
        """
        nodes = self._structure.nodes
        if in_node not in nodes or out_node not in nodes or fan_in_node not in nodes:
            raise ValueError("All nodes must exist in the graph.")
        self._add_edge(in_node, out_node, parallel=True, fan_in_node=fan_in_node, parallel_config=config)

    def set_entry_point(self, init_state: Any) -> None:
        """Adds the edge from `START`. Raises ValueError for an unknown node."""
        if init_state not in self._structure.nodes:
            raise ValueError(f"Node '{init_state}' does not exist in the graph.")
        self._add_edge(START, init_state)

    def set_finish_point(self, final_state: Any) -> None:
        """Adds the edge to `END`. Raises ValueError for an unknown node."""
        if final_state not in self._structure.nodes:
            raise ValueError(f"Node '{final_state}' does not exist in the graph.")
        self._add_edge(final_state, END)

    def node(self, node_name: Any) -> dict[str, Any]:
        """The node's attributes, live. Raises KeyError for an unknown node."""
        if node_name not in self._structure.nodes:
            raise KeyError(f"Node '{node_name}' not found in the graph")
        attributes: dict[str, Any] = self._structure.nodes[node_name]
        return attributes

    def edge(self, in_node: Any, out_node: Any) -> dict[str, Any]:
        """The edge's attributes, live. Raises KeyError for an unknown edge."""
        edges = self._structure.successors.get(in_node, {})
        if out_node not in edges:
            raise KeyError(f"Edge from '{in_node}' to '{out_node}' not found in the graph")
        attributes: dict[str, Any] = edges[out_node]
        return attributes

    def successors(self, node: Any) -> list[Any]:
        """Where the node's edges lead, in the order of the edges. Raises KeyError for an unknown node."""
        if node not in self._structure.nodes:
            raise KeyError(f"Node '{node}' not found in the graph")
        return list(self._structure.successors[node])

    def compile(
        self,
        interrupt_before: Any = _NEW_LIST,
        interrupt_after: Any = _NEW_LIST,
        checkpoint_dir: Any = None,
        checkpointer: Any = None,
        parallel_config: ParallelConfig | None = None,
        parallel_callbacks: Any = None,
        max_active_threads: int | None = None,
        circuit_breaker_scope: str = "graph",
        *,
        step_limit: int | None = None,
        checkpoint_format: str = "pickle",
    ) -> StateGraph:
        """Sets interrupts and storage, and returns the graph itself. Optional: a graph runs without it.

        Args:
            interrupt_before: names of nodes before which a run stops.
            interrupt_after: names of nodes after which a run stops.
            checkpoint_dir: folder for checkpoint files, made when the first one is written.
            checkpointer: object with `save` and `load` instead of files, such as `MemoryCheckpointer`.
            parallel_config: replaces the graph's settings of parallel edges.
            parallel_callbacks: callbacks for branches.
            max_active_threads: kept, without effect.
            circuit_breaker_scope: anything but "graph" gives the graph a new registry of circuit breakers.
            step_limit: how many nodes a run may enter; the run fails at the next one. None is no limit.
            checkpoint_format: "pickle", or "json" for files that other hosts can resume from.

        Raises ValueError for an unknown node, and for interrupts without a place to store checkpoints.
        """
        before: Any = [] if interrupt_before is _NEW_LIST else interrupt_before
        after: Any = [] if interrupt_after is _NEW_LIST else interrupt_after
        for name in before + after:
            if name not in self._structure.nodes:
                raise ValueError(f"Interrupt node '{name}' does not exist in the graph.")
        if (before or after) and not (checkpoint_dir or checkpointer):
            raise ValueError(
                "A checkpointer is required when using interrupt_before or interrupt_after. Provide either "
                "checkpoint_dir='/path' for file-based storage or checkpointer=MemoryCheckpointer() for "
                "in-memory storage."
            )
        if step_limit is not None and (not isinstance(step_limit, int) or step_limit < 1):
            raise ValueError(f"step_limit must be a number above 0 or None, not {step_limit!r}")
        if checkpoint_format not in ("pickle", "json"):
            raise ValueError(f"checkpoint_format must be 'pickle' or 'json', not {checkpoint_format!r}")
        self.interrupt_before, self.interrupt_after = before, after
        self.checkpoint_dir, self.checkpointer = checkpoint_dir, checkpointer
        self._checkpoint_format = checkpoint_format
        self._step_limit = step_limit
        self._configure()
        if parallel_config is not None:
            self.parallel_config = parallel_config
        if parallel_callbacks is not None:
            from .parallel import CallbackManager

            self.callback_manager = CallbackManager(callbacks=parallel_callbacks)
        if max_active_threads is not None:
            self._max_active_threads = max_active_threads
        if circuit_breaker_scope != "graph":
            from .parallel import CircuitBreakerRegistry

            self.circuit_registry = CircuitBreakerRegistry(scope=circuit_breaker_scope)
        return self

    # Running

    def invoke(
        self, input_state: Any = None, config: dict[str, Any] | None = None, checkpoint: Any = None
    ) -> Generator[Event, None, None]:
        """Runs the graph and yields what ends the run: `final`, `interrupt`, `error` or `http_response`.

        With `checkpoint` the run goes on from there, `input_state` (or None) is put over the stored state. Nothing
        happens before the first event is asked for.
        """
        yield from self._start(False, input_state, config, checkpoint)

    def stream(
        self, input_state: Any = None, config: dict[str, Any] | None = None, checkpoint: Any = None
    ) -> Generator[Event, None, None]:
        """As `invoke`, with an event for each executed node and each step of a branch."""
        yield from self._start(True, input_state, config, checkpoint)

    def _start(
        self, stream: bool, input_state: Any, config: dict[str, Any] | None, checkpoint: Any
    ) -> Iterator[Event]:
        if input_state is None and checkpoint is None:
            # CQ-4: the loader's `checkpoint` option.
            checkpoint = getattr(self, "_resume_checkpoint_path", None)
            if checkpoint is None:
                method = "stream" if stream else "invoke"
                raise ValueError(
                    "checkpoint parameter required when input_state is None. "
                    f"Use {method}(None, checkpoint='...') to resume from an interrupt."
                )
        if checkpoint is not None:
            return self._resume(stream, checkpoint, config, input_state)
        state = input_state.copy()
        config = {} if config is None else config.copy()
        if hasattr(self, "_input_schema") or hasattr(self, "_session_backend"):
            refusal, state = _hooks.before(self, stream, state)
            if refusal is not None:
                return iter((refusal,))
        return drive(self, stream, state, config)

    def _run(
        self, stream: bool, state: Any, config: Any, node: Any = None, interrupt: str | None = None
    ) -> Generator[Event, None, None]:
        return drive(self, stream, state, config, FRESH if node is None else Start(node, interrupt))

    def execute_scoped(
        self,
        initial_state: dict[str, Any],
        entry_point: Any,
        exit_point: Any,
        config: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Runs from one node until before another one and returns the state; no events, no interrupts.

        Raises ValueError if an end is unknown or no path joins them. A failing node: RuntimeError with
        `raise_exceptions`, else the state has the key `_scoped_error`.
        """
        state = initial_state.copy()
        for _ in drive(self, False, state, config or {}, Start(scope=(entry_point, exit_point))):
            pass
        return state

    def _path_exists(self, start: Any, end: Any) -> bool:
        twin = self._twin()
        twin.push(self._structure)
        return twin.path_exists(start, end)

    def _get_nodes_between(self, start: Any, end: Any) -> list[Any]:
        twin = self._twin()
        twin.push(self._structure)
        return twin.nodes_between(start, end)

    def validate_remote_scope(self, entry_point: Any, exit_point: Any) -> list[str]:
        """Why a part of the graph cannot run elsewhere: one sentence for each interrupt in it."""
        problems = []
        for node in self._get_nodes_between(entry_point, exit_point):
            for when, names, place in (
                ("before", self.interrupt_before, "before the parallel fan-out"),
                ("after", self.interrupt_after, "after the parallel fan-in"),
            ):
                if node in names:
                    problems.append(
                        f"Node '{node}' has interrupt_{when}=True, which is not supported in remote execution "
                        f"scope. Move interrupt points {place}."
                    )
        return problems

    # Circuit breakers

    def reset_circuit(self, branch: Any = None) -> None:
        """Closes the circuit breaker of a branch, or all of them."""
        self.circuit_registry.reset_circuit(branch)

    def reset_all_circuits(self) -> None:
        """Closes all circuit breakers."""
        self.circuit_registry.reset_all_circuits()

    def get_circuit_states(self) -> dict[str, Any]:
        """The state of each circuit breaker by name."""
        return self.circuit_registry.get_circuit_states()

    # What the driver asks

    def _mermaid(self) -> str:
        return self._twin().mermaid(self._structure)

    def _executor_refusal(self, config: dict[str, Any]) -> Exception | None:
        """Why the executor of a run cannot be opened; nothing is opened yet."""
        settings = self._parallel_config
        strategy = "thread" if settings is None else settings.strategy
        workers = config.get("max_workers", self.max_workers)
        if strategy == "thread" and workers is None:
            return None
        from .parallel_executors import available_strategies, get_executor

        try:
            if strategy not in available_strategies():
                get_executor(strategy)
            if workers is not None and workers <= 0:
                raise ValueError("max_workers must be greater than 0")
        except Exception as error:
            return error
        return None

    def _answer_request(self, cursor: Any, details: Any, state: Any, config: Any, node: Any) -> int:
        """Does what a program of an agent asks for; the answer."""
        answer: int = self._agent.answer(self, cursor, details, state, config, node)  # type: ignore[attr-defined]
        return answer

    def _answer_failure(self, cursor: Any, error: Exception) -> int:
        responses = sys.modules.get("the_edge_agent.actions.http_response_actions")
        if responses is not None and isinstance(error, responses.HTTPResponse):
            tell_status(cursor, error.status)
            return ANSWER_RESPOND
        tell_failure(cursor, error, 1)
        return ANSWER_FAILED

    def _response_event(self, response: Any, node: Any, state: Any) -> Event:
        return {
            "type": "http_response",
            "node": node,
            "status": response.status,
            "body": response.body,
            "headers": response.headers,
            "state": state.copy(),
        }

    def _final_event(self, stream: bool, state: Any, resumed: bool, free: bool) -> Event:
        if hasattr(self, "_session_backend"):
            _hooks.save_session(self, state)
        transforms = getattr(self, "_output_schema", None) and getattr(self, "_yaml_engine", None)
        output = _hooks.output(self, state) if transforms else None
        event = {"type": "final", "state": state if free else state.copy()}
        if transforms or not (stream or resumed):
            event["output"] = output
        return event
