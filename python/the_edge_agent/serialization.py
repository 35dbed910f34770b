"""JSON for the package's own objects and for dataclasses."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["TeaJSONEncoder", "dumps", "loads"]


class TeaJSONEncoder(json.JSONEncoder):
    """Encodes objects with a `to_dict` method and dataclass instances, at any depth."""

    def default(self, o: Any) -> Any:
        """The JSON form of `o`; raises `TypeError` for other kinds of objects."""
        if callable(getattr(o, "to_dict", None)) or _is_dataclass_instance(o):
            return _plain(o)
        return super().default(o)


def _is_dataclass_instance(value: Any) -> bool:
    return not isinstance(value, type) and hasattr(type(value), "__dataclass_fields__")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    to_dict = getattr(value, "to_dict", None)
    if callable(to_dict):
        return _plain(to_dict())
    if _is_dataclass_instance(value):
        # Imported here: this module is loaded with the package, and `dataclasses` is slow to import.
        from dataclasses import asdict

        return _plain(asdict(value))
    return value


def dumps(obj: Any, **kwargs: Any) -> str:
    """`json.dumps` with `TeaJSONEncoder`, unless another `cls` is given."""
    kwargs.setdefault("cls", TeaJSONEncoder)
    return json.dumps(obj, **kwargs)


def loads(s: str | bytes | bytearray, **kwargs: Any) -> Any:
    """`json.loads`; objects are not rebuilt."""
    return json.loads(s, **kwargs)
