"""`YAMLEngine`: construction, loading, live attributes, what is on the graph (yaml.md 2 to 4, 20, 24)."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any, ClassVar

import pytest

from the_edge_agent import END, START, MemoryCheckpointer, StateGraph, YAMLEngine

QUIET: dict[str, Any] = {"enable_ltm": False, "enable_graph": False}


def engine(**options: Any) -> YAMLEngine:
    return YAMLEngine(**{**QUIET, **options})


def final(graph: StateGraph, state: dict[str, Any] | None = None) -> dict[str, Any]:
    event = list(graph.invoke(state or {}))[-1]
    assert event["type"] == "final", event
    return event["state"]


def reads(expression: str, **config: Any) -> dict[str, Any]:
    """An agent whose node stores the value of an expression under `out`."""
    node = {"name": "n", "uses": "echo", "with": {"value": expression}, "output": "out"}
    return {"nodes": [node], **config}


def echo(state: Any, value: Any = None, **_more: Any) -> Any:
    return value


class TestConstruction:
    def test_attributes(self) -> None:
        """YC-14."""
        e = engine()
        for name in ("variables", "secrets", "data", "llm_settings", "shell_providers", "cli_overrides"):
            assert getattr(e, name) == {}
        for name in ("_checkpoint_dir", "_last_checkpoint_path", "_current_graph", "_checkpointer"):
            assert getattr(e, name) is None
        assert e._graph_event_queue == [] and e._auto_trace is False

    def test_registry(self) -> None:
        """YC-1, YC-16, AC-4: built-ins stay, given ones win, aliases are one object."""
        e = engine(actions_registry={"mine": echo, "json.parse": echo})
        registry = e.actions_registry
        assert type(registry) is dict
        assert registry["mine"] is echo and registry["json.parse"] is echo
        names = (
            "file.read file.write actions.notify checkpoint.save checkpoint.load http.respond memory.store"
            " trace.start secrets.get secrets.has validate.input error.get"
        )
        for name in names.split():
            assert callable(registry[name]), name
        for left, right in (
            ("trace.start", "actions.trace_start"),
            ("memory.store", "actions.memory_store"),
            ("file.read", "actions.file_read"),
            ("csv.parse", "csv_parse"),
        ):
            assert registry[left] is registry[right]

    @pytest.mark.parametrize(
        ("options", "kinds"),
        [
            ({}, []),
            ({"trace_exporter": "console"}, ["ConsoleExporter"]),
            ({"trace_exporter": "file"}, []),
            ({"trace_exporter": "callback", "trace_callback": print}, ["CallbackExporter"]),
            ({"trace_exporter": "nonsense"}, []),
            ({"trace_exporter": ["as it is"]}, ["str"]),
        ],
    )
    def test_exporters(self, options: dict[str, Any], kinds: list[str]) -> None:
        """YC-3, YC-4."""
        context = engine(**options)._trace_context
        assert [type(exporter).__name__ for exporter in context.exporters] == kinds

    def test_tracing_off(self) -> None:
        """YC-2."""
        e = engine(enable_tracing=False)
        assert e._trace_context is None
        assert e.actions_registry["trace.start"](state={}, name="x") == {
            "success": False,
            "error": "Tracing is not enabled",
        }

    def test_memory(self) -> None:
        """YC-5, YC-7, YM-6, YM-7."""
        e = YAMLEngine(enable_graph=False)
        assert e.ltm_backend is not None and engine().ltm_backend is None
        assert e.get_memory_state() == {"version": "1.0", "namespaces": {}}
        e.actions_registry["memory.store"](state={}, key="k", value=1)
        kept = e.get_memory_state()
        assert e.clear_memory() == 1
        e.restore_memory_state(kept)
        assert e.actions_registry["memory.retrieve"](state={}, key="k")["value"] == 1
        e.close()
        mine = object()
        assert engine(memory_backend=mine).memory_backend is mine

    def test_opik(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """YC-9, ST-12, YM-8: constructor, environment, file, defaults; a copy."""
        monkeypatch.setenv("OPIK_WORKSPACE", "env")
        e = engine(opik_project_name="mine")
        assert e._resolve_opik_config({"workspace": "y", "url": "u", "project_name": "y"}) == {
            "enabled": False,
            "api_key": None,
            "workspace": "env",
            "project_name": "mine",
            "url": "u",
            "llm_tracing": False,
            "trace_export": False,
        }
        e.opik_config["url"] = "changed"
        assert e.opik_config["url"] is None

    def test_closing_twice(self) -> None:
        """YM-5, TI-12."""
        e = YAMLEngine(enable_graph=False)
        e.close()
        e._engine_config.close()
        assert e._secrets_backend is None and e._vector_index is None

    def test_import_stays_fast(self) -> None:
        """The package loads the engine of agents only when it is asked for."""
        code = (
            "import sys, the_edge_agent; mods = [m for m in sys.modules if m.startswith('the_edge_agent.yaml')"
            " or m in ('yaml', 'jinja2', 'asyncio')]; print(mods); the_edge_agent.YAMLEngine;"
            " print('jinja2' in sys.modules or 'yaml' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.split("\n")[:2] == ["[]", "False"]


class TestLoading:
    def test_file(self, tmp_path: Path) -> None:
        """YM-1."""
        path = tmp_path / "a.yaml"
        path.write_text(
            "name: é\nvariables: {on: 1}\ndata: {n: 010}\nnodes: [{name: n, run: 'x = {{ data.n }}'}]\n",
            encoding="utf-8",
        )
        e = engine()
        graph = e.load_from_file(path)
        assert final(graph) == {"x": 0o10}
        assert e._current_yaml_path == str(path) and e.variables == {True: 1}

    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("a: [", "ParserError"),
            ("a: 'x", "ScannerError"),
            ("a: *b", "ComposerError"),
            ("a: !x 1", "ConstructorError"),
        ],
    )
    def test_text_that_is_no_yaml(self, tmp_path: Path, text: str, name: str) -> None:
        """YM-1: a `yaml.YAMLError` that says where."""
        yaml = pytest.importorskip("yaml", reason="the classes of errors are PyYAML's where it is installed")
        path = tmp_path / "a.yaml"
        path.write_text(text)
        with pytest.raises(yaml.YAMLError) as caught:
            engine().load_from_file(path)
        assert type(caught.value).__name__ == name
        assert "a.yaml" in str(caught.value) and "line 1" in str(caught.value).replace(":1:", " line 1 ")

    def test_other_files(self, tmp_path: Path) -> None:
        """YM-1: a missing file, an empty one."""
        with pytest.raises(FileNotFoundError):
            engine().load_from_file(tmp_path / "none.yaml")
        (tmp_path / "empty.yaml").write_text("")
        with pytest.raises((AttributeError, TypeError)):
            engine().load_from_file(tmp_path / "empty.yaml")

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have notes from Python 3.11 on")
    def test_errors_say_where(self, tmp_path: Path) -> None:
        """Issue 4, bad input: file, line, column and path are noted on the error."""
        path = tmp_path / "a.yaml"
        path.write_text("nodes:\n- name: a\n- name: b\n  goto: nowhere\n")
        with pytest.raises(ValueError, match="nowhere") as caught:
            engine().load_from_file(path)
        (note,) = caught.value.__notes__
        assert f"{path}:4:" in note and "nodes[1].goto" in note

    def test_dict_is_not_copied(self) -> None:
        """YM-2, LD-3."""
        config = {"variables": {"a": 1}, "data": {"b": 2}, "nodes": []}
        e = engine()
        e.load_from_dict(config)
        assert e._config is config and e.variables is config["variables"] and e.data is config["data"]

    def test_objects_in_a_dict(self) -> None:
        """TI-24: types, functions and tuples stay what they are."""
        thing = object()
        config = {
            "state_schema": {"x": int},
            "variables": {"o": thing},
            "nodes": [{"name": "n", "uses": "echo", "with": {"value": (1, thing)}, "output": "out"}],
        }
        e = engine(actions_registry={"echo": echo})
        graph = e.load_from_dict(config)
        assert graph.state_schema == {"x": int} and graph.state_schema["x"] is int
        assert final(graph)["out"][1] is thing

    def test_nothing_at_all(self) -> None:
        """LD-13."""
        event = next(engine().load_from_dict({}).invoke({}))
        assert event["error"] == "No valid next node found from node '__start__'"

    @pytest.mark.parametrize(
        ("config", "kind", "message"),
        [
            ({"nodes": [{}]}, KeyError, "'name'"),
            ({"nodes": [{"name": "a"}, {"name": "a"}]}, ValueError, "Node 'a' already exists in the graph."),
            ({"nodes": [{"name": "a", "goto": "b"}]}, ValueError, "b"),
            ({"nodes": [{"name": "a"}], "config": {"interrupt_before": ["x"]}}, ValueError,
             "Interrupt node 'x' does not exist in the graph."),
            ({"nodes": [{"name": "a", "uses": "echo", "with": {"state": 1}}]}, ValueError,
             "Node 'a': 'with' must not contain 'state'"),
        ],
    )  # fmt: skip
    def test_agents_that_make_no_sense(self, config: Any, kind: type[Exception], message: str) -> None:
        """ND-1, NV-6, CK-1, AC-12."""
        with pytest.raises(kind) as caught:
            engine().load_from_dict(config)
        assert message in str(caught.value)

    def test_the_graph_is_an_ordinary_one(self) -> None:
        """3.2, TI-21: nodes, edges, further building with functions of Python."""
        nodes = [{"name": "a", "run": "x = 1"}, {"name": "b", "goto": [{"if": "false", "to": "a"}]}]
        graph = engine().load_from_dict({"nodes": nodes})
        assert {START, END, "a", "b"} == set(graph._structure.nodes)
        assert graph.successors("a") == ["b"] and callable(graph.node("a")["run"])
        graph.add_node("c", run=lambda state: {"c": state["x"] + 1})
        graph.add_conditional_edges("b", lambda state: "go", {"go": "c"})
        graph.set_finish_point("c")
        assert final(graph) == {"x": 1, "c": 2}

    def test_changes_of_a_loaded_graph_count(self) -> None:
        graph = engine().load_from_dict({"nodes": [{"name": "a", "run": "x = 1"}]})
        graph.node("a")["run"] = lambda state: {"x": 2}
        assert final(graph) == {"x": 2}

    def test_functions_and_conditions_can_be_called(self) -> None:
        """YM-11: what stands in the graph works by itself."""
        nodes = [
            {"name": "a", "run": "return {'y': state['x'] + 1}", "goto": [{"if": "state.y > 1", "to": "b"}]},
            {"name": "b"},
        ]
        graph = engine().load_from_dict({"nodes": nodes})
        state = {"x": 1}
        assert graph.node("a")["run"](state=state) == {"y": 2} and state == {"x": 1}
        condition = graph.edge("a", "b")["cond"]
        assert condition(state={"y": 2}) is True and condition(state={"y": 0}) is False

    def test_what_is_on_the_graph(self) -> None:
        """YM-20 to YM-24, TK-14."""
        e = engine()
        graph = e.load_from_dict(
            {
                "name": "agent",
                "endpoint": {"path": "/x"},
                "input_schema": {"a": {"type": "int"}},
                "output_schema": {"o": "{{ state.a }}"},
                "config": {"checkpoint": "c", "raise_exceptions": True},
                "settings": {"parallel": {"max_workers": 3, "strategy": "thread"}},
                "nodes": [{"name": "n"}],
            },
            checkpoint="given",
        )
        attributes = graph.__dict__
        assert attributes["_resume_checkpoint_path"] == "given" and attributes["_agent_name"] == "agent"
        assert attributes["_yaml_engine"] is e and attributes["_endpoint_config"] == e.endpoint_config
        assert graph.raise_exceptions is True and graph.max_workers == 3
        event = list(graph.invoke({"a": "5", "extra": 1}))[-1]
        assert event["state"] == {"a": 5} and event["output"] == {"o": 5}
        refused = list(graph.invoke({"a": "x"}))[-1]
        assert refused["type"] == "validation_error"

    def test_warnings_are_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        """Unknown keys load, with a hint."""
        with caplog.at_level(logging.WARNING, "the_edge_agent.yaml_engine"):
            engine().load_from_dict({"nodes": [{"name": "n", "runn": "x = 1"}]})
        assert any("'runn'" in r.getMessage() and "'run'" in r.getMessage() for r in caplog.records)

    def test_mermaid(self, caplog: pytest.LogCaptureFixture) -> None:
        """YM-4, TI-19."""
        e = engine()
        assert e.get_mermaid_graph() is None
        e.load_from_dict({"nodes": [{"name": "a"}]})
        assert "a" in (e.get_mermaid_graph() or "")
        e._current_graph = object()
        with caplog.at_level(logging.WARNING, "the_edge_agent.yaml_engine"):
            assert e.get_mermaid_graph() is None
        assert "Failed to generate Mermaid graph" in caplog.text


class TestLiveAttributes:
    def test_assignment_and_mutation_are_seen(self) -> None:
        """YM-9, SC-3, TI-3: by a graph that is loaded already."""
        e = engine(actions_registry={"echo": echo})
        graph = e.load_from_dict(reads("{{ variables.v }} {{ secrets.s }} {{ data.d }}", variables={"v": 1}))
        assert final(graph)["out"] == "1 None None"
        e.variables["v"] = 2
        e.secrets = {"s": "x"}
        e.data = {"d": [3]}
        assert final(graph)["out"] == "2 x [3]"
        e.variables = {"v": 9}
        assert final(graph)["out"] == "9 x [3]"

    def test_values_keep_their_identity(self) -> None:
        e = engine(actions_registry={"echo": echo})
        thing = object()
        graph = e.load_from_dict(reads("{{ variables.o }}"))
        e.variables["o"] = thing
        assert final(graph)["out"] is thing

    def test_scopes_belong_to_the_graph(self) -> None:
        """Q-5: a second load changes nothing for the first graph."""
        e = engine(actions_registry={"echo": echo})
        first = e.load_from_dict(reads("{{ variables.v }}", variables={"v": 1}))
        second = e.load_from_dict(reads("{{ variables.v }}", variables={"v": 2}))
        assert final(first)["out"] == 1 and final(second)["out"] == 2

    def test_actions(self) -> None:
        """AC-1, AC-3, TI-4: looked up when the node runs."""
        e = engine()
        graph = e.load_from_dict(reads("{{ state.x }}"))
        assert next(graph.invoke({"x": 1}))["error"] == "Unknown action: echo"
        e.actions_registry["echo"] = lambda state, value, **_: value * 2
        assert final(graph, {"x": 4})["out"] == 8

    def test_checkpoint_names(self, tmp_path: Path) -> None:
        """CK-3."""
        e = engine(actions_registry={"echo": echo})
        graph = e.load_from_dict(reads("{{ checkpoint.dir }}|{{ checkpoint.last }}"))
        assert final(graph)["out"] == "|"
        e._checkpoint_dir, e._last_checkpoint_path = "/d", "/l"
        assert final(graph)["out"] == "/d|/l"

    def test_an_engine_can_go(self) -> None:
        """A graph keeps its engine; without graphs nothing keeps it."""
        e = engine(actions_registry={"echo": echo})
        graph = e.load_from_dict(reads("{{ variables.v }}", variables={"v": 1}))
        watch = weakref.ref(e)
        del e
        gc.collect()
        assert final(graph)["out"] == 1
        del graph
        gc.collect()
        assert watch() is None


class TestRuns:
    def test_threads_and_branches(self) -> None:
        """PE-11: actions and code in branches see their own states."""
        e = engine(actions_registry={"echo": echo})
        config = {
            "nodes": [
                {"name": "start", "run": "x = 1"},
                {"name": "a", "run": "who = 'a'\nt = 1"},
                {"name": "b", "uses": "echo", "with": {"value": "{{ state.x }}b"}, "output": "who"},
                {
                    "name": "join",
                    "fan_in": True,
                    "run": "return {'all': [r.state['who'] for r in parallel_results]}",
                },
            ],
            "edges": [
                {"from": "__start__", "to": "start"},
                {"from": "start", "to": "a", "type": "parallel", "fan_in": "join"},
                {"from": "start", "to": "b", "type": "parallel", "fan_in": "join"},
                {"from": "a", "to": "join"},
                {"from": "b", "to": "join"},
                {"from": "join", "to": "__end__"},
            ],
        }
        graph = e.load_from_dict(config)
        assert final(graph)["all"] == ["a", "1b"]

    def test_one_graph_in_several_threads(self) -> None:
        e = engine(actions_registry={"echo": echo})
        graph = e.load_from_dict(reads("{{ state.v }}"))
        wrong: list[Any] = []

        def work(number: int) -> None:
            for count in range(50):
                value = [number, count]
                if final(graph, {"v": value})["out"] is not value:
                    wrong.append(value)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    def test_a_subgraph_has_its_own_scopes(self, tmp_path: Path) -> None:
        """YM-13, Q-5."""
        path = tmp_path / "sub.yaml"
        path.write_text(
            "variables: {v: 2}\nnodes: [{name: n, uses: echo, with: {value: '{{ variables.v }}'}, output: out}]\n"
        )
        e = engine(actions_registry={"echo": echo})
        e.load_from_dict({"variables": {"v": 1}, "nodes": []})
        graph = e._load_subgraph(str(path))
        assert final(graph)["out"] == 2 and e.variables == {"v": 1}
        with pytest.raises(FileNotFoundError, match="Subgraph not found"):
            e._load_subgraph(str(tmp_path / "none.yaml"))
        (tmp_path / "empty.yaml").write_text("")
        with pytest.raises(ValueError, match="Empty subgraph configuration"):
            e._load_subgraph(str(tmp_path / "empty.yaml"))


class TestCheckpoints:
    AGENT: ClassVar[dict[str, Any]] = {
        "nodes": [
            {"name": "a", "run": "x = 1"},
            {"name": "b", "interrupt": "before", "run": "y = state['x'] + 1"},
        ],
    }

    def test_a_directory_is_made(self) -> None:
        """CK-2: interrupts work without settings."""
        e = engine()
        graph = e.load_from_dict(self.AGENT)
        assert e._checkpoint_dir is not None and "tea_checkpoint_" in e._checkpoint_dir
        assert graph.interrupt_before == ["b"] and graph.checkpoint_dir == e._checkpoint_dir
        stop = list(graph.invoke({}))[-1]
        assert stop["type"] == "interrupt" and stop["state"] == {"x": 1}
        assert list(graph.invoke(None, checkpoint=stop["checkpoint_path"]))[-1]["state"] == {"x": 1, "y": 2}

    def test_a_checkpointer(self) -> None:
        """LD-11."""
        e = engine()
        keeper = MemoryCheckpointer()
        graph = e.load_from_dict(self.AGENT, checkpointer=keeper)
        assert e._checkpoint_dir is None and graph.checkpointer is keeper and e._checkpointer is keeper

    def test_resume_by_path(self, tmp_path: Path) -> None:
        """YM-3, Q-9: `resume_from_checkpoint`, and `invoke(None)` from the checkpoint that the loader was given."""
        path = tmp_path / "a.yaml"
        path.write_text(
            f"config: {{checkpoint_dir: '{tmp_path}'}}\nnodes:\n- {{name: a, run: 'x = 1'}}\n"
            "- {name: b, interrupt: before, run: \"y = config.get('k')\"}\n"
        )
        e = engine()
        stop = list(e.load_from_file(path).invoke({}))[-1]
        events = list(e.resume_from_checkpoint(path, stop["checkpoint_path"], {"k": 7}))
        assert events[-1]["state"] == {"x": 1, "y": 7}
        graph = e.load_from_file(path, checkpoint=stop["checkpoint_path"])
        assert list(graph.invoke(None))[-1]["state"] == {"x": 1, "y": None}

    def test_the_actions(self, tmp_path: Path) -> None:
        """CK-4, actions/CK-1 to CK-3: states with objects too."""
        path = tmp_path / "deep" / "c.pkl"
        e = engine()
        config = {
            "nodes": [
                {"name": "save", "uses": "checkpoint.save", "with": {"path": str(path)}},
                {
                    "name": "load",
                    "uses": "checkpoint.load",
                    "with": {"path": "{{ checkpoint.last }}"},
                    "output": "old",
                },
            ]
        }
        state = final(e.load_from_dict(config), {"v": {1, 2}})
        assert state["saved"] is True and e._last_checkpoint_path == str(path)
        assert state["old"]["checkpoint_state"] == {"v": {1, 2}} and state["old"]["checkpoint_node"] == "save"
        load, save = e.actions_registry["checkpoint.load"], e.actions_registry["checkpoint.save"]
        assert load(state={}, path=str(tmp_path / "no")) == {
            "error": f"Checkpoint file not found: {tmp_path / 'no'}"
        }
        assert save(state={}, path=str(path)) == {
            "checkpoint_path": str(path),
            "saved": False,
            "error": "Node 'unknown' does not exist in the graph.",
        }


class TestTracing:
    def test_spans_of_nodes(self) -> None:
        """TR-10, TR-11, ND-13."""
        spans: list[Any] = []
        e = engine(trace_exporter="callback", trace_callback=spans.append, actions_registry={"echo": echo})
        nodes = [
            {"name": "a", "uses": "echo", "with": {"value": {"usage": {"total_tokens": 3}}}},
            {"name": "b", "run": "1 / 0"},
        ]
        graph = e.load_from_dict({"settings": {"auto_trace": True}, "nodes": nodes})
        assert e._auto_trace is True
        assert list(graph.invoke({}))[-1]["type"] == "error"
        assert [(s["name"], s["status"], s["metadata"]["action_type"]) for s in spans] == [
            ("a", "ok", "echo"),
            ("b", "error", "inline"),
        ]
        assert spans[0]["metrics"]["total_tokens"] == 3 and "duration_ms" in spans[0]["metrics"]
        assert spans[1]["error"] == "division by zero"

    def test_events_of_nodes(self) -> None:
        """TR-12 to TR-14."""
        seen: list[Any] = []
        e = engine()
        section = {"enabled": True, "handlers": [{"type": "callback", "callback": seen.append}]}
        graph = e.load_from_dict({"observability": section, "nodes": [{"name": "n", "run": "x = 1"}]})
        state = final(graph)
        assert state["x"] == 1 and state["_observability"]["flow_id"] == e.observability_context.flow_id
        assert [(event["node"], event["event_type"]) for event in seen] == [("n", "entry"), ("n", "exit")]
        e.load_from_dict({"nodes": []})
        assert e._enable_observability is False and e.observability_context is None


class TestSettings:
    def test_language_models(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """ST-1 to ST-5, AC-19, AC-20."""
        monkeypatch.setenv("TEA_MODEL", "m1")
        seen: list[Any] = []
        e = engine(actions_registry={"llm.call": lambda state, **given: seen.append(given) or {}})
        e.load_from_dict(
            {
                "settings": {
                    "llm": {"deployment": "{{ env.TEA_MODEL }}", "temperature": 0.5, "api_key": "no"}
                },
                "nodes": [{"name": "n", "uses": "llm.call", "with": {"temperature": 1}}],
            }
        )
        assert e.llm_settings == {"model": "m1", "temperature": 0.5}
        e.llm_settings = {**e.llm_settings, "timeout": 9}
        final(e._current_graph)
        given = {key: seen[0][key] for key in ("model", "temperature", "timeout")}
        assert given == {"model": "m1", "temperature": 1, "timeout": 9}

    def test_secrets(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        """SE-1 to SE-6."""
        monkeypatch.setenv("TEA_T_KEY", "v1")
        e = engine(actions_registry={"echo": echo})
        config = reads(
            "{{ secrets.KEY }}", settings={"secrets": {"backend": "env", "env": {"prefix": "TEA_T_"}}}
        )
        assert final(e.load_from_dict(config))["out"] == "v1" and e.secrets == {"KEY": "v1"}
        monkeypatch.setenv("TEA_T_LATE", "v2")
        assert e.actions_registry["secrets.get"](state={}, key="LATE") == {"value": "v2"}
        assert e.actions_registry["secrets.has"](state={}, key="NOPE") == {"exists": False}
        with caplog.at_level(logging.WARNING, "the_edge_agent.yaml_engine"):
            e.load_from_dict({"settings": {"secrets": {"backend": "nope"}}})
        assert "Failed to configure secrets backend from YAML" in caplog.text
