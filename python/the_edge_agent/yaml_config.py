"""Settings of a `YAMLEngine`: memory, tracing, Opik, secrets, sessions, error handling."""

from __future__ import annotations

import logging
import os
from importlib import import_module
from typing import Any

__all__ = ["EngineConfig"]

logger = logging.getLogger("the_edge_agent.yaml_engine")

_OPIK_DEFAULTS = {
    "enabled": False,
    "api_key": None,
    "workspace": None,
    "project_name": "the-edge-agent",
    "url": None,
    "llm_tracing": False,
    "trace_export": False,
}
_OPIK_VARIABLES = {
    "api_key": "OPIK_API_KEY",
    "workspace": "OPIK_WORKSPACE",
    "project_name": "OPIK_PROJECT_NAME",
    "url": "OPIK_URL_OVERRIDE",
}

# Cloud memory: attribute of the engine, factory, type by default.
_INFRASTRUCTURE = {
    "metadata_store": ("the_edge_agent.memory.metadata", "create_metadata_store", "firestore"),
    "blob_storage": ("the_edge_agent.memory.blob", "create_blob_storage", "gcs"),
    "query_engine": ("the_edge_agent.memory.query", "create_query_engine", "duckdb"),
    "vector_index": ("the_edge_agent.memory.vector", "create_vector_index", "duckdb"),
}

_STRATEGIES = ("thread", "process", "remote")


