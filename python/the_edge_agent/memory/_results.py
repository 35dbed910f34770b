"""Result dictionaries and JSON helpers that all backends share."""

from __future__ import annotations

import json
from typing import Any

Result = dict[str, Any]

KEY_REQUIRED = "Key is required and cannot be empty"
CLOSED = "Backend is closed"


def failure(error: str, error_type: str, **extra: Any) -> Result:
    """Build ``{"success": False, "error", "error_type", ...extra}``."""
    return {"success": False, "error": error, "error_type": error_type, **extra}


def check_key(key: Any) -> Result | None:
    """Return the failure for a missing key (``None`` or ``""``), or None when the key is usable."""
    if key is None or key == "":
        return failure(KEY_REQUIRED, "validation_error")
    return None


def dump_json(value: Any) -> str:
    """Serialise to JSON text.

    Non-ASCII characters stay readable so that full-text indexes can tokenise them; text that UTF-8 cannot
    encode (lone surrogates) is escaped instead. Raises ``TypeError``/``ValueError`` for values JSON lacks.
    """
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value)
    return text


def same_json(left: Any, right: Any) -> bool:
    """Compare two JSON values; numbers compare by value, and a boolean never equals a number."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same_json(left[k], right[k]) for k in left)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(same_json(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


def metadata_matches(metadata: Any, wanted: dict[str, Any] | None) -> bool:
    """Tell whether ``metadata`` has every top-level key of ``wanted`` with an equal JSON value.

    An empty or missing filter matches everything; entries without metadata match no non-empty filter.
    """
    if not wanted:
        return True
    if not isinstance(metadata, dict) or not metadata:
        return False
    return all(key in metadata and same_json(metadata[key], value) for key, value in wanted.items())


def row_limit(limit: Any, default: int = 10) -> int | None:
    """Turn a ``limit`` argument into a row count: None means the default, a negative one no limit."""
    count = default if limit is None else int(limit)
    return None if count < 0 else count
