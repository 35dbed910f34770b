"""Checkpoints as JSON: the format without pickle."""

from __future__ import annotations

import json
import math
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from support import chain, events, fan, trail

from the_edge_agent import MemoryCheckpointer, ParallelFlowResult, StateGraph


def stopped(
    place: Path, state: dict[str, Any], kind: str = "invoke", node: str = "b", **arguments: Any
) -> str:
    """Path of the checkpoint of a run that stopped before a node."""
    made = chain("a", node).compile([node], checkpoint_dir=str(place), checkpoint_format="json")
    return events(made, kind, state, **arguments)[-1]["checkpoint_path"]


class TestFormat:
    """CP-56, CQ-7."""

    def test_document(self, tmp_path: Path, kind: str) -> None:
        """CP-56, CQ-1: one JSON object, five members and the kind of the interrupt."""
        before = time.time()
        path = stopped(tmp_path, {"x": 1, "é": ["\0", None, True, 2.5]}, kind, config={"k": {"l": 1}})
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        assert set(document) == {"version", "node", "interrupt", "state", "config", "timestamp"}
        assert document["interrupt"] == "before"
        assert (document["version"], document["node"]) == ("2.0", "b")
        assert document["state"] == {"x": 1, "é": ["\0", None, True, 2.5], "trail": ["a"]}
        assert list(document["state"]) == ["x", "é", "trail"]
        assert document["config"] == {"k": {"l": 1}}
        assert before - 1 <= document["timestamp"] <= time.time() + 1

    def test_file_name(self, tmp_path: Path) -> None:
        """CP-56: `{node}_{ms}.json`, one file."""
        before = int(time.time() * 1000)
        path = stopped(tmp_path, {})
        name = os.path.basename(path)
        assert os.listdir(tmp_path) == [name]
        match = re.fullmatch(r"b_(\d+)\.json", name)
        assert match and before <= int(match[1]) <= int(time.time() * 1000)

    @pytest.mark.parametrize("name", ["../x", "a/b", "a\\b"])
    def test_name_cannot_leave_the_directory(self, tmp_path: Path, name: str) -> None:
        """CP-56, CQ-8: percent-encoded."""
        path = stopped(tmp_path / "in", {}, node=name)
        assert Path(path).parent == tmp_path / "in" and Path(path).is_file() and "%" in os.path.basename(path)
        assert StateGraph.load_checkpoint(path)["node"] == name

    @pytest.mark.skipif(os.name != "posix", reason="POSIX file modes")
    def test_mode(self, tmp_path: Path) -> None:
        """CQ-9."""
        path = stopped(tmp_path / "in", {})
        assert os.stat(path).st_mode & 0o777 == 0o600 and os.stat(tmp_path / "in").st_mode & 0o777 == 0o700

    def test_equal_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """CQ-10: two interrupts within a millisecond are two files."""
        monkeypatch.setattr(time, "time", lambda: 1700000000.5)
        paths = [stopped(tmp_path, {"n": number}) for number in range(3)]
        assert len(set(paths)) == 3
        assert [StateGraph.load_checkpoint(path)["state"]["n"] for path in paths] == [0, 1, 2]

    def test_pickle_is_the_default(self, tmp_path: Path) -> None:
        """CP-4, CQ-7: without the option, and by name; a later plain compile goes back."""
        made = chain("a").compile(["a"], checkpoint_dir=str(tmp_path), checkpoint_format="json")
        assert list(made.invoke({}))[-1]["checkpoint_path"].endswith(".json")
        for options in ({}, {"checkpoint_format": "pickle"}):
            made.compile(["a"], checkpoint_dir=str(tmp_path), **options)
            assert list(made.invoke({}))[-1]["checkpoint_path"].endswith(".pkl")

    def test_checkpointer_still_comes_first(self, tmp_path: Path) -> None:
        """CP-14 step 1: the format is one of files."""
        store = MemoryCheckpointer()
        made = chain("a").compile(
            ["a"], checkpoint_dir=str(tmp_path), checkpointer=store, checkpoint_format="json"
        )
        assert list(made.invoke({}))[-1]["checkpoint_path"] in store and os.listdir(tmp_path) == []


