"""Actions that read secrets: from the engine's backend, or else from its `secrets`."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

__all__ = ["register_actions", "secrets_get", "secrets_has"]

logger = logging.getLogger("the_edge_agent.actions.secrets_actions")


def secrets_get(
    state: Any, key: str, default: Any = None, *, engine: Any = None, **_ignored: Any
) -> dict[str, Any]:
    """The value of a secret, or `default`."""
    backend = getattr(engine, "_secrets_backend", None)
    secrets = getattr(engine, "secrets", None) or {}
    value = backend.get(key, default) if backend is not None else secrets.get(key, default)
    logger.debug(f"Secret '{key}' {'found' if value is not None else 'not found'}")
    return {"value": value}


def secrets_has(state: Any, key: str, *, engine: Any = None, **_ignored: Any) -> dict[str, Any]:
    """Whether there is a secret of that name."""
    backend = getattr(engine, "_secrets_backend", None)
    if backend is not None:
        return {"exists": bool(backend.has(key))}
    return {"exists": key in (getattr(engine, "secrets", None) or {})}


def register_actions(registry: MutableMapping[str, Callable[..., Any]], engine: Any) -> None:
    """Adds the actions of this module; both names of one are one object."""
    for name, function in (("secrets.get", secrets_get), ("secrets.has", secrets_has)):
        action = partial(function, engine=engine)
        registry[name] = registry["actions." + name.replace(".", "_")] = action
