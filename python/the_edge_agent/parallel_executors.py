"""Executors: where the branches of a graph run, by strategy name.

`thread` runs them on threads of this process, `process` in worker processes, `remote` on other machines.
Further strategies are added with `register_executor`.
"""

from __future__ import annotations

import contextvars
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from .parallel import ParallelConfig, ParallelFlowResult

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future, ProcessPoolExecutor
    from types import TracebackType

    from typing_extensions import Self

__all__ = [
    "ExecutorResult",
    "FlowTask",
    "ParallelExecutor",
    "PickleValidationError",
    "ProcessExecutor",
    "RemoteConfig",
    "RemoteExecutionError",
    "RemoteExecutor",
    "SCPTransferError",
    "ThreadExecutor",
    "available_strategies",
    "get_executor",
    "register_executor",
]

FlowRunner = Callable[[str, dict[str, Any], dict[str, Any], str, ParallelConfig, float], Any]


@dataclass
class FlowTask:
    """One branch to run. `start_time` is the submission time in Unix seconds."""

    branch: str
    flow_func: Callable[..., Any]
    state: dict[str, Any]
    config: dict[str, Any]
    fan_in_node: str
    parallel_config: ParallelConfig
    start_time: float


@dataclass
class ExecutorResult:
    """A submitted branch; `future` gives its result."""

    future: Future[Any]
    branch: str
    parallel_config: ParallelConfig
    start_time: float


class PickleValidationError(Exception):
    """The value under `key` of the state of flow number `flow_index` cannot be pickled."""

    def __init__(self, key: str, flow_index: int, original_error: BaseException) -> None:
        super().__init__(f"State key '{key}' in flow {flow_index} is not picklable: {original_error}")
        self.key = key
        self.flow_index = flow_index
        self.original_error = original_error

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.key, self.flow_index, self.original_error))


class RemoteExecutionError(Exception):
    """A command on `host` failed; `stderr` is what it printed."""

    def __init__(self, host: str, message: str, stderr: str | None = None) -> None:
        super().__init__(f"Remote execution failed on {host}: {message}")
        self.host = host
        self.stderr = stderr


class SCPTransferError(Exception):
    """Copying `file_path` to or from `host` failed."""

    def __init__(self, host: str, file_path: str, message: str) -> None:
        super().__init__(f"SCP transfer failed for {file_path} to {host}: {message}")
        self.host = host
        self.file_path = file_path


