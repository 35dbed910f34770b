"""Locks inside one process and between the processes of one machine."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tempfile
import threading
import time
from typing import ClassVar

from the_edge_agent.memory import sqlite as _sqlite
from the_edge_agent.memory.locks.base import DistributedLock


class MemoryLock(DistributedLock):
    """Lock between the threads of this process."""

    _guard = threading.Lock()
    _held: ClassVar[dict[str, tuple[str, float]]] = {}

    def _holder(self) -> str | None:
        found = self._held.get(self.resource_id)
        return found[0] if found is not None and found[1] > time.monotonic() else None

    def _take(self, allowed: tuple[str | None, ...]) -> bool:
        with self._guard:
            if self._holder() not in allowed:
                return False
            self._held[self.resource_id] = (self.owner_id, time.monotonic() + self.ttl)
            return True

    def _try_acquire(self) -> bool:
        return self._take((None, self.owner_id))

    def _try_refresh(self) -> bool:
        return self._take((self.owner_id,))

    def _try_release(self) -> bool:
        with self._guard:
            if self._holder() != self.owner_id:
                return False
            del self._held[self.resource_id]
            return True

    def _is_ours(self) -> bool:
        with self._guard:
            return self._holder() == self.owner_id


class FileLock(DistributedLock):
    """Lock between the processes of one machine, kept in a small SQLite file.

    ``directory`` is shared by all who use the lock (default: a directory in the system's temporary one). A
    holder that dies keeps the lock until its ``ttl`` has passed.
    """

    def __init__(
        self,
        resource_id: str,
        ttl: float = 300,
        owner_id: str | None = None,
        directory: str | None = None,
    ) -> None:
        super().__init__(resource_id, ttl, owner_id)
        place = directory or os.path.join(tempfile.gettempdir(), f"tea-locks-{_user()}")
        os.makedirs(place, mode=0o700, exist_ok=True)
        name = hashlib.sha256(resource_id.encode("utf-8")).hexdigest()[:32]
        self.path = os.path.join(place, f"{name}.lock.db")

    def _run(self, allowed_none: bool, ttl: float | None) -> bool:
        """In one transaction: check the holder, then write a new expiry, or remove the row for None."""
        conn = _sqlite.connect(self.path)
        try:
            _sqlite.retry_busy(lambda: conn.execute("PRAGMA busy_timeout=5000"))
            _sqlite.begin(conn)
            try:
                conn.execute(
                    "CREATE TABLE IF NOT EXISTS lock (one INTEGER PRIMARY KEY, owner TEXT, until REAL)"
                )
                holder = self._holder(conn)
                if holder != self.owner_id and not (allowed_none and holder is None):
                    return False
                if ttl is None:
                    conn.execute("DELETE FROM lock")
                else:
                    row = (self.owner_id, time.time() + ttl)
                    conn.execute("INSERT OR REPLACE INTO lock VALUES (1, ?, ?)", row)
                conn.execute("COMMIT")
                return True
            finally:
                if conn.in_transaction:
                    conn.execute("ROLLBACK")
        finally:
            conn.close()

    @staticmethod
    def _holder(conn: sqlite3.Connection) -> str | None:
        row = conn.execute("SELECT owner FROM lock WHERE until > ?", (time.time(),)).fetchone()
        return None if row is None else str(row[0])

    def _try_acquire(self) -> bool:
        return self._run(True, self.ttl)

    def _try_refresh(self) -> bool:
        return self._run(False, self.ttl)

    def _try_release(self) -> bool:
        return self._run(False, None)

    def _is_ours(self) -> bool:
        if not os.path.exists(self.path):
            return False
        conn = _sqlite.connect(self.path)
        try:
            return self._holder(conn) == self.owner_id
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return False
            raise
        finally:
            conn.close()


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else "user"
