"""MemoryCheckpointer and checkpointers of the user's own."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Any

import pytest
from support import chain, events, single, types

from the_edge_agent import MemoryCheckpointer, StateGraph
from the_edge_agent.checkpointers import MemoryCheckpointer as SameClass

KEYS = ["state", "node", "config", "timestamp", "version"]


class TestMembers:
    """Section 6.1."""

    def test_import_paths(self) -> None:
        """Section 6.1: one class."""
        assert MemoryCheckpointer is SameClass

    def test_save_and_load(self) -> None:
        """CP-1, section 6.1: record, return value, defaults."""
        store = MemoryCheckpointer()
        before = time.time()
        assert store.save("id", {"x": 1}, "n", {"k": 2}) == "id"
        record = store.load("id")
        assert type(record) is dict and list(record) == KEYS
        assert (record["state"], record["node"], record["config"]) == ({"x": 1}, "n", {"k": 2})
        assert type(record["timestamp"]) is float and before <= record["timestamp"] <= time.time()
        assert record["version"] == "1.0"
        for config in (None, {}):
            store.save("other", {}, "n", config)
            assert store.load("other")["config"] == {}
        store.save("third", {}, "n")
        assert store.load("third")["config"] == {}

    def test_keywords(self) -> None:
        """CP-59: names of the parameters, `interrupt` as optional keyword."""
        store = MemoryCheckpointer()
        store.save(checkpoint_id="id", state={}, node="n", config={}, interrupt=None)
        assert list(store.load(checkpoint_id="id")) == KEYS
        store.save("id", {}, "n", {}, interrupt="before")
        assert list(store.load("id")) == [*KEYS, "interrupt"] and store.load("id")["interrupt"] == "before"

    def test_collection(self) -> None:
        """Section 6.1: list, len, in, delete, clear, _storage."""
        store = MemoryCheckpointer()
        assert bool(store) is True and len(store) == 0 and store.list() == []
        for name in "bac":
            store.save(name, {}, "n")
        store.save("b", {"new": 1}, "n")
        assert store.list() == ["b", "a", "c"] and len(store) == 3
        assert "a" in store and "zz" not in store
        assert list(store._storage) == ["b", "a", "c"] and store._storage["b"]["state"] == {"new": 1}
        assert store.delete("a") is None
        assert store.list() == ["b", "c"]
        store.list().append("zz")
        assert "zz" not in store
        assert store.clear() is None
        assert len(store) == 0 and bool(store) is True

    @pytest.mark.parametrize("method", ["load", "delete"])
    def test_unknown_id(self, method: str) -> None:
        """Section 6.1: exact text."""
        with pytest.raises(KeyError) as caught:
            getattr(MemoryCheckpointer(), method)("zz")
        assert caught.value.args == ("Checkpoint not found: zz",)

    def test_top_level_is_copied_both_ways(self) -> None:
        """Section 6.1: neither the caller's nor the loader's changes reach the store."""
        store = MemoryCheckpointer()
        state, config = OrderedDict(x=1), {"k": 1}
        store.save("id", state, "n", config)
        state["x"] = config["k"] = 2
        record = store.load("id")
        assert record["state"] == {"x": 1} and record["config"] == {"k": 1}
        assert type(record["state"]) is OrderedDict
        record["state"]["x"] = record["config"]["k"] = record["node"] = 3
        again = store.load("id")
        assert (again["state"], again["config"], again["node"]) == ({"x": 1}, {"k": 1}, "n")

    def test_nested_values_are_copied_both_ways(self) -> None:
        """CQ-11: deep copy on save and on load."""
        store = MemoryCheckpointer()
        state: dict[str, Any] = {"deep": {"list": [1]}}
        config: dict[str, Any] = {"deep": [1]}
        store.save("id", state, "n", config)
        state["deep"]["list"].append(2)
        config["deep"].append(2)
        record = store.load("id")
        assert record["state"] == {"deep": {"list": [1]}} and record["config"] == {"deep": [1]}
        record["state"]["deep"]["list"].append(3)
        record["config"]["deep"].append(3)
        assert store.load("id")["state"] == {"deep": {"list": [1]}}
        assert store.load("id")["config"] == {"deep": [1]}

    def test_values_that_cannot_be_copied_are_shared(self) -> None:
        """CQ-11, CP-19: value by value; any object may be in the state."""
        lock = threading.Lock()
        store = MemoryCheckpointer()
        store.save("id", {"lock": lock, "list": (given := [1]), "generator": (g := (n for n in []))}, "n")
        given.append(2)
        record = store.load("id")
        assert record["state"]["lock"] is lock and record["state"]["generator"] is g
        assert record["state"]["list"] == [1]


class TestInRuns:
    """CP-14, CP-19, CQ-10, CQ-11."""

    def test_ids(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """CP-14, CQ-10: `{node}_{ms}`, with a counter while the id exists."""
        store = MemoryCheckpointer()
        made = chain("a", "b").compile(["b"], checkpointer=store)
        before = int(time.time() * 1000)
        name = events(made, kind, {})[-1]["checkpoint_path"]
        assert type(name) is str and name.startswith("b_")
        assert before <= int(name[2:]) <= int(time.time() * 1000)
        store.clear()
        monkeypatch.setattr(time, "time", lambda: 1700000000.9999)
        for number in range(3):
            events(made, kind, {"n": number})
        assert store.list() == ["b_1700000000999", "b_1700000000999-1", "b_1700000000999-2"]
        assert [store.load(name)["state"]["n"] for name in store.list()] == [0, 1, 2]

    def test_names_are_not_encoded_in_memory(self) -> None:
        """CQ-8 speaks of file names only."""
        made = chain("../a/b").compile(["../a/b"], checkpointer=MemoryCheckpointer())
        assert list(made.invoke({}))[-1]["checkpoint_path"].startswith("../a/b_")

    def test_any_object_survives(self, kind: str) -> None:
        """CP-19: nothing is pickled."""
        lock, made = threading.Lock(), chain("a", "b")
        made.compile(["b"], checkpointer=MemoryCheckpointer())
        path = events(made, kind, {"lock": lock, "f": (f := lambda: 1)})[-1]["checkpoint_path"]
        got = events(made, kind, None, checkpoint=path)[-1]["state"]
        assert got["lock"] is lock and got["f"] is f

    def test_resuming_twice_starts_from_the_same_contents(self, kind: str) -> None:
        """CQ-11: a node that changes a nested object after a resume does not change the checkpoint."""
        made = single(lambda state: state["list"].append("n"))
        made.compile(["n"], checkpointer=MemoryCheckpointer())
        path = events(made, kind, {"list": []})[-1]["checkpoint_path"]
        for _ in range(2):
            assert events(made, kind, None, checkpoint=path)[-1]["state"]["list"] == ["n"]

    def test_shared_by_graphs(self) -> None:
        """CP-30: another graph instance with a node of that name."""
        store = MemoryCheckpointer()
        path = list(chain("a", "b").compile(["b"], checkpointer=store).invoke({}))[-1]["checkpoint_path"]
        other = chain("b", "c").compile(checkpointer=store)
        assert list(other.invoke(None, checkpoint=path))[-1]["state"] == {"trail": ["a", "b", "c"]}

    def test_threads(self) -> None:
        """SG-103: many runs in many threads into one store lose nothing."""
        store = MemoryCheckpointer()
        made = chain("a").compile(["a"], checkpointer=store)
        paths: list[str] = []

        def work() -> None:
            for number in range(50):
                paths.append(list(made.invoke({"n": number}))[-1]["checkpoint_path"])

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(paths)) == 400 and sorted(store.list()) == sorted(paths)


class Own:
    """A checkpointer by shape only: four positional arguments, any mapping as record."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.calls: list[Any] = []

    def save(self, *arguments: Any) -> object:
        self.calls.append(arguments)
        name, state, node, config = arguments
        self.kept[name] = {"state": dict(state), "node": node, "config": dict(config)}
        return "ignored"

    def load(self, name: str) -> Any:
        return self.kept[name]


