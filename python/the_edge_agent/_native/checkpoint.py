"""The engine's checkpoint document, which any host can resume from."""

from __future__ import annotations

import json
from typing import Any

from . import codec
from .library import call, ffi, lib, take


def encode(record: dict[str, Any]) -> bytes:
    """The JSON document of a checkpoint record. Raises TypeError naming path and type of what has no JSON form."""
    parts = [
        f'"state":{codec.encode(record["state"], "state")}',
        f'"config":{codec.encode(record["config"], "config")}',
    ]
    for key in ("node", "timestamp", "interrupt"):
        if record.get(key) is not None:
            parts.append(f'"{key}":{codec.encode(record[key], key)}')
    data = ("{" + ",".join(parts) + "}").encode()
    out = ffi.new("tea_buffer *")
    call(lib.tea_checkpoint_encode, data, out)
    return take(out).encode()


def decode(data: bytes) -> Any:
    """The record of a JSON document. Raises ValueError that says what is wrong with it; one that lacks keys is
    returned as it is, for the reader to name them."""
    out = ffi.new("tea_buffer *")
    try:
        call(lib.tea_checkpoint_decode, data, out)
    except ValueError:
        document = json.loads(data)
        if isinstance(document, dict) and not document.keys() >= {
            "state",
            "node",
            "config",
            "timestamp",
            "version",
        }:
            return document
        raise
    return codec.decode(take(out), {})
