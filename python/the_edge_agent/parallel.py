"""Settings, results and reliability objects of parallel branches.

The engine runs the branches; this module holds what a user hands in (configuration, callbacks,
cancellation tokens) and gets back (results, circuit state). It is loaded on demand only.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback as _traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from .parallel_executors import RemoteConfig

__all__ = [
    "CallbackManager",
    "CancellationToken",
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitBreakerRegistry",
    "CircuitOpenError",
    "CircuitState",
    "ParallelConfig",
    "ParallelFlowCallback",
    "ParallelFlowContext",
    "ParallelFlowResult",
    "RetryExhaustedError",
    "RetryPolicy",
]

logger = logging.getLogger("the_edge_agent.parallel")


@dataclass
class RetryPolicy:
    """When a failed branch is tried again, and after which delay (seconds, exponential, no jitter)."""

    max_retries: int = 0
    base_delay: float = 1.0
    max_delay: float = 60.0
    backoff_multiplier: float = 2.0
    retry_on: set[type[BaseException]] | None = None
    max_stored_errors: int = 5

    def should_retry(self, exception: BaseException, attempt: int) -> bool:
        """Whether attempt number `attempt` (from 0), which ended with `exception`, is followed by another.

        `retry_on=None` accepts every exception, an empty set none.
        """
        if attempt >= self.max_retries:
            return False
        return self.retry_on is None or isinstance(exception, tuple(self.retry_on))

    def get_delay(self, attempt: int) -> float:
        """Seconds to wait after attempt number `attempt` (from 0), at most `max_delay`."""
        try:
            delay = self.base_delay * self.backoff_multiplier**attempt
        except OverflowError:
            return self.max_delay
        return min(delay, self.max_delay)


@dataclass
class CircuitBreakerConfig:
    """Limits of a circuit breaker: failures until it opens, seconds until a trial, calls in a trial."""

    failure_threshold: int = 5
    reset_timeout: float = 30.0
    half_open_max_calls: int = 1


@dataclass
class ParallelConfig:
    """Settings of a parallel edge or of all parallel edges of a graph. Durations are in seconds.

    `timeout_seconds` limits one branch, `timeout_total` all branches of a join; `None` means no limit.
    `strategy` is the name of a registered executor and counts on the graph's own configuration only.
    """

    timeout_seconds: float | None = None
    timeout_total: float | None = None
    fail_fast: bool = False
    retry_policy: RetryPolicy | None = None
    circuit_breaker: CircuitBreakerConfig | None = None
    include_traceback: bool = False
    strategy: str = "thread"
    max_workers: int | None = None
    remote_config: RemoteConfig | None = None


@dataclass
class ParallelFlowContext:
    """What a callback is told about its branch. `start_time` is in Unix seconds."""

    branch: str
    fan_in_node: str
    state_snapshot: dict[str, Any]
    start_time: float
    config: ParallelConfig | None = None
    graph_name: str | None = None


@dataclass
class ParallelFlowResult:
    """Outcome of one branch.

    Reads like a mapping too: `result["key"]` looks among the fields first, then in `state`.
    `attempt_errors` holds `{"attempt", "error", "error_type"}` per failed attempt.
    """

    branch: str
    success: bool
    state: dict[str, Any] | None = None
    error: str | None = None
    error_type: str | None = None
    traceback: str | None = None
    timeout: bool = False
    timing_ms: float = 0.0
    retry_count: int = 0
    circuit_state: str | None = None
    attempt_errors: list[dict[str, Any]] = field(default_factory=list)
    exit_code: int | None = None

    def __getitem__(self, key: str) -> Any:
        if isinstance(key, str):
            if key in _RESULT_FIELDS:
                return getattr(self, key)
            if self.state is not None and key in self.state:
                return self.state[key]
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        return key in _RESULT_FIELDS or (self.state is not None and key in self.state)

    def get(self, key: str, default: Any = None) -> Any:
        """`self[key]`, or `default` if there is no such field or state key."""
        try:
            return self[key]
        except KeyError:
            return default

    def keys(self) -> list[str]:
        """Field names in field order, then the keys of `state`."""
        return [*_RESULT_FIELDS, *(self.state or ())]

    def to_dict(self) -> dict[str, Any]:
        """The fields as a plain dict in field order; `state` and `attempt_errors` are not copied."""
        return {name: getattr(self, name) for name in _RESULT_FIELDS}

    @classmethod
    def from_success(
        cls,
        branch: str,
        state: dict[str, Any] | None,
        timing_ms: float,
        retry_count: int = 0,
        circuit_state: str | None = None,
    ) -> ParallelFlowResult:
        """Result of a branch that reached its fan-in node."""
        return cls(
            branch=branch,
            success=True,
            state=state,
            timing_ms=timing_ms,
            retry_count=retry_count,
            circuit_state=circuit_state,
        )

    @classmethod
    def from_error(
        cls,
        branch: str,
        exception: BaseException,
        state: dict[str, Any] | None,
        timing_ms: float,
        include_traceback: bool = False,
        retry_count: int = 0,
        attempt_errors: list[dict[str, Any]] | None = None,
        circuit_state: str | None = None,
    ) -> ParallelFlowResult:
        """Result of a failed branch. The traceback is that of the exception being handled right now."""
        return cls(
            branch=branch,
            success=False,
            state=state,
            error=str(exception),
            error_type=type(exception).__name__,
            traceback=_traceback.format_exc() if include_traceback else None,
            timing_ms=timing_ms,
            retry_count=retry_count,
            circuit_state=circuit_state,
            attempt_errors=attempt_errors or [],
        )

    @classmethod
    def from_timeout(
        cls,
        branch: str,
        state: dict[str, Any] | None,
        timing_ms: float,
        timeout_seconds: float,
        retry_count: int = 0,
        circuit_state: str | None = None,
    ) -> ParallelFlowResult:
        """Result of a branch that was not done in time."""
        return cls(
            branch=branch,
            success=False,
            state=state,
            error=f"Flow timed out after {timeout_seconds}s",
            error_type="TimeoutError",
            timeout=True,
            timing_ms=timing_ms,
            retry_count=retry_count,
            circuit_state=circuit_state,
        )

    @classmethod
    def from_circuit_open(cls, branch: str, circuit_name: str) -> ParallelFlowResult:
        """Result of a branch that was not run because its circuit breaker is open."""
        return cls(
            branch=branch,
            success=False,
            error=f"Circuit breaker '{circuit_name}' is open",
            error_type="CircuitOpenError",
            circuit_state=CircuitState.OPEN.value,
        )


_RESULT_FIELDS: tuple[str, ...] = tuple(f.name for f in fields(ParallelFlowResult))


class CircuitState(Enum):
    """States of a circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitOpenError(Exception):
    """A request was refused because the circuit breaker `circuit_name` is open."""

    def __init__(self, circuit_name: str) -> None:
        super().__init__(f"Circuit breaker '{circuit_name}' is open")
        self.circuit_name = circuit_name

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.circuit_name,))


