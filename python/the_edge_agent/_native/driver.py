"""Pulls a run from the library and answers it: calls functions, yields events, stores checkpoints.

The library decides what happens next; this module knows only how it is done in Python. States never leave Python.
"""

from __future__ import annotations

from _thread import get_ident
from typing import TYPE_CHECKING, Any

from .calls import NO_ARGUMENTS, STATE_ONLY, invoke
from .graph import Condition, Twin
from .host import flows, kept, new_id
from .library import NULL, call, encode, error_of, ffi, lib, parked, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..stategraph import StateGraph
    from .branches import Pool

# The kinds of items and answers as plain numbers: attributes of `lib` cost a look-up each.
CALL = int(lib.TEA_ITEM_CALL)
CONDITION = int(lib.TEA_ITEM_CONDITION)
STATE = int(lib.TEA_ITEM_STATE)
DONE = int(lib.TEA_ITEM_DONE)
STORE = int(lib.TEA_ITEM_STORE)
INTERRUPT = int(lib.TEA_ITEM_INTERRUPT)
ERROR = int(lib.TEA_ITEM_ERROR)
RESPONSE = int(lib.TEA_ITEM_RESPONSE)
FINAL = int(lib.TEA_ITEM_FINAL)
LAUNCH = int(lib.TEA_ITEM_LAUNCH)
WAIT = int(lib.TEA_ITEM_WAIT)
KEPT = int(lib.TEA_ITEM_KEPT)
BRANCH_ERROR = int(lib.TEA_ITEM_BRANCH_ERROR)
OUTCOME = int(lib.TEA_ITEM_OUTCOME)
RAISE = int(lib.TEA_ITEM_RAISE)
UNKNOWN_NODE = int(lib.TEA_ITEM_UNKNOWN_NODE)
CALLS = int(lib.TEA_ITEM_CALLS)

ANSWER_START = int(lib.TEA_ANSWER_START)
ANSWER_DONE = int(lib.TEA_ANSWER_DONE)
ANSWER_TARGET = int(lib.TEA_ANSWER_TARGET)
ANSWER_FAILED = int(lib.TEA_ANSWER_FAILED)
ANSWER_RESPOND = int(lib.TEA_ANSWER_RESPOND)
ANSWER_STORED = int(lib.TEA_ANSWER_STORED)
ANSWER_KEPT = int(lib.TEA_ANSWER_KEPT)
ANSWER_RAN = int(lib.TEA_ANSWER_RAN)

STOPS = int(lib.TEA_FLAG_STOPS) << 8
INFO = int(lib.TEA_FLAG_INFO) << 8
DEBUG = int(lib.TEA_FLAG_DEBUG) << 8
VALUES = int(lib.TEA_FLAG_VALUES) << 8
RAISES = int(lib.TEA_FLAG_RAISES) << 8

# Slices of a wait, so that signals (Ctrl-C) are handled.
WAIT_MILLISECONDS = 100

_new_pointer = ffi.new


class Flow:
    """A running flow as the library's questions need it: state, graph and its twin."""

    __slots__ = ("graph", "key", "state", "twin")

    def __init__(self, graph: StateGraph, twin: Twin, state: Any) -> None:
        self.graph = graph
        self.twin = twin
        self.state = state
        self.key = new_id()
        flows[self.key] = self


class Start:
    """Where a run begins: at `__start__`, at a checkpoint, or within a scope."""

    __slots__ = ("interrupt", "node", "scope")

    def __init__(self, node: Any = None, interrupt: str | None = None, scope: tuple[Any, Any] | None = None) -> None:
        self.node = node
        self.interrupt = interrupt
        self.scope = scope


FRESH = Start()
_INTERRUPTS = {"before": 1, "after": 2}


def _open(graph: StateGraph, twin: Twin, stream: bool, flow: Flow, start: Start) -> Any:
    """The cursor of a new run."""
    out = _new_pointer("tea_cursor **")
    if start.scope is not None:
        entry, exit_ = (twin.id_of(name) for name in start.scope)
        call(lib.tea_cursor_new_scoped, twin.pointer, flow.key, entry, exit_, out)
    else:
        resumed = start is not FRESH
        node = twin.id_of(start.node) if resumed else -1
        interrupt = _INTERRUPTS.get(start.interrupt or "", 0)
        call(lib.tea_cursor_new, twin.pointer, int(stream), flow.key, flow.key, node, interrupt, out)
    return out[0]


