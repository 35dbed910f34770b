"""Action modules of agents: `imports:` loads Python modules that register actions."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

__all__ = ["ImportLoader"]

logger = logging.getLogger("the_edge_agent.yaml_imports")


class ImportLoader:
    """Loads modules with a function `register_actions(registry, engine)` into the registry of an engine."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        # What was loaded: absolute paths and names of packages.
        self._loaded_modules: set[str] = set()

    def load_imports(self, imports: Iterable[Any], yaml_dir: str | None = None) -> None:
        """Loads all entries; raises one ValueError that lists everything that failed."""
        failed = []
        for entry in imports:
            try:
                namespace = (entry.get("namespace") or "") if isinstance(entry, dict) else ""
                if isinstance(entry, dict) and entry.get("path"):
                    self._load_from_path(entry["path"], namespace, yaml_dir)
                elif isinstance(entry, dict) and entry.get("package"):
                    self._load_from_package(entry["package"], namespace)
                else:
                    raise ValueError(f"Invalid import: must specify 'path' or 'package'. Got: {entry}")
            except Exception as error:
                failed.append(str(error))
        if failed:
            raise ValueError("Failed to load imports:" + "".join(f"\n  - {text}" for text in failed))

    def _load_from_path(self, path: str, namespace: str, yaml_dir: str | None = None) -> None:
        full = path if os.path.isabs(path) or not yaml_dir else os.path.join(yaml_dir, path)
        full = os.path.abspath(full)
        if full in self._loaded_modules:
            logger.debug(f"Module already loaded: {full}")
            return
        if not os.path.exists(full):
            raise FileNotFoundError(f"Action module not found: {full} (from path: {path})")
        name = f"_tea_import_{abs(hash(full))}"
        spec = importlib.util.spec_from_file_location(name, full)
        if spec is None or spec.loader is None:
            raise ImportError(f"Module {full} is no Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self._register(module, "Module", path, namespace)
        self._loaded_modules.add(full)

    def _load_from_package(self, package: str, namespace: str) -> None:
        if package in self._loaded_modules:
            logger.debug(f"Package already loaded: {package}")
            return
        try:
            module = importlib.import_module(package)
        except ImportError as error:
            raise ImportError(
                f"Failed to import package '{package}': {error}. Ensure the package is installed: "
                f"pip install {package}"
            ) from error
        self._register(module, "Package", package, namespace)
        self._loaded_modules.add(package)

    def _register(self, module: ModuleType, kind: str, source: str, namespace: str) -> None:
        if not hasattr(module, "register_actions"):
            raise ValueError(
                f"{kind} {source} missing required 'register_actions(registry, engine)' function"
            )
        if not callable(module.register_actions):
            raise ValueError(f"{kind} {source} has 'register_actions' but it is not callable")
        actions: dict[str, Any] = {}
        module.register_actions(actions, self._engine)
        registry = self._engine.actions_registry
        for name, action in actions.items():
            full = f"{namespace}.{name}" if namespace else name
            if full in registry:
                logger.warning(f"Action '{full}' from {source} overrides existing action")
            registry[full] = action
        self._tell(module, source, namespace)

    def _tell(self, module: ModuleType, source: str, namespace: str) -> None:
        about = getattr(module, "__tea_actions__", None)
        if not isinstance(about, dict):
            return
        version = about.get("version") or "unknown"
        logger.info(f"Loaded actions from {source} (namespace: {namespace or 'root'}, version: {version})")
        if about.get("description"):
            logger.debug(f"  {about['description']}")
        if about.get("actions"):
            logger.debug(f"  Declared actions: {about['actions']}")
