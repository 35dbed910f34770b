"""Short-term memory and its actions, without an engine."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from the_edge_agent.memory import InMemoryBackend, MemoryBackend
from the_edge_agent.memory import actions_memory as actions


def test_protocol_cannot_be_instantiated_or_checked() -> None:
    """actions/ME-20"""
    with pytest.raises(TypeError):
        MemoryBackend()  # type: ignore[misc]
    with pytest.raises(TypeError):
        isinstance(InMemoryBackend(), MemoryBackend)  # type: ignore[misc]
    assert MemoryBackend not in InMemoryBackend.__mro__


def test_store_retrieve_delete_exists() -> None:
    """ME-141, ME-142"""
    memory = InMemoryBackend()
    assert memory.store("k", [1]) is True
    assert memory.retrieve("k") == [1]
    assert memory.store("k", 0) is True
    assert memory.retrieve("k") == 0 and memory.exists("k")
    assert memory.retrieve("k", namespace="other") is None
    memory.store("none", None)
    assert not memory.exists("none")
    assert memory.delete("none") is True
    assert memory.delete("none") is False


def test_values_are_kept_by_reference() -> None:
    """ME-145, actions/ME-3: any object, the same object."""
    memory = InMemoryBackend()
    value: Any = [lambda: 1]
    memory.store("k", value)
    memory.retrieve("k").append(2)
    assert memory.retrieve("k") is value and value[1] == 2


def test_expiry() -> None:
    """ME-141, actions/ME-4"""
    memory = InMemoryBackend()
    memory.store("gone", 1, ttl=-1)
    memory.store("short", 1, ttl=0.5)
    memory.store("long", 1, ttl=1000)
    assert memory.retrieve("gone") is None
    assert memory.retrieve("short") == 1
    time.sleep(0.55)
    assert memory.clear() == 2, "an expired entry that nobody read still counts (ME-143)"
    with pytest.raises(TypeError, match=r"ttl must be a number"):
        memory.store("k", 1, ttl="soon")  # type: ignore[arg-type]


def test_clear_counts() -> None:
    """ME-143"""
    memory = InMemoryBackend()
    for namespace, key in [("a", "1"), ("a", "2"), ("b", "1")]:
        memory.store(key, 1, namespace=namespace)
    assert memory.clear("a") == 2
    assert memory.clear("a") == 0
    assert memory.clear() == 1


def test_state_round_trip() -> None:
    """ME-144, actions/ME-22"""
    memory = InMemoryBackend()
    memory.store("k", {"a": 1}, ttl=100)
    memory.store("forever", 2)
    memory.store("zero", 1, ttl=0, namespace="empty")
    state = memory.get_state()
    assert state["version"] == "1.0"
    assert state["namespaces"]["empty"] == {}
    entry = state["namespaces"]["default"]["k"]
    assert set(entry) == {"value", "remaining_ttl", "stored_at"}
    assert 99 < entry["remaining_ttl"] <= 100
    assert state["namespaces"]["default"]["forever"]["remaining_ttl"] is None

    other = InMemoryBackend()
    other.store("old", 1)
    other.restore_state(state)
    assert other.retrieve("old") is None and other.retrieve("k") == {"a": 1}
    other.restore_state({"version": "2.0", "namespaces": state["namespaces"]})
    assert other.retrieve("k") is None
    state["namespaces"]["default"]["k"]["remaining_ttl"] = 0
    other.restore_state(state)
    assert other.retrieve("k") is None and other.retrieve("forever") == 2


def test_threads_lose_nothing() -> None:
    """ME-140"""
    memory = InMemoryBackend()

    def write(worker: int) -> None:
        for i in range(200):
            memory.store(f"{worker}-{i}", i)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memory.clear() == 1600


def make_engine(llm: Any = None, backend: Any = None) -> tuple[Any, dict[str, Any]]:
    registry: dict[str, Any] = {} if llm is None else {"llm.call": llm}
    engine = SimpleNamespace(_memory_backend=backend or InMemoryBackend(), actions_registry=registry)
    actions.register_actions(registry, engine)
    return engine, registry


def test_store_and_retrieve_actions() -> None:
    """ME-146, ME-147, ME-149"""
    engine, registry = make_engine()
    store, retrieve = registry["memory.store"], registry["memory.retrieve"]
    assert registry["actions.memory_store"] is store
    assert store({}, 1, "v") == {"stored": True, "key": "1", "namespace": "default"}
    assert retrieve({}, "1") == {"value": "v", "found": True, "key": "1"}
    assert store(state={}, key="f", value=lambda: 1)["stored"] is True
    assert retrieve({}, "nope", default=7) == {"value": 7, "found": False, "key": "nope"}
    assert store({}, None, 1) == {"stored": False, "key": None, "error": "Key is required"}
    assert retrieve({}, None) == {"value": None, "found": False, "key": None, "error": "Key is required"}
    assert "ttl must be a number" in store({}, "k", 1, ttl="x")["error"]
    store({}, "falsy", 0)
    assert retrieve({}, "falsy", default=9)["value"] == 0

    engine._memory_backend = InMemoryBackend()
    assert retrieve({}, "1")["found"] is False, "the backend is looked up at call time (ME-22)"


def test_backend_exception_is_reported() -> None:
    """ME-146, ME-147"""

    class Broken:
        def store(self, **_: Any) -> bool:
            raise OSError("disk gone")

        retrieve = store

    _, registry = make_engine(backend=Broken())
    assert registry["memory.store"]({}, "k", 1) == {"stored": False, "key": "k", "error": "disk gone"}
    assert registry["memory.retrieve"]({}, "k", 5)["error"] == "disk gone"


def test_summarize() -> None:
    """ME-148, actions/ME-5 to ME-8"""
    calls: list[dict[str, Any]] = []
    replies: list[Any] = [
        {"content": "short text"},
        {"error": "no model", "success": False},
        {"content": None},
    ]

    def llm(**kwargs: Any) -> Any:
        calls.append(kwargs)
        return replies.pop(0)

    _, bare = make_engine()
    assert bare["memory.summarize"]({"m": ["x"]}, "m")["error"].startswith("llm.call action not available")
    _, registry = make_engine(llm)
    summarize = registry["memory.summarize"]
    assert summarize({}, "m") == {"error": "Messages key 'm' not found in state", "success": False}
    assert summarize({"m": "x"}, "m") == {"error": "Messages at 'm' must be a list", "success": False}
    assert summarize({"m": []}, "m")["summary"] == ""
    messages = [{"role": "assistant", "content": "hi"}, "plain", {"content": "no role"}]
    short = summarize({"m": messages}, "m")
    assert short["summary"] == "assistant: hi\nplain\nuser: no role" and not calls
    assert short["token_estimate"] == len(short["summary"]) // 4

    done = summarize({"m": messages}, "m", max_tokens=2)
    assert done == {"summary": "short text", "original_count": 3, "token_estimate": 2, "success": True}
    assert calls[0]["model"] == "gpt-3.5-turbo" and calls[0]["temperature"] == 0.3
    assert "approximately 2 tokens" in calls[0]["messages"][0]["content"]
    assert calls[0]["messages"][1]["content"] == short["summary"]
    assert summarize({"m": messages}, "m", max_tokens=2)["error"] == "no model"
    assert summarize({"m": messages}, "m", max_tokens=2)["error"].startswith("LLM summarization failed: ")
