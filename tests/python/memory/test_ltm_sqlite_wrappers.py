"""The SQLite backends whose file lives elsewhere: blob storage and Litestream."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from the_edge_agent.memory import BlobSQLiteBackend, LitestreamBackend, SQLiteBackend, create_ltm_backend
from the_edge_agent.memory.locks import MemoryLock


def open_blob(uri: str, **more: Any) -> BlobSQLiteBackend:
    return BlobSQLiteBackend(uri, **{"lock_backend": "memory", **more})


@pytest.fixture(params=["file://{tmp}/remote.db", "memory:/{tmp}/remote.db"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.param).format(tmp=tmp_path)


def test_round_trip(uri: str) -> None:
    """ME-243"""
    with open_blob(uri) as first:
        path = first._local_path
        assert path.endswith(".db") and first._dirty is False
        assert first.store("k", {"a": 1}, {"m": 1})["created"] is True and first._dirty is True
        assert first.retrieve("k")["metadata"] == {"m": 1}
        assert first.search("k")["count"] == 1 and first.store("gone", 1)["success"]
        assert first.delete("gone")["deleted"] is True
        assert first.sync() == {"success": True, "uploaded": True} and first._dirty is False
        assert first.sync() == {"success": True, "uploaded": False}
        first.store("later", 2)
    assert first._sqlite is None and first._lock is None and not os.path.exists(path)
    with open_blob(uri) as second:
        assert [(row[0], row[1]) for row in second.iterate_all()] == [("k", {"a": 1}), ("later", 2)]


def test_one_at_a_time(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ME-243: while one has the file the next one cannot open it, and says so."""
    from the_edge_agent.memory import blob_sqlite

    monkeypatch.setattr(blob_sqlite, "_LOCK_TIMEOUT", 0.1)
    with open_blob(uri) as first:
        assert first.refresh_lock()["refreshed"] is True
        with pytest.raises(RuntimeError, match=r"Lock acquisition failed \(lock_timeout\)"):
            open_blob(uri)
        first.store("k", 1)
    with open_blob(uri) as second:
        assert second.retrieve("k")["value"] == 1


def test_lost_lock_does_not_overwrite(uri: str, caplog: pytest.LogCaptureFixture) -> None:
    """Data safety: changes made after the lock ended are kept locally, not written over another's."""
    first = open_blob(uri)
    first.store("k", "first")
    assert first._lock.release()["success"]
    with open_blob(uri) as second:
        second.store("k", "second")
    assert first.sync()["error_type"] == "lock_lost"
    first.close()
    assert "not uploaded" in caplog.text and os.path.exists(first._local_path)
    with open_blob(uri) as third:
        assert third.retrieve("k")["value"] == "second"
    with SQLiteBackend(first._local_path) as kept:
        assert kept.retrieve("k")["value"] == "first"
    os.unlink(first._local_path)


def test_not_opened_and_closed(uri: str) -> None:
    """ME-243"""
    idle = open_blob(uri, auto_sync=False)
    assert idle._lock is None and idle._sqlite is None
    for result in (idle.store("k", 1), idle.retrieve("k"), idle.delete("k"), idle.search(), idle.sync()):
        assert (result["error"], result["error_type"]) == ("Backend not initialized", "connection_error")
    assert idle.refresh_lock()["error"] == "No lock acquired"
    assert idle.store("", 1)["error_type"] == "validation_error"
    idle.close()
    opened = open_blob(uri)
    opened.close()
    opened.close()
    assert opened.retrieve("k")["error_type"] == "connection_error" and list(opened.iterate_all()) == []


def test_broken_remote(tmp_path: Path) -> None:
    """ME-243: a failing start raises, and gives the lock back."""
    for uri in ("nonsense://x/y", f"file://{tmp_path}"):
        with pytest.raises(RuntimeError, match="Download failed"):
            open_blob(uri)
        assert MemoryLock(uri.replace("://", "_").replace("/", "_")).acquire(timeout=0)["success"]
    with pytest.raises(ValueError, match=r"^Unknown lock backend: 'nope'\. Available: "):
        open_blob("file:///x", lock_backend="nope")
    with pytest.raises(ValueError, match="pip install firebase-admin"):
        BlobSQLiteBackend("file:///x")


WRITER = """
import sys
from the_edge_agent.memory import BlobSQLiteBackend
uri, locks, worker = sys.argv[1:]
for i in range(4):
    arguments = {"lock_backend": "file", "lock_kwargs": {"directory": locks}}
    with BlobSQLiteBackend(uri, **arguments) as backend:
        assert backend.store(f"{worker}-{i}", i)["success"]
"""


