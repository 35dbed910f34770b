"""execute_scoped and the path helpers."""

from __future__ import annotations

import collections
from typing import Any

import pytest
from support import LOGGER, chain, fan, trail

from the_edge_agent import END, START, MemoryCheckpointer, StateGraph


class TestChecks:
    """SG-81."""

    @pytest.mark.parametrize(
        ("entry", "exit_", "text"),
        [
            ("zz", "b", "Entry point 'zz' not found in graph"),
            ("a", "zz", "Exit point 'zz' not found in graph"),
            ("zz", "yy", "Entry point 'zz' not found in graph"),
            ("zz", "zz", "Entry point 'zz' not found in graph"),
            ("a", "a", "Entry point and exit point cannot be the same: 'a'"),
            ("b", "a", "No execution path from 'b' to 'a'"),
            (END, "a", "No execution path from '__end__' to 'a'"),
        ],
    )
    @pytest.mark.parametrize("raise_exceptions", [False, True])
    def test_errors(self, entry: str, exit_: str, text: str, raise_exceptions: bool) -> None:
        """SG-81: order and exact texts; nothing runs."""
        ran: list[int] = []
        made = chain("a", "b", run=lambda: ran.append(1), raise_exceptions=raise_exceptions)
        with pytest.raises(ValueError) as caught:
            made.execute_scoped({}, entry, exit_)
        assert str(caught.value) == text and ran == []


