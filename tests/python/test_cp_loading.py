"""load_checkpoint: foreign, truncated and broken files; classes of files that are accepted."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path
from typing import Any

import pytest
from support import chain, events, unprivileged

from the_edge_agent import StateGraph

RECORD = {"state": {"x": 1}, "node": "b", "config": {}, "timestamp": 1.5, "version": "1.0"}


def put(place: Path, content: Any, name: str = "f.pkl", protocol: int | None = None) -> str:
    """Write bytes as they are, anything else pickled."""
    data = content if isinstance(content, bytes) else pickle.dumps(content, protocol=protocol)
    (place / name).write_bytes(data)
    return str(place / name)


class TestGoodFiles:
    """CP-4, CP-6, CP-13, section 4."""

    def test_class_and_instance(self, tmp_path: Path) -> None:
        """Section 4: callable without an instance; the record as it was written."""
        path = put(tmp_path, RECORD)
        assert StateGraph.load_checkpoint(path) == RECORD
        assert chain("a").load_checkpoint(path) == RECORD
        assert list(StateGraph.load_checkpoint(path)) == list(RECORD)

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_every_protocol(self, tmp_path: Path, protocol: int) -> None:
        """CP-4, CP-6: files that others wrote, also in the text protocol 0."""
        path = put(tmp_path, RECORD, protocol=protocol)
        assert StateGraph.load_checkpoint(path) == RECORD

    def test_differences_of_other_producers(self, tmp_path: Path, kind: str) -> None:
        """CP-6: an int timestamp, version 1.1, extra keys in any order."""
        record = {"name": "n", "nodes_visited": ["a"], **RECORD, "timestamp": 1700000000000, "version": "1.1"}
        path = put(tmp_path, record, "saved.state.pkl")
        assert StateGraph.load_checkpoint(path) == record
        assert events(chain("a", "b"), kind, None, checkpoint=path)[-1]["state"] == {"x": 1, "trail": ["b"]}

    @pytest.mark.parametrize("version", ["1.0", "9.9", None, 7])
    def test_version_and_node_are_not_checked(self, tmp_path: Path, version: Any) -> None:
        """CP-13."""
        record = {**RECORD, "version": version, "node": "nobody"}
        assert StateGraph.load_checkpoint(put(tmp_path, record)) == record

    def test_dict_subclass(self, tmp_path: Path) -> None:
        """Section 4: any dict."""
        from collections import OrderedDict

        assert StateGraph.load_checkpoint(put(tmp_path, OrderedDict(RECORD))) == RECORD

    def test_bytes_behind_the_pickle(self, tmp_path: Path) -> None:
        """Section 4: one pickle is read, as `pickle.load` does."""
        assert StateGraph.load_checkpoint(put(tmp_path, pickle.dumps(RECORD) + b"more")) == RECORD

    def test_fresh_object_per_load(self, tmp_path: Path) -> None:
        """CP-30: a file can be loaded any number of times."""
        path = put(tmp_path, RECORD)
        one, two = StateGraph.load_checkpoint(path), StateGraph.load_checkpoint(path)
        assert one == two and one["state"] is not two["state"]


class TestBadFiles:
    """The table of section 4, CP-12, CQ-15."""

    def test_missing(self, tmp_path: Path) -> None:
        """CP-12: exact text."""
        path = str(tmp_path / "none.pkl")
        with pytest.raises(FileNotFoundError) as caught:
            StateGraph.load_checkpoint(path)
        assert str(caught.value) == f"Checkpoint file not found: '{path}'"

    def test_directory(self, tmp_path: Path) -> None:
        """Section 4, row 2: with the cause."""
        with pytest.raises(ValueError) as caught:
            StateGraph.load_checkpoint(str(tmp_path))
        assert isinstance(caught.value.__cause__, OSError)
        assert str(caught.value) == f"Failed to read checkpoint file '{tmp_path}': {caught.value.__cause__}"

    @pytest.mark.skipif(os.name != "posix", reason="POSIX file modes and users")
    def test_no_permission(self, tmp_path: Path) -> None:
        """Section 4, row 2."""
        path = put(tmp_path, RECORD)
        StateGraph.load_checkpoint(path)
        os.chmod(path, 0)
        with unprivileged(), pytest.raises(ValueError, match=r"^Failed to read checkpoint file '") as caught:
            StateGraph.load_checkpoint(path)
        assert isinstance(caught.value.__cause__, PermissionError)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"not a pickle file\n",
            b"garbage\n",
            b"Ix\n",
            b"\x80\x63.",
            b"\x80\x04",
            b"cno_such_module\nthing\n.",
            b"cos\nno_such_attribute\n.",
            b"\x80\x04N)R.",
            b"cbuiltins\nint\n(S'x'\ntR.",
            b"\x00" * 64,
            b"\xff" * 64,
            b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
            b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f",
            b"\x80\x04B\xff\xff\xff\x7f",
            b"{",
            b"{not json",
            b'{"state": {}',
            '{"state": "\u00e9"}'.encode("latin-1"),
        ],
        ids=repr,
    )
    def test_corrupt(self, tmp_path: Path, data: bytes) -> None:
        """CP-12, CQ-15: everything that cannot be read as a record has one error, with path and cause."""
        path = put(tmp_path, data)
        with pytest.raises(ValueError) as caught:
            StateGraph.load_checkpoint(path)
        assert str(caught.value).startswith(f"Corrupt or incompatible checkpoint file '{path}': ")
        assert isinstance(caught.value.__cause__, Exception)

    def test_every_truncation(self, tmp_path: Path) -> None:
        """CQ-15, CQ-6: cut after any number of bytes, pickle and JSON."""
        made = chain("a")
        made.save_checkpoint(str(tmp_path / "whole.pkl"), {"k": ["v", 1, 2.5, None]}, "a", {})
        made.compile(["a"], checkpoint_dir=str(tmp_path), checkpoint_format="json")
        other = list(made.invoke({"k": "v"}))[-1]["checkpoint_path"]
        for whole in (tmp_path / "whole.pkl", Path(other)):
            data = whole.read_bytes()
            assert StateGraph.load_checkpoint(str(whole))["node"] == "a"
            for length in range(len(data.rstrip())):
                path = put(tmp_path, data[:length], "cut.pkl")
                with pytest.raises(ValueError, match=r"^Corrupt or incompatible checkpoint file '"):
                    StateGraph.load_checkpoint(path)

    @pytest.mark.parametrize("error", [MemoryError, RecursionError, KeyError, ZeroDivisionError])
    def test_any_exception_while_unpickling(self, tmp_path: Path, error: type[Exception]) -> None:
        """CQ-15: whatever class the unpickler lets out."""
        data = f"c{__name__}\nraising\n(S'{error.__name__}'\ntR.".encode()
        path = put(tmp_path, data)
        with pytest.raises(ValueError, match=r"^Corrupt or incompatible checkpoint file '") as caught:
            StateGraph.load_checkpoint(path)
        assert type(caught.value.__cause__) is error

    def test_base_exception_while_unpickling(self, tmp_path: Path) -> None:
        """CQ-15: `Exception` only; KeyboardInterrupt comes out."""
        with pytest.raises(KeyboardInterrupt):
            StateGraph.load_checkpoint(
                put(tmp_path, f"c{__name__}\nraising\n(S'KeyboardInterrupt'\ntR.".encode())
            )

    def test_deep_nesting(self, tmp_path: Path) -> None:
        """CQ-15: JSON nested beyond the recursion limit is a corrupt file, not a crash."""
        path = put(tmp_path, b'{"state": ' + b"[" * 200_000, "deep.json")
        with pytest.raises(ValueError, match=r"^Corrupt or incompatible checkpoint file '"):
            StateGraph.load_checkpoint(path)

    @pytest.mark.parametrize("content", [None, [1], "text", 5, (1, 2)])
    def test_not_a_dict(self, tmp_path: Path, content: Any) -> None:
        """Section 4: exact text."""
        path = put(tmp_path, content)
        with pytest.raises(ValueError) as caught:
            StateGraph.load_checkpoint(path)
        name = type(content).__name__
        assert str(caught.value) == f"Invalid checkpoint format in '{path}': expected dict, got {name}"

    @pytest.mark.parametrize("key", list(RECORD))
    def test_missing_key(self, tmp_path: Path, key: str) -> None:
        """CP-12: exact text for one key."""
        path = put(tmp_path, {k: v for k, v in RECORD.items() if k != key})
        with pytest.raises(ValueError) as caught:
            StateGraph.load_checkpoint(path)
        assert str(caught.value) == f"Incompatible checkpoint file '{path}': missing keys {{{key!r}}}"

    def test_all_keys_missing(self, tmp_path: Path) -> None:
        """CP-12: a set in any order, from pickle and JSON."""
        for path in (put(tmp_path, {}), put(tmp_path, b"{}", "f.json")):
            with pytest.raises(
                ValueError, match=r"^Incompatible checkpoint file '.*': missing keys {"
            ) as caught:
                StateGraph.load_checkpoint(path)
            for key in RECORD:
                assert repr(key) in str(caught.value)

    def test_same_errors_from_resuming(self, tmp_path: Path, kind: str) -> None:
        """CP-22, section 12: out of the generator at the first `next`, nothing runs."""
        ran: list[int] = []
        made = chain("a", "b", run=lambda: ran.append(1))
        with pytest.raises(FileNotFoundError, match="Checkpoint file not found"):
            events(made, kind, None, checkpoint=str(tmp_path / "none"))
        with pytest.raises(ValueError, match="Corrupt or incompatible"):
            list(made.resume_from_checkpoint(put(tmp_path, b"x y z")))
        with pytest.raises(ValueError, match="missing keys"):
            events(made, kind, None, checkpoint=put(tmp_path, {"state": {}}))
        assert ran == []


def raising(name: str) -> None:
    """Called by pickles of the tests above."""
    import builtins

    raise getattr(builtins, name)("from a pickle")


class TestTrust:
    """CQ-7: `TEA_CHECKPOINT_PICKLE`."""

    HOSTILE = b"cos\nsystem\n(S'touch %s'\ntR."

    def test_unrestricted_by_default(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """CQ-7: user classes load."""
        monkeypatch.delenv("TEA_CHECKPOINT_PICKLE", raising=False)
        record = {**RECORD, "state": {"when": time.struct_time(range(9)), "path": Path("x")}}
        assert StateGraph.load_checkpoint(put(tmp_path, record)) == record

    def test_restricted_refuses_classes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """CQ-7: nothing foreign is imported or called; the text names file and class."""
        monkeypatch.setenv("TEA_CHECKPOINT_PICKLE", "restricted")
        mark = tmp_path / "mark"
        for name, data in {
            "system": self.HOSTILE % str(mark).encode(),
            "eval": b"cbuiltins\neval\n(S'1'\ntR.",
            "getattr": b"cbuiltins\ngetattr\n(S'x'\nS'y'\ntR.",
            "Popen": b"csubprocess\nPopen\n(S'true'\ntR.",
            "raising": f"c{__name__}\nraising\n(S'ValueError'\ntR.".encode(),
        }.items():
            path = put(tmp_path, data)
            with pytest.raises(ValueError) as caught:
                StateGraph.load_checkpoint(path)
            assert path in str(caught.value) and name in str(caught.value)
        assert not mark.exists()

    def test_dotted_names_are_no_way_round(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """CQ-7: protocol 4 resolves dotted names, also below an allowed class."""
        monkeypatch.setenv("TEA_CHECKPOINT_PICKLE", "restricted")
        for name in (b"ParallelFlowResult.__init__.__globals__", b"ParallelFlowResult.__eq__"):
            module = b"the_edge_agent.parallel"
            data = (
                b"\x80\x04\x8c"
                + bytes([len(module)])
                + module
                + b"\x8c"
                + bytes([len(name)])
                + name
                + b"\x93."
            )
            with pytest.raises(ValueError, match=r"^(?!Invalid checkpoint format)"):
                StateGraph.load_checkpoint(put(tmp_path, data))

    def test_restricted_loads_what_runs_write(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        """CQ-7: plain values and results of branches."""
        from support import fan

        made = fan({"p": lambda: {"v": 1}, "q": lambda: {"v": 2}}, join=lambda parallel_results: {"n": 2})
        made.compile(["j"], checkpoint_dir=str(tmp_path))
        given = {"t": (1, 2.5, None, True, "é", b"b", 10**30), "d": {1: {"k": [1]}}}
        path = events(made, kind, given)[-1]["checkpoint_path"]
        monkeypatch.setenv("TEA_CHECKPOINT_PICKLE", "restricted")
        state = StateGraph.load_checkpoint(path)["state"]
        assert {key: state[key] for key in given} == given
        assert sorted(result["v"] for result in state["parallel_results"]) == [1, 2]
        assert events(made, kind, None, checkpoint=path)[-1]["state"]["n"] == 2

    def test_deny(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """CQ-7: pickle is refused, however harmless, JSON is read; the text names the variable."""
        made = chain("a").compile(["a"], checkpoint_dir=str(tmp_path), checkpoint_format="json")
        good = list(made.invoke({"x": 1}))[-1]["checkpoint_path"]
        monkeypatch.setenv("TEA_CHECKPOINT_PICKLE", "deny")
        path = put(tmp_path, RECORD)
        with pytest.raises(ValueError, match="TEA_CHECKPOINT_PICKLE") as caught:
            StateGraph.load_checkpoint(path)
        assert path in str(caught.value)
        with pytest.raises(ValueError, match="TEA_CHECKPOINT_PICKLE"):
            list(made.invoke(None, checkpoint=path))
        assert StateGraph.load_checkpoint(good)["state"] == {"x": 1}

    def test_unknown_value_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """CQ-7: a misspelt restriction must not mean "no restriction"."""
        monkeypatch.setenv("TEA_CHECKPOINT_PICKLE", "restrcited")
        with pytest.raises(
            ValueError, match=r"(?s)TEA_CHECKPOINT_PICKLE.*restrcited|restrcited.*TEA_CHECKPOINT"
        ):
            StateGraph.load_checkpoint(put(tmp_path, RECORD))
