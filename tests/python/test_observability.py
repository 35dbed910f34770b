"""Spans, flow log, handlers and exporters."""

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
import the_edge_agent as tea
from the_edge_agent import exporters, observability, tracing
from the_edge_agent.observability import (
    CallbackHandler,
    ConsoleHandler,
    EventStream,
    EventStreamHandler,
    FileHandler,
    ObservabilityContext,
)
from the_edge_agent.parallel import ParallelFlowResult
from the_edge_agent.tracing import (
    CallbackExporter,
    ConsoleExporter,
    FileExporter,
    Redactor,
    TraceContext,
    TraceExporter,
)

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


def test_names() -> None:
    """Section 1, SG-1."""
    for name in ("TraceContext", "ConsoleExporter", "FileExporter", "CallbackExporter"):
        assert getattr(observability, name) is getattr(tracing, name) is getattr(tea, name)
    for name in ("ObservabilityContext", "EventStream", "ConsoleHandler", "FileHandler", "CallbackHandler"):
        assert getattr(observability, name) is getattr(tea, name)
    assert tea.OpikExporter is exporters.OpikExporter
    assert isinstance(ConsoleExporter(), TraceExporter) and isinstance(ConsoleHandler(), EventStreamHandler)


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
        assert [row.split(":")[0] for row in second.splitlines()[1:]] == ["  span_id", "  duration", "  status"]

    def test_file(self, tmp_path: Path) -> None:
        """TO-9: folders at once; a line per span, from several threads too; other values as text."""
        path = tmp_path / "a" / "b" / "spans.jsonl"
        context = TraceContext([FileExporter(path)])
        assert path.parent.is_dir() and not path.exists()
        threads = [
            threading.Thread(target=lambda: [self.span(context) for _ in range(25)]) for _ in range(4)
        ]
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


class TestStream:
    """`EventStream`."""

    def event(self, **members: Any) -> dict[str, Any]:
        return {"node": "n", "level": "info", "event_type": "entry", "timestamp": 1.0, **members}

    def test_ring(self) -> None:
        """OV-2, OV-3."""
        stream = EventStream(max_size=3)
        events = [self.event(timestamp=i) for i in range(5)]
        for event in events:
            stream.append(event)
        assert stream.max_size == 3 and stream.get_all() == events[2:] and stream.get_all()[0] is events[2]
        stream.clear()
        assert stream.get_all() == []
        none = EventStream(0)
        none.append(events[0])
        assert none.get_all() == []

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({}, [0, 1, 2, 3]),
            ({"unknown": 1}, [0, 1, 2, 3]),
            ({"node": "fetch*"}, [0, 1]),
            ({"node": "fetch_?"}, [0, 1]),
            ({"node": "fetch_[b-z]"}, [1]),
            ({"node": ""}, [3]),
            ({"level": "info"}, [0, 2, 3]),
            ({"event_type": "error"}, [1]),
            ({"start_time": 2.0, "end_time": 3.0}, [1, 2]),
            ({"end_time": 0}, [3]),
            ({"node": "fetch*", "level": "error"}, [1]),
        ],
    )
    def test_query(self, filters: dict[str, Any], expected: list[int]) -> None:
        """OV-3: all filters count; inclusive times; missing node and time."""
        stream = EventStream()
        events = [
            self.event(node="fetch_a", timestamp=1.0),
            self.event(node="fetch_b", timestamp=2.0, level="error", event_type="error"),
            self.event(node="store", timestamp=3.0),
            {"level": "info", "event_type": "metric"},
        ]
        for event in events:
            stream.append(event)
        assert stream.query(filters) == [events[i] for i in expected]

    def test_concurrency(self) -> None:
        """OV-4."""
        stream = EventStream(10_000)
        stop = threading.Event()
        failures: list[BaseException] = []

        def read() -> None:
            try:
                while not stop.is_set():
                    stream.query({"node": "w*"})
            except BaseException as e:
                failures.append(e)

        def write(number: int) -> None:
            for i in range(100):
                stream.append(self.event(node=f"w{number}", timestamp=i))

        readers = [threading.Thread(target=read) for _ in range(2)]
        writers = [threading.Thread(target=write, args=(n,)) for n in range(5)]
        for thread in readers + writers:
            thread.start()
        for thread in writers:
            thread.join()
        stop.set()
        for thread in readers:
            thread.join()
        assert not failures and len(stream.get_all()) == 500

    def test_handlers(self, caplog: pytest.LogCaptureFixture) -> None:
        """OV-2: in order, outside of the lock; an exception reaches the log and no further."""
        seen: list[Any] = []

        class Broken:
            def handle(self, event: Any) -> None:
                raise ValueError("boom")

        class Looking:
            def handle(self, event: Any) -> None:
                seen.append(in_thread(stream.get_all))

        stream = EventStream(handlers=[Broken(), Looking(), CallbackHandler(seen.append)])
        event = self.event()
        stream.append(event)
        assert seen == [[event], event] and seen[1] is event
        assert any("Broken" in m and "boom" in m for m in caplog.messages)


