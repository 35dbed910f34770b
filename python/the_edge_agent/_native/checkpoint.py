"""The engine's checkpoint document, which any host can resume from."""

from __future__ import annotations

from typing import Any

from . import codec
from .library import call, ffi, lib, take


def encode(record: dict[str, Any]) -> bytes:
    """The JSON document of a checkpoint record. Raises TypeError naming path and type of what has no JSON form."""
    parts = [f'"state":{codec.encode(record["state"], "state")}', f'"config":{codec.encode(record["config"], "config")}']
    for key in ("node", "timestamp", "interrupt"):
        if record.get(key) is not None:
            parts.append(f'"{key}":{codec.encode(record[key], key)}')
    data = ("{" + ",".join(parts) + "}").encode()
    out = ffi.new("tea_buffer *")
    call(lib.tea_checkpoint_encode, data, out)
    return take(out).encode()


def decode(data: bytes, path: str) -> Any:
    """The record of a JSON document. Raises ValueError that says what is wrong with it."""
    out = ffi.new("tea_buffer *")
    name = path.encode("utf-8", "backslashreplace")
    call(lib.tea_checkpoint_decode, data, name, out)
    return codec.decode(take(out), {})
