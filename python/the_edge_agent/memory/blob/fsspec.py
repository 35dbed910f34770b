"""Blob storage in any file system that fsspec reaches: a directory, memory, S3 and others."""

from __future__ import annotations

import hashlib
import posixpath
import uuid
from builtins import list as List
from collections.abc import Callable
from datetime import datetime, timezone
from importlib import import_module
from typing import Any

from the_edge_agent.memory._availability import has_package
from the_edge_agent.memory._blobs import make_parents, protocols
from the_edge_agent.memory._results import failure
from the_edge_agent.memory.blob.base import BlobInfo, BlobStorage, Result

FSSPEC_AVAILABLE = has_package("fsspec")


class FsspecBlobStorage(BlobStorage):
    """Blobs below one root, which no path can leave.

    ``uri`` is a directory or fsspec URI, ``storage_options`` are the options of its driver. Content types
    and metadata are not kept by plain file systems: types come from the ending of the path. Raises
    ``ImportError`` without fsspec or the driver of the scheme.
    """

    def __init__(self, uri: str, storage_options: dict[str, Any] | None = None) -> None:
        if not FSSPEC_AVAILABLE:
            raise ImportError("fsspec not installed. Install with: pip install fsspec")
        core = import_module("fsspec").core
        self._fs, root = core.url_to_fs(uri, **(storage_options or {}))
        self._root = str(root).rstrip("/")
        self._uri = uri.rstrip("/") + "/"
        self._closed = False

    def _full(self, path: str) -> str:
        """Return the path in the file system. Raises ``ValueError`` when it is empty or leaves the root."""
        clean = posixpath.normpath(str(path).replace("\\", "/"))
        outside = clean in (".", "..") or clean.startswith(("/", "../"))
        if outside or not str(path).strip() or "\0" in clean:
            raise ValueError(f"Invalid path: {path!r} must be a relative path inside the storage")
        return f"{self._root}/{clean}"

    def _guarded(self, path: str, work: Callable[[str], Result]) -> Result:
        if self._closed:
            return failure("Storage is closed", "connection_error")
        try:
            return work(self._full(path))
        except FileNotFoundError:
            return failure(f"Blob not found: {path}", "not_found")
        except PermissionError as error:
            return failure(f"Permission denied: {error}", "permission_denied")
        except ValueError as error:
            return failure(str(error), "validation_error")
        except Exception as error:
            return failure(f"Storage failed: {error}", "connection_error")

    def upload(
        self,
        path: str,
        content: str | bytes,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        overwrite: bool = True,
    ) -> Result:
        """Write a blob; on a file system it appears whole. Text is written as UTF-8."""
        data = content.encode("utf-8") if isinstance(content, str) else bytes(content)

        def work(full: str) -> Result:
            if not overwrite and self._fs.exists(full):
                return failure(f"Blob already exists: {path}", "already_exists")
            make_parents(self._fs, full)
            if self._is_directory_tree():
                temporary = f"{full}.{uuid.uuid4().hex}.tmp"
                try:
                    self._fs.pipe_file(temporary, data)
                    self._fs.mv(temporary, full)
                finally:
                    if self._fs.exists(temporary):
                        self._fs.rm_file(temporary)
            else:
                self._fs.pipe_file(full, data)
            etag = hashlib.sha256(data).hexdigest()
            return {"success": True, "path": path, "uri": self.get_uri(path), "size": len(data), "etag": etag}

        return self._guarded(path, work)

    def _is_directory_tree(self) -> bool:
        return "file" in protocols(self._fs)

    def upload_file(
        self,
        path: str,
        local_path: str,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        overwrite: bool = True,
    ) -> Result:
        """Write a blob from a local file; see ``upload``."""
        try:
            with open(local_path, "rb") as stream:
                data = stream.read()
        except OSError as error:
            return failure(f"Cannot read {local_path}: {error}", "not_found")
        return self.upload(path, data, content_type, metadata, overwrite)

    def download(self, path: str) -> Result:
        """Read a blob; see ``BlobStorage.download``."""

        def work(full: str) -> Result:
            data: bytes = self._fs.cat_file(full)
            kind = self.detect_content_type(path)
            return {"success": True, "content": data, "content_type": kind, "size": len(data)}

        return self._guarded(path, work)

    def download_file(self, path: str, local_path: str) -> Result:
        """Read a blob into a local file; see ``BlobStorage.download_file``."""
        result = self.download(path)
        if not result["success"]:
            return result
        try:
            with open(local_path, "wb") as stream:
                stream.write(result["content"])
        except OSError as error:
            return failure(f"Cannot write {local_path}: {error}", "permission_denied")
        return {"success": True, "path": path, "local_path": local_path, "size": result["size"]}

    def delete(self, path: str) -> Result:
        """Remove a blob; one that is not there answers ``not_found``."""

        def work(full: str) -> Result:
            if not self._fs.isfile(full):
                raise FileNotFoundError(full)
            self._fs.rm_file(full)
            return {"success": True, "path": path, "deleted": True}

        return self._guarded(path, work)

    def exists(self, path: str) -> Result:
        """Look for a blob; see ``BlobStorage.exists``."""
        return self._guarded(
            path, lambda full: {"success": True, "exists": bool(self._fs.isfile(full)), "path": path}
        )

    def info(self, path: str) -> Result:
        """Describe a blob; see ``BlobStorage.info``."""
        return self._guarded(
            path, lambda full: {"success": True, "info": self._describe(full, self._fs.info(full))}
        )

    def _describe(self, full: str, details: dict[str, Any]) -> BlobInfo:
        name = full[len(self._root) :].lstrip("/")
        changed = details.get("mtime", details.get("LastModified", details.get("created")))
        if isinstance(changed, (int, float)):
            changed = datetime.fromtimestamp(changed, timezone.utc)
        return BlobInfo(
            name=name,
            size=int(details.get("size") or 0),
            content_type=self.detect_content_type(name),
            updated=changed if isinstance(changed, datetime) else None,
            etag=details.get("ETag"),
        )

    def list(self, prefix: str = "", delimiter: str | None = None, max_results: int = 1000) -> Result:
        """List blobs whose path starts with ``prefix``, by path.

        With a ``delimiter`` the paths that have it after the prefix are folded into ``prefixes``.
        """
        if self._closed:
            return failure("Storage is closed", "connection_error")
        try:
            if not self._fs.exists(self._root):
                return {"success": True, "objects": [], "prefixes": [], "count": 0}
            objects: List[BlobInfo] = []
            prefixes: List[str] = []
            for full, details in sorted(self._fs.find(self._root, detail=True).items()):
                blob = self._describe(str(full), details)
                if not blob.name.startswith(prefix):
                    continue
                head, found, _ = blob.name[len(prefix) :].partition(delimiter or "\0")
                if delimiter and found:
                    folded = prefix + head + delimiter
                    if folded not in prefixes:
                        prefixes.append(folded)
                elif len(objects) < max_results:
                    objects.append(blob)
            return {"success": True, "objects": objects, "prefixes": prefixes, "count": len(objects)}
        except Exception as error:
            return failure(f"Storage failed: {error}", "connection_error")

    def copy(self, source_path: str, dest_path: str, overwrite: bool = True) -> Result:
        """Copy a blob; see ``upload`` for the result."""
        content = self.download(source_path)
        if not content["success"]:
            return content
        return self.upload(dest_path, content["content"], overwrite=overwrite)

    def get_uri(self, path: str) -> str:
        """Return the URI of a path."""
        return self._uri + path.lstrip("/")

    def parse_uri(self, uri: str) -> Result:
        """Split a URI of this storage into ``bucket`` (its root) and ``path``."""
        if not uri.startswith(self._uri):
            return {"error": f"Not a URI of this storage: {uri}"}
        return {"bucket": self._uri.rstrip("/"), "path": uri[len(self._uri) :]}

    def close(self) -> None:
        """End the use; later operations answer ``connection_error``."""
        self._closed = True
