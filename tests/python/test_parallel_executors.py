"""`the_edge_agent.parallel_executors`: strategies, and the table of them."""

from __future__ import annotations

import contextvars
import dataclasses
import math
import os
import pickle
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from the_edge_agent import parallel_executors
from the_edge_agent.parallel import CircuitBreakerConfig, ParallelConfig, RetryPolicy
from the_edge_agent.parallel_executors import (
    ExecutorResult,
    FlowTask,
    ParallelExecutor,
    PickleValidationError,
    ProcessExecutor,
    RemoteConfig,
    ThreadExecutor,
    _process_flow_wrapper,
    available_strategies,
    get_executor,
    register_executor,
)

# Functions for worker processes, which find them by name.


def pid(*_: Any) -> int:
    return os.getpid()


def double(state: dict[str, Any]) -> dict[str, Any]:
    return {"x": state["x"] * 2}


def fail(state: dict[str, Any]) -> None:
    raise ValueError("boom")


def leave(state: dict[str, Any]) -> None:
    raise SystemExit(3)


def hang(state: dict[str, Any]) -> None:
    time.sleep(600)


def echo(*args: Any) -> tuple[Any, ...]:
    return args


def task(state: dict[str, Any], config: ParallelConfig | None = None) -> FlowTask:
    return FlowTask("b", echo, state, {"c": 1}, "j", config or ParallelConfig(), 5.0)


class TestExecutors:
    """Common behaviour of both local strategies."""

    @pytest.fixture(params=[ThreadExecutor, ProcessExecutor])
    def executor(self, request: pytest.FixtureRequest) -> Any:
        return request.param(max_workers=2)

    def test_protocol(self, executor: Any) -> None:
        """PAR-79, PAR-84, PAR-85."""
        assert isinstance(executor, ParallelExecutor) and executor.max_workers == 2
        assert executor.strategy == {"T": "thread", "P": "process"}[type(executor).__name__[0]]
        members = (
            "strategy",
            "max_workers",
            "__enter__",
            "__exit__",
            "submit",
            "submit_flow",
            "validate_state",
        )
        assert all(hasattr(ParallelExecutor, name) for name in members)

    def test_only_inside_with(self, executor: Any) -> None:
        """PAR-82: re-enterable; leaving waits."""
        text = f"{type(executor).__name__} must be used as a context manager"
        for _ in range(2):
            with pytest.raises(RuntimeError, match=text):
                executor.submit(pid)
            with executor as entered:
                assert entered is executor
                future = executor.submit(pid)
            assert future.done()

    def test_submit(self, executor: Any) -> None:
        """PAR-84, PAR-85: in this process or in another; exceptions come out of the future."""
        with executor:
            assert (executor.submit(pid).result() == os.getpid()) is (executor.strategy == "thread")
            assert executor.submit(dict, x=1).result() == {"x": 1}
            with pytest.raises(ValueError, match="boom"):
                executor.submit(fail, {}).result()

    def test_submit_flow(self, executor: Any) -> None:
        """PAR-84, PAR-86: the argument list of the runner; settings that travel to a process."""
        config = ParallelConfig(
            3.0, 4.0, True, RetryPolicy(2), CircuitBreakerConfig(1), True, strategy="process", max_workers=9
        )
        with executor:
            made = executor.submit_flow(task({"x": 1}, config), echo)
            got = made.future.result()
        assert isinstance(made, ExecutorResult)
        assert (made.branch, made.start_time) == ("b", 5.0) and made.parallel_config is config
        assert got[:4] == ("b", {"x": 1}, {"c": 1}, "j") and got[5] == 5.0
        if executor.strategy == "process":
            config = dataclasses.replace(config, strategy="thread", max_workers=None)
        assert got[4] == config

    @pytest.mark.parametrize("workers", [0, -1])
    def test_bad_number_of_workers(self, executor: Any, workers: int) -> None:
        """PAR-114: at the start of the run."""
        with pytest.raises(ValueError, match="max_workers must be greater than 0"):
            type(executor)(max_workers=workers).__enter__()


class TestThreads:
    """`ThreadExecutor`."""

    def test_context(self) -> None:
        """PAR-42, OX-7: one copy of the submitter's context per submit."""
        variable = contextvars.ContextVar("variable", default="unset")

        def look(value: str) -> str:
            before = variable.get()
            variable.set(value)
            return before

        with ThreadExecutor(1) as executor:
            variable.set("outer")
            futures = [executor.submit(look, str(i)) for i in range(3)]
            assert [f.result() for f in futures] == ["outer"] * 3
        assert variable.get() == "outer"

    def test_accepts_every_state(self) -> None:
        """PAR-84: nothing is serialised."""
        lock = threading.Lock()
        with ThreadExecutor() as executor:
            executor.validate_state({"lock": lock})
            got = executor.submit_flow(task({"lock": lock}), echo).future.result()
        assert got[1]["lock"] is lock

    def test_no_thread_before_the_first_submit(self) -> None:
        """SG-95, PAR-31."""
        before = threading.active_count()
        with ThreadExecutor(4):
            assert threading.active_count() == before


