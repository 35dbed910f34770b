"""Flow log: the events of a run, their handlers, and a summary with the spans."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from fnmatch import fnmatch
from typing import Any, Protocol, runtime_checkable

from .serialization import TeaJSONEncoder
from .tracing import (
    TOKEN_COUNTS,
    CallbackExporter,
    ConsoleExporter,
    FileExporter,
    Redactor,
    TraceContext,
)

__all__ = [
    "CallbackExporter",
    "CallbackHandler",
    "ConsoleExporter",
    "ConsoleHandler",
    "EventStream",
    "EventStreamHandler",
    "FileExporter",
    "FileHandler",
    "ObservabilityContext",
    "TraceContext",
]

Event = dict[str, Any]

logger = logging.getLogger("the_edge_agent.observability")


@runtime_checkable
class EventStreamHandler(Protocol):
    """Receives every recorded event."""

    def handle(self, event: Event) -> None:
        """Take an event."""


class EventStream:
    """The last `max_size` events; each new one is also given to the handlers. Thread-safe.

    A handler's exception is logged and does not stop the run. Events are kept by reference.
    """

    def __init__(self, max_size: int = 1000, handlers: list[Any] | None = None) -> None:
        self.max_size = max_size
        self.handlers: list[Any] = handlers if handlers is not None else []
        self._events: deque[Event] = deque(maxlen=max_size)
        self._lock = threading.Lock()

    def append(self, event: Event) -> None:
        """Keep an event and hand it on."""
        with self._lock:
            self._events.append(event)
        for handler in list(self.handlers):
            try:
                handler.handle(event)
            except Exception as e:  # a broken handler must not end the run
                logger.warning("Event handler %s failed: %s", type(handler).__name__, e)

    def get_all(self) -> list[Event]:
        """The kept events, oldest first."""
        with self._lock:
            return list(self._events)

    def query(self, filters: dict[str, Any]) -> list[Event]:
        """The kept events that meet all filters, oldest first.

        `node` is a shell pattern, `level` and `event_type` are exact, `start_time` and `end_time` (Unix
        seconds) are inclusive. Other keys are ignored.
        """
        return [event for event in self.get_all() if _meets(event, filters)]

    def clear(self) -> None:
        """Forget the kept events."""
        with self._lock:
            self._events.clear()


def _meets(event: Event, filters: dict[str, Any]) -> bool:
    if "node" in filters and not fnmatch(str(event.get("node") or ""), str(filters["node"])):
        return False
    if any(key in filters and event.get(key) != filters[key] for key in ("level", "event_type")):
        return False
    timestamp = event.get("timestamp", 0)
    if "start_time" in filters and timestamp < filters["start_time"]:
        return False
    return not ("end_time" in filters and timestamp > filters["end_time"])


_ICONS = {"entry": "→", "exit": "←", "error": "✗", "metric": "📊"}


class ConsoleHandler:
    """Prints each event to standard output: one line, or with its data with `verbose=True`."""

    def __init__(self, verbose: bool = False) -> None:
        self.verbose = verbose

    def handle(self, event: Event) -> None:
        """Print an event."""
        level, node = str(event.get("level", "info")).upper(), event.get("node", "")
        kind, message = event.get("event_type", ""), event.get("message", "")
        if not self.verbose:
            print(f"[{level}] {_ICONS.get(kind, '•')} {node}: {message}")
            return
        print(f"[{level}] {node} ({kind}): {message}")
        for key in ("data", "metrics"):
            if event.get(key):
                print(f"  {key}: {event[key]}")


class _EventEncoder(TeaJSONEncoder):
    def default(self, o: Any) -> Any:
        try:
            return super().default(o)
        except TypeError:
            return str(o)


class FileHandler:
    """Appends each event to a file as one line of JSON (UTF-8); missing folders are made at once."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self._lock = threading.Lock()
        folder = os.path.dirname(os.fspath(path))
        if folder:
            os.makedirs(folder, exist_ok=True)

    def handle(self, event: Event) -> None:
        """Append an event; values that JSON does not know are written as text."""
        line = json.dumps(event, cls=_EventEncoder) + "\n"
        with self._lock, open(self.path, "a", encoding="utf-8") as f:
            f.write(line)


class CallbackHandler:
    """Hands each event to a function, whose exceptions are logged and go no further."""

    def __init__(self, callback: Callable[[Event], object]) -> None:
        self.callback = callback

    def handle(self, event: Event) -> None:
        """Call the function with the event itself."""
        try:
            self.callback(event)
        except Exception as e:  # user code
            logger.warning("Event callback failed: %s", e)


_RANKS = {"debug": 0, "info": 1, "warn": 2, "error": 3}
_UNKNOWN_RANK = 1


