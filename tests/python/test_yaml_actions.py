"""How nodes call actions and import them (actions.md 1, yaml.md 8.4 and 11)."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from the_edge_agent import YAMLEngine


def engine(**actions: Any) -> YAMLEngine:
    return YAMLEngine(actions_registry=actions, enable_ltm=False, enable_graph=False)


def run(
    e: YAMLEngine, node: dict[str, Any], state: dict[str, Any] | None = None, **config: Any
) -> dict[str, Any]:
    graph = e.load_from_dict({"nodes": [{"name": "n", **node}], **config})
    return list(graph.invoke(state or {}, {"c": 1}))[-1]


class TestCalls:
    def test_what_an_action_gets(self) -> None:
        """AC-3, AC-11, AC-24: keywords; the live state; identity of values."""
        seen: dict[str, Any] = {}

        def action(**given: Any) -> dict[str, Any]:
            seen.update(given)
            given["state"]["touched"] = True
            return {}

        thing = object()
        event = run(engine(a=action), {"uses": "a", "with": {"o": "{{ state.o }}", "n": 1}}, {"o": thing})
        assert set(seen) == {"state", "o", "n", "config", "node", "graph"}
        assert seen["o"] is thing and seen["config"] == {"c": 1} and seen["node"] == "n"
        assert event["state"]["touched"] is True

    def test_parameters_of_the_injected_names_win(self) -> None:
        """AC-12."""
        event = run(
            engine(a=lambda node, config, **_: {"r": [node, config]}),
            {"uses": "a", "with": {"node": "x", "config": 5}},
        )
        assert event["state"] == {"r": ["x", 5]}

    def test_an_action_without_keywords_fails(self) -> None:
        """AC-11: with Python's own text."""
        event = run(engine(a=lambda state: {}), {"uses": "a"})
        assert event["type"] == "error" and "unexpected keyword argument" in event["error"]

    def test_awaitables(self) -> None:
        """AC-23, Q-14."""

        async def action(**_given: Any) -> dict[str, Any]:
            return {"r": 1}

        assert run(engine(a=action), {"uses": "a"})["state"] == {"r": 1}

        async def within_a_loop() -> Any:
            return run(engine(a=action), {"uses": "a"})

        import asyncio

        assert asyncio.run(within_a_loop())["state"] == {"r": 1}

    @pytest.mark.parametrize("answer", [None, 5, "t", [1], (1,), {1}])
    def test_results_that_are_no_maps(self, answer: Any) -> None:
        """AC-5, AC-16."""
        event = run(engine(a=lambda **_: answer), {"uses": "a"})
        assert event["state"] == {"result": answer} and type(event["state"]["result"]) is type(answer)

    def test_outputs(self) -> None:
        """AC-5, AC-16."""
        inner = [1]
        answer = {"x": None, "l": inner, 5: "five"}
        e = engine(a=lambda **_: answer)
        assert run(e, {"uses": "a"})["state"] == answer
        stored = run(e, {"uses": "a", "output": "k"})["state"]["k"]
        assert stored == answer and stored["l"] is inner
        output = {"n": "{{ result.x }}", "l": "{{ result.l }}", "t": "{{ result.l }}.", "v": 7}
        state = run(e, {"uses": "a", "output": output})["state"]
        assert state == {"n": "", "l": [1], "t": "[1].", "v": 7} and state["l"] is inner

    def test_a_failing_action(self) -> None:
        """AC-14: the exception itself is the cause."""
        error = LookupError("gone")

        def action(**_given: Any) -> None:
            raise error

        e = engine(a=action)
        assert run(e, {"uses": "a"})["error"] == "gone"
        graph = e.load_from_dict(
            {"config": {"raise_exceptions": True}, "nodes": [{"name": "n", "uses": "a"}]}
        )
        with pytest.raises(RuntimeError, match="Error in node 'n': gone") as caught:
            list(graph.invoke({}))
        assert caught.value.__cause__ is error

    def test_an_unknown_action(self) -> None:
        """AC-14."""
        graph = engine().load_from_dict(
            {"config": {"raise_exceptions": True}, "nodes": [{"name": "n", "uses": "no.such"}]}
        )
        with pytest.raises(RuntimeError, match=r"Error in node 'n': Unknown action: no\.such") as caught:
            list(graph.invoke({}))
        assert type(caught.value.__cause__) is ValueError

    def test_a_response(self) -> None:
        """SG-66: from Python, and from the engine's own action."""
        from the_edge_agent.actions.http_response_actions import HTTPResponse

        def action(**_given: Any) -> None:
            raise HTTPResponse(201, {"k": 1})

        event = run(engine(a=action), {"uses": "a"})
        assert (event["type"], event["status"], event["body"]) == ("http_response", 201, {"k": 1})
        event = run(
            engine(), {"uses": "http.respond", "with": {"status": 404, "body": "{{ state.b }}"}}, {"b": [1]}
        )
        assert (event["type"], event["status"], event["body"]) == ("http_response", 404, [1])
        assert event["headers"]["Content-Type"] == "application/json"

    def test_actions_of_the_engine(self) -> None:
        """AC-40: run by nodes, called directly, replaced by the user."""
        e = engine()
        node = {"uses": "json.parse", "with": {"text": '{"a": [1]}'}, "output": "r"}
        assert run(e, node)["state"]["r"]["data"] == {"a": [1]}
        assert e.actions_registry["json.parse"](state={}, text="[2]")["data"] == [2]
        assert e.actions_registry["json.parse"](state={}, text="{{ not rendered }}")["success"] is False
        e.actions_registry["json.parse"] = lambda text, **_: {"mine": text}
        assert run(e, node)["state"]["r"] == {"mine": '{"a": [1]}'}

    def test_functions_made_by_hand(self) -> None:
        """YM-11, AC-22, TI-17."""
        e = engine(a=lambda state, x=None, **_: {"x": x})
        e.variables = {"v": 2}
        function = e._create_action_function("a", {"x": "{{ variables.v }}"}, {"y": "{{ result.x }}!"})
        assert function({}) == {"y": "2!"}
        with pytest.raises(ValueError, match="Unknown action: none"):
            e._create_action_function("none", {})({})
        code = e._create_run_function({"name": "n", "run": "return {'z': state['a']}"})
        assert code is not None and code({"a": 1}) == {"z": 1}
        assert e._create_run_function({"name": "n"}) is None

    def test_nodes_and_edges_by_hand(self) -> None:
        """YM-11."""
        from the_edge_agent import StateGraph

        e = engine()
        graph = StateGraph({})
        nodes = [
            {"name": "a", "run": "x = 1", "goto": [{"if": "state.x == 1", "to": "c"}]},
            {"name": "b"},
            {"name": "c", "run": "y = 2"},
        ]
        for node in nodes:
            e._add_node_from_config(graph, node)
        e._process_goto_and_implicit_edges(graph, nodes, [])
        assert e._nodes_with_goto == {"a"}
        assert list(graph.invoke({}))[-1]["state"] == {"x": 1, "y": 2}
        with pytest.raises(ValueError, match="already exists"):
            e._add_node_from_config(graph, {"name": "a"})
        other = StateGraph({})
        e._add_node_from_config(other, {"name": "a", "run": "x = 1"})
        for edge in ({"from": "__start__", "to": "a"}, {"from": "a", "to": "__end__"}):
            e._add_edge_from_config(other, edge)
        assert list(other.invoke({}))[-1]["state"] == {"x": 1}

    def test_fallback_of_a_failing_action(self) -> None:
        """EH-22, Q-13."""
        calls: list[int] = []

        def action(**_given: Any) -> dict[str, Any]:
            calls.append(1)
            if len(calls) < 3:
                raise TimeoutError("slow")
            return {"r": len(calls)}

        node = {"uses": "a", "on_error": {"mode": "retry", "max_retries": 3, "retry_delay": 0}}
        with mock.patch("the_edge_agent.yaml_engine.time.sleep"):
            # TI-8: pauses go through `time.sleep`.
            assert run(engine(a=action), node)["state"]["r"] == 3


