"""What can be imported, and what importing costs."""

from __future__ import annotations

import importlib
import json
import logging

import pytest
from support import script_ok

import the_edge_agent as tea

PACKAGE_NAMES = [
    "StateGraph",
    "START",
    "END",
    "YAMLEngine",
    "MemoryCheckpointer",
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
    "ParallelExecutor",
    "ThreadExecutor",
    "ProcessExecutor",
    "FlowTask",
    "ExecutorResult",
    "PickleValidationError",
    "get_executor",
    "register_executor",
    "available_strategies",
    "TraceContext",
    "TraceExporter",
    "ConsoleExporter",
    "FileExporter",
    "CallbackExporter",
    "ObservabilityContext",
    "EventStream",
    "EventStreamHandler",
    "ConsoleHandler",
    "FileHandler",
    "CallbackHandler",
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
    "OpikExporter",
    "__version__",
]

RELIABILITY = PACKAGE_NAMES[5:18]

SPINE = {
    "stategraph": ["StateGraph", "START", "END"],
    "checkpoint": ["CheckpointMixin"],
    "checkpointers": ["MemoryCheckpointer"],
    "visualization": ["VisualizationMixin", "HAS_PYGRAPHVIZ", "to_agraph"],
    "graph_renderer": [],
    "serialization": ["TeaJSONEncoder", "dumps", "loads"],
    "parallel": RELIABILITY,
    "parallel_executors": PACKAGE_NAMES[18:27],
    "actions.http_response_actions": ["HTTPResponse"],
    "validation": ["InputSchema", "validate_input", "ValidationError"],
}


def test_all_has_exactly_fifty_names() -> None:
    """SG-1: the names of the package, no more and no fewer."""
    assert len(PACKAGE_NAMES) == 50
    assert sorted(tea.__all__) == sorted(PACKAGE_NAMES)


@pytest.mark.parametrize("name", PACKAGE_NAMES)
def test_package_name_is_an_attribute(name: str) -> None:
    """SG-1, SG-2: each name resolves, a conditional one to None at worst."""
    value = getattr(tea, name)
    if name not in ("CozoBackend", "KuzuBackend", "BighornBackend", "OpikExporter"):
        assert value is not None


def test_names_of_the_package_are_the_objects_of_their_modules() -> None:
    """SG-1: column "Defined in"."""
    for module, names in SPINE.items():
        home = importlib.import_module(f"the_edge_agent.{module}")
        for name in names:
            if name in PACKAGE_NAMES:
                assert getattr(tea, name) is getattr(home, name), name


def test_star_import_gives_the_core_names() -> None:
    """SG-1: `from the_edge_agent import *` resolves all of `__all__`."""
    space: dict[str, object] = {}
    exec("from the_edge_agent import *", space)
    assert set(PACKAGE_NAMES) <= set(space)


def test_unknown_attribute() -> None:
    """SG-1: a name that does not exist is an AttributeError that says which."""
    with pytest.raises(AttributeError, match="no_such_name"):
        tea.no_such_name  # noqa: B018


def test_version_and_constants() -> None:
    """SG-1, SG-3."""
    assert tea.__version__ == "0.9.74"
    assert (tea.START, tea.END) == ("__start__", "__end__")
    assert type(tea.START) is str and type(tea.END) is str


@pytest.mark.parametrize("module", SPINE)
def test_module_level_names(module: str) -> None:
    """SG-4, section 1.2: modules of the spine and their names."""
    home = importlib.import_module(f"the_edge_agent.{module}")
    for name in SPINE[module]:
        assert hasattr(home, name), name


def test_stategraph_module_re_exports() -> None:
    """Section 1.2: names that are reachable in `the_edge_agent.stategraph` too, same objects."""
    home = importlib.import_module("the_edge_agent.stategraph")
    assert (
        home.HTTPResponse
        is importlib.import_module("the_edge_agent.actions.http_response_actions").HTTPResponse
    )
    assert home.CheckpointMixin is importlib.import_module("the_edge_agent.checkpoint").CheckpointMixin
    assert (
        home.VisualizationMixin is importlib.import_module("the_edge_agent.visualization").VisualizationMixin
    )
    assert home.get_executor is tea.get_executor
    for name in RELIABILITY:
        assert getattr(home, name) is getattr(tea, name)


def test_submodules_are_attributes_after_a_plain_import() -> None:
    """SG-4: the spine's submodules without an import statement of their own."""
    names = ["actions", "checkpoint", "checkpointers", "parallel", "parallel_executors", "serialization"]
    names += ["stategraph", "validation", "visualization"]
    out = script_ok(
        """
        import sys, the_edge_agent as tea
        print(*[getattr(tea, name).__name__ for name in sys.argv[1:]])
        """,
        *names,
    )
    assert out.split() == [f"the_edge_agent.{name}" for name in names]


def test_class_layout() -> None:
    """SG-5: the method resolution order."""
    names = [cls.__name__ for cls in tea.StateGraph.__mro__]
    assert names == ["StateGraph", "CheckpointMixin", "VisualizationMixin", "object"]
    assert tea.StateGraph.__module__ == "the_edge_agent.stategraph"


def loaded() -> dict[str, object]:
    out = script_ok(
        """
        import sys
        before = set(sys.modules)
        import the_edge_agent
        import json
        names = sorted(sys.modules)
        new = [n for n in names if n not in before]
        foreign = []
        for n in new:
            top = n.partition(".")[0]
            if top not in sys.stdlib_module_names and top != "the_edge_agent":
                foreign.append(n)
        print(json.dumps({"names": names, "foreign": foreign, "new": new}))
        """
    )
    return json.loads(out)


def test_import_loads_no_third_party_module() -> None:
    """SG-4 (a plain import needs nothing but cffi's runtime part) and the import budget of 180 modules."""
    got = loaded()
    assert [n for n in got["foreign"] if n.partition(".")[0] not in ("_cffi_backend", "cffi")] == []
    assert len(got["names"]) <= 180, len(got["names"])
    assert "the_edge_agent" in got["new"]


@pytest.mark.parametrize(
    "module",
    ["networkx", "yaml", "jinja2", "asyncio", "concurrent.futures", "pydantic", "typer", "lupa", "openai"],
)
def test_import_does_not_load(module: str) -> None:
    """SG-4: heavy modules come on demand only."""
    assert module not in loaded()["names"]


def test_graphs_run_without_networkx_loaded() -> None:
    """SG-4, SG-97: building and running loads neither networkx nor the stream modules."""
    out = script_ok(
        """
        import sys
        import the_edge_agent as tea
        graph = tea.StateGraph(dict)
        graph.add_node("n", run=lambda state: {"x": 1})
        graph.set_entry_point("n")
        graph.set_finish_point("n")
        print(list(graph.invoke({}))[-1]["state"], list(graph.stream({}))[-1]["state"])
        print([m for m in ("the_edge_agent.streams", "the_edge_agent.stream_broadcast") if m in sys.modules])
        """
    )
    assert out.splitlines() == ["{'x': 1} {'x': 1}", "[]"]


def test_import_installs_no_log_handler() -> None:
    """SG-89: the library adds no handler of its own."""
    assert logging.getLogger("the_edge_agent.stategraph").handlers == []
    assert logging.getLogger("the_edge_agent").handlers == []
