"""The other commands: `run`, `resume`, `schema merge`; and what is not there yet."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from .console import Failure, error_line, setup_logging, to_json, write_file
from .look import graph, inspect, validate
from .session import Session, banner
from .source import (
    deep_merge,
    load_checkpoint,
    merge_schemas,
    merged_agent,
    parse_input,
    pyyaml,
    read_overlays,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def later(what: str) -> Failure:
    return Failure(f"Error: {what} is not available yet in this command")


def _refuse_later(options: argparse.Namespace) -> None:
    """Options that are not there yet end the command; those that only matter to bug reports do not."""
    for first, second in (
        ("interactive", "stream"),
        ("show_graph", "stream"),
        ("report_extended", "report_minimal"),
    ):
        if getattr(options, first) and getattr(options, second):
            names = [f"--{name.replace('_', '-')}" for name in (first, second)]
            raise Failure(f"Error: {names[0]} and {names[1]} are mutually exclusive")
    asked = [
        "question_key",
        "response_key",
        "complete_key",
        "skip_response",
        "display_key",
        "display_format",
        "input_timeout",
    ]
    if options.interactive or any(getattr(options, name) is not None for name in asked):
        raise later("--interactive")
    for name in ("show_graph", "gguf", "backend"):
        if getattr(options, name):
            raise later(f"--{name.replace('_', '-')}")
    if options.report_bugs or options.report_extended or options.report_minimal:
        raise later("the bug report")


def _given_input(options: argparse.Namespace) -> str | None:
    """`--state` and `--state-file` stand for `--input`."""
    given: str | None = options.input
    if options.state:
        error_line("Warning: --state is deprecated, use --input")
        given = options.state if given is None else given
    if options.state_file:
        error_line("Warning: --state-file is deprecated, use --input @file.json")
        given = f"@{options.state_file}" if given is None else given
    return given


def run(options: argparse.Namespace) -> int:
    setup_logging(options.verbose, options.quiet)
    _refuse_later(options)
    given = _given_input(options)
    file: str = options.file
    if not os.path.exists(file):
        raise Failure(f"Error: Workflow file not found: {file}")
    merged = None
    if options.overlay or options.dump_merged:
        merged = merged_agent(file, read_overlays(options.overlay))
    if options.dump_merged:
        sys.stdout.write(pyyaml().dump(merged, default_flow_style=False, sort_keys=False))
        return 0
    values = parse_input(given)
    session = Session(file, options, merged)
    initial = session.engine._config.get("initial_state")
    if initial and not isinstance(initial, dict):
        raise Failure(f"Error: initial_state must be a mapping, got {type(initial).__name__}")
    state = {**(initial or {}), **values}
    if options.entry_point or options.exit_point:
        if options.entry_point and given is None:
            error_line("Warning: --entry-point without --input means starting with empty state")
        return session.run_scoped(state)
    if session.stream:
        session.emit("start", workflow=file)
    elif session.loud:
        banner(f"Running agent from: {file}", state)
    return session.run(state)


def resume(options: argparse.Namespace) -> int:
    setup_logging(options.verbose, options.quiet)
    path, workflow = options.checkpoint, options.workflow
    if not os.path.exists(path):
        raise Failure(f"Error: Checkpoint file not found: {path}")
    if not os.path.exists(workflow):
        raise Failure(f"Error: Workflow file not found: {workflow}")
    try:
        checkpoint = load_checkpoint(path)
    except Exception as error:
        raise Failure(f"Error loading checkpoint: {error}") from error
    update = parse_input(options.input)
    session = Session(workflow, options, None)
    session.begin_at(checkpoint)
    if session.stream:
        session.emit("resume", workflow=workflow, checkpoint=path)
    elif session.loud:
        node = checkpoint.get("node") or "unknown"
        print(f"Resuming from checkpoint: {path}\nInterrupted node: {node}", flush=True)
    return session.run(deep_merge(dict(checkpoint["state"]), update), path)


def schema_merge(options: argparse.Namespace) -> int:
    for path in options.files:
        if not os.path.exists(path):
            raise Failure(f"Error: File not found: {path}")
    schemas: list[Any] = [{"path": path} for path in options.files]
    schemas += [{"uses": reference} for reference in options.uses]
    try:
        result = merge_schemas(schemas, validate=options.validate)
    except Exception as error:
        raise Failure(f"Error: {error}") from error
    if not result.get("success"):
        errors = result.get("errors") or (result.get("validation") or {}).get("errors") or []
        lines = [f"Error: {result.get('error') or 'Unknown error'}", *(f"  - {error}" for error in errors)]
        raise Failure("\n".join(lines))
    text = to_json(result["merged_schema"], 2)
    if options.validate:
        error_line("✓ Merged schema is valid JSON Schema")
    if options.output_file is None or options.dry_run:
        print(text)
    else:
        write_file(options.output_file, text)
        error_line(f"✓ Merged schema written to {options.output_file}")
    return 0


def not_yet(options: argparse.Namespace) -> int:
    raise later(f"tea {options.command}")


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": run,
    "resume": resume,
    "validate": validate,
    "inspect": inspect,
    "graph": graph,
    "schema": schema_merge,
    "report-bug": not_yet,
    "from": not_yet,
}
