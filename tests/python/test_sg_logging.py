"""Records: texts, levels, order, and what must never be logged."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from support import LOGGER, chain, events, fan, script, single, trail

from the_edge_agent import END, MemoryCheckpointer, StateGraph

D, I, W, E = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR  # noqa: E741


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    assert {record.name for record in caplog.records} <= {LOGGER}
    return [(record.levelno, record.getMessage()) for record in caplog.records]


def word(kind: str) -> tuple[str, str]:
    return ("stream execution", "Stream execution") if kind == "stream" else ("execution", "Execution")


class TestLogger:
    """SG-89, SG-90, Q2."""

    def test_level_is_that_of_the_last_graph(self) -> None:
        """SG-89, Q2: one shared logger."""
        logger = logging.getLogger(LOGGER)
        StateGraph(dict, log_level=D)
        assert logger.level == D
        StateGraph(dict)
        assert logger.level == W

    def test_level_decides_what_is_emitted(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """SG-89: nothing below the level."""
        for level in (D, I, W):
            caplog.clear()
            made = chain("a", "b", log_level=level)
            made.node("b")["run"] = lambda: 1 / 0
            events(made, kind, {})
            assert min(record.levelno for record in caplog.records) == (E if level == W else level)

    def test_level_changed_on_the_logger(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """SG-89: users may set it after construction, also in the middle of a run."""
        made = chain("a", "b")
        logging.getLogger(LOGGER).setLevel(D)
        events(made, kind, {})
        assert caplog.records

    def test_stderr_without_configuration(self) -> None:
        """SG-89: WARNING and above reach stderr through Python's last resort, nothing else does."""
        code = """
        import the_edge_agent as tea
        graph = tea.StateGraph(dict, log_level=10)
        graph.add_node("n", run=lambda: 1 / 0)
        graph.set_entry_point("n")
        list(graph.invoke({}))
        """
        done = script(code)
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr == "Error in node 'n': division by zero\n"

    def test_records_come_before_the_event(self, caplog: pytest.LogCaptureFixture) -> None:
        """SG-90."""
        run = chain("a", "b", log_level=D).stream({})
        next(run)
        assert lines(caplog)[-1] == (I, "Node 'a' completed successfully")
        next(run)
        assert lines(caplog)[-1] == (I, "Node 'b' completed successfully")
        assert (D, "Transitioning from 'a' to 'b'") in lines(caplog)

    def test_record_carries_the_callers_thread(self, caplog: pytest.LogCaptureFixture) -> None:
        """SG-90: emitted by the thread that does the work."""
        list(chain("a", log_level=D).invoke({}))
        assert {record.threadName for record in caplog.records} == {"MainThread"}

    def test_percent_signs(self, caplog: pytest.LogCaptureFixture) -> None:
        """SG-91: texts are not format strings."""
        made = chain("100%s", run=trail, log_level=D)
        list(made.invoke({"%d": 1}))
        assert (D, "Entering node: 100%s") in lines(caplog)


class Failing(logging.Handler):
    """Raises on one message."""

    def __init__(self, message: str, error: BaseException) -> None:
        super().__init__()
        self.message, self.error = message, error

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == self.message:
            raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt("k"), SystemExit(3), ZeroDivisionError("z")])
@pytest.mark.parametrize(
    "message",
    [
        "Edge '__start__' -> 'a': condition result = True",
        "Transitioning from 'a' to 'b'",
        "Execution completed successfully",
    ],
)
def test_exception_of_a_handler_comes_out(message: str, error: BaseException) -> None:
    """SG-63, SG-90: records are emitted on the caller's thread, so what a handler raises, or Ctrl-C while it
    works, comes out of `next()` as the very object; the run is over and the graph stays usable."""
    made = chain("a", "b", log_level=D)
    logger = logging.getLogger(LOGGER)
    handler = Failing(message, error)
    logger.addHandler(handler)
    try:
        run = made.invoke({})
        with pytest.raises(type(error)) as caught:
            next(run)
        assert caught.value is error and list(run) == []
    finally:
        logger.removeHandler(handler)
    assert [event["type"] for event in made.invoke({})] == ["final"]


