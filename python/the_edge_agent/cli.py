"""The command `tea`: runs, checks and draws agents; also `python -m the_edge_agent.cli`.

The module itself loads neither the library nor the rest of the package: commands do when they need it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from . import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import ModuleType

    from .stategraph import StateGraph
    from .yaml_engine import YAMLEngine

__all__ = ["Failure", "emit_ndjson_event", "main", "parse_input", "parse_secrets"]

IMPLEMENTATION = "python"

RULE = "=" * 80
INTERRUPTED = 130
# As a shell sees a process whose reader has gone.
BROKEN_PIPE = 141
INTERRUPTS = ("interrupt_before", "interrupt_after", "interrupt")


def __getattr__(name: str) -> Any:
    # Programs replace `cli.YAMLEngine`; importing it only when it is used keeps `tea --version` fast.
    if name == "YAMLEngine":
        from .yaml_engine import YAMLEngine

        return YAMLEngine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class Failure(Exception):
    """Ends a command: `text` for the standard error (empty: all is said already) and the exit code."""

    def __init__(self, text: str = "", code: int = 1) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


# Reading what the command line names


def _yaml() -> ModuleType:
    """PyYAML; a Failure says what to install if it is absent."""
    from importlib import import_module

    try:
        return import_module("yaml")
    except ImportError:
        raise Failure("Error: this needs PyYAML: install it by `pip install pyyaml`") from None


def _read(path: str, what: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except UnicodeDecodeError:
        raise Failure(f"Error: {what} {path} is not UTF-8 text") from None
    except OSError as error:
        raise Failure(f"Error: cannot read {what} {path}: {error.strerror or error}") from error


def _load_yaml(path: str, what: str, invalid: str) -> Any:
    """The document in a file. `invalid`: how the error begins where the text is no YAML."""
    yaml = _yaml()
    text = _read(path, what)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Failure(f"{invalid}: {error}") from error


def _is_yaml(path: str) -> bool:
    return path.lower().endswith((".yaml", ".yml"))


def _loads(text: str, invalid: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Failure(f"{invalid}: {error}") from error
    except RecursionError:
        raise Failure(f"{invalid}: it is nested too deeply") from None


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Failure(f"Error: {what}, got {type(value).__name__}")
    return value


def parse_input(value: str | None) -> dict[str, Any]:
    """The values of `--input`: JSON, `@FILE` (JSON or YAML), `-` for JSON on the standard input; None is empty.

    Raises Failure for what is no mapping, or cannot be read.
    """
    if value is None:
        return {}
    if value in ("-", "@-"):
        try:
            text = sys.stdin.read()
        except UnicodeDecodeError:
            raise Failure("Error: the standard input is not UTF-8 text") from None
        return _mapping(_loads(text, "Error: Invalid JSON in standard input"), "Input must be a JSON object")
    if not value.startswith("@"):
        return _mapping(_loads(value, "Error: Invalid JSON in --input"), "Input must be a JSON object")
    path = value[1:]
    if not os.path.exists(path):
        raise Failure(f"Error: Input file not found: {path}")
    if _is_yaml(path):
        content = _load_yaml(path, "input file", "Error: Invalid YAML in input file")
    else:
        content = _loads(_read(path, "input file"), "Error: Invalid JSON in input file")
    return _mapping(content, "Input must be a mapping/object")


def parse_secrets(secrets: str | None, secrets_env: str | None) -> dict[str, Any]:
    """The secrets of `--secrets` (JSON or `@FILE`), then those of environment variables with a prefix, under the rest
    of their names in lower case. Raises Failure."""
    found: dict[str, Any] = {}
    if secrets:
        if secrets.startswith("@"):
            path = secrets[1:]
            if not os.path.exists(path):
                raise Failure(f"Error: Secrets file not found: {path}")
            value = _loads(_read(path, "secrets file"), "Error: Invalid JSON in secrets file")
        else:
            value = _loads(secrets, "Error: Invalid JSON in --secrets")
        found.update(_mapping(value, "Secrets must be a JSON object"))
    if secrets_env:
        found.update({name.lower(): value for name, value in _environment(secrets_env).items()})
    return found


def _environment(prefix: str) -> dict[str, str]:
    return {
        name[len(prefix) :]: value
        for name, value in os.environ.items()
        if name.startswith(prefix) and len(name) > len(prefix)
    }


def _backend_secrets(name: str, options: str | None) -> dict[str, Any]:
    """The secrets of `--secrets-backend`."""
    given: dict[str, Any] = {}
    if options:
        value = _loads(options, "Error: Invalid JSON in --secrets-backend-opts")
        given = _mapping(value, "The options of the secrets backend must be a JSON object")
    failed = "Error: Failed to configure secrets backend:"
    if name.lower() == "env":
        prefix = str(given.get("prefix", ""))
        return dict(_environment(prefix))
    if name.lower() in ("aws", "azure", "gcp", "vault"):
        raise Failure(f"{failed} the backend '{name}' is not available yet in this command; available: env")
    raise Failure(f"{failed} Unknown secrets backend type: '{name}'. Available backends: env")


def load_actions_from_module(module_path: str) -> dict[str, Any]:
    """The actions that a module registers. Raises Failure if it cannot be imported or has no `register_actions`."""
    from importlib import import_module

    # Modules beside the user's files, as for `python -m`.
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = import_module(module_path)
    except ImportError as error:
        raise Failure(f"Error: Cannot import module '{module_path}': {error}") from error
    return _registered(module, f"Module '{module_path}'", module_path)


def load_actions_from_file(file_path: str) -> dict[str, Any]:
    """The actions that a Python file registers. Raises Failure as `load_actions_from_module`."""
    from importlib.util import module_from_spec, spec_from_file_location

    resolved = os.path.realpath(file_path)
    if not os.path.exists(resolved):
        raise Failure(f"Error: Actions file not found: {resolved}")
    failed = f"Error: Failed to load Python file '{resolved}'"
    spec = spec_from_file_location("custom_actions", resolved)
    if spec is None or spec.loader is None:
        raise Failure(f"{failed}: its name must end in .py")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise Failure(f"{failed}: {error}") from error
    return _registered(module, f"File '{file_path}'", file_path)


def _registered(module: ModuleType, what: str, name: str) -> dict[str, Any]:
    register = getattr(module, "register_actions", None)
    if register is None:
        raise Failure(f"Error: {what} must define a register_actions(registry, engine) function")
    registry: dict[str, Any] = {}
    try:
        register(registry, engine=None)
    except Exception as error:
        raise Failure(f"Error: Failed to register actions from '{name}': {error}") from error
    return registry


def load_cli_actions(
    actions_modules: Iterable[str] | None = None, actions_files: Iterable[str] | None = None
) -> dict[str, Any]:
    """The actions of modules, then of files; later ones win."""
    registry: dict[str, Any] = {}
    for module in actions_modules or ():
        registry.update(load_actions_from_module(module))
    for file in actions_files or ():
        registry.update(load_actions_from_file(str(file)))
    return registry


def deep_merge(base: dict[str, Any], override: dict[str, Any]) -> dict[str, Any]:
    """Puts `override` over `base`, dictionaries at every level; changes and returns `base`."""
    for key, value in override.items():
        known = base.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            deep_merge(known, value)
        else:
            base[key] = value
    return base


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A checkpoint file: the engine's JSON or a pickle (see `StateGraph.load_checkpoint`), by its content."""
    from .stategraph import StateGraph

    resolved = os.path.realpath(path)
    if not os.path.exists(resolved):
        raise FileNotFoundError(f"Checkpoint file not found: {resolved}")
    return StateGraph.load_checkpoint(resolved)


