"""`YAMLEngine`: agents described in YAML, run by libtea.

The library reads, compiles and runs an agent. This module gives it Python's side: actions, code blocks, live
variables and secrets, storage and tracing.
"""

from __future__ import annotations

import logging
import os
import time
import weakref
from typing import TYPE_CHECKING, Any

from .stategraph import END, START, StateGraph
from .yaml_config import EngineConfig
from .yaml_edges import EdgeFactory
from .yaml_imports import ImportLoader
from .yaml_nodes import NodeFactory, traced
from .yaml_templates import DotDict, TemplateProcessor

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from ._native.agent import Agent

__all__ = ["END", "START", "DotDict", "StateGraph", "YAMLEngine"]

logger = logging.getLogger("the_edge_agent.yaml_engine")

# Tests of programs replace `time.sleep` here.
_ = time


class _Checkpoint(dict[str, Any]):
    """What templates see as `checkpoint`: the engine's attributes as they are when it is read."""

    def __init__(self, owner: YAMLEngine) -> None:
        super().__init__(dir="", last="")
        self._owner = weakref.ref(owner)

    def __getitem__(self, key: str) -> Any:
        owner = self._owner()
        name = {"dir": "_checkpoint_dir", "last": "_last_checkpoint_path"}.get(key)
        if name is None or owner is None:
            return super().__getitem__(key)
        return getattr(owner, name) or ""

    def get(self, key: str, default: Any = None) -> Any:
        known = key in self
        return self[key] if known else default


class _Root:
    """An attribute of the engine that templates see: loaded graphs see a new value at once, like a change of the
    dictionary itself."""

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, engine: YAMLEngine, _owner: type | None = None) -> Any:
        return engine.__dict__[self._name]

    def __set__(self, engine: YAMLEngine, value: Any) -> None:
        engine.__dict__[self._name] = value
        for graph in list(engine._graphs):
            graph.__dict__["_agent"].replace(**{self._name: {} if value is None else value})


