"""Short-term memory: values that live as long as the engine."""

from __future__ import annotations

import threading
import time
from typing import Any, Protocol


class MemoryBackend(Protocol):
    """What an engine asks of its short-term memory: string keys and namespaces, values of any type."""

    def store(self, key: str, value: Any, ttl: float | None = None, namespace: str = "default") -> bool:
        """Store ``value``; ``ttl`` in seconds, None for no expiry. Returns True."""

    def retrieve(self, key: str, namespace: str = "default") -> Any:
        """Return the stored value, or None when absent or expired."""

    def delete(self, key: str, namespace: str = "default") -> bool:
        """Remove the key and tell whether it was there."""

    def exists(self, key: str, namespace: str = "default") -> bool:
        """Tell whether ``retrieve`` would give something other than None."""

    def clear(self, namespace: str | None = None) -> int:
        """Remove the entries of one namespace, or of all; return how many were removed."""

    def get_state(self) -> dict[str, Any]:
        """Return all live entries in a form that ``restore_state`` takes."""

    def restore_state(self, state: dict[str, Any]) -> None:
        """Replace the content by a state that ``get_state`` returned."""


class _Entry:
    __slots__ = ("expires_at", "stored_at", "value")

    def __init__(self, value: Any, expires_at: float | None, stored_at: float) -> None:
        self.value = value
        self.expires_at = expires_at
        self.stored_at = stored_at


class InMemoryBackend:
    """Thread-safe dictionary of namespaces with optional expiry. Values are kept by reference."""

    STATE_VERSION = "1.0"

    def __init__(self) -> None:
        self._spaces: dict[str, dict[str, _Entry]] = {}
        self._lock = threading.RLock()

    def store(self, key: str, value: Any, ttl: float | None = None, namespace: str = "default") -> bool:
        """Store or replace ``value``. ``ttl`` counts in seconds on the monotonic clock; a negative one has
        expired at once. Raises ``TypeError`` for a ``ttl`` that is not a number. Returns True."""
        if ttl is None:
            expires_at = None
        elif isinstance(ttl, bool) or not isinstance(ttl, (int, float)):
            raise TypeError(f"ttl must be a number of seconds or None, got {type(ttl).__name__}")
        else:
            expires_at = time.monotonic() + ttl
        with self._lock:
            space = self._spaces.setdefault(str(namespace), {})
            space[str(key)] = _Entry(value, expires_at, time.time())
        return True

    def retrieve(self, key: str, namespace: str = "default") -> Any:
        """Return the value, or None when absent or expired (an expired entry is removed)."""
        key = str(key)
        with self._lock:
            space = self._spaces.get(str(namespace))
            entry = space.get(key) if space is not None else None
            if space is None or entry is None:
                return None
            if entry.expires_at is not None and time.monotonic() > entry.expires_at:
                del space[key]
                return None
            return entry.value

    def delete(self, key: str, namespace: str = "default") -> bool:
        """Remove the key and tell whether it was there."""
        with self._lock:
            space = self._spaces.get(str(namespace))
            return space is not None and space.pop(str(key), None) is not None

    def exists(self, key: str, namespace: str = "default") -> bool:
        """Tell whether ``retrieve`` gives something other than None."""
        return self.retrieve(key, namespace) is not None

    def clear(self, namespace: str | None = None) -> int:
        """Remove one namespace, or everything; return how many entries went, expired ones included."""
        with self._lock:
            if namespace is not None:
                return len(self._spaces.pop(str(namespace), {}))
            removed = sum(len(space) for space in self._spaces.values())
            self._spaces.clear()
            return removed

    def get_state(self) -> dict[str, Any]:
        """Return ``{"version", "namespaces": {ns: {key: {"value", "remaining_ttl", "stored_at"}}}}``.

        ``remaining_ttl`` in seconds or None, ``stored_at`` in seconds since the epoch; expired entries are
        left out. The values are the stored objects themselves.
        """
        with self._lock:
            now = time.monotonic()
            spaces: dict[str, dict[str, dict[str, Any]]] = {}
            for name, space in self._spaces.items():
                live = spaces.setdefault(name, {})
                for key, entry in space.items():
                    remaining = None if entry.expires_at is None else entry.expires_at - now
                    if remaining is None or remaining > 0:
                        live[key] = {
                            "value": entry.value,
                            "remaining_ttl": remaining,
                            "stored_at": entry.stored_at,
                        }
            return {"version": self.STATE_VERSION, "namespaces": spaces}

    def restore_state(self, state: dict[str, Any]) -> None:
        """Replace the content by ``state``. A version other than "1.0" leaves the store empty; remaining
        lifetimes start again from now."""
        with self._lock:
            self._spaces.clear()
            if state.get("version") != self.STATE_VERSION:
                return
            now = time.monotonic()
            for name, entries in state.get("namespaces", {}).items():
                space = self._spaces.setdefault(name, {})
                for key, entry in entries.items():
                    remaining = entry.get("remaining_ttl")
                    if remaining is not None and remaining <= 0:
                        continue
                    expires_at = None if remaining is None else now + remaining
                    space[key] = _Entry(entry["value"], expires_at, entry.get("stored_at", time.time()))