def _merge(schemas: list[Any], **more: Any) -> dict[str, Any]:
    """What the engine's action `schema.merge` answers. The rules of merging are its own."""
    from ._native.agent import CoreAction
    from .yaml_engine import YAMLEngine

    engine = YAMLEngine(enable_tracing=False, enable_ltm=False, enable_graph=False)
    result: dict[str, Any] = CoreAction("schema.merge", engine)({}, schemas=schemas, **more)
    return result


def _overlays(paths: Sequence[str]) -> list[dict[str, Any]]:
    overlays = []
    for path in paths:
        if not os.path.exists(path):
            raise Failure(f"Error: Overlay file not found: {os.path.abspath(path)}")
        value = _load_yaml(path, "overlay file", f"Error: Invalid YAML in overlay file {path}")
        if value is None:
            value = {}
        elif not isinstance(value, dict):
            kind = type(value).__name__
            raise Failure(f"Error: Overlay YAML must be a mapping, got {kind} in {path}")
        overlays.append(value)
    return overlays


def _merged(file: str, overlays: list[dict[str, Any]]) -> dict[str, Any]:
    """The document in a file with the overlays over it, in order."""
    base = _load_yaml(file, "base file", f"Error: Invalid YAML in base file {file}")
    if not isinstance(base, dict):
        raise Failure(f"Error: Base YAML must be a mapping, got {type(base).__name__}")
    try:
        result = _merge([{"inline": document} for document in (base, *overlays)])
    except Exception as error:
        raise Failure(f"Error: cannot merge the overlays: {error}") from error
    if not result.get("success"):
        raise Failure(f"Error: cannot merge the overlays: {result.get('error')}")
    merged: dict[str, Any] = result["merged_schema"]
    return merged


