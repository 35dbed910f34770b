"""Locks: interface, registry, and the memory, file and Redis locks."""

from __future__ import annotations

from typing import Any

from the_edge_agent.memory.base import Registry
from the_edge_agent.memory.locks.base import DistributedLock

_MODULES = {"MemoryLock": "local", "FileLock": "local", "RedisLock": "redis"}

__all__ = [
    "DistributedLock",
    "FileLock",
    "MemoryLock",
    "RedisLock",
    "create_lock",
    "get_registered_locks",
    "register_lock",
]

_locks = Registry()
_locks.add("redis", "the_edge_agent.memory.locks.redis:RedisLock")
_locks.add("memory", "the_edge_agent.memory.locks.local:MemoryLock")
_locks.add("file", "the_edge_agent.memory.locks.local:FileLock")


def register_lock(name: str, cls: type[Any]) -> None:
    """Register a lock class under ``name`` (case is ignored); replaces an earlier one."""
    _locks.add(name, cls)


def get_registered_locks() -> list[str]:
    """Return the registered names in registration order."""
    return _locks.names()


def create_lock(lock_type: str, resource_id: str, ttl: float = 300, **kwargs: Any) -> Any:
    """Create a lock of the class registered under ``lock_type``. Raises ``ValueError`` for an unknown one."""
    cls = _locks.get(lock_type)
    if cls is None:
        known = ", ".join(get_registered_locks()) or "none"
        raise ValueError(f"Unknown lock type: '{lock_type}'. Available lock backends: {known}")
    return cls(resource_id, ttl=ttl, **kwargs)


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{module}"), name)
