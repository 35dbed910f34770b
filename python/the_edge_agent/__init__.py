"""The Edge Agent on libtea: agent workflows as graphs, with an engine in Rust.

`from the_edge_agent import StateGraph, START, END` is where to begin. Everything else is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import Any as _Any

from .stategraph import END, START, StateGraph

__version__ = "0.9.74"

# Where the public names are defined.
_HOMES = {
    "yaml_engine": ("YAMLEngine",),
    "checkpointers": ("MemoryCheckpointer",),
    "parallel": (
        "ParallelConfig",
        "ParallelFlowResult",
        "RetryPolicy",
        "CircuitBreaker",
        "CircuitBreakerConfig",
        "CircuitBreakerRegistry",
        "CircuitState",
        "CircuitOpenError",
        "RetryExhaustedError",
        "CancellationToken",
        "ParallelFlowCallback",
        "ParallelFlowContext",
        "CallbackManager",
    ),
    "parallel_executors": (
        "ParallelExecutor",
        "ThreadExecutor",
        "ProcessExecutor",
        "FlowTask",
        "ExecutorResult",
        "PickleValidationError",
        "get_executor",
        "register_executor",
        "available_strategies",
    ),
    "tracing": ("TraceContext", "TraceExporter", "ConsoleExporter", "FileExporter", "CallbackExporter"),
    "observability": (
        "ObservabilityContext",
        "EventStream",
        "EventStreamHandler",
        "ConsoleHandler",
        "FileHandler",
        "CallbackHandler",
    ),
    "memory": (
        "MemoryBackend",
        "InMemoryBackend",
        "LongTermMemoryBackend",
        "SQLiteBackend",
        "GraphBackend",
        "CozoBackend",
        "COZO_AVAILABLE",
        "KuzuBackend",
        "BighornBackend",
        "KUZU_AVAILABLE",
    ),
    "exporters": ("OpikExporter",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["END", "START", "StateGraph", "__version__", *_HOME_OF]


def __getattr__(name: str) -> _Any:
    home = _HOME_OF.get(name)
    if home is not None:
        value = getattr(_import_module(f".{home}", __name__), name)
    elif name in _SUBMODULES:
        value = _import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})


# Reachable as attributes of the package without an import of their own.
_SUBMODULES = frozenset(
    {
        "actions",
        "checkpoint",
        "checkpointers",
        "exporters",
        "memory",
        "observability",
        "parallel",
        "parallel_executors",
        "serialization",
        "stategraph",
        "tracing",
        "validation",
        "visualization",
        "yaml_engine",
    }
)
