"""States that cannot be stored: the error names path and type, and nothing is lost."""

from __future__ import annotations

import io
import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import chain, drain, events

from the_edge_agent import MemoryCheckpointer, StateGraph

FORMATS = pytest.mark.parametrize("form", ["pickle", "json"])

STORING = (pickle.PicklingError, TypeError, AttributeError)


class Holder:
    """A plain object with one attribute."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle


@pytest.fixture
def handle() -> Iterator[io.TextIOWrapper]:
    """An open file, which no format can store."""
    with open(__file__, encoding="utf-8") as file:
        yield file


def graph_for(place: Path, form: str, **options: Any) -> StateGraph:
    made = chain("a", "b", **options)
    return made.compile(["b"], checkpoint_dir=str(place), checkpoint_format=form)


class TestText:
    """The error text at the checkpoint."""

    @FORMATS
    @pytest.mark.parametrize("raise_exceptions", [False, True])
    def test_path_and_type(
        self, tmp_path: Path, kind: str, form: str, raise_exceptions: bool, handle: io.TextIOWrapper
    ) -> None:
        """CP-10, CP-15: in a list of dicts; both policies; class as the serialiser's."""
        made = graph_for(tmp_path, form, raise_exceptions=raise_exceptions)
        state = {"n": 1, "docs": [{}, {}, {}, {"title": "t", "handle": handle}]}
        got: list[dict[str, Any]] = []
        with pytest.raises(STORING) as caught:
            drain(getattr(made, kind)(state), got)
        assert "state.docs[3].handle: _io.TextIOWrapper" in str(caught.value)
        assert [event["type"] for event in got] == (["state"] if kind == "stream" else [])

    @FORMATS
    @pytest.mark.parametrize(
        ("wrap", "path"),
        [
            (lambda value: {"x": value}, "state.x"),
            (lambda value: {"a": {"b": {"c": [[value]]}}}, "state.a.b.c[0][0]"),
            (lambda value: {"t": (1, value)}, "state.t[1]"),
        ],
    )
    def test_other_places(
        self, tmp_path: Path, form: str, wrap: Any, path: str, handle: io.TextIOWrapper
    ) -> None:
        """The whole way from the state to the value."""
        with pytest.raises(STORING, match=None) as caught:
            list(graph_for(tmp_path, form).invoke(wrap(handle)))
        assert f"{path}: _io.TextIOWrapper" in str(caught.value)

    def test_attribute_of_an_object(self, tmp_path: Path, handle: io.TextIOWrapper) -> None:
        """Attributes are shown like keys (in pickle; JSON stops at the object itself)."""
        with pytest.raises(STORING) as caught:
            list(graph_for(tmp_path, "pickle").invoke({"docs": [0, 1, 2, Holder(handle)]}))
        assert "state.docs[3].handle: _io.TextIOWrapper" in str(caught.value)
        with pytest.raises(STORING) as caught:
            list(graph_for(tmp_path, "json").invoke({"docs": [0, 1, 2, Holder(1)]}))
        assert "state.docs[3]: " in str(caught.value) and "Holder" in str(caught.value)

    @FORMATS
    def test_config(self, tmp_path: Path, form: str, handle: io.TextIOWrapper) -> None:
        """The config is stored too, so its path begins with `config`."""
        with pytest.raises(STORING) as caught:
            list(graph_for(tmp_path, form).invoke({}, config={"deep": {"handle": handle}}))
        assert "config.deep.handle: _io.TextIOWrapper" in str(caught.value)

    @FORMATS
    @pytest.mark.parametrize(
        ("value", "name"),
        [
            (threading.Lock(), "lock"),
            ((number for number in [1]), "generator"),
            (lambda: 1, "function"),
            (io.BytesIO().getbuffer(), "memoryview"),
        ],
        ids=["lock", "generator", "lambda", "memoryview"],
    )
    def test_other_types(self, tmp_path: Path, form: str, value: Any, name: str, caplog: Any) -> None:
        """CP-9, CP-10: in the exception or, where the serialiser gives a PicklingError, in the ERROR line."""
        made = graph_for(tmp_path, form)
        try:
            got = list(made.invoke({"k": [value]}))
        except STORING as error:
            text = str(error)
        else:
            assert got[-1]["checkpoint_path"] is None and got[-1]["state"]["k"] == [value]
            text = caplog.text
        assert "state.k[0]: " in text and name in text

    def test_save_checkpoint_itself(self, tmp_path: Path, handle: io.TextIOWrapper) -> None:
        """CP-10: the public method says the same."""
        with pytest.raises(STORING) as caught:
            chain("a").save_checkpoint(str(tmp_path / "f.pkl"), {"docs": [handle]}, "a", {})
        assert "state.docs[0]: _io.TextIOWrapper" in str(caught.value)

    def test_cyclic_state(self, tmp_path: Path, handle: io.TextIOWrapper) -> None:
        """Looking for the path ends in a state that refers to itself; a good cyclic state can be pickled."""
        loop: dict[str, Any] = {}
        loop["self"] = loop
        loop["list"] = [loop]
        path = list(graph_for(tmp_path, "pickle").invoke({"loop": loop}))[-1]["checkpoint_path"]
        assert StateGraph.load_checkpoint(path)["state"]["loop"]["self"]["list"]
        loop["bad"] = handle
        with pytest.raises(STORING) as caught:
            list(graph_for(tmp_path, "pickle").invoke({"loop": loop}))
        assert "_io.TextIOWrapper" in str(caught.value) and "state.loop" in str(caught.value)
        with pytest.raises((*STORING, ValueError)):
            list(graph_for(tmp_path, "json").invoke({"loop": {"self": loop["self"]}}))

    def test_large_state(self, tmp_path: Path, handle: io.TextIOWrapper) -> None:
        """The search does not cost more than the state is large: one bad value behind many good ones."""
        state = {"rows": [{"n": number, "list": [number] * 5} for number in range(20_000)] + [{"h": handle}]}
        with pytest.raises(STORING) as caught:
            list(graph_for(tmp_path, "pickle").invoke(state))
        assert "state.rows[20000].h: _io.TextIOWrapper" in str(caught.value)

    def test_secrets_are_not_in_the_text(self, tmp_path: Path, handle: io.TextIOWrapper, caplog: Any) -> None:
        """SG-92: path and type, no values."""
        with pytest.raises(STORING) as caught:
            list(graph_for(tmp_path, "pickle").invoke({"password": "hunter2", "h": handle}))
        assert "hunter2" not in str(caught.value) and "hunter2" not in caplog.text


