"""Actions on spans (`trace.*`) and on the events of a flow (`obs.*`)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

__all__ = ["register_actions"]

Result = dict[str, Any]

_NO_TRACE = {"success": False, "error": "Tracing is not enabled"}
_NO_OBSERVABILITY = {
    "success": False,
    "error": "Observability is not enabled. Add 'observability: {enabled: true}' to YAML config.",
}


def _trace_start(
    state: Any, name: str, metadata: Any = None, parent_id: Any = None, *, engine: Any, **_ignored: Any
) -> Result:
    context = getattr(engine, "_trace_context", None)
    if context is None:
        return dict(_NO_TRACE)
    span = context.start_span(name, metadata=metadata, parent_id=parent_id)
    return {"span_id": span["span_id"], "name": span["name"], "parent_id": span["parent_id"], "success": True}


def _trace_log(
    state: Any,
    message: Any = None,
    event: Any = None,
    metrics: Any = None,
    snapshot_state: bool = False,
    sanitize_keys: Any = None,
    *,
    engine: Any,
    **_ignored: Any,
) -> Result:
    context = getattr(engine, "_trace_context", None)
    if context is None:
        return dict(_NO_TRACE)
    span = context.log_event(
        message=message,
        event=event,
        metrics=metrics,
        snapshot_state=snapshot_state,
        state=state,
        sanitize_keys=sanitize_keys,
    )
    if span is None:
        return {"success": False, "error": "No active span to log to", "logged": False}
    return {"logged": True, "span_id": span["span_id"], "event_count": len(span["events"]), "success": True}


def _trace_end(state: Any, status: str = "ok", error: Any = None, *, engine: Any, **_ignored: Any) -> Result:
    context = getattr(engine, "_trace_context", None)
    if context is None:
        return dict(_NO_TRACE)
    span = context.end_span(status=status, error=error)
    if span is None:
        return {"success": False, "error": "No active span to end"}
    return {
        "span_id": span["span_id"],
        "duration_ms": span["duration_ms"],
        "status": span["status"],
        "success": True,
    }


def _flow_log(state: Any, *, engine: Any, **_ignored: Any) -> Result:
    context = getattr(engine, "_observability_context", None)
    if context is None:
        return dict(_NO_OBSERVABILITY)
    return {"success": True, "flow_log": context.get_flow_log()}


def _log_event(
    state: Any,
    node: str | None = None,
    level: str = "info",
    event_type: str = "metric",
    message: Any = None,
    data: Any = None,
    metrics: Any = None,
    *,
    engine: Any,
    **_ignored: Any,
) -> Result:
    context = getattr(engine, "_observability_context", None)
    if context is None:
        return dict(_NO_OBSERVABILITY)
    context.log(node or "custom", level, event_type, message=message, data=data, metrics=metrics)
    return {"success": True, "flow_id": context.flow_id}


def _query_events(state: Any, filters: Any = None, *, engine: Any, **_ignored: Any) -> Result:
    context = getattr(engine, "_observability_context", None)
    if context is None:
        return dict(_NO_OBSERVABILITY)
    events = context.event_stream.query(filters or {})
    return {"success": True, "events": events, "count": len(events)}


_ACTIONS: dict[str, Callable[..., Result]] = {
    "trace.start": _trace_start,
    "trace.log": _trace_log,
    "trace.end": _trace_end,
    "obs.get_flow_log": _flow_log,
    "obs.log_event": _log_event,
    "obs.query_events": _query_events,
}


def register_actions(registry: MutableMapping[str, Callable[..., Any]], engine: Any) -> None:
    """Adds the actions of this module; both names of one are one object."""
    for name, function in _ACTIONS.items():
        action = partial(function, engine=engine)
        registry[name] = registry["actions." + name.replace(".", "_")] = action