class TestRoundTrip:
    """CP-56, CP-58 through JSON."""

    def test_resume(self, tmp_path: Path, kind: str) -> None:
        """CP-56: same meaning as CP-1: resumed by a graph without any options too."""
        path = stopped(tmp_path, {"x": 1}, kind, config={"k": 1})
        made = chain("a", "b")
        made.node("b")["run"] = lambda state, config: {**trail(state, "b"), "seen": dict(config)}
        got = events(made, kind, {"u": 2}, checkpoint=path, config={"l": 3})[-1]["state"]
        assert got == {"x": 1, "trail": ["a", "b"], "u": 2, "seen": {"k": 1, "l": 3}}

    def test_record(self, tmp_path: Path) -> None:
        """CP-56, section 4: `load_checkpoint` looks at the first byte, whatever the file is called."""
        path = stopped(tmp_path, {"x": 1})
        other = tmp_path / "renamed.pkl"
        other.write_bytes(Path(path).read_bytes())
        for file in (path, str(other)):
            record = StateGraph.load_checkpoint(file)
            assert type(record) is dict and {"state", "node", "config", "timestamp", "version"} <= set(record)
            assert record["state"] == {"x": 1, "trail": ["a"]} and record["node"] == "b"

    def test_written_by_another_host(self, tmp_path: Path, kind: str) -> None:
        """CP-56: any JSON of that shape, with other spacing and order."""
        path = tmp_path / "b_1.json"
        path.write_text(
            '{\n "node": "b", "timestamp": 1,\n "config": {},\n'
            ' "version": "2.0", "state": {"x": "\\u00e9"}}\n'
        )
        assert events(chain("a", "b"), kind, None, checkpoint=str(path))[-1]["state"] == {
            "x": "é",
            "trail": ["b"],
        }

    def test_values(self, tmp_path: Path) -> None:
        """CP-56, D8: big integers, floats, U+0000, empty keys, deep lists come back with their types."""
        given = {
            "big": 10**40,
            "min": -(2**63) - 1,
            "float": 1.0,
            "tiny": 5e-324,
            "third": 1 / 3,
            "": {"": [[], {}]},
            "text": '\0\n"\\\u2028😀',
            "none": None,
            "bools": [True, False],
        }
        state = StateGraph.load_checkpoint(stopped(tmp_path, given))["state"]
        state.pop("trail")
        assert state == given and list(state) == list(given)
        assert [type(value) for value in state.values()] == [type(value) for value in given.values()]

    def test_infinities(self, tmp_path: Path) -> None:
        """CP-56: a value that JSON lacks comes back as itself, or is refused with its path; never changed."""
        try:
            path = stopped(tmp_path, {"nan": math.nan, "inf": -math.inf})
        except (TypeError, ValueError) as error:
            assert "state.nan" in str(error)
            assert os.listdir(tmp_path) == []
            return
        state = StateGraph.load_checkpoint(path)["state"]
        assert math.isnan(state["nan"]) and state["inf"] == -math.inf

    def test_results_of_branches(self, tmp_path: Path, kind: str) -> None:
        """CP-56, SG-101, CP-40: entries are the dict form; the fan-in runs with them."""
        made = fan({"p": lambda: {"v": 1}, "q": lambda: {"v": 2}}, join=lambda parallel_results: {"n": 2})
        made.compile(["j"], checkpoint_dir=str(tmp_path), checkpoint_format="json")
        path = events(made, kind, {})[-1]["checkpoint_path"]
        results = json.loads(Path(path).read_text(encoding="utf-8"))["state"]["parallel_results"]
        if kind == "invoke":
            expected = list(ParallelFlowResult(branch="p", success=True).to_dict())
            assert [list(result) for result in results] == [expected] * 2
            assert [result["state"]["v"] for result in results] == [1, 2]
        else:
            assert sorted(result["v"] for result in results) == [1, 2]
        assert events(made, kind, None, checkpoint=path)[-1]["state"]["n"] == 2

    def test_node_in_both_lists(self, tmp_path: Path, kind: str) -> None:
        """CQ-1, CP-59: the kind of interrupt is kept in this format too."""
        made = chain("a", "b").compile(["a"], ["a"], checkpoint_dir=str(tmp_path), checkpoint_format="json")
        one = events(made, kind, {})[-1]
        two = events(made, kind, None, checkpoint=one["checkpoint_path"])[-1]
        assert (one["state"], two["state"]) == ({}, {"trail": ["a"]})
        end = events(made, kind, None, checkpoint=two["checkpoint_path"])[-1]
        assert end["type"] == "final" and end["state"] == {"trail": ["a", "b"]}

    def test_chain_of_interrupts(self, tmp_path: Path, kind: str) -> None:
        """CP-29."""
        made = chain("a", "b", "c").compile(
            ["a", "b", "c"], checkpoint_dir=str(tmp_path), checkpoint_format="json"
        )
        got = events(made, kind, {})[-1]
        for _ in "abc":
            got = events(made, kind, None, checkpoint=got["checkpoint_path"])[-1]
        assert got["state"] == {"trail": ["a", "b", "c"]} and len(os.listdir(tmp_path)) == 3

    @pytest.mark.parametrize("text", ["[1]", '"text"', "{}", '{"version": "2.0"}', "{nonsense"])
    def test_bad_documents(self, tmp_path: Path, text: str) -> None:
        """CQ-15, section 4: errors with the path."""
        path = tmp_path / "x.json"
        path.write_text(text)
        with pytest.raises(ValueError) as caught:
            StateGraph.load_checkpoint(str(path))
        assert f"'{path}'" in str(caught.value)
