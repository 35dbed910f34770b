"""The ``memory.store``, ``memory.retrieve`` and ``memory.summarize`` actions over short-term memory."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from functools import partial
from typing import Any

Result = dict[str, Any]


def memory_store(
    state: Any,
    key: Any = None,
    value: Any = None,
    ttl: Any = None,
    namespace: Any = "default",
    *,
    engine: Any,
    **_: Any,
) -> Result:
    """Keep ``value`` (any object) under ``key``; ``ttl`` in seconds, None for no expiry."""
    if key is None:
        return {"stored": False, "key": None, "error": "Key is required"}
    try:
        engine._memory_backend.store(key=str(key), value=value, ttl=ttl, namespace=str(namespace))
    except Exception as error:
        return {"stored": False, "key": str(key), "error": str(error)}
    return {"stored": True, "key": str(key), "namespace": str(namespace)}


def memory_retrieve(
    state: Any, key: Any = None, default: Any = None, namespace: Any = "default", *, engine: Any, **_: Any
) -> Result:
    """Return the kept value; absent, expired and None entries give ``default`` with ``found`` False."""
    if key is None:
        return {"value": default, "found": False, "key": None, "error": "Key is required"}
    try:
        value = engine._memory_backend.retrieve(key=str(key), namespace=str(namespace))
    except Exception as error:
        return {"value": default, "found": False, "key": str(key), "error": str(error)}
    if value is None:
        return {"value": default, "found": False, "key": str(key)}
    return {"value": value, "found": True, "key": str(key)}


def memory_summarize(
    state: Any,
    messages_key: Any = None,
    max_tokens: Any = 1000,
    model: Any = None,
    *,
    engine: Any,
    **_: Any,
) -> Result:
    """Shorten the list of messages at ``state[messages_key]`` to about ``max_tokens`` tokens.

    A conversation that is short enough is its own summary; otherwise the registered ``llm.call`` writes it.
    """
    messages = state.get(messages_key) if isinstance(state, dict) else None
    if messages is None:
        return {"error": f"Messages key '{messages_key}' not found in state", "success": False}
    if not isinstance(messages, list):
        return {"error": f"Messages at '{messages_key}' must be a list", "success": False}
    if not messages:
        return {"summary": "", "original_count": 0, "token_estimate": 0, "success": True}
    llm_call = engine.actions_registry.get("llm.call")
    if llm_call is None:
        return {"error": "llm.call action not available. Ensure OpenAI is configured.", "success": False}
    text = "\n".join(_line(message) for message in messages)
    if len(text) // 4 <= max_tokens:
        return _summary(text, len(messages))
    request = [
        {
            "role": "system",
            "content": f"Summarize the following conversation in approximately {max_tokens} tokens or less. "
            "Preserve key information, decisions, and context needed for continuation.",
        },
        {"role": "user", "content": text},
    ]
    try:
        reply = llm_call(state=state, model=model or "gpt-3.5-turbo", messages=request, temperature=0.3)
        if isinstance(reply, dict) and reply.get("error"):
            return reply
        return _summary(reply.get("content", ""), len(messages))
    except ImportError:
        return {"error": "OpenAI library not installed. Install with: pip install openai", "success": False}
    except Exception as error:
        return {"error": f"LLM summarization failed: {error}", "success": False}


def _line(message: Any) -> str:
    if isinstance(message, dict):
        return f"{message.get('role', 'user')}: {message.get('content', str(message))}"
    return str(message)


def _summary(text: str, count: int) -> Result:
    return {"summary": text, "original_count": count, "token_estimate": len(text) // 4, "success": True}


ACTIONS: dict[str, Callable[..., Result]] = {
    "memory.store": memory_store,
    "memory.retrieve": memory_retrieve,
    "memory.summarize": memory_summarize,
}


def register_actions(registry: MutableMapping[str, Callable[..., Any]], engine: Any) -> None:
    """Add every action under its dotted name and its ``actions.`` alias; both are one object."""
    for name, function in ACTIONS.items():
        bound = partial(function, engine=engine)
        registry[name] = bound
        registry["actions." + name.replace(".", "_")] = bound
