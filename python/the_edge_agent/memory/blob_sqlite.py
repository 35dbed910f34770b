"""Long-term memory in a SQLite file that lives in a blob storage and is used by one process at a time."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from the_edge_agent.memory._results import Result, check_key, failure
from the_edge_agent.memory.base import LTMBackend
from the_edge_agent.memory.locks import create_lock, get_registered_locks
from the_edge_agent.memory.sqlite import SQLiteBackend

logger = logging.getLogger(__name__)

_HINTS = {
    "firestore": "Install with: pip install firebase-admin",
    "redis": "Install with: pip install redis",
}
_LOCK_TIMEOUT = 30.0


class BlobSQLiteBackend(LTMBackend):
    """Work on a copy of a remote SQLite file under a lock; ``sync`` and ``close`` upload it.

    ``blob_uri`` is an fsspec URI, ``lock_backend`` a registered lock with ``lock_ttl`` seconds and
    ``lock_kwargs`` for its constructor, ``local_path`` the working copy (default: a temporary file that
    ``close`` removes). With ``auto_sync`` False nothing is opened. Raises ``ValueError`` for an unknown lock,
    ``RuntimeError`` when the lock or the file cannot be had, and what the lock's constructor raises.
    """

    def __init__(
        self,
        blob_uri: str,
        lock_backend: str = "firestore",
        lock_ttl: float = 300,
        lock_kwargs: dict[str, Any] | None = None,
        local_path: str | None = None,
        auto_sync: bool = True,
    ) -> None:
        if lock_backend.lower() not in get_registered_locks():
            known = ", ".join(get_registered_locks()) or "none"
            hint = _HINTS.get(lock_backend.lower())
            extra = f" {hint}" if hint else ""
            raise ValueError(f"Unknown lock backend: '{lock_backend}'. Available: {known}.{extra}")
        self.blob_uri = blob_uri
        self._lock_backend = lock_backend
        self._lock_ttl = lock_ttl
        self._lock_kwargs = dict(lock_kwargs or {})
        self._auto_sync = auto_sync
        self._temporary = local_path is None
        if local_path is None:
            handle, local_path = tempfile.mkstemp(suffix=".db")
            os.close(handle)
        self._local_path = local_path
        self._guard = threading.RLock()
        self._lock: Any = None
        self._sqlite: SQLiteBackend | None = None
        self._dirty = False
        self._closed = False
        if auto_sync:
            try:
                self._open()
            except BaseException:
                self._give_up()
                raise

    def _open(self) -> None:
        resource = self.blob_uri.replace("://", "_").replace("/", "_")
        lock = create_lock(self._lock_backend, resource, ttl=self._lock_ttl, **self._lock_kwargs)
        taken = lock.acquire(timeout=_LOCK_TIMEOUT)
        if not taken.get("success"):
            raise RuntimeError(f"Lock acquisition failed ({taken.get('error_type')}): {taken.get('error')}")
        self._lock = lock
        downloaded = self._download()
        if not downloaded["success"]:
            raise RuntimeError(f"Download failed: {downloaded['error']}")
        self._sqlite = SQLiteBackend(self._local_path)

    def _give_up(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        self._remove_temporary()

    def _remove_temporary(self) -> None:
        if self._temporary:
            for ending in ("", "-wal", "-shm"):
                if os.path.exists(self._local_path + ending):
                    os.unlink(self._local_path + ending)

    def _download(self) -> Result:
        """Copy the remote file to the local path; a missing one means an empty memory."""
        try:
            fsspec: Any = import_module("fsspec")
            scheme = self.blob_uri.split("://", 1)[0] if "://" in self.blob_uri else "file"
            if not fsspec.filesystem(scheme).exists(self.blob_uri):
                return {"success": True, "downloaded": False}
            with fsspec.open(self.blob_uri, "rb") as remote:
                content = remote.read()
            with open(self._local_path, "wb") as local:
                local.write(content)
        except ImportError as error:
            return failure(
                f"fsspec not installed. Install with: pip install fsspec ({error})", "dependency_missing"
            )
        except Exception as error:
            return failure(f"Failed to download {self.blob_uri}: {error}", "connection_error")
        return {"success": True, "downloaded": True}

    def _upload(self) -> Result:
        """Copy the local file to the remote place when something changed."""
        if not self._dirty:
            return {"success": True, "uploaded": False}
        try:
            fsspec: Any = import_module("fsspec")
            if self._sqlite is not None and self._sqlite._conn is not None:
                # What is only in the write-ahead log would be missing in the copy.
                self._sqlite._conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            with open(self._local_path, "rb") as local:
                content = local.read()
            with fsspec.open(self.blob_uri, "wb") as remote:
                remote.write(content)
        except Exception as error:
            return failure(f"Failed to upload {self.blob_uri}: {error}", "connection_error")
        self._dirty = False
        return {"success": True, "uploaded": True}

    def sync(self) -> Result:
        """Upload the changes now, if the lock is still ours: ``{"success", "uploaded": bool}``."""
        with self._guard:
            if self._sqlite is None:
                return failure("Backend not initialized", "connection_error")
            held = self._still_ours()
            return held if held is not None else self._upload()

    def _still_ours(self) -> Result | None:
        """Return a failure when the lock ended, and another process may have changed the remote file."""
        if self._lock is None or not self._dirty:
            return None
        asked = self._lock.is_held()
        if isinstance(asked, dict) and asked.get("success") and asked.get("held") is False:
            return failure(
                "The lock was lost; the local changes are not uploaded because they could overwrite"
                f" another process's. They are in {self._local_path}",
                "lock_lost",
            )
        return None

    def refresh_lock(self) -> Result:
        """Start the lock's time again; see ``DistributedLock.refresh``."""
        if self._lock is None:
            return failure("No lock acquired", "lock_lost")
        result: Result = self._lock.refresh()
        return result

    def _with_sqlite(self, work: Callable[[SQLiteBackend], Result], writes: bool = False) -> Result:
        with self._guard:
            if self._sqlite is None:
                return failure("Backend not initialized", "connection_error")
            result = work(self._sqlite)
            if writes and result.get("success"):
                self._dirty = True
            return result

    def store(self, key: str, value: Any, metadata: dict[str, Any] | None = None) -> Result:
        """Insert or replace locally; see ``LTMBackend.store``."""
        return check_key(key) or self._with_sqlite(lambda db: db.store(key, value, metadata), writes=True)

    def retrieve(self, key: str, default: Any = None) -> Result:
        """Read one entry; see ``LTMBackend.retrieve``."""
        return check_key(key) or self._with_sqlite(lambda db: db.retrieve(key, default))

    def delete(self, key: str) -> Result:
        """Remove one entry locally; see ``LTMBackend.delete``."""
        return check_key(key) or self._with_sqlite(lambda db: db.delete(key), writes=True)

    def search(
        self, query: str | None = None, metadata_filter: dict[str, Any] | None = None, limit: int = 10
    ) -> Result:
        """Find entries; see ``SQLiteBackend.search``."""
        return self._with_sqlite(lambda db: db.search(query, metadata_filter, limit))

    def iterate_all(self) -> Iterator[tuple[str, Any, dict[str, Any] | None]]:
        """Yield every entry; nothing when the backend is not open."""
        if self._sqlite is not None:
            yield from self._sqlite.iterate_all()

    def close(self) -> None:
        """Upload changes, close the file and release the lock.

        When the changes cannot be uploaded that is logged and the working copy is kept. Later operations
        answer ``connection_error``.
        """
        with self._guard:
            if self._closed:
                return
            self._closed = True
            kept = False
            if self._sqlite is not None and self._auto_sync:
                uploaded = self.sync()
                if not uploaded.get("success"):
                    kept = self._dirty
                    logger.error("Changes of %s are not uploaded: %s", self.blob_uri, uploaded.get("error"))
            if self._sqlite is not None:
                self._sqlite.close()
                self._sqlite = None
            if self._lock is not None:
                self._lock.release()
                self._lock = None
            if not kept:
                self._remove_temporary()