class TestOwnCheckpointer:
    """CP-20, CQ-12."""

    def test_calls(self, kind: str) -> None:
        """CP-20, CQ-12: save(id, state, node, config), by position; the return value is ignored."""
        own = Own()
        made = chain("a", "b").compile(["b"], checkpointer=own)
        got = events(made, kind, {"x": 1}, config={"k": 2})[-1]
        name = got["checkpoint_path"]
        assert own.calls[0][0] == name and name.startswith("b_")
        assert own.calls[0][1:] == ({"x": 1, "trail": ["a"]}, "b", {"k": 2})
        assert events(made, kind, {"y": 2}, checkpoint=name)[-1]["state"] == {
            "x": 1,
            "trail": ["a", "b"],
            "y": 2,
        }

    def test_state_is_the_live_one(self) -> None:
        """CP-20: the implementation has to copy."""
        own, seen = Own(), []
        made = single(lambda state: seen.append(state) or {}).compile([], ["n"], checkpointer=own)
        list(made.invoke({}))
        assert own.calls[0][1] is seen[0]

    def test_loaded_record_is_copied(self, kind: str) -> None:
        """CP-25: state and config of the record are not changed by the run."""
        own = Own()
        made = chain("a", "b").compile(["b"], checkpointer=own)
        path = events(made, kind, {})[-1]["checkpoint_path"]
        events(made, kind, {"y": 1}, checkpoint=path, config={"z": 1})
        assert own.kept[path] == {"state": {"trail": ["a"]}, "node": "b", "config": {}}

    @pytest.mark.parametrize("raise_exceptions", [False, True])
    @pytest.mark.parametrize("error", [ValueError("down"), KeyboardInterrupt()])
    def test_errors_of_save(self, kind: str, raise_exceptions: bool, error: BaseException) -> None:
        """CP-15: unchanged out of the generator, no interrupt event."""
        own = Own()
        own.save = lambda *arguments: (_ for _ in ()).throw(error)  # type: ignore[method-assign]
        made = chain("a", raise_exceptions=raise_exceptions).compile(["a"], checkpointer=own)
        run = getattr(made, kind)({})
        with pytest.raises(type(error)) as caught:
            next(run)
        assert caught.value is error and list(run) == []

    def test_errors_of_load(self, kind: str) -> None:
        """CP-22: unchanged."""
        made = chain("a").compile(checkpointer=Own())
        with pytest.raises(KeyError) as caught:
            events(made, kind, None, checkpoint="zz")
        assert caught.value.args == ("zz",)

    def test_mapping_without_get(self, kind: str) -> None:
        """CP-20: at least `state`, `node`, `config`, read by index."""

        class Record:
            def __getitem__(self, key: str) -> Any:
                return {"state": {"x": 1}, "node": "b", "config": {}}[key]

        own = Own()
        own.load = lambda name: Record()  # type: ignore[method-assign]
        made = chain("a", "b").compile(checkpointer=own)
        assert events(made, kind, None, checkpoint="any")[-1]["state"] == {"x": 1, "trail": ["b"]}

    def test_kind_of_interrupt_is_remembered(self, kind: str) -> None:
        """CP-59: a node in both lists; the store need not keep the kind, the graph remembers it by id."""
        own = Own()
        made = chain("a", "b").compile(["a"], ["a"], checkpointer=own)
        first = events(made, kind, {})[-1]
        assert first["state"] == {} and len(own.calls[0]) == 4
        second = events(made, kind, None, checkpoint=first["checkpoint_path"])[-1]
        assert second["node"] == "a" and second["state"] == {"trail": ["a"]}
        assert second["checkpoint_path"] != first["checkpoint_path"]
        last = events(made, kind, None, checkpoint=second["checkpoint_path"])[-1]
        assert last["type"] == "final" and last["state"] == {"trail": ["a", "b"]}

    def test_other_graph_without_the_information(self, kind: str) -> None:
        """CP-59: as the reference, the node is skipped."""
        own = Own()

        def make() -> StateGraph:
            return chain("a", "b").compile(["a"], ["a"], checkpointer=own)

        path = events(make(), kind, {})[-1]["checkpoint_path"]
        assert events(make(), kind, None, checkpoint=path)[-1]["state"] == {"trail": ["b"]}

    def test_types_of_events(self, kind: str) -> None:
        """CP-14: an own checkpointer stops the run like any."""
        made = chain("a", "b").compile(["b"], checkpointer=Own())
        assert types(events(made, kind, {}))[-1].startswith("interrupt")
