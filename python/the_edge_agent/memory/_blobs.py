"""JSON blobs in a local directory or in any storage that fsspec reaches."""

from __future__ import annotations

import os
import uuid
from importlib import import_module
from typing import Any


def is_local(uri: str) -> bool:
    """Tell a path of this machine (plain or ``file://``) from another storage."""
    return "://" not in uri or uri.startswith("file://")


def local_path(uri: str) -> str:
    """Return the path of a local URI."""
    return uri[len("file://") :] if uri.startswith("file://") else uri


def with_slash(uri: str) -> str:
    """Return the URI with exactly one slash at its end."""
    stripped = uri.rstrip("/")
    return uri if stripped.endswith(":") else stripped + "/"


def _fsspec() -> Any:
    try:
        return import_module("fsspec")
    except ImportError as error:
        raise ImportError("fsspec is needed for remote storage. Install with: pip install fsspec") from error


_OBJECT_STORES = frozenset(
    {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "memory", "http", "https"}
)


def protocols(filesystem: Any) -> frozenset[str]:
    """Return the schemes of an fsspec file system."""
    own = filesystem.protocol
    return frozenset((own,) if isinstance(own, str) else own)


def make_parents(filesystem: Any, path: str) -> None:
    """Make the directories above a file. Object stores have none, and there this would create the bucket of a
    misspelled name."""
    if not protocols(filesystem) & _OBJECT_STORES:
        filesystem.makedirs(path.rsplit("/", 1)[0], exist_ok=True)


def write(uri: str, text: str, exclusive: bool = False) -> None:
    """Write a whole blob; a reader sees the old content or the new one, never a part.

    ``exclusive`` refuses to replace a blob with ``FileExistsError``; two writers of one new local path cannot
    both succeed. Raises ``OSError`` or the storage driver's error.
    """
    data = text.encode("utf-8")
    if not is_local(uri):
        if exclusive and exists(uri):
            raise FileExistsError(uri)
        filesystem, remote = _fsspec().core.url_to_fs(uri)
        make_parents(filesystem, remote)
        with filesystem.open(remote, "wb") as stream:
            stream.write(data)
        return
    path = local_path(uri)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    temporary = f"{path}.{uuid.uuid4().hex}.tmp"
    try:
        with open(temporary, "wb") as stream:
            stream.write(data)
            stream.flush()
            # Without this a power failure could keep the catalog row and lose the content.
            os.fsync(stream.fileno())
        if exclusive:
            os.link(temporary, path)
        else:
            os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def write_new(uri: str, text: str) -> str:
    """Write a blob that belongs to this call alone; return its URI.

    That is ``uri`` when it is free, otherwise ``uri`` with a unique part before its ending.
    """
    try:
        write(uri, text, exclusive=True)
        return uri
    except FileExistsError:
        stem, dot, ending = uri.rpartition(".")
        unique = f"{stem}-{uuid.uuid4().hex[:16]}{dot}{ending}"
        write(unique, text)
        return unique


def read(uri: str) -> str:
    """Read a whole blob. Raises ``FileNotFoundError`` or the storage's error."""
    if is_local(uri):
        with open(local_path(uri), "rb") as stream:
            return stream.read().decode("utf-8")
    with _fsspec().open(uri, "rb") as stream:
        data: bytes = stream.read()
    return data.decode("utf-8")


def exists(uri: str) -> bool:
    """Tell whether the blob is there."""
    if is_local(uri):
        return os.path.exists(local_path(uri))
    filesystem, path = _fsspec().core.url_to_fs(uri)
    return bool(filesystem.exists(path))


def remove(uri: str) -> None:
    """Remove the blob; one that is not there is fine. Raises the storage's error."""
    if is_local(uri):
        try:
            os.unlink(local_path(uri))
        except FileNotFoundError:
            return
        return
    filesystem, path = _fsspec().core.url_to_fs(uri)
    if filesystem.exists(path):
        filesystem.rm_file(path)
