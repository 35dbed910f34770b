"""Running an agent: its events, interrupts, results."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from .console import Failure, colour, error_line, to_json, write_event, write_file
from .source import (
    backend_secrets,
    deep_merge,
    is_interactive_terminal,
    load_agent,
    load_checkpoint,
    load_cli_actions,
    parse_secrets,
)

if TYPE_CHECKING:
    import argparse

RULE = "=" * 80
INTERRUPTED = 130
INTERRUPTS = ("interrupt_before", "interrupt_after", "interrupt")


class Session:
    """An agent that is run by one command."""

    def __init__(self, file: str, options: argparse.Namespace, merged: dict[str, Any] | None) -> None:
        self.file = file
        self.options = options
        self.stream: bool = options.stream
        self.loud: bool = not (options.quiet or options.stream)
        # With --stream, what the agent prints goes to the standard error: this is for events only.
        self.out = sys.stdout
        backend = options.secrets_backend
        if backend is not None:
            secrets = backend_secrets(backend, options.secrets_backend_opts)
        else:
            secrets = parse_secrets(options.secrets, options.secrets_env)
        actions = load_cli_actions(options.actions_module, options.actions_file)
        self.engine, self.graph = load_agent(file, merged, actions, secrets)
        self._set_interrupts()

    def _set_interrupts(self) -> None:
        """Adds the interrupts of the command line to the agent's; a name that is no node never stops a run. There is
        always a place for checkpoints, so that no run has to begin again (`cli/Q-7`)."""
        options, graph = self.options, self.graph
        self.added: set[str] = set()
        self.borrowed: tuple[list[Any], Any] | None = None
        for names, known in (
            (options.interrupt_before, graph.interrupt_before),
            (options.interrupt_after, graph.interrupt_after),
        ):
            for name in filter(None, (part.strip() for part in (names or "").split(","))):
                if name not in known:
                    known.append(name)
                    self.added.add(name)
        if options.checkpoint_dir:
            graph.checkpoint_dir = options.checkpoint_dir
            self.engine._checkpoint_dir = options.checkpoint_dir
        elif self.added and graph.checkpoint_dir is None and graph.checkpointer is None:
            import tempfile

            graph.checkpoint_dir = tempfile.mkdtemp(prefix="tea_checkpoint_")

    def begin_at(self, checkpoint: dict[str, Any]) -> None:
        """Takes the interrupt that a checkpoint tells of for one of the graph's until the first event, for the library
        reads from its lists whether the node has run already."""
        kind, node = checkpoint.get("interrupt"), checkpoint.get("node")
        if kind in ("before", "after"):
            known = getattr(self.graph, f"interrupt_{kind}")
            if node not in known:
                known.append(node)
                self.borrowed = (known, node)

    def emit(self, event_type: str, **fields: Any) -> None:
        write_event(self.out, event_type, fields)

    def run(self, state: dict[str, Any], checkpoint: str | None = None) -> int:
        """Runs to the end, over all interrupts; the exit code."""
        from contextlib import nullcontext, redirect_stdout

        with redirect_stdout(sys.stderr) if self.stream else nullcontext():
            while True:
                interrupt = self._events(state, checkpoint)
                if interrupt is None:
                    return 0
                checkpoint = interrupt.get("checkpoint_path")
                if checkpoint is None:
                    raise Failure(
                        f"Error: the interrupt at node '{interrupt.get('node')}' left no checkpoint"
                    )
                state = self._after_interrupt(interrupt, checkpoint)

    def _events(self, state: dict[str, Any], checkpoint: str | None) -> dict[str, Any] | None:
        """Reports events until the run ends (None) or is interrupted (that event)."""
        events = iter(self.graph.stream(state, checkpoint=checkpoint))
        while True:
            try:
                event = next(events, None)
            except Exception as error:
                raise _raised(error) from error
            if event is None:
                return None
            if self.borrowed is not None:
                known, node = self.borrowed
                known.remove(node)
                self.borrowed = None
            kind = event.get("type")
            if kind in INTERRUPTS:
                self._note_kind(event)
                self._report_interrupt(event)
                return event
            if kind == "state":
                self._report_node(event)
            elif kind == "error":
                self._report_error(event)
            elif kind == "http_response":
                self._report_response(event)
            elif kind == "final":
                self.finish("Completed", event.get("state"))

    def _note_kind(self, event: dict[str, Any]) -> None:
        """Writes into the checkpoint whether the run stopped before or after its node: `resume` cannot tell it from
        the agent where the interrupt is one of the command line, and would run the node twice or never."""
        path, kind = event.get("checkpoint_path"), event.get("type")
        known = event.get("node") not in self.added or self.graph.checkpointer is not None
        if known or path is None or kind not in ("interrupt_before", "interrupt_after"):
            return
        record = load_checkpoint(path)
        record["interrupt"] = kind.removeprefix("interrupt_")
        self.graph._write_checkpoint(path, record)

    def _report_node(self, event: dict[str, Any]) -> None:
        if self.stream:
            self.emit("node_complete", node=event.get("node"), state=event.get("state"))
        elif self.loud:
            print(f"{colour(32, '✓')} {event.get('node')}", flush=True)

    def _report_interrupt(self, event: dict[str, Any]) -> None:
        node, state = event.get("node"), event.get("state")
        if self.stream:
            self.emit("interrupt", node=node, state=state, checkpoint=event.get("checkpoint_path"))
        elif self.loud:
            print(f"{colour(33, '⏸')}  Interrupt at: {node}\n   State: {to_json(state, 2)}", flush=True)

    def _report_error(self, event: dict[str, Any]) -> NoReturn:
        node, error = event.get("node"), event.get("error")
        if self.stream:
            self.emit("error", node=node, error=str(error))
        elif self.loud:
            print(f"{colour(31, '✗')} Error at {node}: {error}", flush=True)
        raise Failure()

    def _report_response(self, event: dict[str, Any]) -> None:
        if self.stream:
            fields = ("node", "status", "body", "headers", "state")
            self.emit("http_response", **{name: event.get(name) for name in fields})
        elif self.loud:
            print(f"\nResponse {event.get('status')}: {to_json(event.get('body'), 2)}", flush=True)

    def finish(self, title: str, state: Any) -> None:
        """Writes the final state where it is wanted."""
        path = self.options.output_file
        if path:
            write_file(path, to_json(state, 2))
            if self.loud:
                print(f"\nOutput written to: {path}")
        if self.stream:
            self.emit("complete", state=state)
        elif self.loud:
            print(
                f"\n{RULE}\n{colour(32, '✓')} {title}\n{RULE}\nFinal state: {to_json(state, 2)}", flush=True
            )

    def _after_interrupt(self, event: dict[str, Any], checkpoint: str) -> dict[str, Any]:
        """The state to go on with."""
        if self.options.auto_continue:
            if self.loud:
                print("   (auto-continuing...)", flush=True)
            return {}
        if is_interactive_terminal():
            state = handle_interrupt_interactive(event, self.options.checkpoint_dir or "./checkpoints")
            if state is None:
                raise Failure()
            return state
        raise Failure(
            f"Execution interrupted at node: {event.get('node')}\nCheckpoint saved: {checkpoint}\n"
            f"Go on with: tea resume {checkpoint} --workflow {self.file}",
            INTERRUPTED,
        )

    def run_scoped(self, state: dict[str, Any]) -> int:
        """Runs from one node until before another."""
        entry = self.options.entry_point or "__start__"
        leave = self.options.exit_point or "__end__"
        self.stream = False
        self.loud = not self.options.quiet
        if self.loud:
            scope = f"Running scoped execution: {entry} → (stop before {leave})"
            banner(f"{scope}\nWorkflow: {self.file}", state)
        try:
            result = self.graph.execute_scoped(initial_state=state, entry_point=entry, exit_point=leave)
        except Exception as error:
            raise _raised(error) from error
        failed = result.get("_scoped_error")
        if isinstance(failed, dict):
            raise Failure(f"Error in node '{failed.get('node')}': {failed.get('error')}")
        self.finish("Scoped execution completed", result)
        return 0


def _raised(error: Exception) -> Failure:
    """An error of a run that is raised instead of being an event."""
    import logging

    logging.getLogger(__name__).debug("the run failed", exc_info=error)
    details = getattr(error, "errors", None)
    if type(error).__name__ == "ValidationError" and isinstance(details, list):
        shown = to_json([d.to_dict() if hasattr(d, "to_dict") else str(d) for d in details], 2)
        return Failure(f"Error: the input does not fit input_schema: {shown}")
    return Failure(f"Error: {error}")


def banner(text: str, state: dict[str, Any]) -> None:
    print(f"{RULE}\n{text}\n{RULE}")
    if state:
        print(f"\nInitial state: {to_json(state, 2)}\n")
    sys.stdout.flush()


def handle_interrupt_interactive(
    event: dict[str, Any], checkpoint_dir: str | os.PathLike[str]
) -> dict[str, Any] | None:
    """Asks on the terminal what to do at an interrupt: the state to go on with, or None to end.

    The run's own checkpoint is named if there is one, otherwise one is written into `checkpoint_dir`.
    """
    node = event.get("node")
    state: dict[str, Any] = event.get("state", {})
    path = event.get("checkpoint_path")
    if path is None:
        path = _save_checkpoint(node, state, checkpoint_dir)
    print(f"\nCheckpoint saved: {path}\n\nReview the state above. Options:")
    print("  [c] Continue with current state\n  [u] Update state before continuing\n  [a] Abort execution")
    choice = input("\nChoice: ").strip().lower()
    if choice == "c":
        return state
    if choice == "a":
        print("\nExecution aborted by user.")
        return None
    if choice != "u":
        print(f"\nInvalid choice: {choice}. Aborting.")
        return None
    print("\nEnter state updates as JSON (or press Enter to skip):")
    line = input().strip()
    if not line:
        return state
    try:
        update = json.loads(line)
    except ValueError as error:
        error_line(f"Error: Invalid JSON - {error}")
        return None
    if not isinstance(update, dict):
        error_line("Error: State updates must be a JSON object")
        return None
    print("State updated. Resuming execution...")
    return deep_merge(dict(state), update)


def _save_checkpoint(node: Any, state: Any, directory: str | os.PathLike[str]) -> str:
    import time

    from ..checkpoint_files import write_checkpoint

    milliseconds = int(time.time() * 1000)
    os.makedirs(directory, exist_ok=True)
    path = os.path.join(directory, f"{node}_{milliseconds}.pkl")
    record = {"state": state, "node": node, "config": {}, "timestamp": milliseconds, "version": "1.0"}
    write_checkpoint(path, record)
    return path