# Writing


def _colour(code: int, text: str) -> str:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    return text if plain else f"\x1b[{code}m{text}\x1b[0m"


def _error(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _json(value: Any, indent: int | None = None) -> str:
    from .serialization import TeaJSONEncoder

    try:
        return json.dumps(value, indent=indent, cls=TeaJSONEncoder)
    except (TypeError, ValueError, RecursionError) as error:
        raise Failure(f"Error: cannot write JSON: {error}") from error


def emit_ndjson_event(event_type: str, **fields: Any) -> None:
    """Writes an event as a line of JSON: `type`, `timestamp` (UTC), the fields."""
    _emit(None, event_type, fields)


def _emit(out: Any, event_type: str, fields: dict[str, Any]) -> None:
    from datetime import datetime, timezone

    event = {"type": event_type, "timestamp": datetime.now(timezone.utc).isoformat(), **fields}
    print(_json(event), file=out, flush=True)


def _write_file(path: str, text: str) -> None:
    """Writes a file as a whole: it is complete, or as it was."""
    from .checkpoint_files import atomic_write

    try:
        if os.path.exists(path) and not os.path.isfile(path):
            # Devices and pipes cannot be replaced.
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        else:
            atomic_write(path, text.encode())
    except OSError as error:
        raise Failure(f"Error: cannot write {path}: {error.strerror or error}") from error


def setup_logging(verbose: int, quiet: bool) -> None:
    """Log records on the standard error: warnings and errors, fewer with `quiet`, more with `verbose`."""
    import logging

    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=logging.ERROR if quiet else level, format="%(levelname)s: %(message)s")


def is_interactive_terminal() -> bool:
    """Whether somebody can answer on the standard input."""
    return sys.stdin is not None and sys.stdin.isatty()


# Running


