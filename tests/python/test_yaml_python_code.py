"""Blocks of Python code and expressions (yaml.md 8.3, Q-4)."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from the_edge_agent import YAMLEngine


def run(code: Any, state: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    """The last event of an agent with one node of this code."""
    engine = YAMLEngine(enable_ltm=False, enable_graph=False)
    whole = isinstance(code, dict) and code.get("type") != "expression"
    node = {"name": "n", **code} if whole else {"name": "n", "run": code}
    graph = engine.load_from_dict({"nodes": [node], **config})
    return list(graph.invoke(state or {}, {"c": 1}))[-1]


def state_of(code: Any, state: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    event = run(code, state, **config)
    assert event["type"] == "final", event
    return event["state"]


class TestModes:
    def test_return_is_the_result(self) -> None:
        """ND-16.2."""
        assert state_of('return {"y": state["x"] + 1}', {"x": 1}) == {"x": 1, "y": 2}
        assert state_of("return 5") == {"result": 5}

    def test_falling_off_the_end(self) -> None:
        """ND-16.2: None, stored under `result`."""
        assert state_of("if False:\n    return 1\ny = 2") == {"result": None}

    def test_names_become_the_update(self) -> None:
        """ND-16.3: what does not begin with an underscore; modules and functions stay behind (Q-4)."""
        code = "import os\ndef f(): pass\n_hidden = 1\ny = 2\nz = [i for i in range(2)]"
        assert state_of(code) == {"y": 2, "z": [0, 1]}

    @pytest.mark.parametrize(
        "code",
        [
            "x = 1  # return",
            'x = 1\ns = "return"\n',
            "def f():\n    return 1\nx = f()",
            "f = lambda: 1\nx = f()",
            "class C:\n    def m(self):\n        return 1\nx = C().m()",
        ],
    )
    def test_only_a_return_of_the_block_counts(self, code: str) -> None:
        """Q-4: not one in a comment, a text or a function."""
        assert state_of(code)["x"] == 1

    def test_triple_quotes_keep_their_text(self) -> None:
        """Q-4: no indentation is added."""
        code = 'text = """a\n  b\nc"""\nif True:\n    return {"t": text}'
        assert state_of(code) == {"t": "a\n  b\nc"}

    def test_functions_of_a_returning_block_see_its_names(self) -> None:
        """ND-16.2."""
        assert state_of("k = 2\ndef f(x): return x * k\nreturn [f(i) for i in (1, 2)]") == {"result": [2, 4]}

    def test_state_assigned_is_local(self) -> None:
        """ND-16.2: reading it before is an error."""
        event = run('y = state["x"]\nstate = {}\nreturn y', {"x": 1})
        assert event["type"] == "error" and "state" in event["error"]

    def test_globals_are_fresh(self) -> None:
        """ND-16.2: `global x` is dropped with the run."""
        code = "global seen\nfound = 'seen' in globals()\nseen = 1\nreturn {'found': found}"
        assert state_of(code) == {"found": False}
        assert state_of(code) == {"found": False}

    def test_nothing(self) -> None:
        """ND-11: an empty text does nothing, and hides `uses`."""
        assert state_of({"run": "", "uses": "nope"}, {"a": 1}) == {"a": 1}


class TestNames:
    def test_what_is_there(self) -> None:
        """ND-16.1."""
        code = (
            "return {'c': config['c'], 'n': node, 'g': type(graph).__name__, 'j': json.dumps([1]),"
            " 'd': datetime.date(2024, 1, 1).isoformat(), 'r': requests is None or True}"
        )
        assert state_of(code) == {
            "c": 1,
            "n": "n",
            "g": "StateGraph",
            "j": "[1]",
            "d": "2024-01-01",
            "r": True,
        }

    def test_variables_and_secrets(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Q-4."""
        monkeypatch.setenv("TEA_TEST_KEY", "s3")
        got = state_of(
            "return {'v': variables['v'], 's': secrets['KEY']}",
            variables={"v": 1},
            settings={"secrets": {"backend": "env", "prefix": "TEA_TEST_"}},
        )
        assert got == {"v": 1, "s": "s3"}

    def test_the_state_is_live(self) -> None:
        """ND-16.4: changes in place count, values keep their identity."""
        handle = object()
        state = state_of('state["l"].append(2)\nstate["new"] = 1\nh = state["h"]', {"l": [1], "h": handle})
        assert state["l"] == [1, 2] and state["new"] == 1 and state["h"] is handle

    def test_objects_pass_as_they_are(self) -> None:
        state = state_of("o = object()\ns = {1, 2}\nt = (1, [2])\nd = {1: 'a', None: 2}")
        assert type(state["o"]) is object and state["s"] == {1, 2}
        assert state["t"] == (1, [2]) and state["d"] == {1: "a", None: 2}

    def test_templates_first(self) -> None:
        """ND-16: values are spliced in as text (VM-3)."""
        assert state_of(
            "d = {{ state.d }}\nn = {{ variables.n }} + 1", {"d": {"a": [1, None]}}, variables={"n": 2}
        ) == {
            "d": {"a": [1, None]},
            "n": 3,
        }

    def test_full_python(self) -> None:
        """ND-16.5."""
        assert state_of("import sys\nreturn {'v': sys.version_info[0]}") == {"v": sys.version_info[0]}