class RetryExhaustedError(Exception):
    """All `attempts` of a branch failed; `errors` lists the stored failures."""

    def __init__(self, branch: str, attempts: int, errors: list[dict[str, Any]]) -> None:
        super().__init__(f"All {attempts} retry attempts exhausted for branch '{branch}'")
        self.branch = branch
        self.attempts = attempts
        self.errors = errors

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.branch, self.attempts, self.errors))


StateChangeCallback = Callable[[CircuitState, CircuitState], object]


class CircuitBreaker:
    """Refuses calls after repeated failures until a trial call succeeds. All methods are thread-safe."""

    def __init__(self, config: CircuitBreakerConfig, name: str | None = None) -> None:
        self.config = config
        self.name = name if name is not None else f"circuit_{id(self)}"
        self._lock = threading.RLock()
        self._state = CircuitState.CLOSED
        self._failures = 0
        self._last_failure: float | None = None
        self._half_open_calls = 0
        self._half_open_active = 0
        self._callbacks: list[StateChangeCallback] = []

    @property
    def state(self) -> CircuitState:
        """The present state; an elapsed reset timeout shows only after the next `allow_request`."""
        with self._lock:
            return self._state

    @property
    def failure_count(self) -> int:
        """Failures since the last success or reset."""
        with self._lock:
            return self._failures

    def allow_request(self) -> bool:
        """Whether a call may be made now. In a trial this takes one of the `half_open_max_calls` slots."""
        with self._lock:
            if self._state is CircuitState.CLOSED:
                return True
            if self._state is CircuitState.OPEN:
                elapsed = time.time() - (self._last_failure or 0.0)
                if elapsed < self.config.reset_timeout:
                    return False
                self._half_open_calls = 0
                self._half_open_active = 0
                self._change(CircuitState.HALF_OPEN)
            elif self._half_open_active >= self.config.half_open_max_calls:
                return False
            self._half_open_calls += 1
            self._half_open_active += 1
            return True

    def record_success(self) -> None:
        """Report that an allowed call succeeded: a trial closes the circuit, an open one stays open."""
        with self._lock:
            self._failures = 0
            if self._state is CircuitState.HALF_OPEN:
                self._release_slot()
                self._change(CircuitState.CLOSED)

    def record_failure(self) -> None:
        """Report that an allowed call failed; restarts the reset timer."""
        with self._lock:
            self._failures += 1
            self._last_failure = time.time()
            if self._state is CircuitState.HALF_OPEN:
                self._release_slot()
                self._change(CircuitState.OPEN)
            elif self._state is CircuitState.CLOSED and self._failures >= self.config.failure_threshold:
                self._change(CircuitState.OPEN)

    def reset(self) -> None:
        """Close the circuit and forget all failures."""
        with self._lock:
            self._failures = 0
            self._last_failure = None
            self._half_open_calls = 0
            self._half_open_active = 0
            self._change(CircuitState.CLOSED)

    def get_state_info(self) -> dict[str, Any]:
        """State and counters as plain values; `last_failure_time` is in Unix seconds or `None`."""
        with self._lock:
            return {
                "name": self.name,
                "state": self._state.value,
                "failure_count": self._failures,
                "last_failure_time": self._last_failure,
                "half_open_calls": self._half_open_calls,
                "half_open_active": self._half_open_active,
            }

    def add_state_change_callback(self, callback: StateChangeCallback) -> None:
        """Have `callback(old_state, new_state)` called on a thread of its own after each state change."""
        with self._lock:
            self._callbacks.append(callback)

    def _release_slot(self) -> None:
        self._half_open_active = max(0, self._half_open_active - 1)

    def _change(self, new: CircuitState) -> None:
        old = self._state
        if old is new:
            return
        self._state = new
        logger.info("Circuit '%s' state change: %s -> %s", self.name, old.value, new.value)
        if self._callbacks:
            # On another thread, so that a slow or re-entrant callback cannot hold up the branch.
            threading.Thread(target=_notify, args=(list(self._callbacks), old, new), daemon=True).start()