class TestRun:
    """SG-82 to SG-84."""

    def test_part_of_a_graph(self) -> None:
        """SG-82, SG-83: entry included, exit excluded; a plain dict comes back, not a generator."""
        made = chain("a", "b", "c", "d")
        assert made.execute_scoped({"x": 1}, "b", "d") == {"x": 1, "trail": ["b", "c"]}
        assert made.execute_scoped({}, START, END) == {"trail": ["a", "b", "c", "d"]}
        assert made.execute_scoped(initial_state={}, entry_point="d", exit_point=END) == {"trail": ["d"]}

    @pytest.mark.parametrize("run", [None, 0, "", []])
    def test_falsy_function(self, run: Any) -> None:
        """SG-14, SG-82: passed through."""
        assert chain("a", "b", run=run).execute_scoped({"x": 1}, "a", END) == {"x": 1}

    def test_returns_a_copy(self) -> None:
        """SG-83: a new object of the same type."""
        given = collections.OrderedDict(x=1)
        got = chain("a").execute_scoped(given, "a", END)
        assert got is not given and type(got) is collections.OrderedDict and given == {"x": 1}

    def test_config(self) -> None:
        """SG-83: uncopied; None and empty give an empty dict."""
        seen: list[Any] = []
        made = chain("a", run=lambda config: seen.append(config))
        config = {"k": 1}
        made.execute_scoped({}, "a", END, config=config)
        made.execute_scoped({}, "a", END)
        made.execute_scoped({}, "a", END, {})
        assert seen[0] is config and seen[1:] == [{}, {}]

    def test_end_before_the_exit(self) -> None:
        """SG-82: ends normally."""
        made = chain("a", "b")
        made.edge("a", "b")["cond"] = lambda: False
        made.add_edge("a", END)
        assert made.execute_scoped({}, "a", "b") == {"trail": ["a"]}

    def test_function_of_end_as_entry_path(self) -> None:
        """SG-82: END is never run."""
        made = chain("a")
        made.node(END)["run"] = trail
        assert made.execute_scoped({}, "a", END) == {"trail": ["a"]}

    def test_fan_out_is_followed_sequentially(self) -> None:
        """SG-82, SG-43: through its first edge, without results."""
        made = fan({"one": trail, "two": trail}, join=trail, start=trail)
        assert made.execute_scoped({}, "s", END) == {"trail": ["s", "one", "j"]}

    def test_interrupts_and_stores_are_not_looked_at(self) -> None:
        """SG-82."""
        store = MemoryCheckpointer()
        made = chain("a", "b").compile(["a", "b"], ["a", "b"], checkpointer=store)
        assert made.execute_scoped({}, "a", END) == {"trail": ["a", "b"]}
        assert len(store) == 0

    def test_schema_and_session_hooks_are_not_looked_at(self) -> None:
        """SG-82, SG-69."""
        made = chain("a")
        made._input_schema = {}  # type: ignore[attr-defined]
        made._session_backend = object()  # type: ignore[attr-defined]
        assert made.execute_scoped({"session_id": 1}, "a", END) == {"session_id": 1, "trail": ["a"]}

    def test_loop(self) -> None:
        """SG-82: cycles are fine."""
        made = StateGraph(dict)
        made.add_node("n", run=lambda state: {"n": state["n"] + 1})
        made.add_node("out")
        made.add_conditional_edges("n", lambda state: state["n"] < 5, {True: "n", False: "out"})
        assert made.execute_scoped({"n": 0}, "n", "out") == {"n": 5}

    def test_node_error(self) -> None:
        """SG-84: the state with `_scoped_error`, at once."""
        made = chain("a", "b", "c")
        made.node("b")["run"] = lambda: 1 / 0
        got = made.execute_scoped({}, "a", END)
        assert got == {"trail": ["a"], "_scoped_error": {"node": "b", "error": "division by zero"}}

    def test_node_error_raised(self) -> None:
        """SG-84."""
        made = chain("a", run=lambda: 1 / 0, raise_exceptions=True)
        with pytest.raises(RuntimeError) as caught:
            made.execute_scoped({}, "a", END)
        assert str(caught.value) == "Error in node 'a': division by zero"
        assert type(caught.value.__cause__) is ZeroDivisionError

    def test_dead_end(self) -> None:
        """SG-84: text and policy."""
        made = chain("a", "b")
        made.edge("a", "b")["cond"] = lambda: False
        text = "No valid next node found from 'a' in scoped execution"
        assert made.execute_scoped({}, "a", "b")["_scoped_error"] == {"node": "a", "error": text}
        made.raise_exceptions = True
        with pytest.raises(RuntimeError) as caught:
            made.execute_scoped({}, "a", "b")
        assert str(caught.value) == text and caught.value.__cause__ is None

    @pytest.mark.parametrize("raise_exceptions", [False, True])
    def test_condition_error(self, raise_exceptions: bool) -> None:
        """SG-84, SG-47: unchanged."""
        error = KeyError("k")

        def condition() -> None:
            raise error

        made = chain("a", "b", raise_exceptions=raise_exceptions)
        made.edge("a", "b")["cond"] = condition
        with pytest.raises(KeyError) as caught:
            made.execute_scoped({}, "a", "b")
        assert caught.value is error

    def test_injection(self) -> None:
        """SG-82: as in section 6, `parallel_results` included."""

        def run(state: Any, node: Any, graph: Any, config: Any, parallel_results: Any) -> dict[str, Any]:
            return {"seen": (node, graph is made, config, parallel_results)}

        made = chain("a", run=run)
        got = made.execute_scoped({"parallel_results": [1]}, "a", END, config={"k": 1})
        assert got["seen"] == ("a", True, {"k": 1}, [1])

    def test_inside_a_node(self) -> None:
        """SG-104: a node runs a part of its own graph."""
        made = chain("a", "b", "c")
        made.node("a")["run"] = lambda graph: {"inner": graph.execute_scoped({}, "b", END)["trail"]}
        assert list(made.invoke({}))[-1]["state"]["inner"] == ["b", "c"]


