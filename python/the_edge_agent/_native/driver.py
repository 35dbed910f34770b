"""Pulls a run from the library and answers it: calls functions, yields events, stores checkpoints.

The library decides what happens next; this module knows only how it is done in Python. States never leave Python.
"""

from __future__ import annotations

from _thread import get_ident
from sys import getrefcount
from typing import TYPE_CHECKING, Any

from .calls import NO_ARGUMENTS, STATE_ONLY, invoke
from .graph import Condition, Twin
from .host import flows, kept, new_id
from .library import NULL, call, encode, error_of, ffi, lib, parked, text

if TYPE_CHECKING:
    from collections.abc import Generator

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
REQUEST = int(lib.TEA_ITEM_REQUEST)

ANSWER_START = int(lib.TEA_ANSWER_START)
ANSWER_DONE = int(lib.TEA_ANSWER_DONE)
ANSWER_TARGET = int(lib.TEA_ANSWER_TARGET)
ANSWER_FAILED = int(lib.TEA_ANSWER_FAILED)
ANSWER_RESPOND = int(lib.TEA_ANSWER_RESPOND)
ANSWER_STORED = int(lib.TEA_ANSWER_STORED)
ANSWER_KEPT = int(lib.TEA_ANSWER_KEPT)
ANSWER_RAN = int(lib.TEA_ANSWER_RAN)
ANSWER_RAN_TO = int(lib.TEA_ANSWER_RAN_TO)

STOPS = int(lib.TEA_FLAG_STOPS) << 8
INFO = int(lib.TEA_FLAG_INFO) << 8
DEBUG = int(lib.TEA_FLAG_DEBUG) << 8
VALUES = int(lib.TEA_FLAG_VALUES) << 8
RAISES = int(lib.TEA_FLAG_RAISES) << 8

# Slices of a wait, so that signals (Ctrl-C) are handled.
WAIT_MILLISECONDS = 100

# How often a loop is run before the library hears of it.
MOST_TIMES = 100_000

STREAM = int(lib.TEA_MODE_STREAM)
RUNS = int(lib.TEA_MODE_RUNS)


class Flow:
    """A running flow as the library's questions need it: state, graph and its twin."""

    __slots__ = ("graph", "key", "state", "twin", "updates")

    def __init__(self, graph: StateGraph, twin: Twin, state: Any) -> None:
        self.graph = graph
        self.twin = twin
        self.state = state
        # A list takes the updates instead of the state.
        self.updates: list[dict[Any, Any]] | None = None
        self.key = new_id()
        flows[self.key] = self


class Start:
    """Where a run begins: at `__start__`, at a checkpoint, or within a scope."""

    __slots__ = ("interrupt", "node", "scope")

    def __init__(
        self, node: Any = None, interrupt: str | None = None, scope: tuple[Any, Any] | None = None
    ) -> None:
        self.node = node
        self.interrupt = interrupt
        self.scope = scope


FRESH = Start()
_INTERRUPTS = {"before": 1, "after": 2}


def _new_structs() -> tuple[Any, Any, Any]:
    return ffi.new("tea_cursor **"), ffi.new("tea_item *"), ffi.new("tea_error **")


def _open(graph: StateGraph, twin: Twin, stream: bool, flow: Flow, start: Start, out: Any, error: Any) -> Any:
    """The cursor of a new run."""
    key, mode = flow.key, RUNS | STREAM if stream else RUNS
    if start is FRESH:
        status = lib.tea_cursor_new(twin.pointer, mode, key, key, -1, 0, out, error)
    elif start.scope is not None:
        entry, exit_ = (twin.id_of(name) for name in start.scope)
        status = lib.tea_cursor_new_scoped(twin.pointer, key, entry, exit_, out, error)
    else:
        node, interrupt = twin.id_of(start.node), _INTERRUPTS.get(start.interrupt or "", 0)
        status = lib.tea_cursor_new(twin.pointer, mode, key, key, node, interrupt, out, error)
    if status < 0:
        raise error_of(status, error)
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