def _notify(callbacks: list[StateChangeCallback], old: CircuitState, new: CircuitState) -> None:
    for callback in callbacks:
        try:
            callback(old, new)
        except Exception as e:  # user code
            logger.warning("Circuit callback error: %s", e)


class CircuitBreakerRegistry:
    """Circuit breakers by name.

    With `scope="global"` all registries of the process share one table, otherwise each has its own.
    """

    _global_circuits: ClassVar[dict[str, CircuitBreaker]] = {}
    _global_lock = threading.Lock()

    def __init__(self, scope: str = "graph") -> None:
        self.scope = scope
        shared = scope == "global"
        self._circuits = CircuitBreakerRegistry._global_circuits if shared else {}
        self._lock = CircuitBreakerRegistry._global_lock if shared else threading.Lock()

    def get_or_create(self, name: str, config: CircuitBreakerConfig) -> CircuitBreaker:
        """The breaker of that name; made with `config` by the first caller."""
        with self._lock:
            circuit = self._circuits.get(name)
            if circuit is None:
                circuit = self._circuits[name] = CircuitBreaker(config, name)
            return circuit

    def get_circuit(self, name: str) -> CircuitBreaker | None:
        """The breaker of that name, or `None`."""
        with self._lock:
            return self._circuits.get(name)

    def reset_circuit(self, name: str | None = None) -> None:
        """Reset one breaker (an unknown name does nothing), or all with `None`."""
        if name is None:
            self.reset_all_circuits()
            return
        circuit = self.get_circuit(name)
        if circuit is not None:
            circuit.reset()

    def reset_all_circuits(self) -> None:
        """Reset every breaker of this registry."""
        for circuit in self._snapshot().values():
            circuit.reset()

    def get_circuit_states(self) -> dict[str, dict[str, Any]]:
        """`CircuitBreaker.get_state_info` of every breaker, by name."""
        return {name: circuit.get_state_info() for name, circuit in self._snapshot().items()}

    def _snapshot(self) -> dict[str, CircuitBreaker]:
        with self._lock:
            return dict(self._circuits)


class CancellationToken:
    """A flag that user code shares between threads to ask them to stop. Thread-safe."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Set the flag and wake every waiter."""
        self._event.set()

    def is_cancelled(self) -> bool:
        """Whether `cancel` was called since the last `reset`."""
        return self._event.is_set()

    def reset(self) -> None:
        """Clear the flag."""
        self._event.clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until cancelled (`True`) or until `timeout` seconds have passed (`False`)."""
        return self._event.wait(timeout)


@runtime_checkable
class ParallelFlowCallback(Protocol):
    """Observer of branches. An object may define any subset of these methods."""

    def on_flow_start(self, context: ParallelFlowContext) -> None:
        """A branch is about to run."""

    def on_flow_complete(self, context: ParallelFlowContext, result: ParallelFlowResult) -> None:
        """A branch ended, well or badly."""

    def on_flow_error(self, context: ParallelFlowContext, error: BaseException, attempt: int) -> None:
        """Attempt number `attempt` (from 0) failed."""

    def on_flow_timeout(self, context: ParallelFlowContext, timeout_seconds: float) -> None:
        """The join gave up waiting for a branch."""

    def on_flow_retry(
        self, context: ParallelFlowContext, attempt: int, delay: float, error: BaseException
    ) -> None:
        """Retry number `attempt` (from 1) starts after `delay` seconds."""

    def on_circuit_state_change(
        self, context: ParallelFlowContext, old_state: CircuitState, new_state: CircuitState
    ) -> None:
        """The branch's circuit breaker changed its state."""