class _Session:
    """An agent that is run by one command."""

    def __init__(self, file: str, options: argparse.Namespace, merged: dict[str, Any] | None) -> None:
        self.file = file
        self.options = options
        self.stream: bool = options.stream
        self.loud: bool = not (options.quiet or options.stream)
        # With --stream, what the agent prints goes to the standard error: this is for events only.
        self.out = sys.stdout
        backend = options.secrets_backend
        if backend is not None:
            secrets = _backend_secrets(backend, options.secrets_backend_opts)
        else:
            secrets = parse_secrets(options.secrets, options.secrets_env)
        actions = load_cli_actions(options.actions_module, options.actions_file)
        self.engine, self.graph = _load(file, merged, actions, secrets)
        self._set_interrupts()

    def _set_interrupts(self) -> None:
        """Adds the interrupts of the command line to the agent's; a name that is no node never stops a run. There is
        always a place for checkpoints, so that no run has to begin again (`cli/Q-7`)."""
        options, graph = self.options, self.graph
        given = False
        for names, known in (
            (options.interrupt_before, graph.interrupt_before),
            (options.interrupt_after, graph.interrupt_after),
        ):
            for name in filter(None, (part.strip() for part in (names or "").split(","))):
                given = True
                if name not in known:
                    known.append(name)
        if options.checkpoint_dir:
            graph.checkpoint_dir = options.checkpoint_dir
            self.engine._checkpoint_dir = options.checkpoint_dir
        elif given and graph.checkpoint_dir is None and graph.checkpointer is None:
            import tempfile

            graph.checkpoint_dir = tempfile.mkdtemp(prefix="tea_checkpoint_")

    def emit(self, event_type: str, **fields: Any) -> None:
        _emit(self.out, event_type, fields)

    def run(self, state: dict[str, Any], checkpoint: str | None = None) -> int:
        """Runs to the end, over all interrupts; the exit code."""
        from contextlib import nullcontext, redirect_stdout

        with redirect_stdout(sys.stderr) if self.stream else nullcontext():
            while True:
                interrupt = self._events(state, checkpoint)
                if interrupt is None:
                    return 0
                checkpoint = interrupt.get("checkpoint_path")
                if checkpoint is None:
                    raise Failure(
                        f"Error: the interrupt at node '{interrupt.get('node')}' left no checkpoint"
                    )
                state = self._after_interrupt(interrupt, checkpoint)

    def _events(self, state: dict[str, Any], checkpoint: str | None) -> dict[str, Any] | None:
        """Reports events until the run ends (None) or is interrupted (that event)."""
        events = iter(self.graph.stream(state, checkpoint=checkpoint))
        while True:
            try:
                event = next(events, None)
            except Exception as error:
                raise _raised(error) from error
            if event is None:
                return None
            kind = event.get("type")
            if kind in INTERRUPTS:
                self._report_interrupt(event)
                return event
            if kind == "state":
                self._report_node(event)
            elif kind == "error":
                self._report_error(event)
            elif kind == "http_response":
                self._report_response(event)
            elif kind == "final":
                self.finish("Completed", event.get("state"))

    def _report_node(self, event: dict[str, Any]) -> None:
        if self.stream:
            self.emit("node_complete", node=event.get("node"), state=event.get("state"))
        elif self.loud:
            print(f"{_colour(32, '✓')} {event.get('node')}", flush=True)

    def _report_interrupt(self, event: dict[str, Any]) -> None:
        node, state = event.get("node"), event.get("state")
        if self.stream:
            self.emit("interrupt", node=node, state=state, checkpoint=event.get("checkpoint_path"))
        elif self.loud:
            print(f"{_colour(33, '⏸')}  Interrupt at: {node}\n   State: {_json(state, 2)}", flush=True)

    def _report_error(self, event: dict[str, Any]) -> NoReturn:
        node, error = event.get("node"), event.get("error")
        if self.stream:
            self.emit("error", node=node, error=str(error))
        elif self.loud:
            print(f"{_colour(31, '✗')} Error at {node}: {error}", flush=True)
        raise Failure()

    def _report_response(self, event: dict[str, Any]) -> None:
        if self.stream:
            fields = ("node", "status", "body", "headers", "state")
            self.emit("http_response", **{name: event.get(name) for name in fields})
        elif self.loud:
            print(f"\nResponse {event.get('status')}: {_json(event.get('body'), 2)}", flush=True)

    def finish(self, title: str, state: Any) -> None:
        """Writes the final state where it is wanted."""
        path = self.options.output_file
        if path:
            _write_file(path, _json(state, 2))
            if self.loud:
                print(f"\nOutput written to: {path}")
        if self.stream:
            self.emit("complete", state=state)
        elif self.loud:
            print(f"\n{RULE}\n{_colour(32, '✓')} {title}\n{RULE}\nFinal state: {_json(state, 2)}", flush=True)

    def _after_interrupt(self, event: dict[str, Any], checkpoint: str) -> dict[str, Any]:
        """The state to go on with."""
        if self.options.auto_continue:
            if self.loud:
                print("   (auto-continuing...)", flush=True)
            return {}
        if is_interactive_terminal():
            state = handle_interrupt_interactive(event, self.options.checkpoint_dir or "./checkpoints")
            if state is None:
                raise Failure()
            return state
        raise Failure(
            f"Execution interrupted at node: {event.get('node')}\nCheckpoint saved: {checkpoint}\n"
            f"Go on with: tea resume {checkpoint} --workflow {self.file}",
            INTERRUPTED,
        )

    def run_scoped(self, state: dict[str, Any]) -> int:
        """Runs from one node until before another."""
        entry = self.options.entry_point or "__start__"
        leave = self.options.exit_point or "__end__"
        self.stream = False
        self.loud = not self.options.quiet
        if self.loud:
            scope = f"Running scoped execution: {entry} → (stop before {leave})"
            _banner(f"{scope}\nWorkflow: {self.file}", state)
        try:
            result = self.graph.execute_scoped(initial_state=state, entry_point=entry, exit_point=leave)
        except Exception as error:
            raise _raised(error) from error
        failed = result.get("_scoped_error")
        if isinstance(failed, dict):
            raise Failure(f"Error in node '{failed.get('node')}': {failed.get('error')}")
        self.finish("Scoped execution completed", result)
        return 0


