"""What the command reads: input, secrets, actions, overlays, agents, checkpoints."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from .console import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import ModuleType

    from ..stategraph import StateGraph
    from ..yaml_engine import YAMLEngine


def pyyaml() -> ModuleType:
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


def load_yaml(path: str, what: str, invalid: str) -> Any:
    """The document in a file. `invalid`: how the error begins where the text is no YAML."""
    yaml = pyyaml()
    text = _read(path, what)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Failure(f"{invalid}: {error}") from error


def is_yaml(path: str) -> bool:
    return path.lower().endswith((".yaml", ".yml"))


def _loads(text: str, invalid: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Failure(f"{invalid}: {error}") from error
    except RecursionError:
        raise Failure(f"{invalid}: it is nested too deeply") from None


def mapping(value: Any, what: str) -> dict[str, Any]:
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
        return mapping(_loads(text, "Error: Invalid JSON in standard input"), "Input must be a JSON object")
    if not value.startswith("@"):
        return mapping(_loads(value, "Error: Invalid JSON in --input"), "Input must be a JSON object")
    path = value[1:]
    if not os.path.exists(path):
        raise Failure(f"Error: Input file not found: {path}")
    if is_yaml(path):
        content = load_yaml(path, "input file", "Error: Invalid YAML in input file")
    else:
        content = _loads(_read(path, "input file"), "Error: Invalid JSON in input file")
    return mapping(content, "Input must be a mapping/object")


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
        found.update(mapping(value, "Secrets must be a JSON object"))
    if secrets_env:
        found.update({name.lower(): value for name, value in _environment(secrets_env).items()})
    return found


def _environment(prefix: str) -> dict[str, str]:
    return {
        name[len(prefix) :]: value
        for name, value in os.environ.items()
        if name.startswith(prefix) and len(name) > len(prefix)
    }


def backend_secrets(name: str, options: str | None) -> dict[str, Any]:
    """The secrets of `--secrets-backend`."""
    given: dict[str, Any] = {}
    if options:
        value = _loads(options, "Error: Invalid JSON in --secrets-backend-opts")
        given = mapping(value, "The options of the secrets backend must be a JSON object")
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
    from ..stategraph import StateGraph

    resolved = os.path.realpath(path)
    if not os.path.exists(resolved):
        raise FileNotFoundError(f"Checkpoint file not found: {resolved}")
    return StateGraph.load_checkpoint(resolved)


def merge_schemas(schemas: list[Any], **more: Any) -> dict[str, Any]:
    """What the engine's action `schema.merge` answers. The rules of merging are its own."""
    from .._native.agent import CoreAction
    from ..yaml_engine import YAMLEngine

    engine = YAMLEngine(enable_tracing=False, enable_ltm=False, enable_graph=False)
    result: dict[str, Any] = CoreAction("schema.merge", engine)({}, schemas=schemas, **more)
    return result


def read_overlays(paths: Sequence[str]) -> list[dict[str, Any]]:
    overlays = []
    for path in paths:
        if not os.path.exists(path):
            raise Failure(f"Error: Overlay file not found: {os.path.abspath(path)}")
        value = load_yaml(path, "overlay file", f"Error: Invalid YAML in overlay file {path}")
        if value is None:
            value = {}
        elif not isinstance(value, dict):
            kind = type(value).__name__
            raise Failure(f"Error: Overlay YAML must be a mapping, got {kind} in {path}")
        overlays.append(value)
    return overlays


def merged_agent(file: str, overlays: list[dict[str, Any]]) -> dict[str, Any]:
    """The document in a file with the overlays over it, in order."""
    base = load_yaml(file, "base file", f"Error: Invalid YAML in base file {file}")
    if not isinstance(base, dict):
        raise Failure(f"Error: Base YAML must be a mapping, got {type(base).__name__}")
    try:
        result = merge_schemas([{"inline": document} for document in (base, *overlays)])
    except Exception as error:
        raise Failure(f"Error: cannot merge the overlays: {error}") from error
    if not result.get("success"):
        raise Failure(f"Error: cannot merge the overlays: {result.get('error')}")
    merged: dict[str, Any] = result["merged_schema"]
    return merged


def load_agent(
    file: str,
    merged: dict[str, Any] | None,
    actions: dict[str, Any],
    secrets: dict[str, Any],
    checkpointer: Any = None,
) -> tuple[YAMLEngine, StateGraph]:
    from .. import cli

    # The name that programs may have replaced.
    kind: type[YAMLEngine] = cli.YAMLEngine
    engine = kind(actions_registry=actions)
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


def is_interactive_terminal() -> bool:
    """Whether somebody can answer on the standard input."""
    return sys.stdin is not None and sys.stdin.isatty()