class TestNothingLost:
    """CP-15, CQ-6: what the caller has afterwards."""

    @FORMATS
    def test_no_file_is_left(self, tmp_path: Path, form: str, handle: io.TextIOWrapper) -> None:
        """CQ-6: no empty, truncated or temporary file."""
        with pytest.raises(STORING):
            list(graph_for(tmp_path, form).invoke({"h": handle}))
        assert os.listdir(tmp_path) == []

    @FORMATS
    def test_earlier_checkpoints_stay_good(
        self, tmp_path: Path, kind: str, form: str, handle: io.TextIOWrapper
    ) -> None:
        """CP-30: the run can go on from the one before."""
        made = chain("a", "b", "c").compile(["b", "c"], checkpoint_dir=str(tmp_path), checkpoint_format=form)
        path = events(made, kind, {"x": 1})[-1]["checkpoint_path"]
        made.node("b")["run"] = lambda: {"h": handle}
        with pytest.raises(STORING, match=r"state.h: _io.TextIOWrapper"):
            events(made, kind, None, checkpoint=path)
        assert os.listdir(tmp_path) == [os.path.basename(path)]
        made.node("b")["run"] = lambda: {"h": "closed"}
        path = events(made, kind, None, checkpoint=path)[-1]["checkpoint_path"]
        assert events(made, kind, None, checkpoint=path)[-1]["state"]["h"] == "closed"

    @FORMATS
    def test_objects_of_the_state_are_untouched(
        self, tmp_path: Path, form: str, handle: io.TextIOWrapper
    ) -> None:
        """SG-49: what the caller shares with the run is as the nodes left it."""
        docs = [{"handle": handle}]
        made = graph_for(tmp_path, form)
        made.node("a")["run"] = lambda state: state["docs"].append("result of a")
        with pytest.raises(STORING):
            list(made.invoke({"docs": docs}))
        assert docs == [{"handle": handle}, "result of a"]
        assert not handle.closed and handle.read(3) == '"""'

    def test_stream_has_delivered_the_state(self, tmp_path: Path, handle: io.TextIOWrapper) -> None:
        """SG-61: the events before the failed checkpoint hold all that the nodes made."""
        run = graph_for(tmp_path, "pickle").stream({"h": handle})
        assert next(run)["state"] == {"h": handle, "trail": ["a"]}
        with pytest.raises(STORING):
            next(run)

    def test_memory_store_takes_it(self, kind: str, handle: io.TextIOWrapper) -> None:
        """CP-19: the way out: the same run with a memory store goes on with the very object."""
        made = chain("a", "b").compile(["b"], checkpointer=MemoryCheckpointer())
        path = events(made, kind, {"h": handle})[-1]["checkpoint_path"]
        assert events(made, kind, None, checkpoint=path)[-1]["state"]["h"] is handle