def _raised(error: Exception) -> Failure:
    """An error of a run that is raised instead of being an event."""
    import logging

    logging.getLogger(__name__).debug("the run failed", exc_info=error)
    details = getattr(error, "errors", None)
    if type(error).__name__ == "ValidationError" and isinstance(details, list):
        shown = _json([d.to_dict() if hasattr(d, "to_dict") else str(d) for d in details], 2)
        return Failure(f"Error: the input does not fit input_schema: {shown}")
    return Failure(f"Error: {error}")


def _load(
    file: str,
    merged: dict[str, Any] | None,
    actions: dict[str, Any],
    secrets: dict[str, Any],
    checkpointer: Any = None,
) -> tuple[YAMLEngine, StateGraph]:
    engine = sys.modules[__name__].YAMLEngine(actions_registry=actions)
    if secrets:
        engine.secrets = secrets
    more = {} if checkpointer is None else {"checkpointer": checkpointer}
    try:
        if merged is None:
            graph = engine.load_from_file(file, **more)
        else:
            graph = engine.load_from_dict(merged, yaml_dir=os.path.dirname(os.path.abspath(file)), **more)
    except Exception as error:
        raise Failure(f"Error loading workflow: {error}") from error
    return engine, graph


def _banner(text: str, state: dict[str, Any]) -> None:
    print(f"{RULE}\n{text}\n{RULE}")
    if state:
        print(f"\nInitial state: {_json(state, 2)}\n")
    sys.stdout.flush()


def handle_interrupt_interactive(event: dict[str, Any], checkpoint_dir: str | os.PathLike[str]) -> Any:
    """Asks on the terminal what to do at an interrupt: the state to go on with, or None to end.

    The run's own checkpoint is named if there is one, otherwise one is written into `checkpoint_dir`.
    """
    node, state = event.get("node"), event.get("state", {})
    path = event.get("checkpoint_path")
    if path is None:
        path = _save_checkpoint(node, state, checkpoint_dir)
    print(f"\nCheckpoint saved: {path}\n\nReview the state above. Options:")
    print("  [c] Continue with current state\n  [u] Update state before continuing\n  [a] Abort execution")
    choice = input("\nChoice: ").strip().lower()
    if choice == "c":
        return state
    if choice == "a":
        print("\nExecution aborted by user.")
        return None
    if choice != "u":
        print(f"\nInvalid choice: {choice}. Aborting.")
        return None
    print("\nEnter state updates as JSON (or press Enter to skip):")
    line = input().strip()
    if not line:
        return state
    try:
        update = json.loads(line)
    except ValueError as error:
        _error(f"Error: Invalid JSON - {error}")
        return None
    if not isinstance(update, dict):
        _error("Error: State updates must be a JSON object")
        return None
    print("State updated. Resuming execution...")
    return deep_merge(dict(state), update)


def _save_checkpoint(node: Any, state: Any, directory: str | os.PathLike[str]) -> str:
    import time

    from .checkpoint_files import write_checkpoint

    milliseconds = int(time.time() * 1000)
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, f"{node}_{milliseconds}.pkl")
    record = {"state": state, "node": node, "config": {}, "timestamp": milliseconds, "version": "1.0"}
    write_checkpoint(path, record)
    return path


# Commands


def _later(what: str) -> Failure:
    return Failure(f"Error: {what} is not available yet in this command")