def evaluate(condition: Condition, state: Any, config: Any, graph: StateGraph) -> Any:
    """The value of a condition. Raises what the condition raises."""
    prepared, _, source, _ = condition
    if prepared[1] is None:
        raise TypeError("None is not a callable object")
    return invoke(prepared, state, config, source, graph, results=False)


def follow(condition: Condition, value: Any, graph: StateGraph, twin: Twin) -> int:
    """Where the value of a condition leads: the number of the node plus one, 0 for nowhere. Raises TypeError for an
    unhashable value."""
    _, mapping, _, target = condition
    if mapping:
        target = mapping.get(value)
    elif not value:
        return 0
    # Q10: a falsy target is a match if it is a node; `None` never is one.
    if not target and (target is None or target not in graph._structure.nodes):
        return 0
    number = twin.ids.get(target)
    return (twin.id_of(target) if number is None else number) + 1


def failure_of(details: Any) -> Exception | None:
    """The failure of an item that the engine's own work caused: there is no exception yet. None for a failure that
    is no function's."""
    if not details.json.len:
        return None
    from .agent import exception_of

    return exception_of(text(details.json), text(details.text))


def cause_of(details: Any, cause: BaseException | None) -> BaseException | None:
    """What made a run fail: the exception of a function, or what the engine's own work made of it."""
    if not details.reference:
        return failure_of(details)
    if cause is not None and details.json.len and str(cause) != text(details.text):
        failed = failure_of(details)
        if failed is not None:
            failed.__cause__ = cause
            return failed
    return cause


def raised_of(details: Any) -> BaseException:
    """What TEA_ITEM_RAISE raises."""
    if details.reference:
        exception: BaseException = kept[details.reference]
        return exception
    return failure_of(details) or RuntimeError(text(details.text))


def response_of(details: Any) -> Any:
    """The response of an action of the engine."""
    from .agent import response

    return response(text(details.json))