class ObservabilityContext:
    """Event log and spans of a flow.

    `config` keys: `level` (`debug`, `info`, `warn`, `error`; default `info`), `buffer_size` (events kept,
    default 1000), `handlers` (list of `{"type": "console", "verbose"}`, `{"type": "file", "path"}`,
    `{"type": "callback", "callback"}`), `redact` (`"strict"` hides values of keys such as `password` or
    `api_key`). Raises `ValueError` that names the key for a value of the wrong kind.
    """

    def __init__(
        self,
        flow_id: str | None = None,
        config: dict[str, Any] | None = None,
        trace_context: TraceContext | None = None,
    ) -> None:
        if config is not None and not isinstance(config, dict):
            raise ValueError(f"observability must be a mapping, got {type(config).__name__}")
        self.flow_id = flow_id if flow_id is not None else str(uuid.uuid4())
        self.config: dict[str, Any] = config if config is not None else {}
        self._level = self.config.get("level", "info")
        self._redactor = _redactor(self.config.get("redact"))
        self._event_stream = EventStream(
            _buffer_size(self.config.get("buffer_size", 1000)),
            self._handlers(self.config.get("handlers", [])),
        )
        self._trace_context = trace_context if trace_context is not None else TraceContext()
        self._local = threading.local()

    def _handlers(self, entries: Any) -> list[Any]:
        if not isinstance(entries, (list, tuple)):
            raise ValueError(f"observability.handlers must be a list, got {type(entries).__name__}")
        handlers: list[Any] = []
        for i, entry in enumerate(entries):
            if not isinstance(entry, dict):
                raise ValueError(f"observability.handlers[{i}] must be a mapping, got {type(entry).__name__}")
            kind = entry.get("type")
            if kind == "console":
                handlers.append(ConsoleHandler(verbose=bool(entry.get("verbose", False))))
            elif kind == "file":
                path = entry.get("path", "./logs/flow.jsonl")
                if not isinstance(path, (str, os.PathLike)):
                    raise ValueError(
                        f"observability.handlers[{i}].path must be a path, got {type(path).__name__}"
                    )
                handlers.append(FileHandler(os.fspath(path).replace("{flow_id}", self.flow_id)))
            elif kind == "callback" and callable(entry.get("callback")):
                handlers.append(CallbackHandler(entry["callback"]))
        return handlers

    @property
    def event_stream(self) -> EventStream:
        """The recorded events."""
        return self._event_stream

    @property
    def trace_context(self) -> TraceContext:
        """The spans; the very object that was given."""
        return self._trace_context

    def log(
        self,
        node: str,
        level: str,
        event_type: str,
        message: str | None = None,
        data: dict[str, Any] | None = None,
        metrics: dict[str, Any] | None = None,
    ) -> None:
        """Record an event if its level reaches the threshold, also in the innermost open span."""
        if _rank(level) < _rank(self._level):
            return
        span = self._trace_context.current_span()
        event: Event = {
            "flow_id": self.flow_id,
            "span_id": span["span_id"] if span else None,
            "parent_id": span["parent_id"] if span else None,
            "node": node,
            "level": level,
            "timestamp": time.time(),
            "event_type": event_type,
            "message": message,
            "data": data if data is not None else {},
            "metrics": metrics if metrics is not None else {},
        }
        if self._redactor is not None:
            event.update(self._redactor({key: event[key] for key in ("message", "data", "metrics")}))
        self._event_stream.append(event)
        self._trace_context.log_event(message=event["message"], metrics=event["metrics"])

    def _open_spans(self, node: str) -> list[str]:
        # Per thread: concurrent runs share this object, and a node name says nothing about the run.
        if not hasattr(self._local, "spans"):
            self._local.spans = {}
        spans: dict[str, list[str]] = self._local.spans
        return spans.setdefault(node, [])

    def start_node_span(self, node: str, metadata: dict[str, Any] | None = None) -> str:
        """Open a span for a node and record its `entry` event. Returns the span's id."""
        span = self._trace_context.start_span(node, metadata)
        self._open_spans(node).append(span["span_id"])
        self.log(node, "info", "entry", f"Starting {node}", data=metadata)
        return str(span["span_id"])

    def end_node_span(
        self,
        node: str,
        status: str = "ok",
        error: str | None = None,
        usage: dict[str, Any] | None = None,
    ) -> dict[str, Any] | None:
        """Record the `exit` or `error` event of a node and end its span.

        Token counts in `usage` give a further `metric` event. Spans left open inside the node's span are
        ended with an error. Returns the completed span, or `None` if the node has none open.
        """
        opened = self._open_spans(node)
        span_id = opened.pop() if opened else None
        duration_ms = 0.0
        if span_id is not None:
            self._trace_context.end_children(span_id)
            span = self._trace_context.current_span()
            if span is not None and span["span_id"] == span_id:
                duration_ms = (time.time() - span["start_time"]) * 1000
        if status == "error":
            self.log(node, "error", "error", f"Error in {node}: {error}")
        else:
            self.log(node, "info", "exit", f"Completed {node}", metrics={"duration_ms": duration_ms})
        counts = {name: usage[name] for name in TOKEN_COUNTS if name in usage} if usage else {}
        if counts:
            self.log(node, "info", "metric", metrics=counts)
        if span_id is None:
            return None
        return self._trace_context.end_span(status, error, span_id=span_id)

    def get_flow_log(self) -> dict[str, Any]:
        """`{"flow_id", "events", "spans", "metrics", "timeline"}` of what is kept now."""
        events = self._event_stream.get_all()
        spans = self._trace_context.completed_spans.copy()
        known = {span["span_id"] for span in spans}
        roots = [span for span in spans if span.get("parent_id") not in known]
        timeline = [{**event, "type": "event"} for event in events]
        timeline += [{**span, "type": "span"} for span in spans]
        timeline.sort(
            key=lambda entry: entry["start_time"] if entry["type"] == "span" else entry["timestamp"]
        )
        return {
            "flow_id": self.flow_id,
            "events": events,
            "spans": spans,
            "metrics": {
                "total_duration_ms": sum(span.get("duration_ms") or 0 for span in roots),
                "node_count": len({event["node"] for event in events if event.get("node")}),
                "error_count": sum(event.get("event_type") == "error" for event in events),
                "event_count": len(events),
            },
            "timeline": timeline,
        }


def _rank(level: Any) -> int:
    return _RANKS.get(level, _UNKNOWN_RANK) if isinstance(level, str) else _UNKNOWN_RANK


def _buffer_size(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"observability.buffer_size must be a whole number from 0 up, got {value!r}")
    return value


def _redactor(value: Any) -> Redactor | None:
    if value is None:
        return None
    if value == "strict":
        return Redactor(strict=True)
    raise ValueError(f"observability.redact must be 'strict' or absent, got {value!r}")
