"""The command `tea`: runs, checks and draws agents; also `python -m the_edge_agent.cli`.

- `arguments`: the command line as it is written;
- `source`: what commands read; `console`: what they write, and how they fail;
- `commands`: `run`, `resume`, `schema merge`; `session`: a run; `look`: `validate`, `inspect`, `graph`.

Loading this module loads neither the library nor the engine: commands do when they need them.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .. import __version__
from .console import Failure, emit_ndjson_event, error_line, setup_logging
from .source import (
    deep_merge,
    is_interactive_terminal,
    is_yaml,
    load_actions_from_file,
    load_actions_from_module,
    load_checkpoint,
    load_cli_actions,
    parse_input,
    parse_secrets,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "IMPLEMENTATION",
    "Failure",
    "deep_merge",
    "emit_ndjson_event",
    "is_interactive_terminal",
    "load_actions_from_file",
    "load_actions_from_module",
    "load_checkpoint",
    "load_cli_actions",
    "main",
    "parse_input",
    "parse_secrets",
    "setup_logging",
]

IMPLEMENTATION = "python"

INTERRUPTED = 130
STOPPED = "\n\nExecution interrupted by user (Ctrl+C)"
# Seconds.
GRACE = 2.0
# As a shell sees a process whose reader has gone.
BROKEN_PIPE = 141

# Imported when they are used; programs replace `cli.YAMLEngine`.
_LATER = {
    "YAMLEngine": "the_edge_agent.yaml_engine",
    "handle_interrupt_interactive": "the_edge_agent.cli.session",
}


def __getattr__(name: str) -> Any:
    home = _LATER.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit code: 0 success, 1 errors, 2 wrong usage, 130 an interrupt.

    Args:
        arguments: without the program's name; None takes those of the process.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal that lacks a character is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(given)
    except Failure as failure:
        if failure.text:
            error_line(failure.text)
        return failure.code
    except EOFError:
        error_line("Aborted.")
        return 1
    except KeyboardInterrupt:
        error_line(STOPPED)
        return INTERRUPTED
    except BrokenPipeError:
        # What is still in the buffer has nowhere to go, at the end of the process, too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def _watch_interrupts() -> None:
    """Ctrl+C ends the process also while the library works, where Python would wait for its return."""
    import signal
    import threading

    if threading.current_thread() is not threading.main_thread():
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def watch() -> None:
        while signal.SIGINT not in os.read(reader, 64):
            pass
        # The usual way is better: it lets code in Python clean up.
        threading.Event().wait(GRACE)
        os.write(2, f"{STOPPED}\n".encode())
        os._exit(INTERRUPTED)

    threading.Thread(target=watch, daemon=True).start()


def _dispatch(given: list[str]) -> int:
    from .arguments import build_parser

    if given and is_yaml(given[0]):
        error_line("Warning: 'tea FILE' is deprecated, use 'tea run FILE'")
        given.insert(0, "run")
    parser = build_parser()
    options = parser.parse_args(given)
    if options.version:
        print(f"tea {__version__} ({IMPLEMENTATION})" if options.impl else f"tea {__version__}")
        return 0
    if options.impl:
        print(IMPLEMENTATION)
        return 0
    if options.command is None:
        parser.print_help()
        return 2
    from .commands import COMMANDS

    _watch_interrupts()
    code = COMMANDS[options.command](options)
    sys.stdout.flush()
    return code
