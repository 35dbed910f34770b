"""`the_edge_agent.checkpoint_files`: names, safe writing, reading, finding what cannot be stored."""

from __future__ import annotations

import collections
import copyreg
import datetime
import decimal
import fractions
import json
import os
import pathlib
import pickle
import stat
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from the_edge_agent import checkpoint_files
from the_edge_agent.checkpoint_files import (
    atomic_write,
    encode_node_name,
    explain_unpicklable,
    read_checkpoint,
    unique_path,
    write_checkpoint,
)
from the_edge_agent.parallel import CircuitState, ParallelFlowResult


def record(state: dict[str, Any]) -> dict[str, Any]:
    return {"state": state, "node": "n", "config": {}, "timestamp": 1.5, "version": "1.0"}


class Holder:
    """An object with attributes."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Slotted:
    """An object without `__dict__`."""

    __slots__ = ("inner",)

    def __init__(self, inner: Any) -> None:
        self.inner = inner


class Refusing:
    """An object whose own pickling code fails."""

    def __reduce__(self) -> Any:
        raise RuntimeError("not me")


class Failing:
    """An object that pickles and cannot be loaded."""

    def __reduce__(self) -> Any:
        return (fail_with, ("MemoryError",))


def fail_with(name: str) -> None:
    raise {"MemoryError": MemoryError, "RecursionError": RecursionError, "OSError": OSError}[name]("boom")


class TestNames:
    """File names of automatic checkpoints."""

    @pytest.mark.parametrize(
        ("node", "name"),
        [
            ("../x/y", "..%2Fx%2Fy"),
            ("a\\b", "a%5Cb"),
            ("a\0b", "a%00b"),
            ("a b:c%2Fé", "a b:c%2Fé"),
            ("\ud800", "%ED%A0%80"),
            (3, "3"),
            (None, "None"),
        ],
    )
    def test_encoding(self, node: object, name: str) -> None:
        """CQ-8: only what a file name cannot hold is changed."""
        assert encode_node_name(node) == name

    def test_counter(self, tmp_path: Path) -> None:
        """CP-5, CQ-10: prefix and suffix stay; a name is taken once handed out, and while its file exists."""
        first = unique_path(tmp_path, "n", 7)
        assert first == str(tmp_path / "n_7.pkl")
        assert unique_path(tmp_path, "n", 7) == str(tmp_path / "n_7-1.pkl")
        (tmp_path / "n_8.json").touch()
        assert unique_path(tmp_path, "n", 8, ".json") == str(tmp_path / "n_8-1.json")
        assert unique_path(tmp_path, "n", 7) == first  # no such file, and the clock has moved on

    def test_threads_get_different_names(self, tmp_path: Path) -> None:
        """CQ-10: concurrent runs do not overwrite each other."""
        with ThreadPoolExecutor(8) as pool:
            names = list(pool.map(lambda _: unique_path(tmp_path, "n", 9), range(200)))
        assert len(set(names)) == 200


class TestWriting:
    """All or nothing."""

    def test_modes(self, tmp_path: Path) -> None:
        """CP-8, CQ-9: missing folders 0700, file 0600; an existing folder keeps its mode."""
        tmp_path.chmod(0o755)
        path = tmp_path / "a" / "b" / "c.pkl"
        write_checkpoint(path, record({"x": 1}))
        modes = [stat.S_IMODE(p.stat().st_mode) for p in (path, path.parent, path.parent.parent, tmp_path)]
        assert modes == [0o600, 0o700, 0o700, 0o755]
        assert os.listdir(path.parent) == ["c.pkl"]

    def test_plain_pickle_in_the_default_protocol(self, tmp_path: Path) -> None:
        """CP-4: nothing but `pickle.load` is needed, and the bytes are those of the default protocol."""
        path = tmp_path / "c.pkl"
        given = record({"r": [ParallelFlowResult("b", True, {"k": 1})]})
        write_checkpoint(path, given)
        assert pickle.loads(path.read_bytes()) == given
        assert path.read_bytes() == pickle.dumps(given)
        assert b"the_edge_agent.parallel" in path.read_bytes()

    def test_overwriting(self, tmp_path: Path) -> None:
        """CP-8, CQ-6: the new contents replace the old ones, shorter or longer."""
        path = tmp_path / "c.pkl"
        for size in (10_000, 10, 20_000):
            write_checkpoint(path, record({"x": "y" * size}))
            assert len(read_checkpoint(path)["state"]["x"]) == size

    @pytest.mark.parametrize("failing", ["write", "fsync", "replace"])
    def test_nothing_is_left_behind(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
    ) -> None:
        """CQ-6: a full disk (made with a patched system call) leaves the old file and no other."""
        path = tmp_path / "c.pkl"
        write_checkpoint(path, record({"x": "old"}))

        def full(*args: Any, **kwargs: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, failing, full)
        with pytest.raises(OSError, match="No space left"):
            write_checkpoint(path, record({"x": "new"}))
        monkeypatch.undo()
        assert os.listdir(tmp_path) == ["c.pkl"]
        assert read_checkpoint(path)["state"] == {"x": "old"}

    def test_target_is_a_directory(self, tmp_path: Path) -> None:
        """CP-9: an `OSError`; the directory stays as it is."""
        (tmp_path / "d").mkdir()
        with pytest.raises(IsADirectoryError):
            write_checkpoint(tmp_path / "d", record({}))
        assert os.listdir(tmp_path) == ["d"] and os.listdir(tmp_path / "d") == []

    def test_parent_is_a_file(self, tmp_path: Path) -> None:
        """CP-9: an `OSError`."""
        (tmp_path / "f").touch()
        with pytest.raises(OSError):
            write_checkpoint(tmp_path / "f" / "g" / "c.pkl", record({}))
        assert os.listdir(tmp_path) == ["f"]

    def test_links_are_followed(self, tmp_path: Path) -> None:
        """CQ-6: renaming must not replace a link by a file."""
        link = tmp_path / "link.pkl"
        link.symlink_to(tmp_path / "folder" / "real.pkl")
        for value in (1, 2):
            write_checkpoint(link, record({"x": value}))
            assert link.is_symlink()
            assert read_checkpoint(tmp_path / "folder" / "real.pkl")["state"] == {"x": value}
        assert os.listdir(tmp_path / "folder") == ["real.pkl"]

    def test_pipes_are_written_to(self, tmp_path: Path) -> None:
        """CQ-6: renaming must not replace a pipe or device by a file."""
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        got: list[bytes] = []
        reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
        reader.start()
        atomic_write(pipe, b"data")
        reader.join(10)
        assert got == [b"data"] and stat.S_ISFIFO(pipe.stat().st_mode)

    def test_concurrent_writers_and_readers(self, tmp_path: Path) -> None:
        """CQ-6: a reader sees a complete file at any moment."""
        path = tmp_path / "c.pkl"
        write_checkpoint(path, record({"x": [0] * 5000}))

        def write(value: int) -> None:
            write_checkpoint(path, record({"x": [value] * 5000}))

        with ThreadPoolExecutor(3) as pool:
            writers = [pool.submit(write, i) for i in range(60)]
            while not all(w.done() for w in writers):
                values = set(read_checkpoint(path)["state"]["x"])
                assert len(values) == 1
        assert os.listdir(tmp_path) == ["c.pkl"]


class TestUnpicklable:
    """CP-10 with the place and type of the value."""

    @pytest.fixture
    def handle(self) -> Iterator[Any]:
        with open(os.devnull) as file:
            yield file

    @pytest.mark.parametrize(
        ("wrap", "found"),
        [
            (lambda h: {"docs": [0, 1, 2, Holder(handle=h)]}, "state.docs[3].handle"),
            (lambda h: {"a": {"b c": {1: (h,)}}}, "state.a['b c'][1][0]"),
            (lambda h: {"s": Slotted(h)}, "state.s.inner"),
            (lambda h: {"s": {1, h}}, "state.s{...}"),
            (lambda h: {"d": collections.deque([h])}, None),
            (lambda h: {"o": collections.OrderedDict(k=h)}, "state.o.k"),
            (lambda h: {"k": {h: 1}}, "state.k"),
        ],
    )
    def test_places(self, handle: Any, wrap: Callable[[Any], Any], found: str | None) -> None:
        """The way from the state to the first value that cannot be pickled, with its type."""
        text = explain_unpicklable(wrap(handle))
        assert text is not None
        if found is not None:
            assert text.startswith(found)
        kind = "collections.deque" if found is None else "_io.TextIOWrapper"
        assert text.endswith(f": {kind}")

    def test_nothing_to_explain(self) -> None:
        """`None` if all can be pickled, shared and cyclic values included."""
        loop: dict[str, Any] = {"x": [1]}
        loop["self"] = [loop]
        assert explain_unpicklable(loop) is None

    def test_cycles(self, handle: Any) -> None:
        """A cycle on the way does not lead round and round."""
        loop: dict[str, Any] = {}
        loop["self"] = loop
        loop["h"] = handle
        assert explain_unpicklable(loop) is not None

    def test_own_code_fails(self) -> None:
        """The object itself is to blame."""
        assert explain_unpicklable({"x": [Refusing()]}) == f"state.x[0]: {__name__}.Refusing"

    @pytest.mark.parametrize(
        ("value", "kind"),
        [(threading.Lock(), TypeError), ((i for i in "a"), TypeError)],
    )
    def test_error_keeps_its_class(self, tmp_path: Path, value: Any, kind: type[Exception]) -> None:
        """CP-10: the original is the cause, its text comes first, and nothing is written."""
        with pytest.raises(kind) as caught:
            write_checkpoint(tmp_path / "new" / "c.pkl", record({"deep": [{"v": value}]}))
        assert type(caught.value.__cause__) is kind
        assert str(caught.value).startswith(str(caught.value.__cause__))
        assert f"state.deep[0].v: {type(value).__module__.replace('builtins', '')}".rstrip(".") in str(
            caught.value
        )
        assert os.listdir(tmp_path) == []

    def test_local_function(self, tmp_path: Path) -> None:
        """CP-10: local functions, whatever class this version of Python raises for them."""
        with pytest.raises((AttributeError, pickle.PicklingError), match=r"Can't .*state\.f: function"):
            write_checkpoint(tmp_path / "c.pkl", record({"f": lambda: 1}))

    def test_in_the_config(self, tmp_path: Path) -> None:
        """The text says when it is not the state."""
        bad = {**record({"x": 1}), "config": {"lock": threading.Lock()}}
        with pytest.raises(TypeError, match=r"config\.lock: _thread\.lock"):
            write_checkpoint(tmp_path / "c.pkl", bad)

    def test_other_exceptions_pass_through(self, tmp_path: Path) -> None:
        """CP-10: the object's own exception, unchanged."""
        with pytest.raises(RuntimeError, match=r"^not me$"):
            write_checkpoint(tmp_path / "c.pkl", record({"x": Refusing()}))
        assert os.listdir(tmp_path) == []