@runtime_checkable
class ParallelExecutor(Protocol):
    """What a strategy provides. It is usable only inside its `with` block."""

    @property
    def strategy(self) -> str:
        """Name of the strategy."""

    @property
    def max_workers(self) -> int | None:
        """Most branches at one time; `None` leaves it to the pool."""

    def __enter__(self) -> Self:
        """Open the pool."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Wait for everything submitted and drop the pool."""

    def submit(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `fn(*args, **kwargs)`."""

    def submit_flow(self, task: FlowTask, flow_runner: FlowRunner) -> ExecutorResult:
        """Run a branch with `flow_runner`."""

    def validate_state(self, state: dict[str, Any], flow_index: int = 0) -> None:
        """Raise if a state cannot travel to where the branches run."""


class _PoolExecutor:
    """Life cycle of a pool, common to the strategies of this machine."""

    def __init__(self, max_workers: int | None = None) -> None:
        self._max_workers = max_workers
        self._executor: Executor | None = None

    @property
    def max_workers(self) -> int | None:
        """Most branches at one time, as given."""
        return self._max_workers

    def _open(self) -> Executor:
        raise NotImplementedError

    def _pool(self) -> Executor:
        if self._executor is None:
            raise RuntimeError(f"{type(self).__name__} must be used as a context manager")
        return self._executor

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True)


class ThreadExecutor(_PoolExecutor):
    """Runs branches on threads of this process; each gets a copy of the submitter's context variables."""

    @property
    def strategy(self) -> str:
        """`"thread"`."""
        return "thread"

    def __enter__(self) -> Self:
        self._executor = self._open()
        return self

    def _open(self) -> Executor:
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor(max_workers=self._max_workers)

    def submit(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `fn(*args, **kwargs)` on a pool thread. Raises `RuntimeError` outside a `with` block."""
        return self._pool().submit(contextvars.copy_context().run, fn, *args, **kwargs)

    def submit_flow(self, task: FlowTask, flow_runner: FlowRunner) -> ExecutorResult:
        """Run a branch with `flow_runner` on a pool thread."""
        future = self.submit(
            flow_runner,
            task.branch,
            task.state,
            task.config,
            task.fan_in_node,
            task.parallel_config,
            task.start_time,
        )
        return ExecutorResult(future, task.branch, task.parallel_config, task.start_time)

    def validate_state(self, state: dict[str, Any], flow_index: int = 0) -> None:
        """Accepts everything: nothing is serialised inside one process."""


class ProcessExecutor(_PoolExecutor):
    """Runs branches in worker processes; functions, arguments and results are pickled."""

    @property
    def strategy(self) -> str:
        """`"process"`."""
        return "process"

    def __enter__(self) -> Self:
        self._executor = self._open()
        return self

    def _open(self) -> ProcessPoolExecutor:
        from concurrent.futures import ProcessPoolExecutor

        return ProcessPoolExecutor(max_workers=self._max_workers)

    def submit(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `fn(*args, **kwargs)` in a worker process. Raises `RuntimeError` outside a `with` block."""
        return self._pool().submit(fn, *args, **kwargs)

    def submit_flow(self, task: FlowTask, flow_runner: FlowRunner) -> ExecutorResult:
        """Run a branch with `flow_runner` (a picklable function) in a worker process.

        Raises `PickleValidationError` if a value of the state cannot be pickled.
        """
        self.validate_state(task.state)
        future = self.submit(
            _process_flow_wrapper,
            flow_runner,
            task.branch,
            task.state,
            task.config,
            task.fan_in_node,
            {name: getattr(task.parallel_config, name) for name in _TRAVELLING_SETTINGS},
            task.start_time,
        )
        return ExecutorResult(future, task.branch, task.parallel_config, task.start_time)

    def validate_state(self, state: dict[str, Any], flow_index: int = 0) -> None:
        """Raise `PickleValidationError` for the first top-level value that cannot be pickled."""
        for key, value in state.items():
            try:
                pickle.dumps(value)
            except (pickle.PicklingError, TypeError, AttributeError) as e:
                raise PickleValidationError(key, flow_index, e) from e

    def execute(
        self,
        flows: list[dict[str, Any]],
        config: ParallelConfig,
        stream_registry: Any = None,
    ) -> list[ParallelFlowResult]:
        """Run flows `{"node_name", "state", "run"}` in a pool of their own; results in flow order.

        `run` is a picklable function of the state; without it the state is the result. Each result is
        awaited for at most `config.timeout_seconds`; workers that are late are ended. Raises
        `PickleValidationError` before anything runs, and `NotImplementedError` for a registry with channels.
        """
        if stream_registry is not None and stream_registry.channels:
            raise NotImplementedError(
                "ProcessExecutor.execute cannot connect flows by stream channels yet; "
                "call it without stream_registry or with an empty one"
            )
        for i, flow in enumerate(flows):
            self.validate_state(flow.get("state", {}), i)
        started = time.time()
        pool = self._open()
        try:
            futures = [pool.submit(_run_flow, flow.get("run"), flow.get("state", {})) for flow in flows]
            results = [
                self._collect(future, flow.get("node_name", "unknown"), config, started)
                for future, flow in zip(futures, flows, strict=True)
            ]
            if not all(future.done() for future in futures):
                _end_workers(pool)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return results

    def _collect(
        self, future: Future[Any], branch: str, config: ParallelConfig, started: float
    ) -> ParallelFlowResult:
        error: BaseException | None
        try:
            error = future.exception(timeout=config.timeout_seconds)
        except Exception as e:  # not done in time, or cancelled
            error = e
        timing_ms = (time.time() - started) * 1000
        if error is None:
            return ParallelFlowResult(
                branch=branch, success=True, state=future.result(), timing_ms=timing_ms, exit_code=0
            )
        return ParallelFlowResult(
            branch=branch,
            success=False,
            error=str(error),
            error_type=type(error).__name__,
            timing_ms=timing_ms,
            exit_code=-1,
        )


def _end_workers(pool: ProcessPoolExecutor) -> None:
    # No public way before Python 3.14; without it a hung worker would block the caller for ever.
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        process.terminate()


def _run_flow(run: Any, state: dict[str, Any]) -> Any:
    return run(state) if callable(run) else state


_TRAVELLING_SETTINGS = (
    "timeout_seconds",
    "timeout_total",
    "fail_fast",
    "retry_policy",
    "circuit_breaker",
    "include_traceback",
)


def _process_flow_wrapper(
    flow_runner: FlowRunner,
    branch: str,
    state: dict[str, Any],
    config: dict[str, Any],
    fan_in_node: str,
    parallel_config: dict[str, Any],
    start_time: float,
) -> Any:
    """Run a branch in a worker process; `parallel_config` is the part of the settings that travels."""
    settings = ParallelConfig(**parallel_config)
    return flow_runner(branch, state, config, fan_in_node, settings, start_time)


@dataclass
class RemoteConfig:
    """Where and how the strategy `remote` runs flows. `hosts` are ssh destinations."""

    hosts: list[str] = field(default_factory=list)
    basefile: str = "./tea"
    workdir: str = "/tmp/tea-jobs"
    cleanup: bool = True
    yaml_path: str | None = None
    env_vars: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if not self.hosts:
            raise ValueError("At least one host must be specified for remote execution")


class RemoteExecutor:
    """The strategy `remote` (ssh). Not available in this version: making one raises `NotImplementedError`."""

    def __init__(
        self,
        config: RemoteConfig | None = None,
        settings: dict[str, Any] | None = None,
        *,
        max_workers: int | None = None,
    ) -> None:
        raise NotImplementedError(
            "The parallel strategy 'remote' is not available in this version; "
            "use 'thread' or 'process', or register an executor of your own with register_executor"
        )


_executors: dict[str, Callable[..., Any]] = {
    "process": ProcessExecutor,
    "remote": RemoteExecutor,
    "thread": ThreadExecutor,
}


def get_executor(strategy: str = "thread", max_workers: int | None = None) -> ParallelExecutor:
    """A new executor of the named strategy. Raises `ValueError` for an unknown name."""
    try:
        factory = _executors[strategy]
    except KeyError:
        known = ", ".join(available_strategies())
        raise ValueError(f"Unknown parallel strategy: '{strategy}'. Valid strategies are: {known}") from None
    executor: ParallelExecutor = factory(max_workers=max_workers)
    return executor


def register_executor(name: str, executor_class: Callable[..., Any]) -> None:
    """Make a strategy known to this process; `executor_class(max_workers=...)` makes its executors.

    An existing strategy of that name is replaced.
    """
    _executors[name] = executor_class


def available_strategies() -> list[str]:
    """Names of all registered strategies, sorted."""
    return sorted(_executors)