ErrorHandler = Callable[[object, BaseException], object]


class CallbackManager:
    """Calls observers one after the other, each for at most `timeout` seconds.

    `error_policy` says what an observer's exception does: `log` (a warning), `raise` (it leaves
    `fire_event`), `remove` (the observer is dropped).
    """

    def __init__(
        self,
        callbacks: Iterable[object] | None = None,
        timeout: float = 5.0,
        error_policy: str = "log",
    ) -> None:
        self.callbacks: list[object] = list(callbacks or ())
        self.timeout = timeout
        self.error_policy = error_policy
        self._error_handlers: list[ErrorHandler] = []
        self._lock = threading.Lock()

    def add_callback(self, callback: object) -> None:
        """Add an observer at the end of the list."""
        with self._lock:
            self.callbacks.append(callback)

    def remove_callback(self, callback: object) -> None:
        """Drop an observer; does nothing if it is not in the list."""
        with self._lock:
            if callback in self.callbacks:
                self.callbacks.remove(callback)

    def add_error_handler(self, handler: ErrorHandler) -> None:
        """Have `handler(callback, exception)` called for each failing observer."""
        with self._lock:
            self._error_handlers.append(handler)

    def fire_event(self, method_name: str, *args: Any, **kwargs: Any) -> None:
        """Call `method_name` on every observer that has it, in order of registration."""
        with self._lock:
            callbacks = list(self.callbacks)
        for callback in callbacks:
            method = getattr(callback, method_name, None)
            if callable(method):
                self._call(callback, method_name, method, args, kwargs)

    def _call(
        self,
        callback: object,
        method_name: str,
        method: Callable[..., object],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        raised: list[BaseException] = []

        def run() -> None:
            try:
                method(*args, **kwargs)
            except BaseException as e:  # handed to the caller's thread below
                raised.append(e)

        label = f"{type(callback).__name__}.{method_name}"
        worker = threading.Thread(target=run, name=f"callback-{label}", daemon=True)
        worker.start()
        worker.join(self.timeout)
        if worker.is_alive():
            logger.warning("Callback %s timed out after %ss", label, self.timeout)
            return
        if not raised:
            return
        error = raised[0]
        logger.warning("Callback %s error: %s", label, error)
        self._handle_error(callback, error)

    def _handle_error(self, callback: object, error: BaseException) -> None:
        with self._lock:
            handlers = list(self._error_handlers)
        for handler in handlers:
            try:
                handler(callback, error)
            except Exception as e:  # user code
                logger.debug("Callback error handler failed: %s", e)
        if self.error_policy == "raise":
            raise error
        if self.error_policy == "remove":
            self.remove_callback(callback)

    def fire_flow_start(self, context: ParallelFlowContext) -> None:
        """Fire `on_flow_start`."""
        self.fire_event("on_flow_start", context)

    def fire_flow_complete(self, context: ParallelFlowContext, result: ParallelFlowResult) -> None:
        """Fire `on_flow_complete`."""
        self.fire_event("on_flow_complete", context, result)

    def fire_flow_error(self, context: ParallelFlowContext, error: BaseException, attempt: int) -> None:
        """Fire `on_flow_error`; `attempt` counts from 0."""
        self.fire_event("on_flow_error", context, error, attempt)

    def fire_flow_timeout(self, context: ParallelFlowContext, timeout_seconds: float) -> None:
        """Fire `on_flow_timeout`."""
        self.fire_event("on_flow_timeout", context, timeout_seconds)

    def fire_flow_retry(
        self, context: ParallelFlowContext, attempt: int, delay: float, error: BaseException
    ) -> None:
        """Fire `on_flow_retry`; `attempt` counts from 1, `delay` is in seconds."""
        self.fire_event("on_flow_retry", context, attempt, delay, error)

    def fire_circuit_state_change(
        self, context: ParallelFlowContext, old_state: CircuitState, new_state: CircuitState
    ) -> None:
        """Fire `on_circuit_state_change`."""
        self.fire_event("on_circuit_state_change", context, old_state, new_state)
