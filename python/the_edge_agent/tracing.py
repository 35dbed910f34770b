"""Spans: what a run did, how long it took, and where the records go."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any, Protocol, runtime_checkable

__all__ = [
    "CallbackExporter",
    "ConsoleExporter",
    "FileExporter",
    "Redactor",
    "TraceContext",
    "TraceExporter",
]

Span = dict[str, Any]

logger = logging.getLogger("the_edge_agent.tracing")

MAX_COMPLETED_SPANS = 10_000
TOKEN_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
REDACTED = "[REDACTED]"


@runtime_checkable
class TraceExporter(Protocol):
    """Receives every span when it ends."""

    def export(self, span: Span) -> None:
        """Take a completed span."""


class Redactor:
    """Replaces confidential values in records by `[REDACTED]`.

    `secrets` are texts that must not appear anywhere. With `strict=True` the values of keys that look
    like a password, secret, token, API key or authorization go too, at any depth; token counts stay.
    """

    def __init__(self, secrets: Iterable[str] = (), strict: bool = False) -> None:
        # Longest first, so that a secret that is part of another one does not leave the rest of it behind.
        self._secrets = sorted({s for s in secrets if s}, key=len, reverse=True)
        self._strict = strict

    def __call__(self, value: Any) -> Any:
        """A copy of `value` (dicts, lists and tuples are rebuilt) without confidential values."""
        if isinstance(value, dict):
            return {
                k: REDACTED if self._strict and _is_confidential(k, v) else self(v) for k, v in value.items()
            }
        if isinstance(value, list):
            return [self(v) for v in value]
        if type(value) is tuple:
            return tuple(self(v) for v in value)
        if isinstance(value, str):
            for secret in self._secrets:
                # A very short secret would match inside ordinary words.
                if value == secret or len(secret) > 3:
                    value = value.replace(secret, REDACTED)
        return value


_CONFIDENTIAL = ("password", "passwd", "secret", "token", "apikey", "authorization")


def _is_confidential(key: Any, value: Any) -> bool:
    if not isinstance(key, str):
        return False
    plain = key.lower().replace("_", "").replace("-", "").replace(" ", "")
    if plain.endswith("tokens") and isinstance(value, (int, float)):
        return False
    return any(word in plain for word in _CONFIDENTIAL)


# Ids of the innermost open spans by trace context. A branch runs in a copy of the context of the code that
# launched it, and so finds its parent here although its thread has no open span of its own.
_inherited: ContextVar[Mapping[object, str] | None] = ContextVar("the_edge_agent_span", default=None)


class TraceContext:
    """Open spans per thread and completed spans of all threads.

    `exporters` get each span when it ends; an exporter's exception is logged and does not stop the run.
    `redactor`, if set, is applied to the exporters' copies and to state snapshots. At most 10,000
    completed spans are kept, the oldest are dropped.
    """

    def __init__(
        self, exporters: list[Any] | None = None, redactor: Callable[[Any], Any] | None = None
    ) -> None:
        self.exporters: list[Any] = exporters if exporters is not None else []
        self.redactor = redactor
        self.completed_spans: list[Span] = []
        self._lock = threading.Lock()
        self._local = threading.local()
        self._key = object()

    def _stack(self) -> list[Span]:
        stack: list[Span] | None = getattr(self._local, "stack", None)
        if stack is None:
            stack = self._local.stack = []
        return stack

    def start_span(
        self, name: str, metadata: dict[str, Any] | None = None, parent_id: str | None = None
    ) -> Span:
        """Open a span inside the innermost open one, or inside `parent_id`. Times are Unix seconds."""
        span: Span = {
            "span_id": str(uuid.uuid4()),
            "parent_id": parent_id if parent_id is not None else self._parent_id(),
            "name": name,
            "start_time": time.time(),
            "end_time": None,
            "duration_ms": None,
            "status": "ok",
            "error": None,
            "metadata": metadata if metadata is not None else {},
            "events": [],
            "metrics": {},
        }
        self._stack().append(span)
        self._publish()
        return span

    def _parent_id(self) -> str | None:
        stack = self._stack()
        if stack:
            return str(stack[-1]["span_id"])
        return (_inherited.get() or {}).get(self._key)

    def _publish(self) -> None:
        open_ids = dict(_inherited.get() or {})
        stack = self._stack()
        if stack:
            open_ids[self._key] = stack[-1]["span_id"]
        else:
            open_ids.pop(self._key, None)
        _inherited.set(open_ids)

    def current_span(self) -> Span | None:
        """The innermost open span of this thread, or `None`."""
        stack = self._stack()
        return stack[-1] if stack else None

    def log_event(
        self,
        message: str | None = None,
        event: dict[str, Any] | None = None,
        metrics: dict[str, Any] | None = None,
        snapshot_state: bool = False,
        state: dict[str, Any] | None = None,
        sanitize_keys: Iterable[str] | None = None,
    ) -> Span | None:
        """Add an event to the innermost open span and return it; `None` if no span is open.

        With `snapshot_state` the event holds a deep copy of `state`, in which the top-level keys of
        `sanitize_keys` read `[REDACTED]`. Token counts of `state["usage"]` are added to the span's
        metrics, once per usage record.
        """
        span = self.current_span()
        if span is None:
            return None
        entry: dict[str, Any] = {"timestamp": time.time()}
        if message:
            entry["message"] = message
        if event:
            entry.update(event)
        if snapshot_state and state is not None:
            entry["state_snapshot"] = self._snapshot(state, sanitize_keys)
        span["events"].append(entry)
        if metrics:
            span["metrics"].update(metrics)
        if state is not None:
            self._count_tokens(span, state.get("usage"))
        return span

    def _snapshot(self, state: dict[str, Any], sanitize_keys: Iterable[str] | None) -> dict[str, Any]:
        from .checkpointers import copy_mapping

        hidden = set(sanitize_keys or ())
        snapshot = copy_mapping({k: REDACTED if k in hidden else v for k, v in state.items()})
        return snapshot if self.redactor is None else dict(self.redactor(snapshot))

    def _count_tokens(self, span: Span, usage: Any) -> None:
        # The record stays in the state, so that later events see it again.
        if not isinstance(usage, dict) or usage is getattr(self._local, "counted_usage", None):
            return
        self._local.counted_usage = usage
        for name in TOKEN_COUNTS:
            count = usage.get(name)
            if isinstance(count, (int, float)):
                span["metrics"][name] = span["metrics"].get(name, 0) + count

    def end_span(
        self, status: str = "ok", error: str | None = None, span_id: str | None = None
    ) -> Span | None:
        """End the innermost open span of this thread, or the one with `span_id`, and return it.

        Spans still open inside it are ended first, with status `error` and the text `not ended`. `None` if
        there is no such open span.
        """
        stack = self._stack()
        if not stack or (span_id is not None and all(s["span_id"] != span_id for s in stack)):
            return None
        if span_id is not None:
            self.end_children(span_id)
        return self._end_innermost(status, error)

    def end_children(self, span_id: str) -> None:
        """End the spans of this thread that are open inside the span `span_id`."""
        stack = self._stack()
        if all(s["span_id"] != span_id for s in stack):
            return
        while stack[-1]["span_id"] != span_id:
            self._end_innermost("error", "not ended")

    def _end_innermost(self, status: str, error: str | None) -> Span:
        span = self._stack().pop()
        self._publish()
        span["end_time"] = time.time()
        span["duration_ms"] = (span["end_time"] - span["start_time"]) * 1000
        span["status"] = status
        if error:
            span["error"] = error
        with self._lock:
            self.completed_spans.append(span)
            del self.completed_spans[:-MAX_COMPLETED_SPANS]
        exported = span if self.redactor is None or not self.exporters else self.redactor(span)
        for exporter in list(self.exporters):
            try:
                exporter.export(exported)
            except Exception as e:  # a broken exporter must not end the run
                logger.warning("Trace exporter %s failed: %s", type(exporter).__name__, e)
        return span

    def clear(self) -> None:
        """Forget the completed spans of all threads and the open spans of this thread."""
        with self._lock:
            self.completed_spans.clear()
        self._stack().clear()
        self._publish()


class ConsoleExporter:
    """Prints each span to standard output: one line, or all its parts with `verbose=True`."""

    def __init__(self, verbose: bool = False) -> None:
        self.verbose = verbose

    def export(self, span: Span) -> None:
        """Print a completed span."""
        name, status, duration = span.get("name"), span.get("status"), span.get("duration_ms", 0)
        if not self.verbose:
            print(f"[TRACE] {'✓' if status == 'ok' else '✗'} {name} ({duration:.2f}ms) - {status}")
            return
        lines = [f"[TRACE] {name}", f"  span_id: {span.get('span_id')}"]
        if span.get("parent_id"):
            lines.append(f"  parent_id: {span['parent_id']}")
        lines += [f"  duration: {duration:.2f}ms", f"  status: {status}"]
        lines += [f"  {key}: {span[key]}" for key in ("error", "metadata") if span.get(key)]
        events = span.get("events")
        if events:
            lines.append(f"  events: {len(events)} event(s)")
            lines += [f"    - {event.get('message', event)}" for event in events]
        if span.get("metrics"):
            lines.append(f"  metrics: {span['metrics']}")
        for line in lines:
            print(line)


class FileExporter:
    """Appends each span to a file as one line of JSON (UTF-8); missing folders are made at once."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self._lock = threading.Lock()
        folder = os.path.dirname(os.fspath(path))
        if folder:
            os.makedirs(folder, exist_ok=True)

    def export(self, span: Span) -> None:
        """Append a completed span; values that JSON does not know are written as text."""
        line = json.dumps(span, default=str) + "\n"
        with self._lock, open(self.path, "a", encoding="utf-8") as f:
            f.write(line)


class CallbackExporter:
    """Hands each span to a function, whose exceptions are logged and go no further."""

    def __init__(self, callback: Callable[[Span], object]) -> None:
        self.callback = callback

    def export(self, span: Span) -> None:
        """Call the function with the span itself."""
        try:
            self.callback(span)
        except Exception as e:  # user code
            logger.warning("Trace callback failed: %s", e)
