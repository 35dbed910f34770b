"""`DotDict` and `TemplateProcessor` (templates.md 2 to 6, 17, 18)."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from typing import Any

import pytest

from the_edge_agent import YAMLEngine
from the_edge_agent.yaml_engine import DotDict
from the_edge_agent.yaml_templates import TemplateProcessor


class TestDotDict:
    def test_entries_are_attributes(self) -> None:
        """DD-1: entries win over methods."""
        d = DotDict({"a": 1, "items": [2]})
        assert (d.a, d.items) == (1, [2])

    def test_a_plain_dict_comes_wrapped(self) -> None:
        """DD-2: a new DotDict at each access; items are raw."""
        d = DotDict({"u": {"n": 1}, "w": DotDict(x=1)})
        assert d.u.n == 1 and isinstance(d.u, DotDict) and d.u is not d.u
        assert type(d["u"]) is dict and d.w is d["w"]

    def test_missing_names(self) -> None:
        """DD-3."""
        d = DotDict()
        assert d.anything is None and d.popitem is None and d.fromkeys is None
        assert d.get("x", 5) == 5 and list(d.keys()) == []

    def test_underscores(self) -> None:
        """DD-4."""
        with pytest.raises(AttributeError):
            _ = DotDict({"_x": 1})._x

    def test_setting(self) -> None:
        """DD-5: sets the item, and does not write through to a plain inner dict."""
        d = DotDict({"a": {}})
        d.b = 1
        d.a.c = 1
        assert d == {"a": {}, "b": 1}

    def test_it_is_a_dict(self) -> None:
        """DD-6, CK-7: equality, JSON, pickle, copies, also with a key named `items`."""
        d = DotDict({"items": [1], "n": {"k": 2}})
        assert d == {"items": [1], "n": {"k": 2}} and isinstance(d, dict)
        assert json.loads(json.dumps(dict(d))) == {"items": [1], "n": {"k": 2}}
        for other in (pickle.loads(pickle.dumps(d)), copy.copy(d), copy.deepcopy(d)):
            assert other == d and type(other) is DotDict and other is not d
        assert copy.deepcopy(d)["items"] is not d["items"]


class TestProcessor:
    def test_without_an_engine(self) -> None:
        """TA-1, TA-6."""
        processor = TemplateProcessor(None, {"v": 1}, {"s": "x"})
        assert processor.process_template("{{ variables.v }}{{ secrets.s }}{{ data.d }}", {}) == "1xNone"
        processor.update_variables({"v": 2})
        processor.update_secrets({"s": "y"})
        assert processor.process_template("{{ variables.v }}{{ secrets.s }}", {}) == "2y"

    def test_with_an_engine_everything_is_live(self) -> None:
        """TA-1, SC-3, TI-3."""
        engine = YAMLEngine(enable_ltm=False, enable_graph=False)
        render = engine._process_template
        engine.variables = {"v": 1}
        engine.secrets["s"] = "x"
        engine.data = {"d": {"k": [3]}}
        assert render("{{ variables.v }}{{ secrets.s }}{{ data.d.k }}", {}) == "1x[3]"
        engine.variables["v"] = 2
        assert render("{{ variables.v }}", {}) == 2
        engine._checkpoint_dir, engine._last_checkpoint_path = "/c", "/c/l"
        assert render("{{ checkpoint.dir }} {{ checkpoint.last }}", {}) == "/c /c/l"

    @pytest.mark.parametrize("value", [None, 5, ["{{ state.x }}"], {"a": 1}], ids=repr)
    def test_what_is_no_text_comes_back(self, value: Any) -> None:
        """TP-1."""
        processor = TemplateProcessor(None, {}, {})
        assert processor.process_template(value, {"x": 1}) is value

    def test_extra_names(self) -> None:
        """TA-2, SC-1: they win, `state` included; maps answer None for what is missing."""
        processor = TemplateProcessor(None, {}, {})
        render = processor.process_template
        assert render("{{ result.a.b }}", {}, extra_context={"result": {"a": {"b": 1}}}) == 1
        assert render("{{ result.nope }}", {}, extra_context={"result": {}}) is None
        assert render("{{ state }}", {"a": 1}, extra_context={"state": "mine"}) == "mine"
        assert render("{{ item }}", {}, extra_context={"item": None}) is None

    def test_parameters(self) -> None:
        """TA-3, AC-13, `actions/Q-7`: texts at any depth, a new map, keys as they are."""
        processor = TemplateProcessor(None, {}, {})
        given = {
            "{{ k }}": "{{ state.l }}",
            "m": {"t": "n={{ state.n }}"},
            "l": ["{{ state.n }}", ["{{ state.n }}"]],
            "n": 5,
        }
        state = {"l": [1], "n": 2}
        got = processor.process_params(given, state)
        assert got == {"{{ k }}": [1], "m": {"t": "n=2"}, "l": [2, [2]], "n": 5}
        assert got["{{ k }}"] is state["l"]
        assert given["m"] == {"t": "n={{ state.n }}"}

    def test_keys_of_the_cache(self) -> None:
        """TC-1, TC-2, TI-2."""
        processor = TemplateProcessor(None, {}, {})
        processor.process_template("  {{ state.value }}\n", {})
        processor.process_template("a {{ state.value }}", {})
        processor.evaluate_goto(" state.x", {})
        assert set(processor._template_cache) == {
            "expr:state.value",
            "tmpl:a {{ state.value }}",
            "goto_cond:{{  state.x }}",
        }
        processor.clear_cache()
        assert processor._template_cache == {}

    def test_the_short_form_of_conditions(self) -> None:
        """TA-5."""
        convert = TemplateProcessor(None, {}, {})._convert_simple_expression
        assert convert(" a ") == "state.get('a', False)"
        assert convert("! a") == "not state.get('a', False)"
        assert convert(" a > 1 ") == "a > 1"

    def test_values_that_are_conditions(self) -> None:
        """CD-1, GC-5, `yaml/Q-22`: their truth."""
        processor = TemplateProcessor(None, {}, {})
        for value, truth in ((None, False), (1, True), ([], False), ({"a": 1}, True)):
            assert processor.evaluate_condition(value, {}) is truth
            assert processor.evaluate_goto(value, {}) is truth

    def test_an_empty_condition(self) -> None:
        """CD-7."""
        with pytest.raises(ValueError):
            TemplateProcessor(None, {}, {}).evaluate_condition("", {})

    def test_a_failing_goto_is_false_and_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        """GC-3, GC-4: the scope has no `data`."""
        engine = YAMLEngine(enable_ltm=False, enable_graph=False)
        engine.data = {"x": 1}
        goto = engine._edge_factory._evaluate_goto_condition
        with caplog.at_level(logging.WARNING, "the_edge_agent.yaml_edges"):
            assert goto("state.x > 80", {}) is False
            assert goto("data.x == 1", {}) is False
        records = [r.getMessage() for r in caplog.records if r.name == "the_edge_agent.yaml_edges"]
        assert len(records) == 2
        assert records[0].startswith("Failed to evaluate goto condition 'state.x > 80': ")
        assert records[0].endswith(". Returning False.")
        assert goto("result.k", {}, {"k": 1}) is True

    def test_a_failure_is_logged_with_its_cause(self, caplog: pytest.LogCaptureFixture) -> None:
        """`yaml/Q-1`: the text of the template, and a warning."""
        processor = TemplateProcessor(None, {}, {})
        with caplog.at_level(logging.WARNING, "the_edge_agent.yaml_engine"):
            assert processor.process_template("{{ state.n < 3 }}", {}) == "{{ state.n < 3 }}"
        assert any("state.n < 3" in r.getMessage() and "NoneType" in r.getMessage() for r in caplog.records)

    def test_strict_templates(self) -> None:
        """`yaml/Q-1`: the option makes it an error."""
        engine = YAMLEngine(enable_ltm=False, enable_graph=False, strict_templates=True)
        with pytest.raises(TypeError, match="NoneType"):
            engine._process_template("{{ state.n < 3 }}", {})

    def test_secrets_show_in_no_error(self) -> None:
        """`yaml/Q-18`."""
        engine = YAMLEngine(enable_ltm=False, enable_graph=False)
        engine.secrets = {"key": "hush-hush"}
        with pytest.raises(Exception) as caught:
            engine._process_template("x {{ secrets.key + 1 }} {{ 'a' ~ secrets.key > 1 }}", {})
        assert "hush-hush" not in str(caught.value)

    def test_null_sections_are_empty(self) -> None:
        """`yaml/Q-3`."""
        engine = YAMLEngine(enable_ltm=False, enable_graph=False)
        engine.variables = None
        assert engine._process_template("{{ variables.x }}", {}) is None