class TestProcesses:
    """`ProcessExecutor`."""

    @pytest.mark.parametrize(
        "state",
        [{"ok": 1, "bad": threading.Lock()}, {"bad": {"deep": [lambda: 1]}}, {"bad": (i for i in "a")}],
    )
    def test_validate_state(self, state: dict[str, Any]) -> None:
        """PAR-80, PAR-85: names the key and the flow, at any depth."""
        with pytest.raises(PickleValidationError) as caught:
            ProcessExecutor().validate_state(state, 3)
        assert (caught.value.key, caught.value.flow_index) == ("bad", 3)
        with ProcessExecutor(1) as executor, pytest.raises(PickleValidationError):
            executor.submit_flow(task(state), echo)

    def test_local_function(self) -> None:
        """PAR-85: the future raises."""
        with (
            ProcessExecutor(1) as executor,
            pytest.raises((pickle.PicklingError, AttributeError)),
        ):
            executor.submit(lambda: 1).result()

    def test_execute(self) -> None:
        """PAR-87: results in flow order, failures as results, no `with` needed."""
        flows = [
            {"node_name": "a", "state": {"x": 2}, "run": double},
            {"node_name": "b", "state": {"x": 3}, "run": fail},
            {"state": {"x": 4}},
            {"node_name": "d", "state": {}, "run": leave},
        ]
        results = ProcessExecutor(2).execute(flows, ParallelConfig(timeout_seconds=60))
        assert [(r.branch, r.success, r.state, r.error, r.error_type, r.exit_code) for r in results] == [
            ("a", True, {"x": 4}, None, None, 0),
            ("b", False, None, "boom", "ValueError", -1),
            ("unknown", True, {"x": 4}, None, None, 0),
            ("d", False, None, "3", "SystemExit", -1),
        ]
        assert all(r.timing_ms > 0 and not r.timeout for r in results)

    def test_execute_validates_first(self) -> None:
        """PAR-87: nothing runs; the flow's number is named."""
        flows = [{"state": {"x": 1}}, {"state": {"lock": threading.Lock()}}]
        with pytest.raises(PickleValidationError) as caught:
            ProcessExecutor().execute(flows, ParallelConfig())
        assert (caught.value.key, caught.value.flow_index) == ("lock", 1)

    def test_execute_timeout(self) -> None:
        """PAR-87: a flow that hangs is a failed result, and its worker does not hold up the caller."""
        flows = [{"node_name": "a", "state": {"x": 1}, "run": double}, {"node_name": "h", "run": hang}]
        started = time.monotonic()
        results = ProcessExecutor(2).execute(flows, ParallelConfig(timeout_seconds=2))
        assert time.monotonic() - started < 60
        assert (results[0].success, results[1].success, results[1].exit_code) == (True, False, -1)
        assert results[1].error_type == "TimeoutError" and results[1].timeout is False

    def test_wrapper(self) -> None:
        """PAR-86: rebuilds the settings."""
        got = _process_flow_wrapper(echo, "b", {}, {}, "j", {"timeout_seconds": 3}, 1.0)
        assert got == ("b", {}, {}, "j", ParallelConfig(timeout_seconds=3), 1.0)


class TestStrategies:
    """The table of strategies."""

    @pytest.fixture
    def own(self) -> Iterator[str]:
        yield "own"
        parallel_executors._executors.pop("own", None)

    def test_known(self) -> None:
        """PAR-81."""
        assert available_strategies() == ["process", "remote", "thread"]
        assert isinstance(get_executor(), ThreadExecutor)
        made = get_executor("process", max_workers=3)
        assert isinstance(made, ProcessExecutor) and made.max_workers == 3

    def test_unknown(self, own: str) -> None:
        """PAR-81, SG-93: the text lists what is registered."""
        with pytest.raises(ValueError) as caught:
            get_executor("gpu")
        assert str(caught.value) == (
            "Unknown parallel strategy: 'gpu'. Valid strategies are: process, remote, thread"
        )
        register_executor(own, ThreadExecutor)
        with pytest.raises(ValueError, match=r"own, process, remote, thread$"):
            get_executor("gpu")

    def test_registered(self, own: str) -> None:
        """PAR-81: any class or function; a second registration wins."""

        class Own(ThreadExecutor):
            pass

        register_executor(own, Own)
        register_executor(own, Own)
        made = get_executor(own, max_workers=2)
        assert type(made) is Own and made.max_workers == 2 and "own" in available_strategies()

    def test_remote_says_what_to_do(self) -> None:
        """PAR-81: `remote` is listed; using it is an error that names the other strategies."""
        with pytest.raises(NotImplementedError, match=r"remote.*thread.*process.*register_executor"):
            get_executor("remote")

    def test_remote_config(self) -> None:
        """PAR-88."""
        with pytest.raises(ValueError, match="At least one host must be specified for remote execution"):
            RemoteConfig()
        assert dataclasses.astuple(RemoteConfig(["h"])) == (["h"], "./tea", "/tmp/tea-jobs", True, None, None)

    def test_records(self) -> None:
        """PAR-78: all fields are required."""
        for kind in (FlowTask, ExecutorResult):
            assert all(f.default is dataclasses.MISSING for f in dataclasses.fields(kind))
        future: Future[int] = Future()
        made = ExecutorResult(future, "b", ParallelConfig(), math.pi)
        assert made.future is future and made.start_time == math.pi