class TestSequential:
    """SG-91, SG-110."""

    def test_all_records(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """SG-91: the whole list, in order, without values."""
        low, high = word(kind)
        events(chain("a", "b", log_level=D), kind, {"x": 1})
        assert lines(caplog) == [
            (D, f"Starting {low} with state keys: ['x']"),
            (D, "Edge '__start__' -> 'a': condition result = True"),
            (D, "Transitioning from '__start__' to 'a'"),
            (D, "Entering node: a"),
            (I, "Node 'a' completed successfully"),
            (D, "Edge 'a' -> 'b': condition result = True"),
            (D, "Transitioning from 'a' to 'b'"),
            (D, "Entering node: b"),
            (I, "Node 'b' completed successfully"),
            (D, "Edge 'b' -> '__end__': condition result = True"),
            (D, "Transitioning from 'b' to '__end__'"),
            (I, f"{high} completed successfully"),
            (D, "Final state keys: ['x', 'trail']"),
        ]

    def test_values_on_request(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """SG-91, rows "V": with `log_state_values`."""
        low, high = word(kind)
        events(single(trail, log_level=D, log_state_values=True), kind, {"x": 1})
        assert lines(caplog) == [
            (D, f"Starting {low} with state keys: ['x']"),
            (D, "Initial state: {'x': 1}"),
            (D, "Edge '__start__' -> 'n': condition result = True"),
            (D, "Transitioning from '__start__' to 'n'"),
            (D, "Entering node: n"),
            (D, "Node 'n' input state: {'x': 1}"),
            (I, "Node 'n' completed successfully"),
            (D, "Node 'n' output state: {'x': 1, 'trail': ['n']}"),
            (D, "Edge 'n' -> '__end__': condition result = True"),
            (D, "Transitioning from 'n' to '__end__'"),
            (I, f"{high} completed successfully"),
            (D, "Final state keys: ['x', 'trail']"),
            (D, "Final state: {'x': 1, 'trail': ['n']}"),
        ]

    def test_node_error(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """SG-63, SG-91."""
        events(single(lambda: 1 / 0, log_level=I), kind, {})
        assert lines(caplog) == [(E, "Error in node 'n': division by zero")]

    def test_dead_end(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """SG-63: WARNING if edges were tried, no record if there is none."""
        made = single(None, log_level=I)
        made.edge("n", END)["cond"] = lambda: False
        events(made, kind, {})
        assert lines(caplog) == [(W, "No valid next node found from node 'n'")]
        caplog.clear()
        made.graph.remove_edge("n", END)
        events(made, kind, {})
        assert lines(caplog) == []

    def test_edges_tried(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """SG-91: one `Edge` line per edge tried, up to the match."""
        made = single(None, log_level=D)
        made.graph.remove_edge("n", END)
        for name in "abc":
            made.add_node(name)
            made.set_finish_point(name)
        made.add_conditional_edges("n", lambda: 7, {1: "a"})
        made.add_conditional_edges("n", lambda: None, {None: "b"})
        made.add_conditional_edges("n", lambda: 1, {1: "c"})
        events(made, kind, {})
        assert [line for line in lines(caplog) if "'n' " in line[1]] == [
            (D, "Edge 'n' -> 'a': condition result = 7"),
            (D, "Edge 'n' -> 'b': condition result = None"),
            (D, "Transitioning from 'n' to 'b'"),
        ]

    def test_interrupt(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """SG-91, CP-14: the checkpoint's line is the last one."""
        made = single(trail, log_level=I).compile(["n"], checkpointer=MemoryCheckpointer())
        path = events(made, kind, {})[-1]["checkpoint_path"]
        assert lines(caplog) == [(I, f"Checkpoint saved to memory: '{path}'")]

    def test_names_that_are_no_text(self, caplog: pytest.LogCaptureFixture) -> None:
        """SG-12, SG-91."""
        made = StateGraph(dict, log_level=D)
        made.add_node((1, "x"), run=lambda: {})
        made.set_entry_point((1, "x"))
        made.set_finish_point((1, "x"))
        list(made.invoke({}))
        assert (D, "Entering node: (1, 'x')") in lines(caplog)
        assert (D, "Transitioning from '__start__' to '(1, 'x')'") in lines(caplog)


class TestParallel:
    """SG-91, SG-108, SG-110: records of the main thread."""

    def main_thread(self, caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
        return [(r.levelno, r.getMessage()) for r in caplog.records if r.threadName == "MainThread"]

    def test_invoke(self, caplog: pytest.LogCaptureFixture) -> None:
        """SG-110, column of `invoke`."""
        made = fan({"a": trail, "b": trail}, join=lambda: {}, log_level=D, log_state_values=True)
        list(made.invoke({}))
        got = self.main_thread(caplog)
        start = got.index((D, "Transitioning from '__start__' to 's'"))
        end = got.index((I, "Execution completed successfully"))
        assert got[start + 1 : end] == [
            (I, "Starting 2 parallel flow(s) from node 's'"),
            (D, "Launching parallel flow to node 'a' (fan-in: 'j')"),
            (D, "Launching parallel flow to node 'b' (fan-in: 'j')"),
            (I, "Joining 2 parallel flow(s) at fan-in node 'j'"),
            (D, "All parallel flows joined at 'j'"),
            (D, "Entering fan-in node: j"),
            (I, "Fan-in node 'j' completed successfully"),
        ]

    def test_stream(self, caplog: pytest.LogCaptureFixture) -> None:
        """SG-110, column of `stream`."""
        list(fan({"a": trail}, join=lambda: {}, log_level=D, log_state_values=True).stream({}))
        got = self.main_thread(caplog)
        start = got.index((D, "Transitioning from '__start__' to 's'"))
        end = got.index((I, "Stream execution completed successfully"))
        assert got[start + 1 : end] == [
            (I, "Starting 1 parallel flow(s) from node 's'"),
            (D, "Launching parallel stream flow to node 'a' (fan-in: 'j')"),
            (I, "Waiting for parallel flows to complete at fan-in 'j'"),
            (D, "Branch 'a' completed, 0 remaining"),
            (I, "All parallel flows joined at fan-in node 'j'"),
            (D, "Entering fan-in node: j"),
            (I, "Fan-in node 'j' completed successfully"),
        ]

    def test_fan_in_error(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """SG-91."""
        events(fan({"a": trail}, join=lambda: 1 / 0, log_level=E), kind, {})
        assert lines(caplog) == [(E, "Error in fan-in node 'j': division by zero")]

    def test_fan_in_dead_end(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """SG-56: only the record says `fan-in node`."""
        made = fan({"a": None}, log_level=W)
        made.edge("j", END)["cond"] = lambda: False
        got = events(made, kind, {})
        assert lines(caplog) == [(W, "No valid next node found from fan-in node 'j'")]
        assert got[-1]["error"] == "No valid next node found from node 'j'"

    def test_missing_fan_in_has_no_record(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """SG-63."""
        made = fan({"a": None}, log_level=I)
        made.edge("s", "a")["fan_in_node"] = None
        events(made, kind, {})
        assert lines(caplog) == []

    def test_failed_branch_is_logged(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """parallel/Q28, parallel/PAR-155: an ERROR record in both methods."""
        events(fan({"a": lambda: 1 / 0}, log_level=E), kind, {})
        prefix = "[Parallel Stream]" if kind == "stream" else "[Parallel]"
        assert lines(caplog) == [(E, f"{prefix} Error in node 'a': division by zero")]


class TestResumed:
    """SG-110, resumed columns; CP-26, CP-28, CP-58."""

    def test_start_lines(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """SG-110 row 1, CP-26."""
        made = single(trail, log_level=D, log_state_values=True).compile(
            ["n"], checkpointer=MemoryCheckpointer()
        )
        path = events(made, kind, {"x": 1})[-1]["checkpoint_path"]
        caplog.clear()
        events(made, kind, {"y": 2}, checkpoint=path)
        first, second = ("stream ", "stream") if kind == "stream" else ("", "execution")
        assert lines(caplog)[:4] == [
            (I, f"Resuming {first}from checkpoint at node 'n'"),
            (D, f"Resuming {second} from node 'n' with state keys: ['x', 'y']"),
            (D, "Resume state: {'x': 1, 'y': 2}"),
            (D, "Entering node: n"),
        ]
        high = word(kind)[1]
        assert (I, f"{high} completed successfully") in lines(caplog)

    def test_skipped_node_writes_the_records_of_routing(
        self, kind: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """CP-58, CQ-2: records of steps 7 and 8."""
        made = chain("a", "b", log_level=D).compile([], ["a"], checkpointer=MemoryCheckpointer())
        path = events(made, kind, {})[-1]["checkpoint_path"]
        caplog.clear()
        events(made, kind, None, checkpoint=path)
        assert lines(caplog)[2:5] == [
            (D, "Edge 'a' -> 'b': condition result = True"),
            (D, "Transitioning from 'a' to 'b'"),
            (D, "Entering node: b"),
        ]

    def test_dead_end_after_a_skipped_node(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """CP-28, CP-58: the WARNING of step 8."""
        made = chain("a", "b", log_level=W).compile([], ["a"], checkpointer=MemoryCheckpointer())
        path = events(made, kind, {})[-1]["checkpoint_path"]
        made.edge("a", "b")["cond"] = lambda: False
        got = events(made, kind, None, checkpoint=path)
        assert (got[0]["node"], got[0]["error"]) == ("a", "No valid next node found from node 'a'")
        assert lines(caplog) == [(W, "No valid next node found from node 'a'")]

    def test_failed_branch_has_no_second_record(self, caplog: pytest.LogCaptureFixture) -> None:
        """CP-58: at the join of a resumed `invoke` none, the branch has logged it."""
        made = fan({"a": lambda: 1 / 0}, log_level=E).compile(["s"], checkpointer=MemoryCheckpointer())
        path = list(made.invoke({}))[-1]["checkpoint_path"]
        list(made.invoke(None, checkpoint=path))
        assert lines(caplog) == [(E, "[Parallel] Error in node 'a': division by zero")]


class TestSecrets:
    """SG-92, Q16."""

    def run_with(self, kind: str, result: Any, **options: Any) -> None:
        made = StateGraph(dict, log_level=D, **options)
        made.add_node("n", run=lambda: {"token": "hunter2"})
        made.add_node("m")
        made.set_entry_point("n")
        made.add_conditional_edges("n", lambda: result, {result: "m"})
        made.set_finish_point("m")
        events(made, kind, {"password": "hunter2"})

    def test_no_state_value_in_any_record(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """SG-92: keys show, values do not."""
        self.run_with(kind, True)
        assert "hunter2" not in caplog.text and "password" in caplog.text

    @pytest.mark.parametrize("result", ["hunter2", ("hunter2",), b"hunter2", frozenset({"hunter2"})])
    def test_condition_results_show_their_type_only(
        self, kind: str, result: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Q16: without `log_state_values`, the type's name."""
        self.run_with(kind, result)
        assert "hunter2" not in caplog.text
        assert (D, f"Edge 'n' -> 'm': condition result = {type(result).__name__}") in lines(caplog)

    @pytest.mark.parametrize("result", [True, None, 5, 2.5, -0.0])
    def test_harmless_results_are_printed(
        self, kind: str, result: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Q16: booleans, numbers and None as they are."""
        self.run_with(kind, result)
        assert (D, f"Edge 'n' -> 'm': condition result = {result}") in lines(caplog)

    def test_condition_results_on_request(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        """Q16: with `log_state_values` in full."""
        self.run_with(kind, "hunter2", log_state_values=True)
        assert (D, "Edge 'n' -> 'm': condition result = hunter2") in lines(caplog)