MODULE = """
def hello(state, name="you", **kwargs):
    return {"greeting": "hello " + name}

def register_actions(registry, engine):
    registry["hello"] = hello
    registry["engine"] = lambda **kwargs: {"same": engine.variables.get("v")}
"""


class TestImports:
    def test_path(self, tmp_path: Path) -> None:
        """IM-1, IM-2, IM-5, IM-9: relative to the file of the agent."""
        (tmp_path / "mine.py").write_text(MODULE)
        (tmp_path / "a.yaml").write_text(
            "variables: {v: 3}\nimports: [{path: mine.py, namespace: my}]\n"
            "nodes: [{name: n, uses: my.hello, with: {name: 'x'}}, {name: m, uses: my.engine}]\n"
        )
        e = engine()
        before = set(sys.modules)
        graph = e.load_from_file(tmp_path / "a.yaml")
        assert list(graph.invoke({}))[-1]["state"] == {"greeting": "hello x", "same": 3}
        assert not [name for name in set(sys.modules) - before if "mine" in name or "_tea_import" in name]
        assert e._loaded_modules == {str(tmp_path / "mine.py")}

    def test_loaded_once(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """IM-6."""
        (tmp_path / "mine.py").write_text(MODULE)
        e = engine()
        e._load_from_path("mine.py", "", str(tmp_path))
        with caplog.at_level(logging.DEBUG, "the_edge_agent.yaml_imports"):
            e._load_from_path(str(tmp_path / "mine.py"), "other")
        assert "hello" in e.actions_registry and "other.hello" not in e.actions_registry
        assert "already loaded" in caplog.text

    def test_failures(self, tmp_path: Path) -> None:
        """IM-2, IM-4, IM-8: all of them at once."""
        (tmp_path / "no.py").write_text("x = 1")
        (tmp_path / "odd.py").write_text("register_actions = 5")
        e = engine()
        with pytest.raises(FileNotFoundError) as missing:
            e._load_from_path("gone.py", "", str(tmp_path))
        assert str(missing.value) == f"Action module not found: {tmp_path / 'gone.py'} (from path: gone.py)"
        imports = [{"path": "no.py"}, {"path": "odd.py"}, {"namespace": "x"}]
        with pytest.raises(ValueError) as caught:
            e.load_from_dict({"imports": imports}, yaml_dir=str(tmp_path))
        assert str(caught.value) == (
            "Failed to load imports:\n"
            "  - Module no.py missing required 'register_actions(registry, engine)' function\n"
            "  - Module odd.py has 'register_actions' but it is not callable\n"
            "  - Invalid import: must specify 'path' or 'package'. Got: {'namespace': 'x'}"
        )

    def test_package(self) -> None:
        """IM-3, TI-6."""
        e = engine()
        with pytest.raises(
            ImportError, match=r"Failed to import package 'no_such_pkg': .*pip install no_such_pkg"
        ):
            e._load_from_package("no_such_pkg", "")
        module = mock.MagicMock(
            register_actions=lambda registry, engine: registry.update(a=print), __tea_actions__=None
        )
        with mock.patch("importlib.import_module", return_value=module):
            e._load_from_package("some_pkg", "p")
        assert e.actions_registry["p.a"] is print

    def test_what_is_told(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """IM-5, IM-7, TI-7."""
        path = tmp_path / "mine.py"
        path.write_text(
            MODULE + '__tea_actions__ = {"version": "1.2", "description": "d", "actions": ["hello"]}\n'
        )
        e = engine(hello=print)
        with mock.patch("the_edge_agent.yaml_imports.logger") as logger:
            e._load_from_path(str(path), "")
        assert logger.info.call_args[0][0] == f"Loaded actions from {path} (namespace: root, version: 1.2)"
        assert logger.warning.call_args[0][0] == f"Action 'hello' from {path} overrides existing action"
