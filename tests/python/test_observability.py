"""Spans, flow log, handlers and exporters."""

from __future__ import annotations

import json
import threading
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
    ConsoleExporter,
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
        event = {
            "level": "info",
            "event_type": "exit",
            "node": "n",
            "message": "m",
            "data": {},
            "metrics": {},
        }
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
        assert (entry["event_type"], entry["message"], entry["data"]) == (
            "entry",
            "Starting a",
            {"node": "a"},
        )
        assert (leaving["event_type"], leaving["message"], leaving["level"]) == (
            "exit",
            "Completed a",
            "info",
        )
        assert entry["span_id"] == leaving["span_id"] == span_id
        assert 0 <= leaving["metrics"]["duration_ms"] <= span["duration_ms"]
        made.start_node_span("b")
        failed = made.end_node_span("b", "error", "boom")
        assert failed is not None and (failed["status"], failed["error"]) == ("error", "boom")
        event = made.event_stream.get_all()[-1]
        assert (event["event_type"], event["level"], event["message"]) == (
            "error",
            "error",
            "Error in b: boom",
        )
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
