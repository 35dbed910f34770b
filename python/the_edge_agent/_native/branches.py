"""Drives the branches of a run on an executor: one call of `_run` is one branch, on a thread of the executor."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from . import driver
from .calls import invoke
from .driver import Flow, evaluate, follow, record_flags, tell_choice, tell_failure
from .host import flows, keep
from .library import NULL, call, error_of, ffi, lib, text

if TYPE_CHECKING:
    from ..parallel_executors import ParallelExecutor
    from ..stategraph import StateGraph
    from .graph import Twin


class Pool:
    """The executor of one run, opened at the first branch, so that a sequential run starts no thread."""

    def __init__(self, graph: StateGraph, twin: Twin, stream: bool, config: Any) -> None:
        self._graph = graph
        self._twin = twin
        self._stream = stream
        self._config = config
        self._executor: ParallelExecutor | None = None

    def launch(self, cursor: Any, first: Any, settings: Any, state: Any) -> None:
        """Starts the branch that the last item asked for. Raises what copying the state raises (`SG-74`)."""
        graph = self._graph
        refuse_unfinished(first, settings if settings is not None else graph.parallel_config)
        executor = self._open()
        initial = deepcopy(state)
        config = self._config.copy()
        branch = Branch(graph, self._twin, first, initial, config, self._stream)
        out = ffi.new("tea_cursor **")
        try:
            call(lib.tea_cursor_branch, cursor, branch.flow.key, out)
        except BaseException:
            branch.forget()
            raise
        branch.cursor = out[0]
        future = executor.submit(branch.run)
        # Freeing the cursor tells the join about a branch that the executor never ran, or could not.
        future.add_done_callback(lambda _future: branch.forget())

    def _open(self) -> ParallelExecutor:
        if self._executor is None:
            from ..parallel_executors import get_executor

            workers = self._config.get("max_workers", self._graph.max_workers)
            strategy = self._graph.parallel_config.strategy
            executor = get_executor(strategy, max_workers=workers)
            executor.__enter__()
            self._executor = executor
        return self._executor

    def close(self) -> None:
        """Waits for branches that still run (`SG-96`)."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.__exit__(None, None, None)


def refuse_unfinished(first: Any, settings: Any) -> None:
    """Reliability settings come with a later release: until then they are refused, rather than ignored."""
    wanted = [
        name
        for name in ("timeout_seconds", "timeout_total", "fail_fast", "retry_policy", "circuit_breaker")
        if getattr(settings, name, None)
    ]
    if wanted:
        raise NotImplementedError(
            f"parallel branch '{first}': {', '.join(wanted)} of ParallelConfig is not supported yet; "
            "remove the setting to run the branch without it"
        )


class Branch:
    """One branch: its own copy of the state, its own cursor."""

    def __init__(
        self, graph: StateGraph, twin: Twin, first: Any, initial: Any, config: Any, stream: bool
    ) -> None:
        self._graph = graph
        self._twin = twin
        self._first = first
        self._initial = initial
        self._config = config
        self._stream = stream
        self.flow = Flow(graph, twin, initial.copy())
        self.cursor: Any = NULL
        self._error: BaseException | None = None

    def forget(self) -> None:
        """Frees what the library holds. Calling it twice is fine."""
        cursor, self.cursor = self.cursor, NULL
        flows.pop(self.flow.key, None)
        lib.tea_cursor_free(cursor)

    def run(self) -> None:
        """Runs the branch to its end; reports through the library only."""
        graph, twin, cursor, state = self._graph, self._twin, self.cursor, self.flow.state
        error, details = ffi.new("tea_error **"), ffi.new("tea_item *")
        answer = driver.ANSWER_START
        while True:
            if graph._structure.version != twin.seen:
                twin.push(graph._structure)
            if graph.raise_exceptions:
                answer |= driver.RAISES
            item = lib.tea_cursor_step(cursor, answer | record_flags(graph), details, error)
            answer = driver.ANSWER_DONE
            kind = item & 0xFF
            if item < 0:
                raise error_of(item, error)
            if kind == driver.CALL:
                answer = self._call(item >> 8)
            elif kind == driver.CONDITION:
                answer = self._choose(item >> 8)
            elif kind == driver.REQUEST:
                answer = self._answer(details)
            elif kind == driver.STATE:
                answer = self._keep(self._event("parallel_state", twin.names[item >> 8]))
            elif kind == driver.BRANCH_ERROR:
                failed = self._initial if details.flag else state
                event = self._event("parallel_error", self._first)
                event["error"] = text(details.text)
                event["state"] = failed.copy()
                answer = self._keep(event)
            elif kind == driver.OUTCOME:
                answer = self._keep(self._outcome(details))
            else:
                return

    def _event(self, kind: str, node: Any) -> dict[str, Any]:
        event = {"type": kind, "branch": self._first, "node": node}
        if kind == "parallel_state":
            event["state"] = self.flow.state.copy()
        return event

    def _keep(self, value: Any) -> int:
        return driver.ANSWER_KEPT | keep(value) << 16

    def _call(self, node: int) -> int:
        state = self.flow.state
        prepared = self._twin.functions[node]
        assert prepared is not None
        try:
            result = invoke(prepared, state, self._config, self._twin.names[node], self._graph)
            if isinstance(result, dict):
                state.update(result)
            else:
                state["result"] = result
        except BaseException as exception:
            return self._failed(exception)
        return driver.ANSWER_DONE

    def _choose(self, reference: int) -> int:
        condition = self._twin.conditions[reference]
        try:
            value = evaluate(condition, self.flow.state, self._config, self._graph)
            number = follow(condition, value, self._graph, self._twin)
        except BaseException as exception:
            return self._failed(exception)
        if self._graph.logger.isEnabledFor(10):
            tell_choice(self.cursor, value, self._graph.log_state_values)
        return driver.ANSWER_TARGET | number << 16

    def _answer(self, details: Any) -> int:
        node = self._twin.names[details.node]
        try:
            return self._graph._answer_request(self.cursor, details, self.flow.state, self._config, node)
        except BaseException as exception:
            return self._failed(exception)

    def _failed(self, exception: BaseException) -> int:
        self._error = exception
        # Kept for the join, which raises what is no ordinary error (`PAR-41`).
        reference = 0 if isinstance(exception, Exception) else keep(exception)
        tell_failure(self.cursor, exception, reference)
        return driver.ANSWER_FAILED

    def _outcome(self, details: Any) -> Any:
        state = self._initial.copy() if details.flag & 1 else self.flow.state
        if details.flag & 2:
            return state
        from ..parallel import ParallelFlowResult

        failed = details.text.len or details.raised.len
        result = ParallelFlowResult(
            branch=self._first, success=not failed, state=state, timing_ms=details.milliseconds
        )
        if failed:
            result.error, result.error_type = text(details.text), text(details.raised)
        return result
