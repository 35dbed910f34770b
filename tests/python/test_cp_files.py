"""Checkpoint files: the record, saving, file names, modes, and what failure leaves behind."""

from __future__ import annotations

import logging
import os
import pickle
import pickletools
import random
import signal
import stat
import subprocess
import sys
import time
import urllib.parse
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from support import LOGGER, chain, events, fan, single, unprivileged

from the_edge_agent import END, START, MemoryCheckpointer, ParallelFlowResult, StateGraph

KEYS = ["state", "node", "config", "timestamp", "version"]

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX file modes and users")


class Refusing:
    """Cannot be pickled, and says so by a PicklingError."""

    def __reduce__(self) -> Any:
        raise pickle.PicklingError("refused")


def interrupted(place: Path, node: Any = "b", *, before: bool = True, **options: Any) -> dict[str, Any]:
    """Event of a run that is stopped at a node, with files under `place`."""
    made = chain("a", node, **options)
    made.compile([node] if before else [], [] if before else [node], checkpoint_dir=str(place))
    return list(made.invoke({"x": 1}, config={"k": "v"}))[-1]


def unpickled(path: Any) -> Any:
    with open(path, "rb") as file:
        return pickle.load(file)


class TestRecord:
    """CP-1 to CP-4."""

    def test_keys_and_types(self, tmp_path: Path) -> None:
        """CP-1, CP-4: five keys in order, read with a bare `pickle.load`."""
        before = time.time()
        record = unpickled(interrupted(tmp_path)["checkpoint_path"])
        assert type(record) is dict and list(record) == KEYS
        assert record["state"] == {"x": 1, "trail": ["a"]}
        assert (record["node"], record["config"], record["version"]) == ("b", {"k": "v"}, "1.0")
        assert type(record["timestamp"]) is float and before <= record["timestamp"] <= time.time()

    def test_same_from_stream_and_from_save(self, tmp_path: Path) -> None:
        """CP-1, CP-6."""
        made = chain("a", "b").compile(["b"], checkpoint_dir=str(tmp_path))
        made.save_checkpoint(str(tmp_path / "own.pkl"), {"x": 1}, "b", {})
        path = events(made, "stream", {"x": 1})[-1]["checkpoint_path"]
        for file in (tmp_path / "own.pkl", path):
            assert list(unpickled(file)) == KEYS

    def test_default_pickle_protocol(self, tmp_path: Path) -> None:
        """CP-4: Python's default, and one pickle per file."""
        data = Path(interrupted(tmp_path)["checkpoint_path"]).read_bytes()
        opcode, argument, _ = next(pickletools.genops(data))
        assert (opcode.name, argument) == ("PROTO", pickle.DEFAULT_PROTOCOL)
        assert [op.name for op, _, _ in pickletools.genops(data)].count("STOP") == 1 and data.endswith(b".")

    def test_no_class_of_the_package_in_a_plain_record(self, tmp_path: Path) -> None:
        """CP-4: the reference must be able to load it, so plain values only."""
        data = Path(interrupted(tmp_path)["checkpoint_path"]).read_bytes()
        assert b"the_edge_agent" not in data

    def test_results_are_stored_by_their_import_path(self, tmp_path: Path) -> None:
        """CP-3, CP-4: results of a fresh `invoke` are objects of `the_edge_agent.parallel`."""
        made = fan({"p": lambda: {"v": 1}, "q": lambda: {"v": 2}})
        made.compile(["j"], checkpoint_dir=str(tmp_path))
        path = list(made.invoke({}))[-1]["checkpoint_path"]
        assert b"the_edge_agent.parallel" in Path(path).read_bytes()
        for record in (unpickled(path), StateGraph.load_checkpoint(path)):
            results = record["state"]["parallel_results"]
            assert [type(result) for result in results] == [ParallelFlowResult] * 2
            assert "v" in results[0] and results[1].get("v") == 2 and results[0].get("none", 5) == 5
            assert results[0].__class__.__module__ == "the_edge_agent.parallel"

    def test_shallow_copy_of_the_state_type(self, tmp_path: Path) -> None:
        """CP-1, SG-30: a dict subclass stays what it is."""
        made = chain("a")
        made.save_checkpoint(str(tmp_path / "f.pkl"), OrderedDict(x=1), "a", {})
        assert type(unpickled(tmp_path / "f.pkl")["state"]) is OrderedDict

    def test_only_the_main_flow_is_kept(self, tmp_path: Path) -> None:
        """CP-3: branches in flight are not captured."""
        made = fan({"p": lambda: {"v": 1}})
        made.add_node("m")
        made.add_edge("s", "m")
        made.add_edge("m", END)
        made.compile(["m"], checkpoint_dir=str(tmp_path))
        assert unpickled(list(made.invoke({"x": 1}))[-1]["checkpoint_path"])["state"] == {"x": 1}