class TestHandlers:
    """OV-10."""

    @pytest.mark.parametrize(
        ("event", "text"),
        [
            ({"level": "info", "event_type": "entry", "node": "n", "message": "m"}, "[INFO] → n: m"),
            ({"level": "info", "event_type": "exit", "node": "n", "message": "m"}, "[INFO] ← n: m"),
            ({"level": "error", "event_type": "error", "node": "n", "message": None}, "[ERROR] ✗ n: None"),
            ({"level": "info", "event_type": "metric", "node": "n"}, "[INFO] 📊 n: "),
            ({"level": "warn", "event_type": "other", "node": "n", "message": "m"}, "[WARN] • n: m"),
        ],
    )
    def test_console(self, capsys: pytest.CaptureFixture[str], event: dict[str, Any], text: str) -> None:
        """OV-10, Q-2."""
        ConsoleHandler().handle(event)
        assert capsys.readouterr().out == text + "\n"

    def test_console_verbose(self, capsys: pytest.CaptureFixture[str]) -> None:
        """OV-10: data and metrics only if there are any."""
        event = {"level": "info", "event_type": "exit", "node": "n", "message": "m", "data": {}, "metrics": {}}
        ConsoleHandler(verbose=True).handle(event)
        ConsoleHandler(verbose=True).handle({**event, "data": {"a": 1}, "metrics": {"b": 2}})
        head = "[INFO] n (exit): m\n"
        assert capsys.readouterr().out == f"{head}{head}  data: {{'a': 1}}\n  metrics: {{'b': 2}}\n"

    def test_file(self, tmp_path: Path) -> None:
        """OV-10, SG-102, OB-6: package encoder; other Python values as text; UTF-8."""
        path = tmp_path / "logs" / "flow.jsonl"
        handler = FileHandler(path)
        assert path.parent.is_dir()
        handler.handle({"node": "é", "data": {"r": ParallelFlowResult("b", True)}})
        handler.handle({"data": {"p": Path("x")}})
        rows = [json.loads(row) for row in path.read_text(encoding="utf-8").splitlines()]
        assert rows[0]["node"] == "é" and rows[0]["data"]["r"]["branch"] == "b"
        assert rows[1] == {"data": {"p": "x"}}

    def test_callback(self, caplog: pytest.LogCaptureFixture) -> None:
        """OV-10: its exception goes no further."""

        def fail(event: Any) -> None:
            raise ValueError("boom")

        CallbackHandler(fail).handle({})
        assert any("boom" in m for m in caplog.messages)


