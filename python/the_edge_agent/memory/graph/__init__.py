"""Graph stores. Every class is imported at first use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXPORTS = {
    "GraphBackend": "protocol",
    "KuzuBackend": "kuzu",
    "BighornBackend": "kuzu",
    "KUZU_AVAILABLE": "kuzu",
    "_check_kuzu_available": "kuzu",
    "CozoBackend": "pending",
    "COZO_AVAILABLE": "pending",
    "_check_cozo_available": "pending",
}


def __getattr__(name: str) -> Any:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
