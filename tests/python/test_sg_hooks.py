"""Hooks that the YAML engine sets on a graph: input schema, output schema, session backend."""

from __future__ import annotations

import sys
import types as python_types
from typing import Any

import pytest
from support import LOGGER, chain, events, single, trail, types

from the_edge_agent import END, MemoryCheckpointer, StateGraph
from the_edge_agent.validation import InputSchema


def with_schema(**options: Any) -> StateGraph:
    """Graph whose input has `n` (required int) and `word` (default "w")."""
    made = single(lambda state: {"ran": dict(state)}, **options)
    made._input_schema = InputSchema.from_yaml(  # type: ignore[attr-defined]
        {"n": {"type": "int", "required": True}, "word": {"type": "str", "default": "w"}}
    )
    return made


class TestInputSchema:
    """SG-68, SG-69, Q6."""

    def test_result_replaces_the_state(self) -> None:
        """SG-68, Q6: defaults filled in, unknown keys dropped; the caller's dict is not changed."""
        given = {"n": 1, "other": 2}
        got = list(with_schema().invoke(given))
        assert types(got) == ["final"]
        assert got[0]["state"] == {"n": 1, "word": "w", "ran": {"n": 1, "word": "w"}}
        assert given == {"n": 1, "other": 2}

    @pytest.mark.parametrize("raise_exceptions", [False, True])
    def test_validation_error(self, raise_exceptions: bool, caplog: pytest.LogCaptureFixture) -> None:
        """SG-68: one event with keys in order; nothing runs, nothing is logged or raised."""
        made = with_schema(raise_exceptions=raise_exceptions, log_level=10)
        given = {"word": "x"}
        got = list(made.invoke(given))
        assert [list(event) for event in got] == [["type", "status_code", "errors", "state"]]
        assert (got[0]["type"], got[0]["status_code"], got[0]["state"]) == ("validation_error", 422, given)
        assert got[0]["state"] is not given
        assert [detail["field"] for detail in got[0]["errors"]] == ["n"]
        assert all(
            type(detail) is dict and {"error", "message"} <= set(detail) for detail in got[0]["errors"]
        )
        assert caplog.records == []

    def test_raw_map(self) -> None:
        """SG-68: the attribute is an object; a map is an AttributeError, an empty one too."""
        for schema in ({"n": {"type": "int"}}, {}):
            made = chain("a")
            made._input_schema = schema  # type: ignore[attr-defined]
            with pytest.raises(AttributeError, match="'dict' object has no attribute 'fields'"):
                list(made.invoke({}))

    def test_none_means_none(self) -> None:
        """SG-68, SG-9."""
        made = chain("a")
        made._input_schema = None  # type: ignore[attr-defined]
        assert list(made.invoke({"x": 1}))[-1]["state"] == {"x": 1, "trail": ["a"]}

    def test_stream_does_not_validate(self) -> None:
        """SG-69, Q5: kept off without the option."""
        got = list(with_schema().stream({"other": 1}))
        assert got[-1]["state"] == {"other": 1, "ran": {"other": 1}}

    def test_resumed_and_scoped_runs_do_not_validate(self, kind: str) -> None:
        """SG-69, CP-58."""
        made = with_schema()
        made.compile(["n"], checkpointer=MemoryCheckpointer())
        path = events(made, "stream", {"other": 1})[-1]["checkpoint_path"]
        got = events(made, kind, {"update": 1}, checkpoint=path)
        assert got[-1]["state"]["ran"] == {"other": 1, "update": 1}
        assert made.execute_scoped({"other": 1}, "n", END)["ran"] == {"other": 1}