class YAMLEngine:
    """Loads agents from YAML into graphs and holds what they share: actions, variables, secrets, memory, tracing.

    Args:
        actions_registry: actions by name, put over the built-in ones.
        enable_tracing, trace_exporter, trace_file, trace_callback, trace_verbose: spans and where they go.
        memory_backend: short-term memory; None makes one in memory.
        enable_code_execution: allows the actions `code.execute` and `code.sandbox`.
        ltm_backend, enable_ltm, ltm_path, ltm_backend_type, ltm_config: long-term memory.
        graph_backend, enable_graph, graph_path, graph_backend_type: graph memory.
        opik_*: settings of Opik, over those of environment and file.
        metadata_store, blob_storage, query_engine, vector_index, and `enable_*` of each: cloud memory.
        embedding_fn: makes vectors of texts.
        lua_enabled, lua_timeout: code without `language` may be Lua; seconds that a piece of it may take.
        prolog_enabled, prolog_timeout, prolog_sandbox: the same for Prolog.
        strict_templates: a failure in a single expression is an error; None leaves it to the agent's settings.

    `variables`, `secrets`, `data`, `llm_settings` and `actions_registry` may be changed or replaced at any time.
    """

    variables = _Root()
    secrets = _Root()
    data = _Root()
    llm_settings = _Root()

    def __init__(
        self,
        actions_registry: dict[str, Callable[..., Any]] | None = None,
        enable_tracing: bool = True,
        trace_exporter: str | list[Any] | None = None,
        trace_file: str | None = None,
        trace_callback: Callable[..., Any] | None = None,
        trace_verbose: bool = False,
        memory_backend: Any = None,
        enable_code_execution: bool = False,
        ltm_backend: Any = None,
        enable_ltm: bool = True,
        ltm_path: str | None = None,
        ltm_backend_type: str = "sqlite",
        ltm_config: dict[str, Any] | None = None,
        graph_backend: Any = None,
        enable_graph: bool = True,
        graph_path: str | None = None,
        graph_backend_type: str | None = None,
        opik_llm_tracing: bool = False,
        opik_api_key: str | None = None,
        opik_workspace: str | None = None,
        opik_project_name: str | None = None,
        opik_url: str | None = None,
        opik_enabled: bool | None = None,
        opik_trace_export: bool = False,
        metadata_store: Any = None,
        enable_metadata_store: bool = True,
        blob_storage: Any = None,
        enable_blob_storage: bool = True,
        query_engine: Any = None,
        enable_query_engine: bool = True,
        vector_index: Any = None,
        enable_vector_index: bool = True,
        embedding_fn: Callable[..., Any] | None = None,
        lua_enabled: bool = False,
        lua_timeout: float = 30.0,
        prolog_enabled: bool = False,
        prolog_timeout: float = 30.0,
        prolog_sandbox: bool = True,
        *,
        strict_templates: bool | None = None,
    ) -> None:
        self._graphs: weakref.WeakSet[StateGraph] = weakref.WeakSet()
        self.variables = {}
        self.secrets = {}
        self.data = {}
        self.llm_settings = {}
        self.shell_providers: dict[str, Any] = {}
        self.cli_overrides: dict[str, Any] = {}
        self._checkpoint_dir: str | None = None
        self._last_checkpoint_path: str | None = None
        self._current_graph: Any = None
        self._checkpointer: Any = None
        self._current_yaml_path: str | None = None
        self._graph_event_queue: list[Any] = []
        self._strict_templates = strict_templates
        self._enable_code_execution = enable_code_execution
        self._lua_enabled, self._lua_timeout = lua_enabled, lua_timeout
        self._prolog_enabled, self._prolog_timeout = prolog_enabled, prolog_timeout
        self._prolog_sandbox = prolog_sandbox
        self._embedding_fn = embedding_fn
        self._config: dict[str, Any] = {}
        self._secrets_backend: Any = None
        self._session_backend: Any = None
        self._session_settings: Any = None
        self._firestore_settings: dict[str, Any] | None = None
        self._endpoint_config: Any = None
        self._input_schema: Any = None
        self._output_schema: Any = None
        self._error_handling_settings: Any = None
        self._extraction_validation_config: dict[str, Any] = {}
        self._stream_registry: Any = None
        self._remote_config: Any = None
        self._parallel_settings: dict[str, Any] = {}
        self._checkpoint_root = _Checkpoint(self)
        self._environment: Any = None

        self._enable_tracing = enable_tracing
        self._auto_trace = False
        self._enable_observability = False
        self._observability_context: Any = None
        self._engine_config = EngineConfig(self)
        config = self._engine_config
        config.set_up_tracing(trace_exporter, trace_file, trace_callback, trace_verbose)
        config.set_up_opik(
            {
                "enabled": opik_enabled,
                "api_key": opik_api_key,
                "workspace": opik_workspace,
                "project_name": opik_project_name,
                "url": opik_url,
                "llm_tracing": opik_llm_tracing or None,
                "trace_export": opik_trace_export or None,
            }
        )
        config.set_up_memory(memory_backend)
        config.set_up_ltm(ltm_backend, enable_ltm, ltm_path, ltm_backend_type, ltm_config)
        config.set_up_graph(graph_backend, enable_graph, graph_path, graph_backend_type)
        self._enable_metadata_store, self._enable_blob_storage = enable_metadata_store, enable_blob_storage
        self._enable_query_engine, self._enable_vector_index = enable_query_engine, enable_vector_index
        self._metadata_store, self._blob_storage = metadata_store, blob_storage
        self._query_engine, self._vector_index = query_engine, vector_index

        self._template_processor = TemplateProcessor(None, None, None, self)
        self._node_factory = NodeFactory(self)
        self._edge_factory = EdgeFactory(self)
        self._import_loader = ImportLoader(self)
        from .actions import build_actions_registry

        self.actions_registry: dict[str, Callable[..., Any]] = build_actions_registry(self)
        if actions_registry:
            self.actions_registry.update(actions_registry)

    # Loading

    def load_from_file(
        self, yaml_path: str | os.PathLike[str], checkpoint: str | None = None, checkpointer: Any = None
    ) -> StateGraph:
        """The agent in a file as a graph, ready to run.

        Args:
            checkpoint: from where `invoke(None)` and `stream(None)` go on.
            checkpointer: keeps checkpoints instead of files.

        Raises FileNotFoundError, a `yaml.YAMLError` for a text that is no YAML, ValueError and other exceptions for
        an agent that makes no sense.
        """
        path = os.path.abspath(yaml_path)
        self._current_yaml_path = path
        agent = self._agent(os.fspath(yaml_path), {})
        return self._load(agent, agent.info["config"], checkpoint, checkpointer, os.path.dirname(path))

    def load_from_dict(
        self,
        config: dict[str, Any],
        checkpoint: str | None = None,
        checkpointer: Any = None,
        yaml_dir: str | None = None,
    ) -> StateGraph:
        """As `load_from_file`, for an agent that is a dictionary already. It is not copied. `yaml_dir`: the
        directory against which relative paths count."""
        agent = self._agent(config, {} if yaml_dir is None else {"base_dir": yaml_dir})
        return self._load(agent, config, checkpoint, checkpointer, yaml_dir)

    def _agent(self, source: Any, options: dict[str, Any]) -> Agent:
        from ._native.agent import Agent

        if self._lua_enabled:
            options["lua_enabled"] = True
        options["lua_timeout"] = self._lua_timeout
        if self._strict_templates is not None:
            options["strict_templates"] = self._strict_templates
        return Agent(self, source, options)

    def _load(
        self, agent: Agent, config: dict[str, Any], checkpoint: Any, checkpointer: Any, yaml_dir: str | None
    ) -> StateGraph:
        # The graphs that are there already keep their own scopes (`yaml/Q-5`): only attributes change here.
        own = self.__dict__
        own["variables"] = _section(config, "variables")
        own["data"] = _section(config, "data")
        if config.get("imports"):
            self._load_imports(config["imports"], yaml_dir)
        settings = _section(config, "settings")
        self._config = config
        if isinstance(settings.get("llm", {}), dict):
            own["llm_settings"] = agent.info["llm_settings"]
        self.shell_providers.update(agent.info["shell_providers"])
        parallel = self._engine_config.apply(config, settings)
        for warning in agent.info["warnings"]:
            logger.warning(warning["detail"])
        graph = self._graph(agent, config, parallel, checkpointer)
        run = _section(config, "config")
        checkpoint = checkpoint or run.get("checkpoint")
        if checkpoint:
            graph.__dict__["_resume_checkpoint_path"] = checkpoint
        self._attach(graph, config)
        agent.replace(
            variables=own["variables"],
            data=own["data"],
            secrets=own["secrets"],
            checkpoint=self._checkpoint_root,
            llm_settings=own["llm_settings"],
        )
        self._graphs.add(graph)
        # The graph has it all now.
        agent.info = {}
        return graph

    def _graph(
        self, agent: Agent, config: dict[str, Any], parallel: dict[str, Any], checkpointer: Any
    ) -> StateGraph:
        from ._native.agent import build

        info, run = agent.info, _section(config, "config")
        graph = StateGraph(
            state_schema=config.get("state_schema", {}),
            raise_exceptions=run.get("raise_exceptions", False),
            **parallel,
        )
        build(graph, agent)
        self._current_graph, self._checkpointer = graph, checkpointer
        if info["nodes"]:
            self._edge_factory.note(config.get("nodes") or [])
        if (self._auto_trace and self._trace_context is not None) or self._enable_observability:
            traced(self, graph, config.get("nodes") or [])
        before, after = list(info["interrupt_before"]), list(info["interrupt_after"])
        directory = run.get("checkpoint_dir")
        if (before or after) and not directory and checkpointer is None:
            import tempfile

            directory = tempfile.mkdtemp(prefix="tea_checkpoint_")
            logger.info(f"Checkpoints of interrupts go to '{directory}'")
        self._checkpoint_dir = directory
        return graph.compile(
            interrupt_before=before,
            interrupt_after=after,
            checkpoint_dir=directory,
            checkpointer=checkpointer,
        )

    def _attach(self, graph: StateGraph, config: dict[str, Any]) -> None:
        attributes = graph.__dict__
        if self._session_backend is not None:
            attributes["_session_backend"] = self._session_backend
            attributes["_session_settings"] = self._session_settings
        if self._output_schema is not None:
            attributes["_output_schema"], attributes["_yaml_engine"] = self._output_schema, self
        if self._input_schema is not None:
            attributes["_input_schema"], attributes["_yaml_engine"] = self._input_schema, self
            attributes["_validate_stream_input"] = bool(
                _section(config, "settings").get("validate_stream_input", False)
            )
        if config.get("endpoint"):
            attributes["_endpoint_config"] = self._endpoint_config
            attributes["_agent_name"] = config.get("name") or "unnamed_agent"

    def resume_from_checkpoint(
        self, yaml_path: str | os.PathLike[str], checkpoint_path: Any, config: dict[str, Any] | None = None
    ) -> Generator[dict[str, Any], None, None]:
        """Loads an agent and goes on from a checkpoint; the events of `StateGraph.resume_from_checkpoint`. `config` is
        put over the stored one."""
        graph = self.load_from_file(yaml_path)
        yield from graph.resume_from_checkpoint(checkpoint_path, config)

    def get_mermaid_graph(self) -> str | None:
        """The graph that was loaded last as Mermaid text; None if there is none, or it has no picture."""
        if self._current_graph is None:
            return None
        try:
            text: str = self._current_graph.to_mermaid()
        except Exception as error:
            logger.warning(f"Failed to generate Mermaid graph: {error}")
            return None
        return text

    def _load_subgraph(self, path: str) -> StateGraph:
        """An agent as a graph of its own; `path` may be one of fsspec (`s3://`, ...)."""
        if "://" in path:
            config = self._remote_document(path)
            return self._apart().load_from_dict(config)
        if not os.path.exists(path):
            raise FileNotFoundError(f"Subgraph not found: {path}")
        try:
            if os.path.getsize(path) == 0:
                raise ValueError(f"Empty subgraph configuration: {path}")
            return self._apart().load_from_file(path)
        except OSError as error:
            raise ValueError(f"Failed to load subgraph '{path}': {error}") from error

    def _remote_document(self, path: str) -> dict[str, Any]:
        try:
            from importlib import import_module

            with import_module("fsspec").open(path, "rb") as file:
                config: dict[str, Any] | None = import_module("yaml").safe_load(file.read())
        except (FileNotFoundError, ImportError) as error:
            raise FileNotFoundError(f"Subgraph not found: {path} - {error}") from error
        except Exception as error:
            raise ValueError(f"Failed to load subgraph '{path}': {error}") from error
        if not config:
            raise ValueError(f"Empty subgraph configuration: {path}")
        return config

    def _apart(self) -> YAMLEngine:
        """An engine that shares everything with this one but what a load replaces (`yaml/Q-5`)."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._graphs = weakref.WeakSet()
        other._edge_factory, other._import_loader = EdgeFactory(other), ImportLoader(other)
        other._template_processor = TemplateProcessor(None, None, None, other)
        other._borrowed = True
        return other

    # Nodes, edges, imports: what programs extend

    def _create_action_function(
        self, action_name: str, params: Any, output_key: Any = None
    ) -> Callable[..., Any]:
        return self._node_factory._create_action_function(action_name, params, output_key)

    def _create_run_function(self, node: dict[str, Any]) -> Callable[..., Any] | None:
        return self._node_factory.create_run_function(node)

    def _add_node_from_config(self, graph: StateGraph, node: dict[str, Any]) -> None:
        self._node_factory.add_node_from_config(graph, node)

    def _add_edge_from_config(self, graph: StateGraph, edge: dict[str, Any]) -> None:
        self._edge_factory.add_edge_from_config(graph, edge)

    def _process_goto_and_implicit_edges(self, graph: StateGraph, nodes: Any, edges: Any) -> None:
        self._edge_factory.process_goto_and_implicit_edges(graph, nodes, edges)

    def _load_imports(self, imports: Iterable[Any], yaml_dir: str | None = None) -> None:
        self._import_loader.load_imports(imports, yaml_dir)

    def _load_from_path(self, path: str, namespace: str, yaml_dir: str | None = None) -> None:
        self._import_loader._load_from_path(path, namespace, yaml_dir)

    def _load_from_package(self, package: str, namespace: str) -> None:
        self._import_loader._load_from_package(package, namespace)

    @property
    def _loaded_modules(self) -> Any:
        return self._import_loader._loaded_modules

    @property
    def _nodes_with_goto(self) -> set[str]:
        return self._edge_factory.nodes_with_goto

    def _build_stream_registry(self, config: dict[str, Any], parallel_strategy: str) -> Any:
        return self._node_factory.build_stream_registry(config, parallel_strategy)

    # Templates

    def _process_template(self, text: Any, state: Any, extra_context: dict[str, Any] | None = None) -> Any:
        return self._template_processor.process_template(
            text, state, self._checkpoint_dir, self._last_checkpoint_path, extra_context
        )

    def _process_params(self, params: Any, state: Any) -> dict[Any, Any]:
        return self._template_processor.process_params(
            params, state, self._checkpoint_dir, self._last_checkpoint_path
        )

    def _evaluate_condition(self, expression: Any, state: Any) -> bool:
        return self._template_processor.evaluate_condition(expression, state)

    def _convert_simple_expression(self, expression: str) -> str:
        return self._template_processor._convert_simple_expression(expression)

    @property
    def _template_cache(self) -> dict[str, str]:
        return self._template_processor._template_cache

    @property
    def _jinja_env(self) -> Any:
        """What renders texts by `from_string(text).render(**names)`."""
        if self._environment is None:
            from .yaml_templates import Environment

            self._environment = Environment()
        return self._environment

    # Memory and observability

    @property
    def memory_backend(self) -> Any:
        """Short-term memory."""
        return self._memory_backend

    @property
    def ltm_backend(self) -> Any:
        """Long-term memory, or None."""
        return self._ltm_backend

    @property
    def graph_backend(self) -> Any:
        """Graph memory, or None."""
        return self._graph_backend

    @property
    def metadata_store(self) -> Any:
        """Metadata of documents, or None."""
        return self._metadata_store

    @property
    def blob_storage(self) -> Any:
        """Storage of large objects, or None."""
        return self._blob_storage

    @property
    def query_engine(self) -> Any:
        """Engine for queries over tables, or None."""
        return self._query_engine

    @property
    def vector_index(self) -> Any:
        """Index of vectors, or None."""
        return self._vector_index

    @property
    def embedding_fn(self) -> Any:
        """Makes vectors of texts, or None."""
        return self._embedding_fn

    @property
    def opik_llm_tracing(self) -> bool:
        """Whether calls of language models are traced by Opik."""
        return self._opik_llm_tracing

    @property
    def opik_config(self) -> dict[str, Any]:
        """The settings of Opik, as a copy."""
        return dict(self._opik_config)

    @property
    def observability_context(self) -> Any:
        """Events and spans of the agent that was loaded last, or None."""
        return self._observability_context

    @property
    def endpoint_config(self) -> Any:
        """The section `endpoint` of the agent that was loaded last, or None."""
        return self._endpoint_config

    def get_memory_state(self) -> dict[str, Any]:
        """What short-term memory holds."""
        return self._engine_config.get_memory_state()

    def restore_memory_state(self, state: dict[str, Any]) -> None:
        """Replaces what short-term memory holds."""
        self._engine_config.restore_memory_state(state)

    def clear_memory(self, namespace: str | None = None) -> int:
        """Empties short-term memory, or one namespace of it; returns how many entries that were."""
        count: int = self._memory_backend.clear(namespace)
        return count

    def _resolve_opik_config(self, yaml_settings: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._engine_config.resolve_opik_config(yaml_settings)

    def _add_opik_exporter_from_config(self) -> None:
        self._engine_config.add_opik_exporter_from_config()

    def _configure_memory_infrastructure(self, config: dict[str, Any]) -> None:
        self._engine_config.configure_memory_infrastructure(config)

    def _opik_project_name(self) -> Any:
        opik = _section(_section(self._config, "settings"), "opik")
        return opik.get("project_name")

    def close(self) -> None:
        """Closes the backends. Calling it twice is fine."""
        self._engine_config.close()

    _borrowed = False

    def __del__(self) -> None:
        # An engine whose constructor failed has nothing to close; one of a subgraph owns nothing.
        config = self.__dict__.get("_engine_config")
        if config is not None and not self._borrowed:
            config.close()

    if TYPE_CHECKING:
        _trace_context: Any
        _memory_backend: Any
        _ltm_backend: Any
        _graph_backend: Any
        _opik_llm_tracing: bool
        _opik_config: dict[str, Any]


def _section(config: dict[str, Any], key: str) -> dict[str, Any]:
    """A section of an agent; null is empty (`yaml/Q-3`, `LD-13`)."""
    section: dict[str, Any] | None = config.get(key)
    return {} if section is None else section
