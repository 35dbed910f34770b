"""Find and remove blobs that no catalog row names, for instance after a crash between the two writes."""

from __future__ import annotations

import logging
import os
import threading
import time
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

from the_edge_agent.memory._availability import has_packages
from the_edge_agent.memory._blobs import protocols
from the_edge_agent.memory._results import Result, failure

if TYPE_CHECKING:
    import sqlalchemy as sa

logger = logging.getLogger(__name__)

CATALOG_TABLE = "ltm_catalog_entries"


class _CatalogUnreadable(Exception):
    """The catalog's rows are not known, so no blob can be called an orphan."""


def cleanup_orphans(
    catalog_url: str,
    storage_uri: str,
    fs: Any = None,
    max_age_seconds: float = 3600,
    dry_run: bool = False,
    batch_size: int = 1000,
) -> Result:
    """Remove blobs under ``storage_uri`` that are older than ``max_age_seconds`` and in no catalog row.

    ``max_age_seconds`` must be longer than any store takes, since a blob is written before its row. Answers
    ``{"success", "scanned_count", "orphan_count", "deleted_count", "deleted_paths", "dry_run"}``; a dry run
    deletes nothing and lists what it would delete. When the catalog cannot be read nothing is deleted:
    ``query_error``. A missing catalog table counts as empty in a dry run only.
    """
    if not has_packages("fsspec", "sqlalchemy"):
        return failure(
            "fsspec and SQLAlchemy are needed. Install with: pip install fsspec sqlalchemy",
            "dependency_missing",
        )
    from the_edge_agent.memory import _sql

    try:
        engine = _sql.make_engine(catalog_url, pool_size=1)
    except Exception as error:
        return failure(f"Catalog cannot be read: {error}", "query_error")
    try:
        return cleanup_on_engine(engine, storage_uri, fs, max_age_seconds, dry_run, batch_size)
    finally:
        engine.dispose()


def cleanup_on_engine(
    engine: sa.Engine,
    storage_uri: str,
    fs: Any = None,
    max_age_seconds: float = 3600,
    dry_run: bool = False,
    batch_size: int = 1000,
) -> Result:
    """Do the work of ``cleanup_orphans`` with the catalog behind ``engine``."""
    if fs is None:
        fs = import_module("fsspec").core.url_to_fs(storage_uri)[0]
    try:
        files = _candidates(fs, storage_uri)
        old = [path for path, modified in files if _is_old(modified, max_age_seconds)]
        # The rows are read after the files: a blob that was stored in between is then known.
        live = _LivePaths(fs, _blob_paths(engine, dry_run))
        root = _normal(fs, storage_uri).rstrip("/")
        orphans = [path for path in old if not live.contains(path, root)]
        deleted: list[str] = []
        if not dry_run:
            for start in range(0, len(orphans), batch_size):
                fresh = _LivePaths(fs, _blob_paths(engine, dry_run))
                piece = orphans[start : start + batch_size]
                deleted += _delete(fs, [path for path in piece if not fresh.contains(path, root)])
    except _CatalogUnreadable as error:
        return failure(f"Catalog cannot be read: {error}", "query_error")
    except Exception as error:
        return failure(f"Failed to clean up: {error}", "storage_error")
    return {
        "success": True,
        "scanned_count": len(files),
        "orphan_count": len(orphans),
        "deleted_count": len(deleted),
        "deleted_paths": orphans if dry_run else deleted,
        "dry_run": dry_run,
    }


def _normal(fs: Any, uri: str) -> str:
    """One spelling for each file: without scheme, absolute and without symbolic links."""
    path: str = fs._strip_protocol(uri)
    if "file" in protocols(fs):
        return os.path.realpath(path)
    return path


class _LivePaths:
    """The blobs that the catalog names."""

    def __init__(self, fs: Any, blob_paths: list[str]) -> None:
        self._fs = fs
        self._paths = {_normal(fs, path) for path in blob_paths}
        self._by_name: dict[str, list[str]] = {}
        for path in blob_paths:
            self._by_name.setdefault(path.rsplit("/", 1)[-1], []).append(path)

    def contains(self, path: str, root: str) -> bool:
        """Tell whether ``path`` (in the root directory ``root``) is live.

        A row that names the same place below another root counts too: the catalog may have been written
        with a relative path, from another working directory or through another mount.
        """
        normal = _normal(self._fs, path)
        if normal in self._paths:
            return True
        tail = "/" + normal[len(root) :].lstrip("/") if normal.startswith(root) else "/" + normal
        return any(named.endswith(tail) for named in self._by_name.get(path.rsplit("/", 1)[-1], ()))


def _blob_paths(engine: sa.Engine, missing_is_empty: bool) -> list[str]:
    import sqlalchemy as sa

    table = sa.table(CATALOG_TABLE, sa.column("blob_path"))
    try:
        if not sa.inspect(engine).has_table(CATALOG_TABLE):
            if missing_is_empty:
                return []
            raise _CatalogUnreadable(f"there is no table {CATALOG_TABLE}")
        with engine.connect() as conn:
            rows = conn.execute(sa.select(table.c.blob_path).where(table.c.blob_path.is_not(None)))
            return [str(path) for path in rows.scalars()]
    except _CatalogUnreadable:
        raise
    except Exception as error:
        raise _CatalogUnreadable(str(error)) from error


def _candidates(fs: Any, storage_uri: str) -> list[tuple[str, Any]]:
    root: str = fs._strip_protocol(storage_uri)
    if not fs.exists(root):
        return []
    found = []
    for path, info in fs.find(root, detail=True).items():
        name = str(path).rsplit("/", 1)[-1]
        blob = name.endswith(".json") or (".json." in name and name.endswith(".tmp"))
        if blob and not name.startswith(("_index", "_meta")):
            found.append((str(path), info.get("mtime", info.get("LastModified", info.get("created")))))
    return found


def _is_old(modified: Any, max_age_seconds: float) -> bool:
    if isinstance(modified, datetime):
        modified = modified.timestamp()
    if not isinstance(modified, (int, float)):
        return True
    return time.time() - modified >= max_age_seconds


def _delete(fs: Any, paths: list[str]) -> list[str]:
    deleted = []
    for path in paths:
        try:
            fs.rm_file(path)
            deleted.append(path)
        except FileNotFoundError:
            continue
        except Exception as error:
            logger.warning("Could not remove the orphan %s: %s", path, error)
    return deleted


def schedule_cleanup(
    catalog_url: str, storage_uri: str, interval_seconds: float = 3600, max_age_seconds: float = 3600
) -> threading.Thread:
    """Start a daemon thread that cleans up every ``interval_seconds`` for the life of the process."""

    def work() -> None:
        while True:
            time.sleep(interval_seconds)
            result = cleanup_orphans(catalog_url, storage_uri, max_age_seconds=max_age_seconds)
            if not result["success"]:
                logger.warning("Orphan cleanup failed: %s", result["error"])

    thread = threading.Thread(target=work, name="ltm-orphan-cleanup", daemon=True)
    thread.start()
    return thread