def raise_parked() -> None:
    """Raises what a callback raised on this thread without a way to say so (a log handler, Ctrl-C in it)."""
    exception = parked.pop(get_ident(), None)
    if exception is not None:
        raise exception


def record_flags(graph: StateGraph) -> int:
    """Which records the library has to write."""
    logger = graph.logger
    if not logger.isEnabledFor(20):
        return 0
    flags = INFO
    if logger.isEnabledFor(10):
        flags |= DEBUG
    if graph.log_state_values:
        flags |= VALUES
    return flags


def tell_failure(cursor: Any, error: BaseException, reference: int) -> None:
    """Describes the failure of a function to the library."""
    name, message = encode(type(error).__name__), encode(str(error))
    fatal = not isinstance(error, Exception)
    call(lib.tea_cursor_fail, cursor, reference, name, message, fatal)


def tell_choice(cursor: Any, value: Any, show: bool) -> None:
    """The value of a condition for the record of its edge: of what is no number only the type, unless contents
    may be shown (`Q16`)."""
    if show or value is None or isinstance(value, (bool, int, float)):
        shown = str(value)
    else:
        shown = type(value).__name__
    data = encode(shown)
    call(lib.tea_cursor_note, cursor, data)


def tell_status(cursor: Any, status: Any) -> None:
    """The status of a response, for its record."""
    data = encode(str(status))
    call(lib.tea_cursor_note, cursor, data)


def choose(condition: Condition, state: Any, config: Any, graph: StateGraph, twin: Twin) -> tuple[int, Any]:
    """Evaluates a condition: the payload of the answer (number of the target plus one, 0 for nowhere), and the
    value. Raises what the condition raises, and TypeError for an unhashable value."""
    plan, function = condition.prepared
    if plan is STATE_ONLY:
        value = function(state=state)
    elif plan is NO_ARGUMENTS:
        value = function()
    elif function is None:
        raise TypeError("None is not a callable object")
    else:
        value = invoke(condition.prepared, state, config, condition.source, graph, results=False)
    mapping = condition.mapping
    if mapping:
        target = mapping.get(value)
        # Q10: a falsy target is a match if it is a node; `None` never is one.
        if target is None or (not target and target not in graph._structure.nodes):
            return 0, value
    elif value:
        target = condition.target
    else:
        return 0, value
    known = twin.ids.get(target)
    return (twin.id_of(target) if known is None else known) + 1, value


