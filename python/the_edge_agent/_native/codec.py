"""Python values as the engine's JSON and back.

What JSON lacks travels as a map with the one key `$tea` (see include/tea.h).
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from datetime import date, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Protocol

    class Objects(Protocol):
        """Objects by number."""

        def __getitem__(self, key: int, /) -> Any: ...


TAG = "$tea"


def encode(value: Any, root: str) -> str:
    """JSON text of a value. Raises TypeError with path and type for what has no JSON form, as in
    `state.docs[3].handle: _io.TextIOWrapper`."""
    try:
        tagged = _tagged(value, root)
    except RecursionError:
        raise ValueError(f"{root} refers to itself, or is nested too deeply for JSON") from None
    return json.dumps(tagged, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _tagged(value: Any, path: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise TypeError(f"{path}: a text with a lone surrogate has no JSON form") from None
        # Subclasses, enumerations among them, are stored as the plain text that they are.
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if isfinite(value) else {TAG: ["f64", repr(float(value))]}
    if isinstance(value, dict):
        return _mapping(value, path)
    if isinstance(value, list):
        return [_tagged(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, tuple):
        return {TAG: ["tuple", [_tagged(item, f"{path}[{index}]") for index, item in enumerate(value)]]}
    if isinstance(value, (set, frozenset)):
        return {TAG: ["set", [_tagged(item, f"{path}{{...}}") for item in value]]}
    if isinstance(value, (bytes, bytearray)):
        return {TAG: ["bytes", b64encode(value).decode()]}
    if isinstance(value, datetime):
        return {TAG: ["datetime", value.isoformat()]}
    if isinstance(value, date):
        return {TAG: ["date", value.isoformat()]}
    to_dict = getattr(value, "to_dict", None)
    if callable(to_dict) and not isinstance(value, type):
        # Results of branches, and what says itself how it is stored.
        return _tagged(to_dict(), path)
    kind = type(value)
    raise TypeError(f"{path}: {kind.__module__}.{kind.__qualname__} has no JSON form")


def tagged(value: Any) -> Any:
    """A value without a JSON form of its own (date, bytes, ...) as the map that stands for it."""
    return _tagged(value, "value")


def _mapping(value: dict[Any, Any], path: str) -> Any:
    if all(type(key) is str for key in value):
        plain = {key: _tagged(item, path + step(key)) for key, item in value.items()}
        return {TAG: ["esc", plain]} if len(plain) == 1 and TAG in plain else plain
    pairs = [[_tagged(key, f"{path}{{key}}"), _tagged(item, path + step(key))] for key, item in value.items()]
    return {TAG: ["map", pairs]}


def step(key: Any) -> str:
    """A key as a step of a path."""
    return f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]"


def decode(text: str, kept: Objects) -> Any:
    """The value of JSON text; `kept` holds the objects that references name."""
    value = json.loads(text)
    # Without a tag in it everything is what it looks like.
    return _untagged(value, kept) if TAG in text or "\\u0024" in text else value


def _untagged(value: Any, kept: Objects) -> Any:
    if isinstance(value, list):
        return [_untagged(item, kept) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) != 1 or TAG not in value:
        return {key: _untagged(item, kept) for key, item in value.items()}
    tag, body = value[TAG]
    if tag == "esc":
        return {key: _untagged(item, kept) for key, item in body.items()}
    if tag == "host":
        return kept[body]
    if tag == "int":
        return int(body)
    if tag == "f64":
        return float(body)
    if tag == "date":
        return date.fromisoformat(body)
    if tag == "datetime":
        return datetime.fromisoformat(body)
    if tag == "bytes":
        return b64decode(body)
    items = _untagged(body, kept)
    if tag == "tuple":
        return tuple(items)
    if tag == "set":
        return set(items)
    if tag == "map":
        return {key: item for key, item in items}
    raise ValueError(f"unknown tag {tag!r} in JSON of the engine")