class TestRecords:
    """SG-91, the scoped lines."""

    def test_all_lines(self, caplog: pytest.LogCaptureFixture) -> None:
        """SG-91: in order; a node without function gives only its `Transitioning` line."""
        made = chain("a", "p", "b", log_level=10, log_state_values=True)
        made.node("p")["run"] = None
        made.execute_scoped({"x": 1}, "a", "b")
        values = [
            "[Scoped] Node 'a' input state: {'x': 1}",
            "[Scoped] Node 'a' output state: {'x': 1, 'trail': ['a']}",
        ]
        assert [record for record in caplog.record_tuples if record[2] not in values] == [
            (LOGGER, 10, "Scoped execution: a → (stop before b)"),
            (LOGGER, 10, "[Scoped] Entering node: a"),
            (LOGGER, 20, "[Scoped] Node 'a' completed"),
            (LOGGER, 10, "[Scoped] Transitioning from 'a' to 'p'"),
            (LOGGER, 10, "[Scoped] Transitioning from 'p' to 'b'"),
            (LOGGER, 20, "Scoped execution complete: stopped before 'b'"),
        ]
        assert [message for message in caplog.messages if message in values] == values

    def test_values_only_on_request(self, caplog: pytest.LogCaptureFixture) -> None:
        """SG-92."""
        chain("a", log_level=10).execute_scoped({"x": "secret"}, "a", END)
        assert "secret" not in caplog.text and len(caplog.records) == 5

    def test_end_first(self, caplog: pytest.LogCaptureFixture) -> None:
        """SG-91: the last line names the exit node, also when END came first."""
        made = chain("a", "b", log_level=20)
        made.edge("a", "b")["cond"] = lambda: False
        made.add_edge("a", END)
        made.execute_scoped({}, "a", "b")
        assert caplog.messages[-1] == "Scoped execution complete: stopped before 'b'"

    def test_errors(self, caplog: pytest.LogCaptureFixture) -> None:
        """SG-91: ERROR and WARNING lines, and no last line after them."""
        made = chain("a", "b", log_level=20)
        made.node("a")["run"] = lambda: 1 / 0
        made.execute_scoped({}, "a", END)
        made.edge("b", END)["cond"] = lambda: False
        made.execute_scoped({}, "b", END)
        assert caplog.record_tuples == [
            (LOGGER, 40, "[Scoped] Error in node 'a': division by zero"),
            (LOGGER, 20, "[Scoped] Node 'b' completed"),
            (LOGGER, 30, "[Scoped] No valid next node found from 'b' in scoped execution"),
        ]


class TestHelpers:
    """SG-85 to SG-87."""

    @pytest.fixture
    def made(self) -> StateGraph:
        """s fans out to x and y, which join in j; z hangs off y; END behind j."""
        graph = fan({"x": None, "y": None})
        graph.add_node("z")
        graph.add_edge("y", "z")
        return graph

    def test_path_exists(self, made: StateGraph) -> None:
        """SG-85: breadth-first over all kinds of edges."""
        assert made._path_exists("s", "j") is True
        assert made._path_exists(START, END) is True
        assert made._path_exists("x", "y") is False
        assert made._path_exists("s", "s") is False
        assert made._path_exists("zz", "s") is False
        assert made._path_exists("s", "zz") is False

    def test_path_in_a_cycle(self) -> None:
        """SG-85: ends, and stays False for the same node."""
        made = chain("a", "b")
        made.add_edge("b", "a")
        assert made._path_exists("b", "a") is True and made._path_exists("a", "a") is False

    def test_nodes_between(self, made: StateGraph) -> None:
        """SG-86: breadth-first, start included, end excluded and not passed."""
        assert made._get_nodes_between("s", "j") == ["s", "x", "y", "z"]
        assert made._get_nodes_between("s", "y") == ["s", "x", "j", END]
        assert made._get_nodes_between("s", "zz") == ["s", "x", "y", "j", "z", END]
        assert made._get_nodes_between("zz", "j") == ["zz"]
        assert made._get_nodes_between("s", "s") == [] and made._get_nodes_between("zz", "zz") == []

    def test_validate_remote_scope(self, made: StateGraph) -> None:
        """SG-87: per node, before- then after-message; never raises."""
        made.interrupt_before = ["x", "j", "y"]
        made.interrupt_after = ["s", "x"]
        before = "Move interrupt points before the parallel fan-out."
        after = "Move interrupt points after the parallel fan-in."
        scope = "which is not supported in remote execution scope."
        assert made.validate_remote_scope("s", "j") == [
            f"Node 's' has interrupt_after=True, {scope} {after}",
            f"Node 'x' has interrupt_before=True, {scope} {before}",
            f"Node 'x' has interrupt_after=True, {scope} {after}",
            f"Node 'y' has interrupt_before=True, {scope} {before}",
        ]
        assert made.validate_remote_scope("z", "j") == []
        assert made.validate_remote_scope("x", "x") == [] and made.validate_remote_scope("zz", "yy") == []