@pytest.fixture
def transform(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """`the_edge_agent.transformation`, imported when it is needed, replaced by a recorder of its calls."""
    calls: list[Any] = []
    module = python_types.ModuleType("the_edge_agent.transformation")

    def transform_output(state: Any, schema: Any, environment: Any) -> Any:
        calls.append((dict(state), schema, environment))
        if schema == "fail":
            raise ValueError("no")
        return {"shaped": schema}

    module.transform_output = transform_output  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr("the_edge_agent.transformation", module, raising=False)
    return calls


class Engine:
    """Stands for the YAML engine: the runtime reads one attribute of it."""

    _jinja_env = object()


def with_output(schema: Any, engine: Any = Engine, **options: Any) -> StateGraph:
    made = chain("a", **options)
    made._output_schema = schema  # type: ignore[attr-defined]
    made._yaml_engine = engine  # type: ignore[attr-defined]
    return made


class TestOutputSchema:
    """SG-70, Q5."""

    def test_invoke(self, transform: list[Any], caplog: pytest.LogCaptureFixture) -> None:
        """SG-70: called with final state, schema and environment; the state is not altered."""
        got = list(with_output({"a": 1}, log_level=10).invoke({}))
        assert got == [{"type": "final", "state": {"trail": ["a"]}, "output": {"shaped": {"a": 1}}}]
        assert transform == [({"trail": ["a"]}, {"a": 1}, Engine._jinja_env)]
        assert caplog.messages[-1] == "Applied output_schema transformation: ['shaped']"

    def test_stream(self, transform: list[Any]) -> None:
        """Q5: `output` in the final event of `stream` only if there is a schema."""
        got = list(with_output({"a": 1}).stream({}))
        assert list(got[-1]) == ["type", "state", "output"] and got[-1]["output"] == {"shaped": {"a": 1}}
        assert list(list(chain("a").stream({}))[-1]) == ["type", "state"]

    def test_resumed(self, kind: str, transform: list[Any]) -> None:
        """CP-58: as fresh."""
        made = with_output({"a": 1})
        made.compile(["a"], checkpointer=MemoryCheckpointer())
        path = events(made, kind, {})[-1]["checkpoint_path"]
        assert transform == []
        assert events(made, kind, None, checkpoint=path)[-1]["output"] == {"shaped": {"a": 1}}

    def test_without_engine(self, transform: list[Any]) -> None:
        """SG-70: both attributes are needed."""
        assert list(with_output({"a": 1}, engine=None).invoke({}))[-1]["output"] is None
        assert transform == []

    def test_failure_is_a_warning(self, transform: list[Any], caplog: pytest.LogCaptureFixture) -> None:
        """SG-70: any exception; `output` stays None."""
        got = list(with_output("fail", raise_exceptions=True).invoke({}))
        assert (got[0]["type"], got[0]["output"]) == ("final", None)
        assert caplog.record_tuples == [(LOGGER, 30, "Error applying output transformation: no")]

    def test_not_on_error(self, transform: list[Any]) -> None:
        """SG-70: at the end of a complete run only."""
        made = with_output({"a": 1})
        made.node("a")["run"] = lambda: 1 / 0
        assert types(list(made.invoke({}))) == ["error"] and transform == []


class Backend:
    """A session store that notes its calls."""

    def __init__(self, stored: Any = None, answer: Any = True) -> None:
        self.stored, self.answer = stored, answer
        self.calls: list[Any] = []

    def load(self, session: Any) -> Any:
        self.calls.append(("load", session))
        if isinstance(self.stored, Exception):
            raise self.stored
        return self.stored

    def save(self, session: Any, data: Any, ttl: Any = "missing") -> Any:
        self.calls.append(("save", session, data, ttl))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def session(backend: Backend, run: Any = trail, settings: Any = True, **options: Any) -> StateGraph:
    """Graph `a` with a session backend; `settings`: fields of the settings object, True: auto-save only."""
    made = chain("a", run=run, log_level=10, **options)
    made._session_backend = backend  # type: ignore[attr-defined]
    if settings is not None:
        fields = {"auto_save": True} if settings is True else settings
        made._session_settings = python_types.SimpleNamespace(**fields)  # type: ignore[attr-defined]
    return made


class TestSession:
    """SG-71 to SG-73, Q5, Q18."""

    def test_load(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """SG-72, Q5: the session's keys first, the input wins; its record comes before the start line."""
        backend = Backend({"old": 1, "x": "session"})
        got = events(session(backend, settings=None), kind, {"x": "input", "session_id": "s"})
        assert got[-1]["state"] == {"old": 1, "x": "input", "session_id": "s", "trail": ["a"]}
        assert list(got[-1]["state"]) == ["old", "x", "session_id", "trail"]
        assert backend.calls == [("load", "s")]
        assert backend.stored == {"old": 1, "x": "session"}
        assert caplog.messages[0] == "Injected session data for s"
        assert caplog.messages[1].startswith("Starting ")

    def test_nothing_stored(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """SG-72."""
        got = events(session(Backend(None), settings=None), kind, {"session_id": "s"})
        assert got[-1]["state"] == {"session_id": "s", "trail": ["a"]}
        assert caplog.record_tuples[0] == (LOGGER, 10, "No session data found for s")

    def test_load_fails(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """SG-72: WARNING, the run goes on with the plain input."""
        made = session(Backend(ValueError("down")), settings=None, raise_exceptions=True)
        assert events(made, kind, {"session_id": "s"})[-1]["state"] == {"session_id": "s", "trail": ["a"]}
        assert caplog.record_tuples[0] == (LOGGER, 30, "Failed to inject session state for s: down")

    @pytest.mark.parametrize("given", [{}, {"session_id": ""}, {"session_id": None}])
    def test_no_session_id(self, kind: str, given: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
        """SG-72, SG-73: neither loaded nor saved."""
        backend = Backend()
        events(session(backend), kind, given)
        assert backend.calls == []
        assert caplog.messages[-1] == "Auto-save skipped: no session_id in state"

    def test_save(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """SG-73, Q5: everything but keys that begin with `_`; after the finish lines, before `final`."""
        backend = Backend()
        made = session(backend)
        run = getattr(made, kind)({"session_id": "s", "_private": 1})
        last = next(event for event in run if event["type"] == "final")
        data = {"session_id": "s", "trail": ["a"]}
        assert backend.calls == [("load", "s"), ("save", "s", data, None)]
        assert last["state"] == {"session_id": "s", "_private": 1, "trail": ["a"]}
        assert caplog.messages[-1] == "Auto-saved session s"
        assert caplog.messages[-2].startswith("Final state keys")

    def test_session_id_made_by_a_node(self, kind: str) -> None:
        """SG-73: the id of the final state counts."""
        backend = Backend()
        events(session(backend, run=lambda: {"session_id": "new"}), kind, {})
        assert backend.calls == [("save", "new", {"session_id": "new"}, None)]

    @pytest.mark.parametrize(("ttl", "passed"), [(60, 60), (0, None), (-1, None), (None, None)])
    def test_persist_fields_and_ttl(self, kind: str, ttl: Any, passed: Any) -> None:
        """SG-73, Q18: listed names that are present; ttl above 0 only, None counts as 0."""
        backend = Backend()
        fields = {"auto_save": True, "persist_fields": ["_p", "missing", "x"], "ttl": ttl}
        events(session(backend, settings=fields), kind, {"x": 1, "_p": 2, "session_id": "s"})
        assert backend.calls[-1] == ("save", "s", {"_p": 2, "x": 1}, passed)

    def test_empty_persist_fields(self, kind: str) -> None:
        """SG-73: not None, so nothing is kept."""
        backend = Backend()
        events(session(backend, settings={"auto_save": 1, "persist_fields": []}), kind, {"session_id": "s"})
        assert backend.calls[-1] == ("save", "s", {}, None)

    @pytest.mark.parametrize("settings", [None, {"auto_save": False}, {}])
    def test_no_auto_save(self, kind: str, settings: Any) -> None:
        """SG-71, SG-73: missing settings count as false."""
        backend = Backend()
        events(session(backend, settings=settings), kind, {"session_id": "s"})
        assert backend.calls == [("load", "s")]

    def test_settings_as_dict(self, kind: str) -> None:
        """SG-71: a dict has no such attributes, so nothing is saved."""
        backend = Backend()
        made = session(backend, settings=None)
        made._session_settings = {"auto_save": True}  # type: ignore[attr-defined]
        events(made, kind, {"session_id": "s"})
        assert backend.calls == [("load", "s")]

    def test_falsy_answer(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """SG-73: WARNING."""
        assert events(session(Backend(answer=False)), kind, {"session_id": "s"})[-1]["type"] == "final"
        assert caplog.record_tuples[-1] == (LOGGER, 30, "Failed to auto-save session s")

    def test_save_fails(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """SG-73: WARNING, the run goes on."""
        made = session(Backend(answer=ValueError("full")), raise_exceptions=True)
        assert events(made, kind, {"session_id": "s"})[-1]["type"] == "final"
        assert caplog.record_tuples[-1] == (LOGGER, 30, "Error during auto-save for session s: full")

    def test_keys_that_are_no_text(self, kind: str) -> None:
        """Q18: saved like others, and the run keeps its `final` event."""
        backend = Backend()
        got = events(session(backend), kind, {"session_id": "s", 5: "five", None: 0, ("t",): 1})
        assert got[-1]["type"] == "final"
        assert backend.calls[-1][2] == {"session_id": "s", 5: "five", None: 0, ("t",): 1, "trail": ["a"]}

    def test_broken_settings(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """Q18: any exception is the WARNING."""
        backend = Backend()
        made = session(backend, settings={"auto_save": True, "persist_fields": 5, "ttl": "x"})
        assert events(made, kind, {"session_id": "s"})[-1]["type"] == "final"
        assert caplog.messages[-1].startswith("Error during auto-save for session s: ")
        assert caplog.records[-1].levelno == 30

    def test_not_saved_on_error_or_interrupt(self, kind: str) -> None:
        """SG-73."""
        backend = Backend()
        assert types(events(session(backend, run=lambda: 1 / 0), kind, {"session_id": "s"})) == ["error"]
        made = session(backend).compile(["a"], checkpointer=MemoryCheckpointer())
        events(made, kind, {"session_id": "s"})
        assert [call[0] for call in backend.calls] == ["load", "load"]

    def test_resumed_run_saves_and_does_not_load(self, kind: str) -> None:
        """CP-58: session load none, auto-save as fresh."""
        backend = Backend({"old": 1})
        made = session(backend).compile(["a"], checkpointer=MemoryCheckpointer())
        path = events(made, kind, {"session_id": "s"})[-1]["checkpoint_path"]
        backend.calls.clear()
        got = events(made, kind, None, checkpoint=path)
        data = {"old": 1, "session_id": "s", "trail": ["a"]}
        assert got[-1]["state"] == data
        assert backend.calls == [("save", "s", data, None)]
