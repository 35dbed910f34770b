"""What the cloud-memory actions ask of a blob storage."""

from __future__ import annotations

import logging
import mimetypes
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar

logger = logging.getLogger(__name__)

Result = dict[str, Any]
Storage = TypeVar("Storage", bound="BlobStorage")


@dataclass
class BlobInfo:
    """A stored blob; ``size`` in bytes."""

    name: str
    size: int
    content_type: str
    created: datetime | None = None
    updated: datetime | None = None
    etag: str | None = None
    metadata: dict[str, str] | None = None


class BlobStorage(ABC):
    """Byte blobs by path. Operations answer result dictionaries.

    ``error_type`` is ``not_found``, ``already_exists``, ``permission_denied``, ``validation_error`` or
    ``connection_error``.
    """

    @abstractmethod
    def upload(
        self,
        path: str,
        content: str | bytes,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        overwrite: bool = True,
    ) -> Result:
        """Write a blob: ``{"success", "path", "uri", "size", "etag"}``."""

    @abstractmethod
    def upload_file(
        self,
        path: str,
        local_path: str,
        content_type: str | None = None,
        metadata: dict[str, str] | None = None,
        overwrite: bool = True,
    ) -> Result:
        """Write a blob from a local file."""

    @abstractmethod
    def download(self, path: str) -> Result:
        """Read a blob: ``{"success", "content": bytes, "content_type", "size"}``."""

    @abstractmethod
    def download_file(self, path: str, local_path: str) -> Result:
        """Read a blob into a local file: ``{"success", "path", "local_path", "size"}``."""

    @abstractmethod
    def delete(self, path: str) -> Result:
        """Remove a blob: ``{"success", "path", "deleted": bool}``."""

    @abstractmethod
    def exists(self, path: str) -> Result:
        """Look for a blob: ``{"success", "exists": bool, "path"}``."""

    @abstractmethod
    def info(self, path: str) -> Result:
        """Describe a blob: ``{"success", "info": BlobInfo}``."""

    @abstractmethod
    def list(self, prefix: str = "", delimiter: str | None = None, max_results: int = 1000) -> Result:
        """List blobs: ``{"success", "objects": [BlobInfo], "prefixes": [str], "count"}``."""

    @abstractmethod
    def copy(self, source_path: str, dest_path: str, overwrite: bool = True) -> Result:
        """Copy a blob inside the storage."""

    @abstractmethod
    def get_uri(self, path: str) -> str:
        """Return the URI of a path."""

    @abstractmethod
    def parse_uri(self, uri: str) -> Result:
        """Split a URI of this storage: ``{"bucket", "path"}`` or ``{"error"}``."""

    @abstractmethod
    def close(self) -> None:
        """Release the storage. May be called more than once."""

    def delete_many(self, paths: Sequence[str]) -> Result:
        """Remove several blobs.

        ``{"success": none failed, "deleted": n, "failed": n, "errors": [{"path", "error"}]}``
        """
        deleted, errors = 0, []
        for path in paths:
            result = self.delete(path)
            if result.get("success"):
                deleted += 1
            else:
                errors.append({"path": path, "error": result.get("error")})
        return {"success": not errors, "deleted": deleted, "failed": len(errors), "errors": errors}

    def move(self, source_path: str, dest_path: str, overwrite: bool = True) -> Result:
        """Copy, then remove the source; a source that cannot be removed is only logged."""
        result = self.copy(source_path, dest_path, overwrite)
        if result.get("success"):
            deleted = self.delete(source_path)
            if not deleted.get("success"):
                logger.warning("Could not remove %s after its copy: %s", source_path, deleted.get("error"))
        return result

    def detect_content_type(self, path: str) -> str:
        """Guess the content type from the ending of the path."""
        return mimetypes.guess_type(path)[0] or "application/octet-stream"

    def __enter__(self: Storage) -> Storage:
        return self

    def __exit__(self, *exc_info: object) -> Literal[False]:
        self.close()
        return False
