"""Hooks of a run that agents from YAML set up: input and output schema, sessions.

They are attributes of the graph: `_input_schema`, `_output_schema` with `_yaml_engine`, `_session_backend` with
`_session_settings`. A missing attribute means none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .stategraph import Event, StateGraph


def before(graph: StateGraph, stream: bool, state: Any) -> tuple[Event | None, Any]:
    """What happens before the first node of a fresh run: an event that refuses the input, or None; and the state."""
    schema = getattr(graph, "_input_schema", None)
    if schema is not None and (not stream or getattr(graph, "_validate_stream_input", False)):
        from .validation import ValidationError, validate_input

        try:
            state = validate_input(state, schema)
        except ValidationError as error:
            errors = [detail.to_dict() if hasattr(detail, "to_dict") else detail for detail in error.errors]
            return {
                "type": "validation_error",
                "status_code": 422,
                "errors": errors,
                "state": state.copy(),
            }, state
    return None, load_session(graph, state)


def load_session(graph: StateGraph, state: Any) -> Any:
    """The stored session with the input over it; the input if there is none or loading fails."""
    backend = getattr(graph, "_session_backend", None)
    if backend is None:
        return state
    session = state.get("session_id")
    if not session:
        return state
    try:
        data = backend.load(session)
        if data is None:
            graph.logger.debug(f"No session data found for {session}")
            return state
        merged = data.copy()
        merged.update(state)
        graph.logger.debug(f"Injected session data for {session}")
    except Exception as error:
        graph.logger.warning(f"Failed to inject session state for {session}: {error}")
        return state
    return merged


def save_session(graph: StateGraph, state: Any) -> None:
    """Saves the session at the end of a run; a failure is logged, the run goes on."""
    backend = getattr(graph, "_session_backend", None)
    settings = getattr(graph, "_session_settings", None)
    if backend is None or not getattr(settings, "auto_save", False):
        return
    session = state.get("session_id")
    if not session:
        graph.logger.debug("Auto-save skipped: no session_id in state")
        return
    try:
        fields = getattr(settings, "persist_fields", None)
        if fields is not None:
            data = {name: state[name] for name in fields if name in state}
        else:
            data = {
                name: value
                for name, value in state.items()
                if not (isinstance(name, str) and name.startswith("_"))
            }
        ttl = getattr(settings, "ttl", 0) or 0
        saved = backend.save(session, data, ttl=ttl if ttl > 0 else None)
    except Exception as error:
        graph.logger.warning(f"Error during auto-save for session {session}: {error}")
        return
    if saved:
        graph.logger.debug(f"Auto-saved session {session}")
    else:
        graph.logger.warning(f"Failed to auto-save session {session}")


def output(graph: StateGraph, state: Any) -> Any:
    """The state in the form that the output schema asks for; None if that fails."""
    try:
        from .transformation import transform_output

        engine: Any = graph._yaml_engine  # type: ignore[attr-defined]
        result = transform_output(state, graph._output_schema, engine._jinja_env)  # type: ignore[attr-defined]
        graph.logger.debug(f"Applied output_schema transformation: {list(result)}")
    except Exception as error:
        graph.logger.warning(f"Error applying output transformation: {error}")
        return None
    return result
