"""`the_edge_agent.tracing` and the exporters: spans and where they go."""

from __future__ import annotations

import contextvars
import importlib.util
import json
import pickle
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import pytest

from the_edge_agent import exporters, tracing
from the_edge_agent.tracing import CallbackExporter, ConsoleExporter, FileExporter, Redactor, TraceContext

SPAN_KEYS = [
    "span_id",
    "parent_id",
    "name",
    "start_time",
    "end_time",
    "duration_ms",
    "status",
    "error",
    "metadata",
    "events",
    "metrics",
]


def in_thread(function: Any) -> Any:
    """What `function` returns on a fresh thread."""
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(function()))
    thread.start()
    thread.join()
    return got[0]


class TestSpans:
    """`TraceContext`."""

    def test_record(self) -> None:
        """TO-1, TO-2, TO-5."""
        given: list[Any] = []
        context = TraceContext(given)
        metadata = {"m": 1}
        before = time.time()
        span = context.start_span("a", metadata)
        assert context.exporters is given and list(span) == SPAN_KEYS and span["metadata"] is metadata
        assert len(span["span_id"]) == 36 and span["parent_id"] is None and span["status"] == "ok"
        assert (span["end_time"], span["duration_ms"], span["error"]) == (None, None, None)
        span["metrics"]["own"] = 1
        assert context.current_span() is span and context.end_span("error", "bad") is span
        assert before <= span["start_time"] <= span["end_time"]
        assert span["duration_ms"] == (span["end_time"] - span["start_time"]) * 1000
        assert (span["status"], span["error"], context.completed_spans) == ("error", "bad", [span])
        assert context.current_span() is None and context.end_span() is None
        assert list(span) == SPAN_KEYS

    def test_nesting(self) -> None:
        """TO-2, TO-3, TO-5: the innermost is the parent; ended in reverse order."""
        context = TraceContext()
        outer = context.start_span("outer")
        inner = context.start_span("inner")
        other = context.start_span("other", parent_id="elsewhere")
        assert (inner["parent_id"], other["parent_id"]) == (outer["span_id"], "elsewhere")
        assert [context.end_span() for _ in range(3)] == [other, inner, outer]
        assert context.completed_spans == [other, inner, outer]

    def test_ending_by_id(self) -> None:
        """Q-3: spans forgotten inside are ended as errors; an id that is not open changes nothing."""
        context = TraceContext()
        outer = context.start_span("outer")
        for name in ("x", "y"):
            context.start_span(name)
        assert context.end_span(span_id="no such id") is None
        context.end_children("no such id")
        assert context.end_span("ok", span_id=outer["span_id"]) is outer
        assert [(s["name"], s["status"], s["error"]) for s in context.completed_spans] == [
            ("y", "error", "not ended"),
            ("x", "error", "not ended"),
            ("outer", "ok", None),
        ]

    def test_events(self) -> None:
        """TO-4."""
        context = TraceContext()
        assert context.log_event("nothing open") is None
        span = context.start_span("a")
        assert context.log_event("m", {"k": 1, "message": "over"}, {"x": 1}) is span
        context.log_event(metrics={"x": 2, "y": 3})
        first, second = span["events"]
        assert first == {"timestamp": first["timestamp"], "message": "over", "k": 1}
        assert list(second) == ["timestamp"] and span["metrics"] == {"x": 2, "y": 3}

    def test_snapshot(self) -> None:
        """TO-4: a deep copy; only listed top-level keys are hidden; what cannot be copied does not matter."""
        context = TraceContext()
        span = context.start_span("a")
        lock = threading.Lock()
        state = {"list": [1], "key": "s3cret", "deep": {"key": "s3cret"}, "lock": lock}
        context.log_event(snapshot_state=True, state=state, sanitize_keys=["key", "absent"])
        context.log_event(snapshot_state=True)
        context.log_event(state=state)
        state["list"].append(2)
        assert span["events"][0]["state_snapshot"] == {
            "list": [1],
            "key": "[REDACTED]",
            "deep": {"key": "s3cret"},
            "lock": lock,
        }
        assert state["key"] == "s3cret"
        assert all("state_snapshot" not in event for event in span["events"][1:])

    def test_token_counts(self) -> None:
        """TO-4, Q-9: added up, once per result."""
        context = TraceContext()
        span = context.start_span("a")
        state = {"usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5, "other": 9}}
        for _ in range(3):
            context.log_event("m", state=state)
        assert span["metrics"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
        context.log_event(state={"usage": {"prompt_tokens": 10}})
        context.log_event(state={"usage": "none"})
        assert span["metrics"]["prompt_tokens"] == 12

    def test_threads(self) -> None:
        """TO-1, TO-6, TO-8: a stack per thread; `clear` resets the caller's only."""
        context = TraceContext()
        context.start_span("main")
        assert in_thread(context.current_span) is None

        def other() -> Any:
            span = context.start_span("other")
            context.end_span()
            return span

        assert in_thread(other)["parent_id"] is None
        assert [s["name"] for s in context.completed_spans] == ["other"]
        context.clear()
        assert context.completed_spans == [] and context.current_span() is None

    def test_branches(self) -> None:
        """Q-10, OV-20, PAR-42: in a copy of the launcher's context the parent is known."""
        context, unrelated = TraceContext(), TraceContext()
        parent = context.start_span("parent")
        carried = contextvars.copy_context()
        context.end_span()

        def branch() -> tuple[Any, Any]:
            first = carried.run(context.start_span, "branch")
            nested = carried.run(context.start_span, "nested")
            return first["parent_id"], nested["parent_id"] == first["span_id"]

        assert in_thread(branch) == (parent["span_id"], True)
        assert in_thread(lambda: carried.run(unrelated.start_span, "x")["parent_id"]) is None
        assert context.start_span("later")["parent_id"] is None

    def test_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Q-7: the oldest completed spans are dropped."""
        monkeypatch.setattr(tracing, "MAX_COMPLETED_SPANS", 3)
        context = TraceContext()
        for i in range(5):
            context.start_span(str(i))
            context.end_span()
        assert [s["name"] for s in context.completed_spans] == ["2", "3", "4"]

    def test_plain_data(self) -> None:
        """TO-7."""
        context = TraceContext()
        context.start_span("a", {"m": 1})
        context.log_event("m", metrics={"x": 1})
        span = context.end_span()
        assert pickle.loads(pickle.dumps(span)) == json.loads(json.dumps(span)) == span


class TestExporters:
    """TO-5, TO-9."""

    def span(self, context: TraceContext, **ending: Any) -> dict[str, Any]:
        context.start_span("step", {"m": 1})
        context.log_event("said", metrics={"x": 1})
        context.log_event(event={"k": 2})
        span = context.end_span(**ending)
        assert span is not None
        return span

    def test_broken_exporter(self, caplog: pytest.LogCaptureFixture) -> None:
        """TO-5: in order; an exception reaches the log, the next exporter is called."""
        seen: list[Any] = []

        class Broken:
            def export(self, span: Any) -> None:
                raise OSError("disk")

        def fail(span: Any) -> None:
            raise ValueError("user")

        context = TraceContext([Broken(), CallbackExporter(fail), CallbackExporter(seen.append)])
        span = self.span(context)
        assert seen == [span] and seen[0] is span
        assert any("Broken" in m and "disk" in m for m in caplog.messages)
        assert any("user" in m for m in caplog.messages)

    @pytest.mark.parametrize(("status", "mark"), [("ok", "✓"), ("error", "✗")])
    def test_console(self, capsys: pytest.CaptureFixture[str], status: str, mark: str) -> None:
        """TO-9."""
        ConsoleExporter().export({"name": "n", "duration_ms": 50.5, "status": status})
        ConsoleExporter().export({"name": "n", "status": status})
        assert capsys.readouterr().out == (
            f"[TRACE] {mark} n (50.50ms) - {status}\n[TRACE] {mark} n (0.00ms) - {status}\n"
        )

    def test_console_verbose(self, capsys: pytest.CaptureFixture[str]) -> None:
        """TO-9: one line per part; empty parts are left out."""
        context = TraceContext([ConsoleExporter(verbose=True)])
        outer = context.start_span("outer")
        inner = self.span(context, status="error", error="bad")
        context.end_span()
        first, second = capsys.readouterr().out.split("[TRACE] ")[1:]
        assert first.splitlines() == [
            "step",
            f"  span_id: {inner['span_id']}",
            f"  parent_id: {outer['span_id']}",
            f"  duration: {inner['duration_ms']:.2f}ms",
            "  status: error",
            "  error: bad",
            "  metadata: {'m': 1}",
            "  events: 2 event(s)",
            "    - said",
            f"    - {inner['events'][1]}",
            "  metrics: {'x': 1}",
        ]
        assert [row.split(":")[0] for row in second.splitlines()[1:]] == [
            "  span_id",
            "  duration",
            "  status",
        ]

    def test_file(self, tmp_path: Path) -> None:
        """TO-9: folders at once; a line per span, from several threads too; other values as text."""
        path = tmp_path / "a" / "b" / "spans.jsonl"
        context = TraceContext([FileExporter(path)])
        assert path.parent.is_dir() and not path.exists()
        threads = [threading.Thread(target=lambda: [self.span(context) for _ in range(25)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        context.start_span("é", {"path": Path("p")})
        context.end_span()
        rows = [json.loads(row) for row in path.read_text(encoding="utf-8").splitlines()]
        assert len(rows) == 101 and rows[-1]["metadata"] == {"path": "p"} and rows[-1]["name"] == "é"
        assert {r["span_id"] for r in rows} == {s["span_id"] for s in context.completed_spans}


class TestRedaction:
    """Q-5."""

    def test_strict(self) -> None:
        """Keys that look confidential, at any depth; token counts stay; the original is not changed."""
        data = {
            "Password": "a",
            "deep": [{"api-key": "b", "refresh_tokens": ["c"], "ok": 1}],
            "AUTHORIZATION": {"x": 1},
            "total_tokens": 5,
        }
        assert Redactor(strict=True)(data) == {
            "Password": "[REDACTED]",
            "deep": [{"api-key": "[REDACTED]", "refresh_tokens": "[REDACTED]", "ok": 1}],
            "AUTHORIZATION": "[REDACTED]",
            "total_tokens": 5,
        }
        assert data["Password"] == "a"
        assert Redactor()(data) == data

    def test_secret_values(self) -> None:
        """Known secrets go wherever they stand, the longer of two first."""
        redact = Redactor(["hunter2", "hunter2extra", "ab", ""])
        assert redact({"x": ("url?k=hunter2extra&z", ["hunter2"])}) == {
            "x": ("url?k=[REDACTED]&z", ["[REDACTED]"])
        }
        assert redact(["ab", "about"]) == ["[REDACTED]", "about"]

    def test_spans(self) -> None:
        """Applied to snapshots and to what exporters get; the live span keeps its values."""
        seen: list[Any] = []
        context = TraceContext([CallbackExporter(seen.append)], redactor=Redactor(["s3cret"], strict=True))
        span = context.start_span("a", {"password": "p"})
        context.log_event("said s3cret", snapshot_state=True, state={"d": {"token": "t"}})
        context.end_span()
        assert seen[0]["metadata"] == {"password": "[REDACTED]"}
        assert seen[0]["events"][0]["message"] == "said [REDACTED]"
        assert span["events"][0]["state_snapshot"] == {"d": {"token": "[REDACTED]"}}
        assert span["metadata"] == {"password": "p"}


class FakeTrace:
    """Stands in for a trace of the vendor's library, which needs an account to talk to."""

    def __init__(self, calls: list[Any], name: str) -> None:
        self.calls, self.name = calls, name

    def span(self, **fields: Any) -> Any:
        self.calls.append(("span", self.name, fields))
        return types.SimpleNamespace(id=f"opik-{fields['name']}")


class TestOpik:
    """`OpikExporter`, with a stand-in for the library."""

    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        calls: list[Any] = []
        library = types.ModuleType("opik")

        class Opik:
            def __init__(self, **fields: Any) -> None:
                calls.append(("client", fields))

            def trace(self, **fields: Any) -> FakeTrace:
                calls.append(("trace", fields))
                return FakeTrace(calls, fields["name"])

            def flush(self) -> None:
                calls.append(("flush",))

            def end(self) -> None:
                calls.append(("end",))
                raise OSError("network")

        library.Opik = Opik  # type: ignore[attr-defined]
        library.configure = lambda **given: calls.append(("configure", given))  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "opik", library)
        for name in ("API_KEY", "PROJECT_NAME", "WORKSPACE", "URL_OVERRIDE"):
            monkeypatch.delenv(f"OPIK_{name}", raising=False)
        return calls

    def shape(self, calls: list[Any]) -> list[Any]:
        """Name and place of what was sent."""
        return [
            ("trace", c[1]["name"])
            if c[0] == "trace"
            else ("span", c[1], c[2]["name"], c[2]["parent_span_id"])
            for c in calls
            if c[0] in ("trace", "span")
        ]

    def test_configuration(self, monkeypatch: pytest.MonkeyPatch, calls: list[Any]) -> None:
        """OX-1, OX-3: arguments, environment, defaults; the library is used by the first export."""
        monkeypatch.setenv("OPIK_API_KEY", "from-env")
        made = exporters.OpikExporter(workspace="w")
        assert (made._api_key, made._project_name, made._workspace, made._url_override) == (
            "from-env",
            "the-edge-agent",
            "w",
            None,
        )
        assert calls == []
        made.export({"span_id": "1", "parent_id": None, "name": "n"})
        assert calls[:2] == [
            ("configure", {"api_key": "from-env", "workspace": "w"}),
            ("client", {"project_name": "the-edge-agent"}),
        ]

    def test_live_order(self, calls: list[Any]) -> None:
        """OX-4, OX-5, Q-22: children end first and still land in the trace of their root."""
        made = exporters.OpikExporter()
        context = TraceContext([made])
        for name in ("root", "child", "grandchild"):
            context.start_span(name, {"m": name})
        context.log_event("said", metrics={"total_tokens": 4, "x": 1})
        context.end_span("error", "bad")
        assert self.shape(calls) == []
        context.end_span()
        context.end_span()
        assert self.shape(calls) == [
            ("trace", "root"),
            ("span", "root", "child", None),
            ("span", "root", "grandchild", "opik-child"),
        ]
        fields = calls[-1][2]
        assert fields["usage"] == {"total_tokens": 4} and calls[-2][2]["usage"] is None
        assert fields["metadata"]["error_message"] == "bad" and fields["metadata"]["m"] == "grandchild"
        assert fields["metadata"]["tea_metrics"] == {"x": 1}
        assert fields["metadata"]["tea_events"][0]["message"] == "said"
        assert fields["start_time"].timestamp() <= fields["end_time"].timestamp()

    def test_parent_first(self, calls: list[Any]) -> None:
        """OX-5: the other order works too; an empty metadata is `None`."""
        made = exporters.OpikExporter()
        made.export({"span_id": "1", "parent_id": None, "name": "root", "metadata": {}})
        made.export({"span_id": "2", "parent_id": "1", "name": "child"})
        assert self.shape(calls) == [("trace", "root"), ("span", "root", "child", None)]
        assert calls[-1][2]["metadata"] is None

    def test_end(self, calls: list[Any]) -> None:
        """OX-4, OX-6: what waits for a parent that never came is sent as a trace of its own."""
        made = exporters.OpikExporter()
        made.export({"span_id": "3", "parent_id": "2", "name": "leaf"})
        made.export({"span_id": "2", "parent_id": "lost", "name": "middle"})
        made.flush()
        made.end()
        assert self.shape(calls) == [("trace", "middle"), ("span", "middle", "leaf", None)]
        assert [c[0] for c in calls if c[0] in ("flush", "end")] == ["flush", "end"]
        made.flush()
        made.end()
        assert made._client is None and calls[-1] == ("end",)

    def test_failures(self, calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        """OX-3: the vendor's exceptions go no further."""

        def fail(**fields: Any) -> None:
            raise OSError("network")

        made = exporters.OpikExporter()
        monkeypatch.setattr(sys.modules["opik"].Opik, "trace", lambda self, **fields: fail())
        made.export({"span_id": "1", "parent_id": None, "name": "n"})
        monkeypatch.setattr(sys.modules["opik"], "Opik", fail)
        exporters.OpikExporter().export({"span_id": "1", "parent_id": None, "name": "n"})

    def test_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """OX-3: says what to install."""
        monkeypatch.setitem(sys.modules, "opik", None)
        made = exporters.OpikExporter()
        for call in (made._check_opik_available, lambda: made.export({"span_id": "1", "name": "n"})):
            with pytest.raises(ImportError, match=r"opik.*pip install opik"):
                call()

    def test_loads_by_path(self) -> None:
        """OX-2: the file stands alone."""
        file = Path(exporters.__file__).with_name("opik_exporter.py")
        spec = importlib.util.spec_from_file_location("alone", file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert module.OpikExporter(api_key="k")._api_key == "k"