def _refuse_later(options: argparse.Namespace) -> None:
    """Options that are not there yet end the command; those that only matter to bug reports do not."""
    for first, second in (
        ("interactive", "stream"),
        ("show_graph", "stream"),
        ("report_extended", "report_minimal"),
    ):
        if getattr(options, first) and getattr(options, second):
            names = [f"--{name.replace('_', '-')}" for name in (first, second)]
            raise Failure(f"Error: {names[0]} and {names[1]} are mutually exclusive")
    asked = "question_key response_key complete_key skip_response display_key display_format input_timeout".split()
    if options.interactive or any(getattr(options, name) is not None for name in asked):
        raise _later("--interactive")
    for name in ("show_graph", "gguf", "backend"):
        if getattr(options, name):
            raise _later(f"--{name.replace('_', '-')}")
    if options.report_bugs or options.report_extended or options.report_minimal:
        raise _later("the bug report")


def _given_input(options: argparse.Namespace) -> str | None:
    """`--state` and `--state-file` stand for `--input`."""
    given: str | None = options.input
    if options.state:
        _error("Warning: --state is deprecated, use --input")
        given = options.state if given is None else given
    if options.state_file:
        _error("Warning: --state-file is deprecated, use --input @file.json")
        given = f"@{options.state_file}" if given is None else given
    return given


def _run(options: argparse.Namespace) -> int:
    setup_logging(options.verbose, options.quiet)
    _refuse_later(options)
    given = _given_input(options)
    file: str = options.file
    if not os.path.exists(file):
        raise Failure(f"Error: Workflow file not found: {file}")
    merged = None
    if options.overlay or options.dump_merged:
        merged = _merged(file, _overlays(options.overlay))
    if options.dump_merged:
        sys.stdout.write(_yaml().dump(merged, default_flow_style=False, sort_keys=False))
        return 0
    values = parse_input(given)
    session = _Session(file, options, merged)
    initial = session.engine._config.get("initial_state")
    if initial and not isinstance(initial, dict):
        raise Failure(f"Error: initial_state must be a mapping, got {type(initial).__name__}")
    state = {**(initial or {}), **values}
    if options.entry_point or options.exit_point:
        if options.entry_point and given is None:
            _error("Warning: --entry-point without --input means starting with empty state")
        return session.run_scoped(state)
    if session.stream:
        session.emit("start", workflow=file)
    elif session.loud:
        _banner(f"Running agent from: {file}", state)
    return session.run(state)


def _resume(options: argparse.Namespace) -> int:
    setup_logging(options.verbose, options.quiet)
    path, workflow = options.checkpoint, options.workflow
    if not os.path.exists(path):
        raise Failure(f"Error: Checkpoint file not found: {path}")
    if not os.path.exists(workflow):
        raise Failure(f"Error: Workflow file not found: {workflow}")
    try:
        checkpoint = load_checkpoint(path)
    except Exception as error:
        raise Failure(f"Error loading checkpoint: {error}") from error
    update = parse_input(options.input)
    session = _Session(workflow, options, None)
    if session.stream:
        session.emit("resume", workflow=workflow, checkpoint=path)
    elif session.loud:
        node = checkpoint.get("node") or "unknown"
        print(f"Resuming from checkpoint: {path}\nInterrupted node: {node}", flush=True)
    return session.run(deep_merge(dict(checkpoint["state"]), update), path)


def _document(file: str) -> dict[str, Any]:
    """A file that is looked at, but not run."""
    if not os.path.exists(file):
        raise Failure(f"Error: File not found: {file}")
    return _mapping(_load_yaml(file, "file", "Error: Invalid YAML syntax"), "Agent YAML must be a mapping")


def _look_at(file: str, overlays: list[str]) -> StateGraph:
    """Builds the graph of an agent; checkpoints of it would go nowhere on disk."""
    from .checkpointers import MemoryCheckpointer

    merged = _merged(file, _overlays(overlays)) if overlays else None
    return _load(file, merged, {}, {}, MemoryCheckpointer())[1]