class TestContext:
    """`ObservabilityContext`."""

    def test_construction(self) -> None:
        """OV-5."""
        trace = TraceContext()
        made = ObservabilityContext(trace_context=trace)
        assert len(made.flow_id) == 36 and made.config == {} and made._level == "info"
        assert made.trace_context is trace and made.event_stream.max_size == 1000
        config = {"level": "debug", "buffer_size": 7}
        other = ObservabilityContext("f", config)
        assert (other.flow_id, other._level, other.event_stream.max_size) == ("f", "debug", 7)
        assert other.config is config and isinstance(other.trace_context, TraceContext)

    def test_handlers(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """OV-10: from the configuration; the flow id in the path; unknown types are ignored."""
        seen: list[Any] = []
        config = {
            "handlers": [
                {"type": "console", "verbose": True},
                {"type": "file", "path": str(tmp_path / "{flow_id}.jsonl")},
                {"type": "callback", "callback": seen.append},
                {"type": "callback"},
                {"type": "carrier pigeon"},
            ]
        }
        made = ObservabilityContext("f1", config)
        made.log("n", "info", "metric", "m")
        assert len(seen) == 1 and len(made.event_stream.handlers) == 3
        assert json.loads((tmp_path / "f1.jsonl").read_text()) == seen[0]
        assert capsys.readouterr().out == "[INFO] n (metric): m\n"

    @pytest.mark.parametrize(
        ("config", "key"),
        [
            (True, "observability"),
            ({"handlers": None}, "observability.handlers"),
            ({"handlers": ["console"]}, r"observability.handlers\[0\]"),
            ({"handlers": [{}, {"type": "file", "path": 3}]}, r"observability.handlers\[1\].path"),
            ({"buffer_size": "many"}, "observability.buffer_size"),
            ({"buffer_size": None}, "observability.buffer_size"),
            ({"buffer_size": True}, "observability.buffer_size"),
            ({"buffer_size": -1}, "observability.buffer_size"),
            ({"redact": "some"}, "observability.redact"),
        ],
    )
    def test_bad_configuration(self, config: Any, key: str) -> None:
        """OV-12, Q-11: an error that names the key."""
        with pytest.raises(ValueError, match=f"^{key} must be "):
            ObservabilityContext(config=config)

    @pytest.mark.parametrize(
        ("threshold", "recorded"),
        [
            ("debug", ["debug", "info", "warn", "error", "odd"]),
            ("info", ["info", "warn", "error", "odd"]),
            ("warn", ["warn", "error"]),
            ("error", ["error"]),
            ("odd", ["info", "warn", "error", "odd"]),
        ],
    )
    def test_levels(self, threshold: str, recorded: list[str]) -> None:
        """OV-6: unknown levels count as `info`."""
        made = ObservabilityContext(config={"level": threshold})
        for level in ("debug", "info", "warn", "error", "odd"):
            made.log("n", level, "metric")
        assert [e["level"] for e in made.event_stream.get_all()] == recorded

    def test_event(self) -> None:
        """OV-1, OV-6: ids of the innermost span; also logged into that span."""
        made = ObservabilityContext("f")
        made.log("n", "info", "metric")
        outer = made.trace_context.start_span("outer")
        inner = made.trace_context.start_span("inner")
        made.log("n", "warn", "metric", "m", {"d": 1}, {"x": 2})
        first, second = made.event_stream.get_all()
        assert list(first) == [
            "flow_id",
            "span_id",
            "parent_id",
            "node",
            "level",
            "timestamp",
            "event_type",
            "message",
            "data",
            "metrics",
        ]
        assert (first["span_id"], first["parent_id"], first["data"], first["metrics"]) == (None, None, {}, {})
        assert (second["span_id"], second["parent_id"]) == (inner["span_id"], outer["span_id"])
        assert second["flow_id"] == "f" and isinstance(second["timestamp"], float)
        assert inner["events"][0]["message"] == "m" and inner["metrics"] == {"x": 2}

    def test_node_spans(self) -> None:
        """OV-7, OV-8, Q-1: entry and exit carry the id of the node's own span."""
        made = ObservabilityContext()
        span_id = made.start_node_span("a", {"node": "a"})
        span = made.end_node_span("a")
        assert span is not None and span["span_id"] == span_id and span["name"] == "a"
        entry, leaving = made.event_stream.get_all()
        assert (entry["event_type"], entry["message"], entry["data"]) == ("entry", "Starting a", {"node": "a"})
        assert (leaving["event_type"], leaving["message"], leaving["level"]) == ("exit", "Completed a", "info")
        assert entry["span_id"] == leaving["span_id"] == span_id
        assert 0 <= leaving["metrics"]["duration_ms"] <= span["duration_ms"]
        made.start_node_span("b")
        failed = made.end_node_span("b", "error", "boom")
        assert failed is not None and (failed["status"], failed["error"]) == ("error", "boom")
        event = made.event_stream.get_all()[-1]
        assert (event["event_type"], event["level"], event["message"]) == ("error", "error", "Error in b: boom")
        assert event["span_id"] == failed["span_id"]

    def test_usage(self) -> None:
        """OV-13, Q-1: token counts as one metric event inside the span."""
        made = ObservabilityContext()
        made.start_node_span("a")
        span = made.end_node_span("a", usage={"prompt_tokens": 1, "total_tokens": 3, "other": 4})
        made.start_node_span("b")
        made.end_node_span("b", usage={"other": 4})
        events = made.event_stream.query({"event_type": "metric"})
        assert [(e["node"], e["message"], e["metrics"]) for e in events] == [
            ("a", None, {"prompt_tokens": 1, "total_tokens": 3})
        ]
        assert span is not None and events[0]["span_id"] == span["span_id"]

    def test_forgotten_span(self) -> None:
        """Q-3, OV-15: a span that a node left open does not take the place of the node's own."""
        made = ObservabilityContext()
        span_id = made.start_node_span("a")
        made.trace_context.start_span("forgotten")
        span = made.end_node_span("a")
        assert span is not None and span["span_id"] == span_id and span["status"] == "ok"
        assert [(s["name"], s["error"]) for s in made.trace_context.completed_spans] == [
            ("forgotten", "not ended"),
            ("a", None),
        ]
        assert made.trace_context.current_span() is None

    def test_without_a_start(self) -> None:
        """OV-8: the event, no span, and no other span ended."""
        made = ObservabilityContext()
        other = made.trace_context.start_span("other")
        assert made.end_node_span("a") is None
        assert made.trace_context.current_span() is other
        assert made.event_stream.get_all()[0]["metrics"] == {"duration_ms": 0}

    def test_same_node_on_two_threads(self) -> None:
        """Q-4: the node's name does not mix up concurrent runs."""
        made = ObservabilityContext()
        mine = made.start_node_span("a")
        theirs = in_thread(lambda: (made.start_node_span("a"), made.end_node_span("a")))
        assert theirs[1]["span_id"] == theirs[0] != mine
        span = made.end_node_span("a")
        assert span is not None and span["span_id"] == mine

    def test_flow_log(self) -> None:
        """OV-9, Q-6: nested spans count once; the timeline is in order of time."""
        made = ObservabilityContext("f")
        made.start_node_span("a")
        made.trace_context.start_span("inner")
        made.trace_context.end_span()
        outer = made.end_node_span("a")
        made.start_node_span("b")
        failed = made.end_node_span("b", "error", "e")
        log = made.get_flow_log()
        assert list(log) == ["flow_id", "events", "spans", "metrics", "timeline"]
        assert log["spans"] == made.trace_context.completed_spans
        assert log["spans"] is not made.trace_context.completed_spans
        assert outer is not None and failed is not None
        assert log["metrics"] == {
            "total_duration_ms": outer["duration_ms"] + failed["duration_ms"],
            "node_count": 2,
            "error_count": 1,
            "event_count": 4,
        }
        times = [e["start_time"] if e["type"] == "span" else e["timestamp"] for e in log["timeline"]]
        assert times == sorted(times) and len(times) == 7
        assert all("type" not in e for e in log["events"] + log["spans"])

    def test_redaction(self) -> None:
        """Q-5: `redact: strict` in the configuration."""
        made = ObservabilityContext(config={"redact": "strict"})
        made.log("n", "info", "metric", data={"deep": {"api_key": "k"}, "ok": 1})
        assert made.event_stream.get_all()[0]["data"] == {"deep": {"api_key": "[REDACTED]"}, "ok": 1}


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
            ("trace", c[1]["name"]) if c[0] == "trace" else ("span", c[1], c[2]["name"], c[2]["parent_span_id"])
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
            with pytest.raises(ImportError, match="opik.*pip install opik"):
                call()

    def test_loads_by_path(self) -> None:
        """OX-2: the file stands alone."""
        file = Path(exporters.__file__).with_name("opik_exporter.py")
        spec = importlib.util.spec_from_file_location("alone", file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert module.OpikExporter(api_key="k")._api_key == "k"
