"""`the_edge_agent.parallel` and `the_edge_agent.parallel_executors`: the classes by themselves."""

from __future__ import annotations

import contextvars
import copy
import dataclasses
import logging
import pickle
import threading
import time
from typing import Any

import pytest

import the_edge_agent as tea
from the_edge_agent import parallel, parallel_executors
from the_edge_agent.parallel import (
    CallbackManager,
    CancellationToken,
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerRegistry,
    CircuitOpenError,
    CircuitState,
    ParallelConfig,
    ParallelFlowCallback,
    ParallelFlowContext,
    ParallelFlowResult,
    RetryExhaustedError,
    RetryPolicy,
)
from the_edge_agent.parallel_executors import (
    PickleValidationError,
    RemoteExecutionError,
    SCPTransferError,
)
from the_edge_agent.serialization import dumps

FIELDS = [
    "branch",
    "success",
    "state",
    "error",
    "error_type",
    "traceback",
    "timeout",
    "timing_ms",
    "retry_count",
    "circuit_state",
    "attempt_errors",
    "exit_code",
]


def wait_for(condition: Any, seconds: float = 10.0) -> None:
    """Wait until something done on another thread shows."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.005)


class TestSurface:
    """Import paths."""

    @pytest.mark.parametrize("module", [parallel, parallel_executors])
    def test_same_objects(self, module: Any) -> None:
        """PAR-1, PAR-2: the package exports the very classes of the modules."""
        only_in_module = {"RemoteExecutor", "RemoteConfig", "RemoteExecutionError", "SCPTransferError"}
        for name in set(module.__all__) - only_in_module:
            assert getattr(tea, name) is getattr(module, name)


class TestSettings:
    """Configuration classes."""

    def test_parallel_config(self) -> None:
        """PAR-4: order, defaults, mutability, equality."""
        assert [(f.name, f.default) for f in dataclasses.fields(ParallelConfig)] == [
            ("timeout_seconds", None),
            ("timeout_total", None),
            ("fail_fast", False),
            ("retry_policy", None),
            ("circuit_breaker", None),
            ("include_traceback", False),
            ("strategy", "thread"),
            ("max_workers", None),
            ("remote_config", None),
        ]
        config = ParallelConfig(1, 2, True)
        assert config == ParallelConfig(timeout_seconds=1, timeout_total=2, fail_fast=True)
        config.strategy = "process"
        assert "strategy='process'" in repr(config) and config != ParallelConfig(1, 2, True)

    def test_other_defaults(self) -> None:
        """PAR-5, PAR-6, PAR-7."""
        assert dataclasses.astuple(RetryPolicy()) == (0, 1.0, 60.0, 2.0, None, 5)
        assert dataclasses.astuple(CircuitBreakerConfig()) == (5, 30.0, 1)
        context = ParallelFlowContext("b", "j", {"x": 1}, 5.0)
        assert (context.config, context.graph_name) == (None, None)

    def test_delays(self) -> None:
        """PAR-5: exponential, capped, no jitter; a huge attempt number is no overflow."""
        policy = RetryPolicy(base_delay=1, backoff_multiplier=2, max_delay=60)
        assert [policy.get_delay(i) for i in (0, 1, 2, 3, 10)] == [1, 2, 4, 8, 60]
        assert RetryPolicy().get_delay(100_000) == 60

    @pytest.mark.parametrize(
        ("retry_on", "error", "expected"),
        [
            (None, KeyError("x"), True),
            ({ValueError}, ValueError("x"), True),
            ({ValueError}, UnicodeError("x"), True),
            ({ValueError, OSError}, KeyError("x"), False),
            (set(), ValueError("x"), False),
        ],
    )
    def test_should_retry(self, retry_on: Any, error: Exception, expected: bool) -> None:
        """PAR-5: by class and by number of attempts."""
        policy = RetryPolicy(max_retries=2, retry_on=retry_on)
        assert [policy.should_retry(error, i) for i in (0, 1, 2, 3)] == [expected, expected, False, False]

    def test_token(self) -> None:
        """PAR-8: `wait` wakes at once on `cancel`."""
        token = CancellationToken()
        assert not token.is_cancelled() and token.wait(0.01) is False
        threading.Timer(0.05, token.cancel).start()
        assert token.wait(30) is True and token.is_cancelled()
        token.reset()
        assert not token.is_cancelled() and token.wait(0) is False


class TestResult:
    """`ParallelFlowResult`."""

    def result(self) -> ParallelFlowResult:
        return ParallelFlowResult("b", True, {"k": 1, "branch": "hidden", "timeout": "hidden"})

    def test_fields(self) -> None:
        """PAR-10: order and defaults; lists are not shared."""
        assert [f.name for f in dataclasses.fields(ParallelFlowResult)] == FIELDS
        made = ParallelFlowResult("b", True)
        assert list(made.to_dict().values()) == [
            "b",
            True,
            None,
            None,
            None,
            None,
            False,
            0.0,
            0,
            None,
            [],
            None,
        ]
        assert made.attempt_errors is not ParallelFlowResult("b", True).attempt_errors

    def test_reading(self) -> None:
        """PAR-11, PAR-65: fields win over state keys."""
        r = self.result()
        assert (r["k"], r["branch"], r["timeout"], r["state"], r["error"]) == (1, "b", False, r.state, None)
        assert (r.get("k"), r.get("no"), r.get("no", 5), r.get(3, 4)) == (1, None, 5, 4)  # type: ignore[arg-type]
        assert ("k" in r, "error" in r, "no" in r, 0 in r, None in r) == (True, True, False, False, False)
        without = ParallelFlowResult("b", False)
        assert "k" not in without and without.get("k", 1) == 1

    @pytest.mark.parametrize("key", ["no", 0, None, ("k",)])
    def test_missing_key(self, key: Any) -> None:
        """PAR-11: `KeyError` with the key."""
        with pytest.raises(KeyError) as caught:
            self.result()[key]
        assert caught.value.args == (key,)

    def test_as_mapping(self) -> None:
        """PAR-11: `keys`, `dict(r)`, `{**r}`; no iteration, no length, no hash."""
        r = self.result()
        assert r.keys() == [*FIELDS, "k", "branch", "timeout"]
        assert dict(r) == {**r} == {**r.to_dict(), "k": 1}  # type: ignore[call-overload]
        with pytest.raises(KeyError) as caught:
            list(r)  # type: ignore[call-overload]
        assert caught.value.args == (0,)
        with pytest.raises(TypeError):
            hash(r)
        for name in ("items", "values", "__len__"):
            assert not hasattr(r, name)

    def test_copies(self) -> None:
        """PAR-11, PAR-13: equality by fields through pickle and deepcopy; stored by its import path."""
        r = self.result()
        data = pickle.dumps(r)
        assert b"the_edge_agent.parallel" in data and b"ParallelFlowResult" in data
        for other in (pickle.loads(data), copy.deepcopy(r)):
            assert other == r and other.state is not r.state
        r.state = None
        assert r != self.result()

    def test_to_dict(self) -> None:
        """PAR-11, PAR-13: nothing is copied; JSON keys in field order."""
        r = self.result()
        assert r.to_dict()["state"] is r.state and r.to_dict()["attempt_errors"] is r.attempt_errors
        assert dumps(r).startswith('{"branch": "b", "success": true, "state": {"k": 1')

    def test_success_and_circuit(self) -> None:
        """PAR-12."""
        state = {"x": 1}
        made = ParallelFlowResult.from_success("b", state, 1.5, 2, "closed")
        assert made == ParallelFlowResult(
            "b", True, state, timing_ms=1.5, retry_count=2, circuit_state="closed"
        )
        assert made.state is state
        assert ParallelFlowResult.from_circuit_open("b", "c") == ParallelFlowResult(
            "b",
            False,
            error="Circuit breaker 'c' is open",
            error_type="CircuitOpenError",
            circuit_state="open",
        )

    def test_error(self) -> None:
        """PAR-12: the traceback is that of the exception being handled."""
        errors = [{"attempt": 0, "error": "e", "error_type": "E"}]
        try:
            raise ValueError("boom")
        except ValueError as e:
            made = ParallelFlowResult.from_error("b", e, None, 2.0, True, 1, errors, "open")
        assert made.attempt_errors is errors and made.traceback is not None
        assert made.traceback.startswith("Traceback") and made.traceback.endswith("ValueError: boom\n")
        assert (made.error, made.error_type, made.success, made.circuit_state) == (
            "boom",
            "ValueError",
            False,
            "open",
        )
        outside = ParallelFlowResult.from_error("b", KeyError("k"), {}, 0.0, include_traceback=True)
        assert (outside.traceback, outside.error, outside.attempt_errors) == ("NoneType: None\n", "'k'", [])
        assert ParallelFlowResult.from_error("b", KeyError("k"), {}, 0.0).traceback is None

    @pytest.mark.parametrize(("seconds", "text"), [(30.0, "30.0s"), (0, "0s"), (0.25, "0.25s")])
    def test_timeout(self, seconds: float, text: str) -> None:
        """PAR-12: the number is printed as Python prints it."""
        made = ParallelFlowResult.from_timeout("b", None, 5.0, seconds, 1, "closed")
        assert (made.error, made.error_type, made.timeout) == (
            f"Flow timed out after {text}",
            "TimeoutError",
            True,
        )


class TestErrors:
    """Exception classes."""

    @pytest.mark.parametrize(
        ("error", "text", "attributes"),
        [
            (CircuitOpenError("c"), "Circuit breaker 'c' is open", {"circuit_name": "c"}),
            (
                RetryExhaustedError("b", 3, [{"attempt": 0}]),
                "All 3 retry attempts exhausted for branch 'b'",
                {"branch": "b", "attempts": 3, "errors": [{"attempt": 0}]},
            ),
            (
                PickleValidationError("k", 2, TypeError("no")),
                "State key 'k' in flow 2 is not picklable: no",
                {"key": "k", "flow_index": 2},
            ),
            (
                RemoteExecutionError("h", "m", "err"),
                "Remote execution failed on h: m",
                {"host": "h", "stderr": "err"},
            ),
            (
                SCPTransferError("h", "/p", "m"),
                "SCP transfer failed for /p to h: m",
                {"host": "h", "file_path": "/p"},
            ),
        ],
    )
    def test_text_and_attributes(self, error: Exception, text: str, attributes: dict[str, Any]) -> None:
        """PAR-20, PAR-80, PAR-105."""
        assert str(error) == text
        assert {name: getattr(error, name) for name in attributes} == attributes

    @pytest.mark.parametrize("error", [CircuitOpenError("c"), RetryExhaustedError("b", 1, [])])
    def test_pickle(self, error: Exception) -> None:
        """They survive the way from a worker process."""
        other = pickle.loads(pickle.dumps(error))
        assert str(other) == str(error) and vars(other) == vars(error)


class TestCircuit:
    """`CircuitBreaker`: the table of PAR-15."""

    def breaker(self, **settings: Any) -> CircuitBreaker:
        return CircuitBreaker(
            CircuitBreakerConfig(**{"failure_threshold": 2, "reset_timeout": 0.0, **settings})
        )

    def trip(self, breaker: CircuitBreaker) -> None:
        for _ in range(2):
            breaker.record_failure()
        assert breaker.state is CircuitState.OPEN

    def test_opens_at_the_threshold(self) -> None:
        """PAR-15, CLOSED: a success starts the count anew."""
        breaker = self.breaker(reset_timeout=60)
        breaker.record_failure()
        breaker.record_success()
        assert breaker.failure_count == 0 and breaker.allow_request()
        breaker.record_failure()
        assert breaker.state is CircuitState.CLOSED
        breaker.record_failure()
        assert breaker.state is CircuitState.OPEN and not breaker.allow_request()

    def test_open(self) -> None:
        """PAR-15, OPEN: success leaves it open and keeps the time of the failure; a failure counts on."""
        breaker = self.breaker(reset_timeout=60)
        self.trip(breaker)
        at = breaker.get_state_info()["last_failure_time"]
        breaker.record_success()
        assert breaker.state is CircuitState.OPEN and breaker.failure_count == 0
        assert breaker.get_state_info()["last_failure_time"] == at
        breaker.record_failure()
        assert breaker.failure_count == 1 and breaker.get_state_info()["last_failure_time"] >= at

    @pytest.mark.parametrize("calls", [1, 3])
    def test_trial(self, calls: int) -> None:
        """PAR-15, HALF_OPEN: as many calls as configured; success closes."""
        breaker = self.breaker(half_open_max_calls=calls)
        self.trip(breaker)
        assert [breaker.allow_request() for _ in range(calls + 2)] == [True] * calls + [False] * 2
        info = breaker.get_state_info()
        assert (info["state"], info["half_open_calls"], info["half_open_active"]) == (
            "half_open",
            calls,
            calls,
        )
        breaker.record_success()
        assert breaker.state is CircuitState.CLOSED and breaker.failure_count == 0

    def test_failed_trial(self) -> None:
        """PAR-15, HALF_OPEN: a failure opens it again; the next trial counts from zero."""
        breaker = self.breaker()
        self.trip(breaker)
        assert breaker.allow_request()
        breaker.record_failure()
        assert breaker.state is CircuitState.OPEN and breaker.failure_count == 3
        assert breaker.get_state_info()["half_open_active"] == 0
        assert breaker.allow_request() and breaker.get_state_info()["half_open_calls"] == 1

    def test_waits_for_the_reset_timeout(self) -> None:
        """PAR-15: refused before, allowed after."""
        breaker = self.breaker(reset_timeout=0.15)
        self.trip(breaker)
        assert not breaker.allow_request()
        wait_for(breaker.allow_request)
        assert breaker.state is CircuitState.HALF_OPEN

    def test_reset(self) -> None:
        """PAR-15, PAR-16."""
        breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=1), name="c")
        breaker.record_failure()
        breaker.reset()
        assert breaker.get_state_info() == {
            "name": "c",
            "state": "closed",
            "failure_count": 0,
            "last_failure_time": None,
            "half_open_calls": 0,
            "half_open_active": 0,
        }
        assert list(breaker.get_state_info()) == [
            "name",
            "state",
            "failure_count",
            "last_failure_time",
            "half_open_calls",
            "half_open_active",
        ]

    def test_default_name(self) -> None:
        """PAR-15."""
        breaker = self.breaker()
        assert breaker.name == f"circuit_{id(breaker)}"

    def test_callbacks(self, caplog: pytest.LogCaptureFixture) -> None:
        """PAR-17: on another thread, in order, real changes only; a failing one is a warning."""
        breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=1), name="c")
        seen: list[tuple[int, CircuitState, CircuitState, bool]] = []
        main = threading.current_thread()

        def fail(old: CircuitState, new: CircuitState) -> None:
            raise ValueError("boom")

        for i in range(2):
            breaker.add_state_change_callback(
                lambda old, new, i=i: seen.append((i, old, new, threading.current_thread() is main))
            )
        breaker.add_state_change_callback(fail)
        with caplog.at_level(logging.INFO, "the_edge_agent.parallel"):
            breaker.reset()
            breaker.record_failure()
            breaker.record_failure()
            wait_for(lambda: "Circuit callback error: boom" in caplog.messages)
        expected = (CircuitState.CLOSED, CircuitState.OPEN, False)
        assert seen == [(0, *expected), (1, *expected)]
        assert "Circuit 'c' state change: closed -> open" in caplog.messages

    def test_threads(self) -> None:
        """PAR-15: counts are exact under concurrency."""
        breaker = self.breaker(failure_threshold=10**6)
        threads = [
            threading.Thread(target=lambda: [breaker.record_failure() for _ in range(500)]) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert breaker.failure_count == 4000


class TestRegistry:
    """`CircuitBreakerRegistry`."""

    def test_names(self) -> None:
        """PAR-18: the first config wins; unknown names; states."""
        registry = CircuitBreakerRegistry()
        assert registry.scope == "graph" and registry.get_circuit_states() == {}
        first = CircuitBreakerConfig(failure_threshold=1)
        made = registry.get_or_create("a", first)
        assert registry.get_or_create("a", CircuitBreakerConfig()) is made and made.config is first
        assert registry.get_circuit("a") is made and registry.get_circuit("b") is None
        registry.get_or_create("b", CircuitBreakerConfig(failure_threshold=1)).record_failure()
        made.record_failure()
        registry.reset_circuit("no such name")
        registry.reset_circuit("a")
        states = registry.get_circuit_states()
        assert {name: info["state"] for name, info in states.items()} == {"a": "closed", "b": "open"}
        registry.reset_circuit()
        assert registry.get_circuit_states()["b"]["state"] == "closed"

    def test_scopes(self) -> None:
        """PAR-18: `global` is shared by the process, any other scope is not."""
        name = f"shared-{id(self)}"
        one, two = CircuitBreakerRegistry("global"), CircuitBreakerRegistry(scope="global")
        made = one.get_or_create(name, CircuitBreakerConfig())
        assert two.get_circuit(name) is made
        assert CircuitBreakerRegistry("other").get_circuit(name) is None
        own = CircuitBreakerRegistry("other")
        own.get_or_create("x", CircuitBreakerConfig())
        assert CircuitBreakerRegistry("other").get_circuit("x") is None


CONTEXT = ParallelFlowContext("b", "j", {}, 0.0)


class Recorder:
    """Callback with two of the six methods."""

    def __init__(self, name: str, log: list[Any]) -> None:
        self.name, self.log = name, log

    def on_flow_start(self, context: ParallelFlowContext) -> None:
        self.log.append((self.name, "start", context.branch))

    def on_flow_retry(self, context: Any, attempt: int, delay: float, error: BaseException) -> None:
        self.log.append((self.name, "retry", attempt, delay, str(error)))


class Failing:
    """Callback that fails."""

    def on_flow_start(self, context: ParallelFlowContext) -> None:
        raise ValueError("boom")


class Full(Recorder):
    """Callback with all six methods."""

    def on_flow_complete(self, context: Any, result: Any) -> None:
        self.log.append(("complete", result))

    def on_flow_error(self, context: Any, error: Any, attempt: Any) -> None:
        self.log.append(("error", error, attempt))

    def on_flow_timeout(self, context: Any, timeout_seconds: Any) -> None:
        self.log.append(("timeout", timeout_seconds))

    def on_circuit_state_change(self, context: Any, old_state: Any, new_state: Any) -> None:
        self.log.append(("circuit", old_state, new_state))


class TestCallbacks:
    """`CallbackManager`."""

    def test_protocol(self) -> None:
        """PAR-21: `isinstance` needs all six methods."""
        assert isinstance(Full("f", []), ParallelFlowCallback)
        assert not isinstance(Recorder("r", []), ParallelFlowCallback)

    def test_order_and_missing_methods(self) -> None:
        """PAR-22, PAR-23: in order of registration; what an object lacks is skipped."""
        log: list[Any] = []
        given: list[object] = [Recorder("a", log)]
        manager = CallbackManager(given)
        manager.add_callback(Recorder("b", log))
        assert len(given) == 1 and (manager.timeout, manager.error_policy) == (5.0, "log")
        manager.fire_flow_start(CONTEXT)
        manager.fire_flow_retry(CONTEXT, 1, 0.5, ValueError("e"))
        manager.fire_flow_timeout(CONTEXT, 3.0)
        assert log == [
            ("a", "start", "b"),
            ("b", "start", "b"),
            ("a", "retry", 1, 0.5, "e"),
            ("b", "retry", 1, 0.5, "e"),
        ]
        manager.remove_callback(object())
        manager.remove_callback(given[0])
        manager.fire_event("on_flow_start", CONTEXT)
        assert log[4:] == [("b", "start", "b")]

    def test_arguments(self) -> None:
        """PAR-21, PAR-22: the argument lists of the other four."""
        log: list[Any] = []
        manager = CallbackManager([Full("f", log)])
        error, result = ValueError("e"), ParallelFlowResult("b", True)
        manager.fire_flow_complete(CONTEXT, result)
        manager.fire_flow_error(CONTEXT, error, 0)
        manager.fire_flow_timeout(CONTEXT, 3.0)
        manager.fire_circuit_state_change(CONTEXT, CircuitState.CLOSED, CircuitState.OPEN)
        assert log == [
            ("complete", result),
            ("error", error, 0),
            ("timeout", 3.0),
            ("circuit", CircuitState.CLOSED, CircuitState.OPEN),
        ]

    @pytest.mark.parametrize("policy", ["log", "raise", "remove"])
    def test_error_policy(self, caplog: pytest.LogCaptureFixture, policy: str) -> None:
        """PAR-23: warning and error handlers always; then go on, stop, or drop the callback."""
        log: list[Any] = []
        bad = Failing()
        manager = CallbackManager([bad, Recorder("a", log)], error_policy=policy)
        handled: list[Any] = []

        def failing_handler(callback: object, error: BaseException) -> None:
            raise RuntimeError("handler")

        manager.add_error_handler(failing_handler)
        manager.add_error_handler(lambda callback, error: handled.append((callback, str(error))))
        if policy == "raise":
            with pytest.raises(ValueError, match="boom"):
                manager.fire_flow_start(CONTEXT)
        else:
            manager.fire_flow_start(CONTEXT)
        assert log == ([] if policy == "raise" else [("a", "start", "b")])
        assert handled == [(bad, "boom")]
        assert "Callback Failing.on_flow_start error: boom" in caplog.messages
        assert (bad in manager.callbacks) is (policy != "remove")

    def test_slow_callback(self, caplog: pytest.LogCaptureFixture) -> None:
        """PAR-23: left behind after the timeout, without policy or handlers; the next one is called."""
        release = threading.Event()
        log: list[Any] = []

        class Slow:
            def on_flow_start(self, context: ParallelFlowContext) -> None:
                release.wait(30)

        manager = CallbackManager([Slow(), Recorder("a", log)], timeout=0.05, error_policy="raise")
        handled: list[Any] = []
        manager.add_error_handler(lambda *args: handled.append(args))
        manager.fire_flow_start(CONTEXT)
        release.set()
        assert log == [("a", "start", "b")] and handled == []
        assert "Callback Slow.on_flow_start timed out after 0.05s" in caplog.messages

    def test_own_threads_without_context(self) -> None:
        """PAR-23: context variables do not reach callbacks."""
        variable = contextvars.ContextVar("variable", default="unset")
        variable.set("set")
        seen: list[Any] = []

        class Looking:
            def on_flow_start(self, context: ParallelFlowContext) -> None:
                seen.append((variable.get(), threading.current_thread() is threading.main_thread()))

        CallbackManager([Looking()]).fire_flow_start(CONTEXT)
        assert seen == [("unset", False)]