class TestErrors:
    def test_what_the_code_raises(self) -> None:
        event = run("raise KeyError('k')", {"a": 1})
        assert event == {"type": "error", "node": "n", "error": "'k'", "state": {"a": 1}}

    def test_raised_with_its_cause(self) -> None:
        engine = YAMLEngine(enable_ltm=False, enable_graph=False)
        graph = engine.load_from_dict(
            {"config": {"raise_exceptions": True}, "nodes": [{"name": "n", "run": "1 / 0"}]}
        )
        with pytest.raises(RuntimeError, match="Error in node 'n': division by zero") as caught:
            list(graph.invoke({}))
        assert type(caught.value.__cause__) is ZeroDivisionError

    def test_a_syntax_error_is_the_nodes(self) -> None:
        event = run("x = = 1")
        assert event["type"] == "error" and "invalid syntax" in event["error"]

    def test_what_is_no_exception_ends_everything(self) -> None:
        engine = YAMLEngine(enable_ltm=False, enable_graph=False)
        graph = engine.load_from_dict({"nodes": [{"name": "n", "run": "raise KeyboardInterrupt"}]})
        with pytest.raises(KeyboardInterrupt):
            list(graph.invoke({}))

    def test_code_that_is_no_text(self) -> None:
        """TW-3: a single expression gives a value, which cannot be run."""
        assert run("{{ state.n }}", {"n": 1})["type"] == "error"


class TestExpressions:
    def test_value(self) -> None:
        """ND-18: Python over `state`, `config`, `node`, `graph`."""
        assert state_of(
            {"type": "expression", "value": "[len(state['l']), node, config['c']]", "output_key": "k"},
            {"l": [1]},
        ) == {
            "l": [1],
            "k": [1, "n", 1],
        }

    def test_default_key_and_identity(self) -> None:
        value = object()
        assert state_of({"type": "expression", "value": "state['o']"}, {"o": value})["result"] is value

    def test_failure_names_the_expression(self) -> None:
        """ND-18."""
        engine = YAMLEngine(enable_ltm=False, enable_graph=False)
        node = {"name": "n", "run": {"type": "expression", "value": "1 / {{ state.z }}"}}
        graph = engine.load_from_dict({"config": {"raise_exceptions": True}, "nodes": [node]})
        with pytest.raises(RuntimeError) as caught:
            list(graph.invoke({"z": 0}))
        text = "Error evaluating expression '1 / {{ state.z }}': division by zero"
        assert str(caught.value) == f"Error in node 'n': {text}"
        assert type(caught.value.__cause__) is ValueError and str(caught.value.__cause__) == text

    def test_a_missing_value_is_found_at_load(self) -> None:
        """ND-11.1."""
        engine = YAMLEngine(enable_ltm=False, enable_graph=False)
        with pytest.raises(KeyError) as caught:
            engine.load_from_dict({"nodes": [{"name": "n", "run": {"type": "expression"}}]})
        assert str(caught.value) == "'value'"


class TestComposites:
    def test_steps_work_on_a_state_of_their_own(self) -> None:
        """SP-1, SP-2: code in steps sees what the steps before it did; a failing node changes nothing."""
        steps = [{"run": "a = 1"}, {"run": "b = state['a'] + 1"}, {"run": "return 5"}]
        assert state_of({"steps": steps}, {"x": 0}) == {"x": 0, "a": 1, "b": 2}
        event = run({"steps": [*steps, {"run": "1 / 0"}]}, {"x": 0})
        assert event["state"] == {"x": 0}

    def test_loops(self) -> None:
        """WL-5: Python code as the body of a loop."""
        node = {
            "type": "while_loop",
            "condition": "state.n < 3",
            "max_iterations": 10,
            "body": [{"name": "b", "run": "n = state['n'] + 1"}],
        }
        assert state_of(node, {"n": 0})["n"] == 3