class TestReading:
    """Errors, JSON, and the limits for pickles."""

    def test_missing(self, tmp_path: Path) -> None:
        """CP-12."""
        path = tmp_path / "none.pkl"
        with pytest.raises(FileNotFoundError) as caught:
            read_checkpoint(path)
        assert str(caught.value) == f"Checkpoint file not found: '{path}'"

    @pytest.mark.parametrize("name", ["", "a\0b"])
    def test_unreadable(self, tmp_path: Path, name: str) -> None:
        """Section 4: a directory and an impossible name are read errors with their cause."""
        with pytest.raises(ValueError, match="Failed to read checkpoint file") as caught:
            read_checkpoint(f"{tmp_path}/{name}")
        assert caught.value.__cause__ is not None

    @pytest.mark.parametrize(
        "data",
        [b"", b"some text\n", b"garbage\n", b"Ix\n", b"\x80\x63.", b"N", b"cno.such\nthing\n.", b"{nonsense"],
    )
    def test_corrupt(self, tmp_path: Path, data: bytes) -> None:
        """CP-12, CQ-15: one error, whatever the first bytes are."""
        path = tmp_path / "c.pkl"
        path.write_bytes(data)
        with pytest.raises(ValueError) as caught:
            read_checkpoint(path)
        assert str(caught.value).startswith(f"Corrupt or incompatible checkpoint file '{path}': ")
        assert caught.value.__cause__ is not None

    @pytest.mark.parametrize("name", ["MemoryError", "RecursionError", "OSError"])
    def test_any_exception_of_the_unpickler(self, tmp_path: Path, name: str) -> None:
        """CQ-15: also those that stand for something else outside."""
        path = tmp_path / "c.pkl"
        path.write_bytes(f"c{__name__}\nfail_with\n(S'{name}'\ntR.".encode())
        with pytest.raises(ValueError, match=r"Corrupt or incompatible.*boom") as caught:
            read_checkpoint(path)
        assert type(caught.value.__cause__).__name__ == name

    def test_shape(self, tmp_path: Path) -> None:
        """Section 4: not a dict; missing keys; CP-6: extra keys are no error."""
        path = tmp_path / "c.pkl"
        path.write_bytes(pickle.dumps([1]))
        with pytest.raises(ValueError) as caught:
            read_checkpoint(path)
        assert str(caught.value) == f"Invalid checkpoint format in '{path}': expected dict, got list"
        path.write_bytes(pickle.dumps({k: v for k, v in record({}).items() if k != "node"}))
        with pytest.raises(ValueError) as caught:
            read_checkpoint(path)
        assert str(caught.value) == f"Incompatible checkpoint file '{path}': missing keys {{'node'}}"
        path.write_bytes(pickle.dumps({**record({}), "name": "x", "version": "1.1", "timestamp": 5}))
        assert read_checkpoint(path)["name"] == "x"

    def test_json(self, tmp_path: Path) -> None:
        """CP-56: recognised by the first byte, decoded by the given function."""
        path = tmp_path / "c.json"
        path.write_bytes(json.dumps(record({"x": [1]})).encode())
        assert read_checkpoint(path) == record({"x": [1]})
        seen: list[bytes] = []

        def decode(data: bytes) -> Any:
            seen.append(data)
            return record({"decoded": True})

        assert read_checkpoint(path, decode)["state"] == {"decoded": True}
        assert seen == [path.read_bytes()]

        def fail(data: bytes) -> Any:
            raise TypeError("no")

        with pytest.raises(ValueError, match=r"Corrupt or incompatible.*no"):
            read_checkpoint(path, fail)

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_restricted_reads_plain_data(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int
    ) -> None:
        """CQ-7: plain data of the standard library and the package's results, in every protocol."""
        state = {
            "plain": [1, 2.5, None, True, "é", b"b", 10**30, (1,), {2}, frozenset({3}), bytearray(b"x"), 1j],
            "collections": [
                collections.OrderedDict(a=1),
                collections.defaultdict(list, k=[1]),
                collections.deque([1]),
                collections.Counter("aab"),
            ],
            "time": [datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc), datetime.timedelta(1)],
            "other": [
                decimal.Decimal("1.5"),
                fractions.Fraction(1, 3),
                uuid.UUID(int=5),
                pathlib.Path("a/b"),
            ],
            "results": [ParallelFlowResult("b", False, error="e"), CircuitState.OPEN],
        }
        path = tmp_path / "c.pkl"
        path.write_bytes(pickle.dumps(record(state), protocol))
        monkeypatch.setenv("TEA_CHECKPOINT_PICKLE", "restricted")
        assert read_checkpoint(path) == record(state)

    def test_restricted_refuses_the_rest(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """CQ-7: the text names the class; unset, the same file is read."""
        path = tmp_path / "c.pkl"
        write_checkpoint(path, record({"h": Holder(x=1)}))
        assert read_checkpoint(path)["state"]["h"].x == 1
        monkeypatch.setenv("TEA_CHECKPOINT_PICKLE", "restricted")
        with pytest.raises(ValueError, match=rf"{__name__}\.Holder is not allowed"):
            read_checkpoint(path)

    @pytest.mark.parametrize(
        "target",
        [
            b"cthe_edge_agent.parallel\nParallelFlowResult\n",
            b"cpathlib\nPath\n",
            b"ccopyreg\n_reconstructor\n",
        ],
    )
    def test_restricted_cannot_change_classes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: bytes
    ) -> None:
        """CQ-7: the step that restores attributes reaches new objects only."""
        path = tmp_path / "c.pkl"
        path.write_bytes(target + b"(N(S'evil'\nI1\ndtb.")
        monkeypatch.setenv("TEA_CHECKPOINT_PICKLE", "restricted")
        with pytest.raises(ValueError, match="setting attributes of"):
            read_checkpoint(path)
        assert not any(hasattr(t, "evil") for t in (ParallelFlowResult, Path, copyreg._reconstructor))

    def test_restricted_takes_members_of_enumerations_only(self) -> None:
        """CQ-7: early releases of Python 3.11 pickle a member of an enumeration by `getattr`."""
        head = b"\x80\x04cbuiltins\ngetattr\ncuuid\n"
        load = checkpoint_files._restricted_loads
        assert load(head + b"SafeUUID\n\x8c\x07unknown\x86R.") is uuid.SafeUUID.unknown
        for owner, name in ((b"SafeUUID", b"mro"), (b"UUID", b"hex")):
            with pytest.raises(pickle.UnpicklingError, match="getattr is not allowed"):
                load(head + owner + b"\n\x8c\x03" + name + b"\x86R.")

    @pytest.mark.parametrize("policy", ["deny", "restrcited"])
    def test_refused_policies(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str) -> None:
        """CQ-7: `deny` reads JSON only; a misspelt value does not mean "no limit"."""
        write_checkpoint(tmp_path / "c.pkl", record({"x": 1}))
        (tmp_path / "c.json").write_text(json.dumps(record({"x": 1})))
        monkeypatch.setenv("TEA_CHECKPOINT_PICKLE", policy)
        with pytest.raises(ValueError, match="TEA_CHECKPOINT_PICKLE"):
            read_checkpoint(tmp_path / "c.pkl")
        assert read_checkpoint(tmp_path / "c.json")["state"] == {"x": 1}