class EngineConfig:
    """Reads settings into an engine's attributes, and closes what they opened."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    # What the constructor of the engine sets up

    def set_up_tracing(self, exporter: Any, file: str | None, callback: Any, verbose: bool) -> None:
        """Makes the context of spans, with the exporters that were asked for."""
        engine = self._engine
        engine._trace_context = None
        if not engine._enable_tracing:
            return
        from . import tracing

        exporters: list[Any] = []
        if isinstance(exporter, list):
            exporters = exporter
        elif exporter == "console":
            exporters = [tracing.ConsoleExporter(verbose=verbose)]
        elif exporter == "file" and file:
            exporters = [tracing.FileExporter(file)]
        elif exporter == "callback" and callback:
            exporters = [tracing.CallbackExporter(callback)]
        engine._trace_context = tracing.TraceContext(exporters=exporters)
        engine._wants_opik = exporter == "opik"

    def set_up_opik(self, given: dict[str, Any]) -> None:
        """Takes the constructor's settings of Opik, which win over all others."""
        engine = self._engine
        engine._opik_given = {key: value for key, value in given.items() if value is not None}
        engine._opik_config = self.resolve_opik_config()
        engine._opik_llm_tracing = bool(engine._opik_config["llm_tracing"])
        if getattr(engine, "_wants_opik", False) or engine._opik_config["trace_export"]:
            self._add_opik_exporter()

    def set_up_memory(self, backend: Any) -> None:
        """Short-term memory."""
        if backend is None:
            from .memory.short_term import InMemoryBackend

            backend = InMemoryBackend()
        self._engine._memory_backend = backend

    def set_up_ltm(
        self, backend: Any, enabled: bool, path: str | None, kind: str, config: dict[str, Any] | None
    ) -> None:
        """Long-term memory."""
        engine = self._engine
        engine._enable_ltm = enabled
        engine._ltm_backend_type = kind
        engine._ltm_backend = None
        if not enabled:
            return
        if backend is None and kind == "duckdb":
            given = config or {}
            catalog = given.get("catalog_config") or {
                "type": "sqlite",
                "path": path or ":memory:",
                "lazy": True,
            }
            try:
                from .memory.duckdb_ltm import DuckDBLTMBackend

                backend = DuckDBLTMBackend(
                    catalog_config=catalog,
                    storage_uri=given.get("storage_uri") or "./ltm_data/",
                    lazy=given.get("lazy") or True,
                    enable_fts=given.get("enable_fts") or True,
                )
            except ImportError:
                backend = None
        if backend is None:
            from .memory.sqlite import SQLiteBackend

            backend = SQLiteBackend(path or ":memory:")
        engine._ltm_backend = backend

    def set_up_graph(self, backend: Any, enabled: bool, path: str | None, kind: str | None) -> None:
        """Graph memory; None where no library for it is installed."""
        engine = self._engine
        engine._enable_graph = enabled
        engine._graph_backend_type = kind
        engine._graph_backend = backend if enabled else None
        if enabled and backend is None:
            engine._graph_backend = self._graph_backend(kind, path or ":memory:")

    def _graph_backend(self, kind: str | None, path: str) -> Any:
        try:
            graph = import_module("the_edge_agent.memory.graph")
            if kind in ("kuzu", "bighorn"):
                return graph.KuzuBackend(path)
            if kind == "duckpgq":
                return graph.DuckPGQBackend(path, lazy_load_extension=True)
            if graph.COZO_AVAILABLE:
                return graph.CozoBackend(path)
            if kind != "cozo" and graph.KUZU_AVAILABLE:
                return graph.KuzuBackend(path)
        except Exception as error:
            logger.debug(f"No graph memory: {error}")
        return None

    # What a load sets up (`LD-4` to `LD-7`)

    def apply(self, config: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
        """Reads the sections of an agent; returns the arguments of its `StateGraph`."""
        engine = self._engine
        if settings.get("rate_limiters"):
            self._limit_rates(settings["rate_limiters"])
        self._apply_opik(settings)
        self._apply_tracing(settings)
        self.configure_memory_infrastructure(settings.get("memory_infrastructure") or {})
        self._apply_ltm(settings.get("ltm"))
        self._apply_secrets(settings.get("secrets"))
        self._apply_session(settings.get("session"))
        if settings.get("firestore"):
            given = _expanded(settings["firestore"])
            names = ("project", "emulator_host", "credentials_path")
            engine._firestore_settings = {name: given.get(name) for name in names}
        self._apply_graph(settings.get("graph"))
        self._apply_observability(config.get("observability") or {})
        self._apply_schemas(config, settings)
        return self._parallel(config, settings.get("parallel") or {})

    def _limit_rates(self, section: Any) -> None:
        try:
            limits = import_module("the_edge_agent.actions.ratelimit_actions")
        except ImportError:
            logger.warning("settings.rate_limiters has no effect in Python's own actions of this release")
            return
        limits.configure_rate_limiters_from_settings(self._engine, section)

    def _apply_opik(self, settings: dict[str, Any]) -> None:
        engine = self._engine
        section = settings.get("opik")
        engine._opik_config = self.resolve_opik_config(section if isinstance(section, dict) else None)
        if engine._opik_config["llm_tracing"] or settings.get("opik_llm_tracing") is True:
            engine._opik_llm_tracing = True
        self.add_opik_exporter_from_config()

    def _apply_tracing(self, settings: dict[str, Any]) -> None:
        engine = self._engine
        engine._auto_trace = bool(settings.get("auto_trace")) and engine._trace_context is not None
        if not engine._auto_trace or engine._trace_context.exporters:
            return
        from . import tracing

        kind = settings.get("trace_exporter", "console")
        if kind == "console":
            engine._trace_context.exporters.append(tracing.ConsoleExporter())
        elif kind == "file" and settings.get("trace_file"):
            engine._trace_context.exporters.append(tracing.FileExporter(settings["trace_file"]))
        elif kind == "opik":
            self._add_opik_exporter()

    def _apply_ltm(self, section: Any) -> None:
        engine = self._engine
        if not section or not engine._enable_ltm or not section.get("backend"):
            return
        try:
            from .memory.base import create_ltm_backend
            from .memory.config import ltm_keywords

            if engine._ltm_backend is not None:
                engine._ltm_backend.close()
            kind, keywords = ltm_keywords(section)
            engine._ltm_backend = create_ltm_backend(kind, **keywords)
        except Exception as error:
            logger.warning(f"Failed to configure LTM backend from YAML: {error}")

    def _apply_secrets(self, section: Any) -> None:
        if not section:
            return
        engine = self._engine
        try:
            given = _expanded(section)
            kind = given.get("backend", "env")
            backends = ("aws", "azure", "gcp", "vault", "env")
            flat = {key: value for key, value in given.items() if key != "backend" and key not in backends}
            keywords = given.get(kind) or flat
            try:
                create = import_module("the_edge_agent.secrets").create_secrets_backend
            except ImportError:
                if str(kind).lower() != "env":
                    raise
                create = _environment
            engine._secrets_backend = create(kind, **keywords)
            engine.__dict__["secrets"] = engine._secrets_backend.get_all()
        except Exception as error:
            logger.warning(f"Failed to configure secrets backend from YAML: {error}")

    def _apply_session(self, section: Any) -> None:
        if not section:
            return
        engine = self._engine
        try:
            session = import_module("the_edge_agent.session")
            engine._session_settings = session.SessionSettings(**section)
            engine._session_backend = session.create_session_backend_from_settings(engine._session_settings)
        except Exception as error:
            logger.warning(f"Failed to configure session backend from YAML: {error}")

    def _apply_graph(self, section: Any) -> None:
        engine = self._engine
        if not section or not engine._enable_graph:
            return
        kind = section.get("backend")
        if kind and kind != engine._graph_backend_type:
            backend = self._graph_backend(kind, section.get("path", ":memory:"))
            if backend is None:
                logger.warning(f"Graph backend '{kind}' is unknown or not installed")
            else:
                engine._graph_backend, engine._graph_backend_type = backend, kind

    def _apply_observability(self, section: dict[str, Any]) -> None:
        engine = self._engine
        engine._enable_observability = bool(section.get("enabled"))
        engine._observability_context = None
        if engine._enable_observability:
            from .observability import ObservabilityContext

            engine._observability_context = ObservabilityContext(
                config=section, trace_context=engine._trace_context
            )

    def _apply_schemas(self, config: dict[str, Any], settings: dict[str, Any]) -> None:
        engine = self._engine
        names = ("extraction_schema", "validation_constraints", "semantic_probes", "validation_logging")
        engine._extraction_validation_config = {name: config.get(name) for name in names if config.get(name)}
        engine._output_schema = engine._input_schema = engine._endpoint_config = None
        if config.get("output_schema"):
            from .transformation import OutputSchema

            engine._output_schema = OutputSchema.from_yaml(config["output_schema"])
        if config.get("input_schema"):
            from .validation import InputSchema

            engine._input_schema = InputSchema.from_yaml(config["input_schema"])
        if config.get("endpoint"):
            try:
                endpoint = import_module("the_edge_agent.http").EndpointConfig.from_yaml(config["endpoint"])
            except ImportError:
                endpoint = config["endpoint"]
            engine._endpoint_config = endpoint
        section = settings.get("error_handling")
        engine._error_handling_settings = None
        if section:
            try:
                handling = import_module("the_edge_agent.error_handling").ErrorHandlingSettings
                # The reference changes the section that it is given (`yaml/Q-25`).
                engine._error_handling_settings = handling.from_yaml(dict(section))
            except ImportError:
                engine._error_handling_settings = _Settings(section)

    def _parallel(self, config: dict[str, Any], section: dict[str, Any]) -> dict[str, Any]:
        engine = self._engine
        engine._parallel_settings = section
        engine._remote_config = None
        strategy = section.get("strategy", "thread")
        if strategy not in _STRATEGIES:
            logger.warning(f"Unknown parallel strategy '{strategy}', 'thread' is used")
            strategy = "thread"
        engine._stream_registry = engine._build_stream_registry(config, strategy)
        workers = section.get("max_workers")
        if not section:
            return {}
        from .parallel import ParallelConfig

        parallel: Any = ParallelConfig(strategy=strategy)
        if workers is not None:
            parallel.max_workers = workers
        if strategy == "remote" and isinstance(section.get("remote"), dict):
            engine._remote_config = section["remote"]
            parallel.remote_config = section["remote"]
        return {"max_workers": workers, "parallel_config": parallel}

    def configure_memory_infrastructure(self, section: dict[str, Any]) -> None:
        """Makes what `settings.memory_infrastructure` names and the engine does not have yet."""
        engine = self._engine
        for name, (module, factory, kind) in _INFRASTRUCTURE.items():
            given = section.get(name)
            if not given or getattr(engine, f"_{name}") is not None:
                continue
            keywords = {key: value for key, value in given.items() if key != "type"}
            try:
                made = getattr(import_module(module), factory)(given.get("type", kind), **keywords)
                setattr(engine, f"_{name}", made)
            except Exception as error:
                logger.warning(f"Failed to create {name}: {error}")

    # Opik

    def resolve_opik_config(self, yaml_settings: dict[str, Any] | None = None) -> dict[str, Any]:
        """The settings of Opik: constructor, then environment, then the file, then defaults."""
        resolved = dict(_OPIK_DEFAULTS)
        for key, value in (yaml_settings or {}).items():
            if key in resolved and value is not None:
                resolved[key] = value
        for key, variable in _OPIK_VARIABLES.items():
            if os.environ.get(variable):
                resolved[key] = os.environ[variable]
        resolved.update(self._engine._opik_given)
        return resolved

    def add_opik_exporter_from_config(self) -> None:
        """Adds the exporter if the settings ask for one and there is none yet."""
        if self._engine._opik_config["trace_export"]:
            self._add_opik_exporter()

    def _add_opik_exporter(self) -> None:
        engine = self._engine
        if engine._trace_context is None:
            return
        from .exporters import OpikExporter

        if any(isinstance(exporter, OpikExporter) for exporter in engine._trace_context.exporters):
            return
        config = engine._opik_config
        engine._trace_context.exporters.append(
            OpikExporter(
                api_key=config["api_key"],
                project_name=config["project_name"],
                workspace=config["workspace"],
                url_override=config["url"],
            )
        )

    @property
    def metadata_store(self) -> Any:
        """Metadata of documents, or None."""
        return self._engine._metadata_store

    @property
    def blob_storage(self) -> Any:
        """Storage of large objects, or None."""
        return self._engine._blob_storage

    @property
    def query_engine(self) -> Any:
        """Engine for queries over tables, or None."""
        return self._engine._query_engine

    @property
    def vector_index(self) -> Any:
        """Index of vectors, or None."""
        return self._engine._vector_index

    @property
    def embedding_fn(self) -> Any:
        """Makes vectors of texts, or None."""
        return self._engine._embedding_fn

    @property
    def opik_llm_tracing(self) -> bool:
        """Whether calls of language models are traced by Opik."""
        return bool(self._engine._opik_llm_tracing)

    @property
    def opik_config(self) -> dict[str, Any]:
        """The settings of Opik, as a copy."""
        return dict(self._engine._opik_config)

    @property
    def observability_context(self) -> Any:
        """Events and spans of the agent that was loaded last, or None."""
        return self._engine._observability_context

    # Memory

    def get_memory_state(self) -> dict[str, Any]:
        """What short-term memory holds."""
        state: dict[str, Any] = self._engine._memory_backend.get_state()
        return state

    def restore_memory_state(self, state: dict[str, Any]) -> None:
        """Replaces what short-term memory holds."""
        self._engine._memory_backend.restore_state(state)

    def close(self) -> None:
        """Closes the backends; a failure of one keeps none of the others open."""
        engine = self._engine
        for name in ("_ltm_backend", "_graph_backend", "_secrets_backend", "_query_engine", "_vector_index"):
            backend = engine.__dict__.get(name)
            if backend is not None and hasattr(backend, "close"):
                try:
                    backend.close()
                except Exception as error:
                    logger.debug(f"Closing {name[1:]}: {error}")
        for name in (
            "_secrets_backend",
            "_metadata_store",
            "_blob_storage",
            "_query_engine",
            "_vector_index",
        ):
            setattr(engine, name, None)


class _Settings:
    """A section of settings as attributes."""

    def __init__(self, section: dict[str, Any]) -> None:
        self.mode = "raise"
        self.max_retries = 3
        self.__dict__.update(section)


class _Environment:
    """Secrets from the environment: variables that begin with a prefix, without it."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix

    def get(self, key: str, default: str | None = None) -> str | None:
        """The value of a secret."""
        return os.environ.get(self._prefix + key, default)

    def has(self, key: str) -> bool:
        """Whether there is a secret of that name."""
        return self._prefix + key in os.environ

    def get_all(self) -> dict[str, str]:
        """All secrets, as a new dictionary."""
        size = len(self._prefix)
        return {key[size:]: value for key, value in os.environ.items() if key.startswith(self._prefix)}

    def close(self) -> None:
        """Nothing is open."""


def _environment(_kind: str, prefix: str = "") -> _Environment:
    return _Environment(prefix)


def _expanded(section: dict[str, Any]) -> dict[str, Any]:
    from .memory.config import expand_env_vars

    expanded: dict[str, Any] = expand_env_vars(section)
    return expanded
