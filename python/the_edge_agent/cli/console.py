"""What the command writes: lines, JSON, events, files, log records; and how it fails."""

from __future__ import annotations

import json
import os
import sys
from typing import Any


class Failure(Exception):
    """Ends a command: `text` for the standard error (empty: all is said already) and the exit code."""

    def __init__(self, text: str = "", code: int = 1) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


def colour(code: int, text: str) -> str:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    return text if plain else f"\x1b[{code}m{text}\x1b[0m"


def error_line(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def to_json(value: Any, indent: int | None = None) -> str:
    from ..serialization import TeaJSONEncoder

    try:
        return json.dumps(value, indent=indent, cls=TeaJSONEncoder)
    except (TypeError, ValueError, RecursionError) as error:
        raise Failure(f"Error: cannot write JSON: {error}") from error


def emit_ndjson_event(event_type: str, **fields: Any) -> None:
    """Writes an event as a line of JSON: `type`, `timestamp` (UTC), the fields."""
    write_event(None, event_type, fields)


def write_event(out: Any, event_type: str, fields: dict[str, Any]) -> None:
    from datetime import datetime, timezone

    event = {"type": event_type, "timestamp": datetime.now(timezone.utc).isoformat(), **fields}
    print(to_json(event), file=out, flush=True)


def write_file(path: str, text: str) -> None:
    """Writes a file as a whole: it is complete, or as it was."""
    from ..checkpoint_files import atomic_write

    try:
        if os.path.exists(path) and not os.path.isfile(path):
            # Devices and pipes cannot be replaced.
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        else:
            atomic_write(path, text.encode())
    except OSError as error:
        raise Failure(f"Error: cannot write {path}: {error.strerror or error}") from error


def setup_logging(verbose: int, quiet: bool) -> None:
    """Log records on the standard error: warnings and errors, fewer with `quiet`, more with `verbose`."""
    import logging

    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=logging.ERROR if quiet else level, format="%(levelname)s: %(message)s")
