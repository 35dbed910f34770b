"""Locks between processes and machines."""

from __future__ import annotations

import os
import time
import uuid
from abc import ABC, abstractmethod
from typing import Any, Literal, TypeVar

from the_edge_agent.memory._results import failure

Result = dict[str, Any]
Lock = TypeVar("Lock", bound="DistributedLock")

# Seconds between two tries of a lock that somebody else holds.
_POLL = 0.05


class DistributedLock(ABC):
    """A lock on ``resource_id`` that ends by itself ``ttl`` seconds after it was taken or refreshed.

    ``owner_id`` tells holders apart; the default is unique to the object. Operations answer result
    dictionaries with ``success`` or ``error_type`` ``lock_timeout``, ``lock_lost`` or ``connection_error``.
    As a context manager it acquires (``RuntimeError`` on failure) and releases.
    """

    def __init__(self, resource_id: str, ttl: float = 300, owner_id: str | None = None) -> None:
        if not resource_id:
            raise ValueError("resource_id must be a non-empty string")
        if ttl <= 0:
            raise ValueError(f"ttl must be a positive number of seconds, got {ttl}")
        self.resource_id = resource_id
        self.ttl = ttl
        host = os.environ.get("HOSTNAME", "unknown")
        self.owner_id = owner_id or f"{host}_{os.getpid()}_{uuid.uuid4().hex[:8]}"
        self._expires_at: float | None = None

    @abstractmethod
    def _try_acquire(self) -> bool:
        """Take the lock if it is free or ours; raises the backend's error."""

    @abstractmethod
    def _try_refresh(self) -> bool:
        """Extend the lock if it is ours."""

    @abstractmethod
    def _try_release(self) -> bool:
        """Give the lock up if it is ours."""

    @abstractmethod
    def _is_ours(self) -> bool:
        """Tell whether the lock is ours now."""

    def acquire(self, timeout: float = 30.0) -> Result:
        """Take the lock, waiting up to ``timeout`` seconds: ``{"success", "acquired": True, ...}``."""
        deadline = time.monotonic() + timeout
        try:
            while True:
                started = time.monotonic()
                if self._try_acquire():
                    self._expires_at = started + self.ttl
                    return {
                        "success": True,
                        "acquired": True,
                        "resource_id": self.resource_id,
                        "owner_id": self.owner_id,
                        "ttl": self.ttl,
                    }
                if time.monotonic() >= deadline:
                    return failure(
                        f"Could not lock '{self.resource_id}' within {timeout} seconds", "lock_timeout"
                    )
                time.sleep(min(_POLL, max(0.0, deadline - time.monotonic())))
        except Exception as error:
            return failure(f"Lock backend failed: {error}", "connection_error")

    def release(self) -> Result:
        """Give the lock up: ``{"success", "released": True}``, or ``lock_lost`` when it is not ours."""
        return self._change(self._try_release, "released")

    def refresh(self) -> Result:
        """Start the ``ttl`` again: ``{"success", "refreshed": True}``, or ``lock_lost``."""
        return self._change(self._try_refresh, "refreshed")

    def _change(self, work: Any, name: str) -> Result:
        try:
            started = time.monotonic()
            done = work()
        except Exception as error:
            return failure(f"Lock backend failed: {error}", "connection_error")
        if not done:
            self._expires_at = None
            return failure(f"The lock on '{self.resource_id}' is not held by {self.owner_id}", "lock_lost")
        self._expires_at = None if name == "released" else started + self.ttl
        return {"success": True, name: True, "resource_id": self.resource_id}

    def is_held(self) -> Result:
        """Ask the backend: ``{"success": True, "held": bool}``."""
        try:
            return {"success": True, "held": self._is_ours(), "resource_id": self.resource_id}
        except Exception as error:
            return failure(f"Lock backend failed: {error}", "connection_error")

    def remaining_ttl(self) -> float | None:
        """Seconds until the lock ends by this object's clock; None when it is not held."""
        if self._expires_at is None:
            return None
        return max(0.0, self._expires_at - time.monotonic())

    def __enter__(self: Lock) -> Lock:
        result = self.acquire()
        if not result["success"]:
            raise RuntimeError(f"Lock acquisition failed ({result['error_type']}): {result['error']}")
        return self

    def __exit__(self, *exc_info: object) -> Literal[False]:
        self.release()
        return False