def drive(
    graph: StateGraph, stream: bool, state: Any, config: Any, start: Start = FRESH
) -> Iterator[dict[str, Any]]:
    """Runs a graph and yields its events. `state` is the run's own (no copy is made), as is `config`."""
    twin, structure = graph._twin(), graph._structure
    if structure.version != twin.seen:
        twin.push(structure)
    flow = Flow(graph, twin, state)
    cursor = NULL
    pool: Pool | None = None
    cause: BaseException | None = None
    try:
        cursor = _open(graph, twin, stream, flow, start)
        call(lib.tea_cursor_allow_runs, cursor)
        error, details = _new_pointer("tea_error **"), _new_pointer("tea_item *")
        step, levels = lib.tea_cursor_step, getattr(graph.logger, "_cache", {})
        refusal = None if start.scope is not None else graph._executor_refusal(config)
        answer = ANSWER_START if refusal is None else ANSWER_START | 1 << 16
        while True:
            # What may have changed since: structure, interrupts, log level. All of it counts at every step.
            structure = graph._structure
            if structure.version != twin.seen:
                twin.push(structure)
            if graph.interrupt_before or graph.interrupt_after:
                answer |= STOPS
            # logging keeps its decisions in this cache; it is empty after every change of a level.
            records = 0 if levels.get(20) is False else record_flags(graph)
            item = step(cursor, answer | records, details, error)
            if parked:
                raise_parked()
            answer = ANSWER_DONE
            kind = item & 0xFF
            if kind == CALL:
                node = item >> 8
                prepared = twin.functions[node]
                plan, function = prepared
                try:
                    if plan is STATE_ONLY:
                        result = function(state=state)
                    elif plan is NO_ARGUMENTS:
                        result = function()
                    else:
                        result = invoke(prepared, state, config, twin.names[node], graph)
                    if isinstance(result, dict):
                        state.update(result)
                    else:
                        state["result"] = result
                except Exception as exception:
                    cause = exception
                    answer = graph._answer_failure(cursor, exception)
            elif kind == CALLS:
                done, version = 0, structure.version
                for prepared, node in twin.runs.get(item) or twin.calls(cursor, item):
                    plan, function = prepared
                    try:
                        if plan is STATE_ONLY:
                            result = function(state=state)
                        elif plan is NO_ARGUMENTS:
                            result = function()
                        else:
                            result = invoke(prepared, state, config, node, graph)
                        if isinstance(result, dict):
                            state.update(result)
                        else:
                            state["result"] = result
                    except Exception as exception:
                        cause = exception
                        answer = graph._answer_failure(cursor, exception) | done << 16
                        break
                    done += 1
                    if stream:
                        yield {"type": "state", "node": node, "state": state.copy()}
                    if (
                        graph._structure.version != version
                        or graph.interrupt_before
                        or graph.interrupt_after
                        or levels.get(20) is not False
                    ):
                        answer = ANSWER_RAN | done << 16
                        break
                else:
                    answer = ANSWER_RAN | done << 16
            elif kind == STATE:
                yield {"type": "state", "node": twin.names[item >> 8], "state": state.copy()}
            elif kind == CONDITION:
                payload, value = choose(twin.conditions[item >> 8], state, config, graph, twin)
                answer = ANSWER_TARGET | payload << 16
                if records & DEBUG:
                    tell_choice(cursor, value, graph.log_state_values)
            elif item < 0:
                raise error_of(item, error)
            elif kind == FINAL:
                if pool is not None:
                    pool.close()
                yield graph._final_event(stream, state, start is not FRESH)
            elif kind == STORE:
                when = "after" if details.flag else "before"
                path = graph._auto_save_checkpoint(state, twin.names[details.node], config, when)
                answer = ANSWER_STORED
            elif kind == INTERRUPT:
                suffix = ("_after" if details.flag else "_before") if stream else ""
                yield {
                    "type": "interrupt" + suffix,
                    "node": twin.names[details.node],
                    "state": state.copy(),
                    "checkpoint_path": path,
                }
            elif kind == ERROR:
                # A cause is told by its reference; the library knows its text only in UTF-8.
                failed = cause if details.reference else None
                if graph.raise_exceptions:
                    raise RuntimeError(text(details.raised)) from failed
                message = str(failed) if failed is not None else text(details.text)
                node = twin.names[details.node]
                if start.scope is not None:
                    state["_scoped_error"] = {"node": node, "error": message}
                    return
                result = kept.get(details.result)
                reached = result if isinstance(result, dict) else getattr(result, "state", None)
                yield {"type": "error", "node": node, "error": message, "state": reached or state.copy()}
                return
            elif kind == LAUNCH:
                if pool is None:
                    from .branches import Pool

                    pool = Pool(graph, twin, stream, config)
                first, source = twin.names[details.node], twin.names[details.other]
                settings = structure.successors[source][first].get("parallel_config")
                pool.launch(cursor, first, settings, state)
            elif kind == KEPT:
                yield kept[details.reference]
            elif kind == WAIT:
                while lib.tea_cursor_wait(cursor, WAIT_MILLISECONDS, NULL):
                    pass
            elif kind == DONE:
                if refusal is not None:
                    raise refusal
                return
            elif kind == RESPONSE:
                yield graph._response_event(cause, twin.names[details.node], state)
            elif kind == RAISE:
                raise kept[details.reference]
            elif kind == UNKNOWN_NODE:
                raise KeyError(f"Node '{twin.names[details.node]}' not found in the graph")
    finally:
        if pool is not None:
            pool.close()
        del flows[flow.key]
        lib.tea_cursor_free(cursor)
        if parked:
            parked.pop(get_ident(), None)