class TestSave:
    """CP-7 to CP-11."""

    @pytest.mark.parametrize("raise_exceptions", [False, True])
    def test_unknown_node(self, tmp_path: Path, raise_exceptions: bool) -> None:
        """CP-7: whatever the policy is; nothing is written."""
        made = chain("a", raise_exceptions=raise_exceptions)
        with pytest.raises(ValueError) as caught:
            made.save_checkpoint(str(tmp_path / "d" / "f.pkl"), {}, "zz", {})
        assert str(caught.value) == "Node 'zz' does not exist in the graph."
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("node", [START, END, "a"])
    def test_returns_none(self, tmp_path: Path, node: str) -> None:
        """CP-7, section 3: START and END count; the result is None."""
        assert chain("a").save_checkpoint(str(tmp_path / "f.pkl"), {}, node, {}) is None
        assert unpickled(tmp_path / "f.pkl")["node"] == node

    def test_parents_are_created(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """CP-8: and the record's line."""
        path = tmp_path / "one" / "two" / "f.pkl"
        chain("a", log_level=logging.INFO).save_checkpoint(str(path), {}, "a", {})
        assert unpickled(path)["state"] == {}
        assert caplog.record_tuples == [(LOGGER, 20, f"Checkpoint saved to '{path}' at node 'a'")]

    def test_overwrites(self, tmp_path: Path) -> None:
        """CP-8, CQ-6: a new file in its place; a reader of the old one keeps what it had."""
        path = tmp_path / "f.pkl"
        made = chain("a")
        made.save_checkpoint(str(path), {"v": "old" * 10_000}, "a", {})
        with open(path, "rb") as reader:
            made.save_checkpoint(str(path), {"v": "new"}, "a", {})
            assert pickle.load(reader)["state"]["v"] == "old" * 10_000
        assert unpickled(path)["state"] == {"v": "new"}
        assert os.listdir(tmp_path) == ["f.pkl"]

    def test_path_objects(self, tmp_path: Path) -> None:
        """CP-8: any path-like."""
        chain("a").save_checkpoint(tmp_path / "f.pkl", {}, "a", {})
        assert StateGraph.load_checkpoint(tmp_path / "f.pkl")["node"] == "a"

    def test_relative_path_without_directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """CP-8: a bare file name in the working directory."""
        monkeypatch.chdir(tmp_path)
        chain("a").save_checkpoint("f.pkl", {}, "a", {})
        assert os.listdir(tmp_path) == ["f.pkl"]

    def test_config_none(self, tmp_path: Path) -> None:
        """CP-11."""
        chain("a").save_checkpoint(str(tmp_path / "f.pkl"), {}, "a", None)
        assert unpickled(tmp_path / "f.pkl")["config"] == {}

    def blocked(self, tmp_path: Path) -> Path:
        """A path whose parent is a file, so that nothing can be written there by anyone."""
        (tmp_path / "file").write_text("x")
        return tmp_path / "file" / "sub" / "f.pkl"

    def test_os_error_is_logged(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """CP-9: without `raise_exceptions` an ERROR record and a normal return."""
        path = self.blocked(tmp_path)
        chain("a").save_checkpoint(str(path), {}, "a", {})
        assert [record.levelno for record in caplog.records] == [40]
        assert caplog.messages[0].startswith(f"Failed to save checkpoint to '{path}': ")
        assert sorted(os.listdir(tmp_path)) == ["file"]

    def test_os_error_is_raised(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """CP-9: with it a RuntimeError with the same text and the cause."""
        path = self.blocked(tmp_path)
        with pytest.raises(RuntimeError) as caught:
            chain("a", raise_exceptions=True).save_checkpoint(str(path), {}, "a", {})
        assert isinstance(caught.value.__cause__, OSError)
        assert str(caught.value) == caplog.messages[0]
        assert str(caught.value).startswith(f"Failed to save checkpoint to '{path}': ")

    def test_target_is_a_directory(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """CP-9, CQ-6: the rename fails; no temporary file stays."""
        (tmp_path / "f.pkl").mkdir()
        (tmp_path / "f.pkl" / "inside").write_text("x")
        chain("a").save_checkpoint(str(tmp_path / "f.pkl"), {}, "a", {})
        assert len(caplog.records) == 1 and os.listdir(tmp_path) == ["f.pkl"]

    @posix
    def test_no_permission(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """CP-9: a folder in which nothing may be written."""
        made = chain("a")
        made.save_checkpoint(str(tmp_path / "first.pkl"), {}, "a", {})
        tmp_path.chmod(0o500)
        with unprivileged():
            made.save_checkpoint(str(tmp_path / "f.pkl"), {}, "a", {})
        assert [record.levelno for record in caplog.records] == [40]
        assert os.listdir(tmp_path) == ["first.pkl"]

    @pytest.mark.parametrize("raise_exceptions", [False, True])
    def test_pickling_error(
        self, tmp_path: Path, raise_exceptions: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        """CP-9: a PicklingError counts like an OS error; nothing is left behind (CQ-6)."""
        made = chain("a", raise_exceptions=raise_exceptions)
        path = tmp_path / "f.pkl"
        if raise_exceptions:
            with pytest.raises(RuntimeError) as caught:
                made.save_checkpoint(str(path), {"x": Refusing()}, "a", {})
            assert isinstance(caught.value.__cause__, pickle.PicklingError)
        else:
            made.save_checkpoint(str(path), {"x": Refusing()}, "a", {})
        assert caplog.messages[0].startswith(f"Failed to save checkpoint to '{path}': ")
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("raise_exceptions", [False, True])
    @pytest.mark.parametrize("kind_of_value", ["lambda", "lock", "generator"])
    def test_other_pickling_failures(
        self, tmp_path: Path, raise_exceptions: bool, kind_of_value: str
    ) -> None:
        """CP-10, CQ-6: pass through in both modes, and leave no file; an older file survives.

        Which class a local function gives depends on the version of Python; a PicklingError is CP-9's."""
        import threading

        value = {"lambda": lambda: 1, "lock": threading.Lock(), "generator": (n for n in [1])}[kind_of_value]
        with pytest.raises(Exception) as expected:
            pickle.dumps(value)
        made = chain("a", raise_exceptions=raise_exceptions)
        path = tmp_path / "f.pkl"
        made.save_checkpoint(str(path), {"old": 1}, "a", {})
        if isinstance(expected.value, pickle.PicklingError):
            pytest.skip("this Python gives a PicklingError here, see test_pickling_error")
        with pytest.raises(type(expected.value)):
            made.save_checkpoint(str(path), {"x": value}, "a", {})
        assert os.listdir(tmp_path) == ["f.pkl"] and unpickled(path)["state"] == {"old": 1}


class TestNames:
    """CP-5, CQ-8, CQ-10."""

    def test_name(self, tmp_path: Path) -> None:
        """CP-5: one file, `{node}_{ms}.pkl`."""
        before = int(time.time() * 1000)
        path = interrupted(tmp_path)["checkpoint_path"]
        assert os.listdir(tmp_path) == [os.path.basename(path)]
        assert path == os.path.join(str(tmp_path), os.path.basename(path))
        stem, suffix = os.path.splitext(os.path.basename(path))
        assert stem.startswith("b_") and suffix == ".pkl"
        assert before <= int(stem[2:]) <= int(time.time() * 1000)

    @pytest.mark.parametrize("name", ["a b", "é", "x.y", "100%", "%2F", "a:b", "-", "..", "a_1"])
    def test_other_names_stay_as_they_are(self, tmp_path: Path, name: str) -> None:
        """CQ-8: byte-equal but for separators and NUL."""
        path = interrupted(tmp_path, name)["checkpoint_path"]
        assert os.path.basename(path).startswith(f"{name}_") and Path(path).parent == tmp_path
        assert unpickled(path)["node"] == name

    @pytest.mark.parametrize(
        "name", ["../x/y", "/etc/x", "a/b", "..\\x", "a\\b", "a\0b", "../../../../tmp/evil"]
    )
    def test_names_cannot_leave_the_directory(self, tmp_path: Path, name: str) -> None:
        """CQ-8: percent-encoded; the record keeps the real name and the run can be resumed."""
        place = tmp_path / "inner" / "deep"
        path = interrupted(place, name)["checkpoint_path"]
        encoded = "".join(urllib.parse.quote(c, safe="") if c in "/\\\0" else c for c in name)
        assert Path(path).parent == place and Path(path).is_file()
        assert os.path.basename(path).upper().startswith(f"{encoded}_".upper())
        assert [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.rglob("*")) if p.is_file()] == [
            os.path.relpath(path, tmp_path)
        ]
        assert unpickled(path)["node"] == name
        assert list(chain("a", name).invoke(None, checkpoint=path))[-1]["state"]["trail"] == ["a", name]

    def test_names_that_are_no_text(self, tmp_path: Path) -> None:
        """SG-12, CP-5: `str` of the name."""
        path = interrupted(tmp_path, (1, "x"))["checkpoint_path"]
        assert os.path.basename(path).startswith("(1, 'x')_")
        assert StateGraph.load_checkpoint(path)["node"] == (1, "x")

    def test_equal_names_get_a_counter(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """CQ-10, CP-16: `-1`, `-2` behind the milliseconds while the file exists."""
        monkeypatch.setattr(time, "time", lambda: 1700000000.123456)
        paths = [interrupted(tmp_path)["checkpoint_path"] for _ in range(3)]
        assert [os.path.basename(path) for path in paths] == [
            "b_1700000000123.pkl",
            "b_1700000000123-1.pkl",
            "b_1700000000123-2.pkl",
        ]
        assert sorted(os.listdir(tmp_path)) == sorted(map(os.path.basename, paths))

    def test_many_interrupts_lose_nothing(self, tmp_path: Path) -> None:
        """CQ-10, CP-17: a hundred in a row, each with its own state; nothing is deleted."""
        made = chain("a").compile(["a"], checkpoint_dir=str(tmp_path))
        paths = [list(made.invoke({"n": number}))[-1]["checkpoint_path"] for number in range(100)]
        assert len(set(paths)) == 100
        assert [unpickled(path)["state"]["n"] for path in paths] == list(range(100))

    def test_directory_as_path_object(self, tmp_path: Path, kind: str) -> None:
        """CP-14 step 2: the event's path is a `str` even then."""
        made = chain("a").compile(["a"], checkpoint_dir=tmp_path / "new")  # type: ignore[arg-type]
        path = events(made, kind, {})[-1]["checkpoint_path"]
        assert type(path) is str and Path(path).parent == tmp_path / "new"


@posix
class TestModes:
    """CQ-9."""

    def test_files_and_directories(self, tmp_path: Path) -> None:
        """CQ-9: files 0600, folders that we create 0700, whatever the umask is."""
        old = os.umask(0)
        try:
            path = interrupted(tmp_path / "one" / "two")["checkpoint_path"]
            chain("a").save_checkpoint(str(tmp_path / "own" / "f.pkl"), {}, "a", {})
        finally:
            os.umask(old)
        for file in (path, tmp_path / "own" / "f.pkl"):
            assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
        for place in ("one", "one/two", "own"):
            assert stat.S_IMODE(os.stat(tmp_path / place).st_mode) == 0o700

    def test_existing_folders_are_left_alone(self, tmp_path: Path) -> None:
        """CQ-9."""
        tmp_path.chmod(0o755)
        interrupted(tmp_path)
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


class TestFailedAutoSave:
    """CQ-5, CP-14, CP-15."""

    @pytest.fixture
    def made(self, tmp_path: Path) -> StateGraph:
        """Graph whose checkpoint directory cannot be made."""
        (tmp_path / "file").write_text("x")
        return chain("a", "b").compile(["b"], checkpoint_dir=str(tmp_path / "file" / "sub"))

    def test_event_says_none(self, made: StateGraph, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """CQ-5: no path to a file that does not exist; the ERROR record; the state is in the event."""
        got = events(made, kind, {"x": 1})[-1]
        assert got["type"].startswith("interrupt") and got["checkpoint_path"] is None
        assert got["state"] == {"x": 1, "trail": ["a"]}
        assert [record.levelno for record in caplog.records] == [40]
        assert caplog.messages[0].startswith("Failed to save checkpoint to '")

    def test_raised(self, made: StateGraph, kind: str) -> None:
        """CP-15, CP-9: with `raise_exceptions` out of the generator, no interrupt event."""
        made.raise_exceptions = True
        run = getattr(made, kind)({})
        with pytest.raises(RuntimeError, match=r"^Failed to save checkpoint to '") as caught:
            while next(run)["type"] == "state":
                pass
        assert isinstance(caught.value.__cause__, OSError) and list(run) == []

    def test_pickling_error(self, tmp_path: Path, kind: str) -> None:
        """CQ-5: the same for a state that refuses by PicklingError."""
        made = single(lambda: {"x": Refusing()}).compile([], ["n"], checkpoint_dir=str(tmp_path))
        got = events(made, kind, {})[-1]
        assert got["checkpoint_path"] is None and type(got["state"]["x"]) is Refusing
        assert os.listdir(tmp_path) == []

    def test_memory_store_is_unaffected(self) -> None:
        """CP-14 step 1: with a checkpointer the directory is not used."""
        made = chain("a").compile(
            ["a"], checkpoint_dir="/dev/null/x", checkpointer=(store := MemoryCheckpointer())
        )
        assert list(made.invoke({}))[-1]["checkpoint_path"] in store


@posix
def test_kill_during_save_leaves_no_half_written_file(tmp_path: Path) -> None:
    """CQ-6: a process that saves without pause is killed at random moments; every checkpoint there loads."""
    code = """
import sys, the_edge_agent as tea
graph = tea.StateGraph(dict)
graph.add_node("a")
graph.set_entry_point("a")
graph.compile(["a"], checkpoint_dir=sys.argv[1], checkpoint_format=sys.argv[2])
blob = "0123456789" * 200_000
print("ready", flush=True)
while True:
    graph.save_checkpoint(sys.argv[1] + "/same.pkl", {"blob": blob}, "a", {})
    list(graph.invoke({"blob": blob}))
"""
    moments = random.Random(8)
    for turn in range(12):
        place = tmp_path / str(turn)
        place.mkdir()
        form = ("pickle", "json")[turn % 2]
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(place), form], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(0.02 + moments.random() * 0.08)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        found = [path for path in place.iterdir() if path.suffix in (".pkl", ".json")]
        for path in found:
            assert len(StateGraph.load_checkpoint(str(path))["state"]["blob"]) == 2_000_000
            path.unlink()
        if turn == 0:
            assert found, "nothing was written before the kill: the test proves nothing"
        for path in place.iterdir():
            path.unlink()