def _validate(options: argparse.Namespace) -> int:
    setup_logging(0, False)
    file: str = options.file
    if not os.path.exists(file):
        raise Failure(f"Error: File not found: {file}")
    if options.detailed:
        document = _merged(file, _overlays(options.overlay)) if options.overlay else _document(file)
        _details(document)
    try:
        _look_at(file, options.overlay)
    except Failure as failure:
        cause = failure.__cause__
        if not failure.text.startswith("Error loading workflow"):
            raise
        if any(base.__name__ in ("YAMLError", "ReaderError") for base in type(cause).__mro__):
            raise Failure(f"Error: Invalid YAML syntax: {cause}") from cause
        raise Failure(f"\nValidation failed: {cause}") from cause
    print(f"\n{_colour(32, '✓')} {file} is valid")
    return 0


def _entries(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The mappings of a list; what is none is left out."""
    found = document.get(key)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _targets(edge: dict[str, Any]) -> Iterable[tuple[Any, Any]]:
    targets = edge.get("targets")
    return targets.items() if isinstance(targets, dict) else ()


def _action(node: dict[str, Any]) -> Any:
    return node.get("uses") or node.get("action")


def _details(document: dict[str, Any]) -> None:
    print(f"Workflow: {document.get('name') or 'unnamed'}")
    if document.get("description"):
        print(f"Description: {document['description']}")
    nodes, edges = _entries(document, "nodes"), _entries(document, "edges")
    print(f"\nNodes: {len(nodes)}")
    for node in nodes:
        uses = f" (uses: {_action(node)})" if _action(node) else ""
        print(f"  - {node.get('name') or '?'}{uses}")
    print(f"\nEdges: {len(edges)}")
    for edge in edges:
        source = edge.get("from") or "?"
        if edge.get("to"):
            print(f"  - {source} -> {edge['to']}")
        for key, target in _targets(edge):
            print(f"  - {source} --[{key}]--> {target}")


def _inspect(options: argparse.Namespace) -> int:
    document = _document(options.file)
    if options.format == "json":
        print(_json(document, 2))
    elif options.format == "dot":
        print("\n".join(_dot(document)))
    else:
        print("\n".join(_shown(document)))
    return 0


def _language(node: dict[str, Any]) -> str | None:
    """The language of a node's code as far as the file says it; it is Python by default."""
    code = node.get("run")
    if not code:
        return None
    own = (code.get("type") or code.get("language")) if isinstance(code, dict) else None
    return str(own or node.get("language") or "python")


def _condition(edge: dict[str, Any]) -> Any:
    return edge.get("condition") or edge.get("when")


def _branches(edge: dict[str, Any]) -> list[str]:
    branches = edge.get("parallel")
    return [str(branch) for branch in branches] if isinstance(branches, list) else []


def _shown(document: dict[str, Any]) -> list[str]:
    lines = [f"Workflow: {document.get('name') or 'unnamed'}"]
    if document.get("description"):
        lines.append(f"Description: {document['description']}")
    nodes, edges = _entries(document, "nodes"), _entries(document, "edges")
    lines.append(f"\nNodes ({len(nodes)}):")
    for node in nodes:
        line = f"  {node.get('name') or '?'}"
        if _action(node):
            line += f" [{_action(node)}]"
        if _language(node):
            line += f" ({_language(node)})"
        if node.get("retry"):
            line += " (retry)"
        if node.get("fallback"):
            line += f" (fallback: {node['fallback']})"
        lines.append(line)
    lines.append(f"\nEdges ({len(edges)}):")
    for edge in edges:
        source = edge.get("from") or "?"
        if edge.get("to"):
            when = f" [when: {_condition(edge)}]" if _condition(edge) else ""
            lines.append(f"  {source} -> {edge['to']}{when}")
        lines += [f"  {source} --[{key}]--> {target}" for key, target in _targets(edge)]
        if _branches(edge):
            lines.append(f"  {source} => [{', '.join(_branches(edge))}]")
    variables = document.get("variables")
    if variables and isinstance(variables, dict):
        lines.append("\nVariables:")
        lines += [f"  {key}: {value}" for key, value in variables.items()]
    return lines


def _quoted(text: Any) -> str:
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _dot(document: dict[str, Any]) -> list[str]:
    title = str(document.get("name") or "workflow").replace("-", "_")
    plain = title.isascii() and title.isidentifier()
    lines = [
        f"digraph {title if plain else _quoted(title)} {{",
        "  rankdir=TB;",
        "  node [shape=box];",
        "",
        '  "__start__" [label="START", shape=ellipse];',
        '  "__end__" [label="END", shape=ellipse];',
        "",
    ]
    for node in _entries(document, "nodes"):
        label = name = node.get("name") or "?"
        if _language(node):
            label = f"{name}\n({_language(node)})"
        elif _action(node):
            label = f"{name}\n[{_action(node)}]"
        lines.append(f"  {_quoted(name)} [label={_quoted(label)}];")
    lines.append("")
    for edge in _entries(document, "edges"):
        source = _quoted(edge.get("from") or "__start__")
        if edge.get("to"):
            when = _condition(edge)
            label = f" [label={_quoted(f'when: {when}')}]" if when else ""
            lines.append(f"  {source} -> {_quoted(edge['to'])}{label};")
        lines += [
            f"  {source} -> {_quoted(target)} [label={_quoted(key)}];" for key, target in _targets(edge)
        ]
        lines += [f"  {source} -> {_quoted(branch)} [style=dashed];" for branch in _branches(edge)]
    return [*lines, "}"]


def _graph(options: argparse.Namespace) -> int:
    setup_logging(0, False)
    if not os.path.exists(options.file):
        raise Failure(f"Error: File not found: {options.file}")
    picture = _look_at(options.file, options.overlay).to_mermaid()
    if options.output_file:
        _write_file(options.output_file, f"{picture}\n")
    else:
        print(picture)
    return 0


def _schema_merge(options: argparse.Namespace) -> int:
    for path in options.files:
        if not os.path.exists(path):
            raise Failure(f"Error: File not found: {path}")
    schemas: list[Any] = [{"path": path} for path in options.files]
    schemas += [{"uses": reference} for reference in options.uses]
    try:
        result = _merge(schemas, validate=options.validate)
    except Exception as error:
        raise Failure(f"Error: {error}") from error
    if not result.get("success"):
        errors = result.get("errors") or (result.get("validation") or {}).get("errors") or []
        lines = [f"Error: {result.get('error') or 'Unknown error'}", *(f"  - {error}" for error in errors)]
        raise Failure("\n".join(lines))
    text = _json(result["merged_schema"], 2)
    if options.validate:
        _error("✓ Merged schema is valid JSON Schema")
    if options.output_file is None or options.dry_run:
        print(text)
    else:
        _write_file(options.output_file, text)
        _error(f"✓ Merged schema written to {options.output_file}")
    return 0


def _not_yet(options: argparse.Namespace) -> int:
    raise _later(f"tea {options.command}")


_COMMANDS = {
    "run": _run,
    "resume": _resume,
    "validate": _validate,
    "inspect": _inspect,
    "graph": _graph,
    "schema": _schema_merge,
    "report-bug": _not_yet,
    "from": _not_yet,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit code: 0 success, 1 errors, 2 wrong usage, 130 an interrupt.

    Args:
        arguments: without the program's name; None takes those of the process.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal that lacks a character is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(given)
    except Failure as failure:
        if failure.text:
            _error(failure.text)
        return failure.code
    except EOFError:
        _error("Aborted.")
        return 1
    except KeyboardInterrupt:
        _error("\n\nExecution interrupted by user (Ctrl+C)")
        return INTERRUPTED
    except BrokenPipeError:
        # What is still in the buffer has nowhere to go, at the end of the process, too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def _dispatch(given: list[str]) -> int:
    from ._cli_arguments import build_parser

    if given and _is_yaml(given[0]):
        _error("Warning: 'tea FILE' is deprecated, use 'tea run FILE'")
        given.insert(0, "run")
    parser = build_parser(_COMMANDS)
    options = parser.parse_args(given)
    if options.version:
        print(f"tea {__version__} ({IMPLEMENTATION})" if options.impl else f"tea {__version__}")
        return 0
    if options.impl:
        print(IMPLEMENTATION)
        return 0
    if options.command is None:
        parser.print_help()
        return 2
    code: int = options.work(options)
    sys.stdout.flush()
    return code


if __name__ == "__main__":
    sys.exit(main())
