"""Long-term memory in a SQLite file that the ``litestream`` program replicates."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from typing import Any

from the_edge_agent.memory._results import CLOSED, Result, failure
from the_edge_agent.memory.sqlite import SQLiteBackend

logger = logging.getLogger(__name__)

_VERSION_TIMEOUT, _RESTORE_TIMEOUT = 5, 300
_NO_BACKUP = ("no backups", "no generations", "no matching backups")


class LitestreamBackend(SQLiteBackend):
    """A ``SQLiteBackend`` on a file that is restored from ``replica_url`` when it does not exist yet.

    Replication itself is a running ``litestream replicate`` with the file of ``generate_config``.
    ``litestream_path`` is the program. A replica without backups, a missing program and a failing restore
    leave a new, empty memory (logged). Raises ``ValueError`` for ":memory:" and as ``SQLiteBackend``.
    """

    def __init__(
        self,
        db_path: str,
        replica_url: str,
        auto_restore: bool = True,
        litestream_path: str = "litestream",
    ) -> None:
        if db_path == ":memory:":
            raise ValueError("Litestream needs a file: ':memory:' cannot be replicated")
        path = os.path.abspath(db_path) if ".." not in os.path.normpath(db_path) else db_path
        self.replica_url = replica_url
        self.litestream_path = litestream_path
        if auto_restore and not os.path.exists(path):
            restored = self._restore(path)
            if not restored["success"]:
                logger.warning("%s starts empty: %s", path, restored["error"])
        super().__init__(path)

    def _program(self, *arguments: str, timeout: float) -> Result:
        try:
            done = subprocess.run(
                [self.litestream_path, *arguments], capture_output=True, text=True, timeout=timeout
            )
        except FileNotFoundError:
            return failure(
                f"The program {self.litestream_path} is not installed; see https://litestream.io/install",
                "dependency_missing",
            )
        except subprocess.TimeoutExpired:
            return failure(
                f"litestream {arguments[0]} took more than {timeout} seconds", "connection_timeout"
            )
        if done.returncode != 0:
            return failure(f"litestream {arguments[0]} failed: {done.stderr}", "connection_error")
        return {"success": True, "output": str(done.stdout or "").strip()}

    def _check_program(self) -> Result:
        return self._program("version", timeout=_VERSION_TIMEOUT)

    def _restore(self, path: str) -> Result:
        found = self._check_program()
        if not found["success"]:
            return found
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        restored = self._program("restore", "-o", path, self.replica_url, timeout=_RESTORE_TIMEOUT)
        if not restored["success"] and any(text in restored["error"].lower() for text in _NO_BACKUP):
            return {"success": True, "restored": False}
        return {**restored, "restored": True} if restored["success"] else restored

    def trigger_snapshot(self) -> Result:
        """Write everything into the database file, where the replicating program sees it.

        ``{"success", "snapshot": True, "message"}``
        """
        if self._closed or self._conn is None:
            return failure(CLOSED, "connection_error")
        found = self._check_program()
        if not found["success"]:
            return found
        with self._lock:
            self._conn.execute("PRAGMA wal_checkpoint(PASSIVE)")
        return {"success": True, "snapshot": True, "message": "Checkpoint written for replication"}

    def get_replica_info(self) -> Result:
        """Return the two places and whether the program is there."""
        if self._closed:
            return failure(CLOSED, "connection_error")
        found = self._check_program()
        return {
            "success": True,
            "db_path": self.db_path,
            "replica_url": self.replica_url,
            "litestream_available": found["success"],
            "litestream_version": found.get("output"),
        }

    def generate_config(self) -> str:
        """Return the text of a configuration file for ``litestream replicate``."""

        def scalar(text: str) -> str:
            # JSON strings are YAML strings; plain ones stay readable.
            plain = text and text[0].isalnum() | (text[0] == "/") and not set(text) & set("#'\"{}[]\n")
            return text if plain and ": " not in text else json.dumps(text)

        replica = f"    replicas:\n      - url: {scalar(self.replica_url)}\n"
        return f"dbs:\n  - path: {scalar(self.db_path)}\n{replica}"

    def _guarded(self, work: Any, write: bool = False) -> Result:
        if self._closed:
            return failure(CLOSED, "connection_error")
        return super()._guarded(work, write)