def drive(
    graph: StateGraph, stream: bool, state: Any, config: Any, start: Start = FRESH
) -> Generator[dict[str, Any], None, None]:
    """Runs a graph and yields its events. `state` is the run's own (no copy is made), as is `config`."""
    twin, structure = graph._twin(), graph._structure
    seen = structure.version
    if seen != twin.seen:
        twin.push(structure)
    functions, names, conditions, ids = twin.functions, twin.names, twin.conditions, twin.ids
    flow = Flow(graph, twin, state)
    held = getrefcount(state)
    cursor = NULL
    pool: Pool | None = None
    cause: BaseException | None = None
    # Small structs of the library are expensive to make: a run takes over those of an earlier one.
    out, details, error = structs = twin.spare.pop() if twin.spare else _new_structs()
    try:
        cursor = _open(graph, twin, stream, flow, start, out, error)
        step, waiting, levels = lib.tea_cursor_step, parked, getattr(graph.logger, "_cache", {})
        refusal, answer = None, ANSWER_START
        plain = graph._parallel_config is None and graph.max_workers is None and "max_workers" not in config
        if not plain and start.scope is None:
            refusal = graph._executor_refusal(config)
            if refusal is not None:
                answer |= 1 << 16
        while True:
            # What may have changed since: structure, interrupts, log level. All of it counts at every step.
            if graph._structure.version != seen:
                structure = graph._structure
                twin.push(structure)
                seen = structure.version
            if graph.interrupt_before or graph.interrupt_after:
                answer |= STOPS
            # logging keeps its decisions in this cache; it is empty after every change of a level.
            if 20 not in levels or levels[20]:
                records = record_flags(graph)
                answer |= records
            else:
                records = 0
            item = step(cursor, answer, details, error)
            if waiting:
                raise_parked()
            answer = ANSWER_DONE
            kind = item & 0xFF
            if kind == CALL:
                prepared = functions[item >> 8]
                plan, function = prepared
                try:
                    if plan is STATE_ONLY:
                        result = function(state)
                    elif plan is NO_ARGUMENTS:
                        result = function()
                    else:
                        result = invoke(prepared, state, config, names[item >> 8], graph)
                    if type(result) is dict or isinstance(result, dict):
                        state.update(result)
                    else:
                        state["result"] = result
                except Exception as exception:
                    cause = exception
                    answer = graph._answer_failure(cursor, exception)
            elif kind == CALLS:
                run, condition, again = twin.runs.get(item) or twin.calls(cursor, item)
                done = times = 0
                while not done:
                    for prepared, node in run:
                        plan, function = prepared
                        try:
                            if plan is STATE_ONLY:
                                result = function(state)
                            elif plan is NO_ARGUMENTS:
                                result = function()
                            else:
                                result = invoke(prepared, state, config, node, graph)
                            if type(result) is dict or isinstance(result, dict):
                                state.update(result)
                            else:
                                state["result"] = result
                        except Exception as exception:
                            cause = exception
                            answer = graph._answer_failure(cursor, exception) | done << 16
                            done = -1
                            break
                        done += 1
                        if stream:
                            yield {"type": "state", "node": node, "state": state.copy()}
                        if (
                            graph._structure.version != seen
                            or graph.interrupt_before
                            or graph.interrupt_after
                            or 20 not in levels
                            or levels[20]
                        ):
                            answer = ANSWER_RAN | done << 16
                            break
                    else:
                        if condition is None:
                            answer = ANSWER_RAN | done << 16
                            break
                        plan, function = condition[0]
                        if plan is STATE_ONLY:
                            value = function(state)
                        else:
                            value = evaluate(condition, state, config, graph)
                        # The common case of `follow`, without a call.
                        mapping = condition[1]
                        number = ids.get(mapping.get(value)) if mapping else None
                        target = follow(condition, value, graph, twin) if number is None else number + 1
                        if (
                            target == again
                            and times < MOST_TIMES
                            and graph._structure.version == seen
                            and not (graph.interrupt_before or graph.interrupt_after)
                            and 20 in levels
                            and not levels[20]
                        ):
                            times += 1
                            done = 0
                        else:
                            answer = ANSWER_RAN_TO | target << 16 | times << 41
            elif kind == CONDITION:
                condition = conditions[item >> 8]
                plan, function = condition[0]
                plain = plan is STATE_ONLY
                value = function(state) if plain else evaluate(condition, state, config, graph)
                answer = ANSWER_TARGET | follow(condition, value, graph, twin) << 16
                if records & DEBUG:
                    tell_choice(cursor, value, graph.log_state_values)
            elif kind == STATE:
                yield {"type": "state", "node": names[item >> 8], "state": state.copy()}
            elif kind == REQUEST:
                try:
                    answer = graph._answer_request(cursor, details, state, config, names[details.node])
                except Exception as exception:
                    cause = exception
                    answer = graph._answer_failure(cursor, exception)
            elif item < 0:
                raise error_of(item, error)
            elif kind == FINAL:
                if pool is not None:
                    pool.close()
                # Nobody else has got hold of the state: it need not be copied for the event.
                free = type(state) is dict and getrefcount(state) <= held
                yield graph._final_event(stream, state, start is not FRESH, free)
                return
            elif kind == STORE:
                when = "after" if details.flag else "before"
                path = graph._auto_save_checkpoint(state, names[details.node], config, when)
                answer = ANSWER_STORED
            elif kind == INTERRUPT:
                suffix = ("_after" if details.flag else "_before") if stream else ""
                yield {
                    "type": "interrupt" + suffix,
                    "node": names[details.node],
                    "state": state.copy(),
                    "checkpoint_path": path,
                }
            elif kind == ERROR:
                # A cause is told by its reference; the library knows its text only in UTF-8.
                failed = cause_of(details, cause)
                if graph.raise_exceptions:
                    raise RuntimeError(text(details.raised)) from failed
                message = text(details.text) if failed is None or "_agent" in graph.__dict__ else str(failed)
                node = names[details.node]
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
                first, source = names[details.node], names[details.other]
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
                response = response_of(details) if details.json.len else cause
                yield graph._response_event(response, names[details.node], state)
            elif kind == RAISE:
                raise raised_of(details)
            elif kind == UNKNOWN_NODE:
                raise KeyError(f"Node '{names[details.node]}' not found in the graph")
    finally:
        if pool is not None:
            pool.close()
        del flows[flow.key]
        lib.tea_cursor_free(cursor)
        twin.spare.append(structs)
        if parked:
            parked.pop(get_ident(), None)
