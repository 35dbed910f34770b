"""Locks in memory, in a file and in a real Redis server."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from the_edge_agent.memory import DistributedLock, RedisLock, create_lock, get_registered_locks, register_lock
from the_edge_agent.memory.locks import FileLock, MemoryLock
from the_edge_agent.memory.locks import redis as redis_module

Make = Callable[..., DistributedLock]


@pytest.fixture(params=["memory", "file", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Make locks on one new resource."""
    more: dict[str, Any] = {}
    if request.param == "file":
        more = {"directory": str(tmp_path)}
    elif request.param == "redis":
        more = {"redis_url": request.getfixturevalue("redis_url")}
    resource = f"resource/{uuid.uuid4()}"
    return lambda **kwargs: create_lock(request.param, kwargs.pop("resource", resource), **{**more, **kwargs})


def test_exclusion(make: Make) -> None:
    """Section 17.2"""
    first, second = make(), make()
    assert first.owner_id != second.owner_id and str(os.getpid()) in first.owner_id
    assert first.remaining_ttl() is None and first.is_held()["held"] is False
    taken = first.acquire()
    assert taken["success"] and taken["acquired"] is True
    assert 299 < (first.remaining_ttl() or 0) <= 300
    assert first.is_held()["held"] is True and second.is_held()["held"] is False
    refused = second.acquire(timeout=0.1)
    assert refused["success"] is False and refused["error_type"] == "lock_timeout"
    assert first.acquire(timeout=0)["success"], "the owner may take it again"
    assert second.release()["error_type"] == "lock_lost"
    assert second.refresh()["error_type"] == "lock_lost"
    assert first.is_held()["held"] is True
    assert first.release()["success"] and first.remaining_ttl() is None
    assert first.release()["error_type"] == "lock_lost"
    assert second.acquire(timeout=0)["success"]
    assert make(resource="another").acquire(timeout=0)["success"]


def test_expiry_and_refresh(make: Make) -> None:
    """Section 17.2"""
    first, second = make(ttl=1.2), make(ttl=10)
    assert first.acquire()["success"]
    for _ in range(4):
        time.sleep(0.35)
        assert first.refresh()["success"]
    assert second.acquire(timeout=0)["success"] is False
    assert second.acquire(timeout=10)["success"], "the first one ends by itself"
    assert first.is_held()["held"] is False
    assert first.refresh()["error_type"] == "lock_lost" and first.release()["error_type"] == "lock_lost"
    assert second.is_held()["held"] is True


def test_context_manager(make: Make) -> None:
    """Section 17.2"""
    with make() as lock:
        assert lock.is_held()["held"]
        other = make()
        other.acquire = lambda timeout=0.0: DistributedLock.acquire(other, 0)  # type: ignore[method-assign]
        with pytest.raises(RuntimeError, match=r"^Lock acquisition failed \(lock_timeout\): "), other:
            pass
    with pytest.raises(KeyError), make() as lock:
        raise KeyError("x")
    assert make().acquire(timeout=0)["success"]


def test_threads_exclude_each_other(make: Make) -> None:
    """Section 17.2"""
    inside, most = 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        with make():
            with guard:
                inside += 1
                most = max(most, inside)
            time.sleep(0.01)
            with guard:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


COUNTER = """
import json, sys
from the_edge_agent.memory import create_lock
kind, more, path = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
for _ in range(15):
    with create_lock(kind, "counter", **more):
        value = int(open(path).read())
        open(path, "w").write(str(value + 1))
"""


@pytest.mark.parametrize("kind", ["file", "redis"])
def test_processes_exclude_each_other(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Data safety: no update of a shared counter is lost."""
    import json

    more = {"directory": str(tmp_path)}
    if kind == "redis":
        more = {"redis_url": request.getfixturevalue("redis_url"), "key_prefix": str(tmp_path)}
    counter = tmp_path / "counter"
    counter.write_text("0")
    command = [sys.executable, "-c", COUNTER, kind, json.dumps(more), str(counter)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(4)]
    errors = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert counter.read_text() == "60"


def test_unreachable_server() -> None:
    """ME-4"""
    lock = RedisLock("x", redis_url="redis://127.0.0.1:1")
    for result in (lock.acquire(timeout=0), lock.release(), lock.refresh(), lock.is_held()):
        assert result["success"] is False and result["error_type"] == "connection_error"
    lock.close()


def test_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """ME-242"""
    for bad in ({"resource_id": ""}, {"resource_id": "x", "ttl": 0}):
        with pytest.raises(ValueError):
            MemoryLock(**bad)  # type: ignore[arg-type]
    monkeypatch.setattr(redis_module, "REDIS_AVAILABLE", False)
    with pytest.raises(ImportError, match=r"redis not installed"):
        RedisLock("x")


def test_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """ME-242"""
    import the_edge_agent.memory.locks as locks
    from the_edge_agent.memory.base import Registry

    assert {"redis", "memory", "file"} <= set(get_registered_locks())
    assert isinstance(create_lock("FILE", "x"), FileLock)
    monkeypatch.setattr(locks, "_locks", Registry())
    with pytest.raises(ValueError, match=r"^Unknown lock type: 'x'\. Available lock backends: none$"):
        create_lock("x", "r")
    register_lock("Mine", MemoryLock)
    assert create_lock("mine", "r", ttl=3).ttl == 3