def test_processes_lose_nothing(tmp_path: Path) -> None:
    """Data safety"""
    uri, locks = f"file://{tmp_path}/remote.db", str(tmp_path / "locks")
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITER, uri, locks, f"w{n}"], stderr=subprocess.PIPE)
        for n in range(4)
    ]
    errors = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    with open_blob(uri) as backend:
        assert {row[0] for row in backend.iterate_all()} == {f"w{n}-{i}" for n in range(4) for i in range(4)}


@pytest.fixture
def litestream(tmp_path: Path) -> str:
    """A small program with litestream's command line; its replica is a file."""
    program = tmp_path / "bin" / "litestream"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {tmp_path}/calls\n'
        'case "$1" in\n'
        "version) echo v0.3.13 ;;\n"
        'restore) case "$4" in\n'
        "  *empty) echo 'no matching backups found' >&2; exit 1 ;;\n"
        "  *broken) echo 'access denied' >&2; exit 1 ;;\n"
        '  *) cp "${4#file://}" "$3" ;;\n'
        "esac ;;\n"
        "esac\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def test_restore(litestream: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """ME-244"""
    with SQLiteBackend(str(tmp_path / "replica.db")) as source:
        source.store("k", "from the replica")
    replica = f"file://{tmp_path}/replica.db"
    path = tmp_path / "new" / "local.db"
    with LitestreamBackend(str(path), replica, litestream_path=litestream) as backend:
        assert backend.retrieve("k")["value"] == "from the replica"
        assert (backend.db_path, backend.replica_url) == (str(path), replica)
        assert backend.store("k", 2)["success"] and backend.search("k")["count"] == 1
        assert backend.trigger_snapshot()["snapshot"] is True
        assert backend.get_replica_info() == {
            "success": True,
            "db_path": str(path),
            "replica_url": replica,
            "litestream_available": True,
            "litestream_version": "v0.3.13",
        }
        config = backend.generate_config()
        assert f"  - path: {path}\n" in config and f"      - url: {replica}\n" in config
        assert config.startswith("dbs:\n") and "replicas:\n" in config
    restores = (tmp_path / "calls").read_text().count("restore -o")
    LitestreamBackend(str(path), replica, litestream_path=litestream).close()
    LitestreamBackend(str(tmp_path / "b.db"), replica, auto_restore=False, litestream_path=litestream).close()
    assert (tmp_path / "calls").read_text().count("restore -o") == restores == 1
    assert caplog.records == []


def test_starting_empty(litestream: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """ME-244"""
    with LitestreamBackend(str(tmp_path / "a.db"), "s3://b/empty", litestream_path=litestream) as backend:
        assert backend.search()["count"] == 0 and caplog.records == []
    LitestreamBackend(str(tmp_path / "b.db"), "s3://b/broken", litestream_path=litestream).close()
    assert "access denied" in caplog.text
    missing = LitestreamBackend(str(tmp_path / "c.db"), "s3://b/x", litestream_path=str(tmp_path / "none"))
    assert missing.store("k", 1)["success"]
    assert missing.trigger_snapshot()["error_type"] == "dependency_missing"
    assert missing.get_replica_info()["litestream_available"] is False
    missing.close()
    for result in (
        missing.store("k", 1),
        missing.search(),
        missing.trigger_snapshot(),
        missing.get_replica_info(),
    ):
        assert (result["error"], result["error_type"]) == ("Backend is closed", "connection_error")


def test_slow_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ME-244"""

    def slow(command: list[str], **_: Any) -> Any:
        raise subprocess.TimeoutExpired(command, 5)

    backend = LitestreamBackend(str(tmp_path / "a.db"), "s3://b/x", auto_restore=False)
    monkeypatch.setattr(subprocess, "run", slow)
    assert backend.trigger_snapshot()["error_type"] == "connection_timeout"
    backend.close()


def test_arguments(tmp_path: Path) -> None:
    """ME-244, ME-13"""
    with pytest.raises(ValueError, match=":memory:"):
        LitestreamBackend(":memory:", "s3://b/x")
    with pytest.raises(ValueError, match="Path traversal"):
        LitestreamBackend("../x.db", "s3://b/x")
    made = create_ltm_backend(
        "litestream", db_path=str(tmp_path / "a.db"), replica_url="x", auto_restore=False
    )
    assert isinstance(made, LitestreamBackend)
    odd = LitestreamBackend(str(tmp_path / "it's #1.db"), "x", auto_restore=False)
    assert '"' in odd.generate_config()
    odd.close()
    made.close()
