"""`the_edge_agent.transformation`: output made by templates from the final state."""

from __future__ import annotations

import datetime
import sys
from typing import Any

import pytest

from the_edge_agent import transformation
from the_edge_agent.transformation import OutputSchema, OutputSchemaField, transform_output

jinja2 = pytest.importorskip("jinja2", reason="jinja2 is not installed")

STRICT = jinja2.Environment(undefined=jinja2.StrictUndefined)
LENIENT = jinja2.Environment()
STATE: dict[str, Any] = {"n": 7, "t": "txt", "b": True, "z": None, "l": [1, 2], "m": {"k": "v"}, "s7": "007"}


def output(fields: dict[str, Any], environment: Any = STRICT) -> dict[str, Any]:
    return transform_output(STATE, OutputSchema.from_yaml(fields), environment)


class TestSchema:
    """Construction."""

    def test_forms(self) -> None:
        """OT-1, HR-11: only maps with one of the three keys are field objects, at the top level only."""
        made = OutputSchema.from_yaml(
            {
                "obj": {"value": {"value": 1}, "include_if": "true", "default": 0},
                "map": {"other": {"value": 1}},
                "text": "x",
                "none": None,
            }
        )
        assert isinstance(made.fields["obj"], OutputSchemaField) and made.fields["map"] == {
            "other": {"value": 1}
        }
        assert made.get_field_names() == ["obj", "map", "text", "none"]
        assert [made.is_conditional(n) for n in made.fields] == [True, False, False, False]
        assert [made.has_default(n) for n in made.fields] == [True, False, False, False]
        assert made.model_dump()["fields"]["obj"] == {
            "value": {"value": 1},
            "include_if": "true",
            "default": 0,
        }
        assert OutputSchema.from_yaml(None).fields == OutputSchema.from_yaml({}).fields == {}
        with pytest.raises(ValueError, match="must be a mapping"):
            OutputSchema.from_yaml(["x"])  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("entry", "name"),
        [
            ({"value": 1, "why": 2}, "why"),
            ({"default": 1}, "value"),
            ({"value": 1, "include_if": True}, "include_if"),
            ({"value": 1, 5: 2}, "5"),
        ],
    )
    @pytest.mark.parametrize("installed", [True, False])
    def test_malformed(
        self, entry: dict[Any, Any], name: str, installed: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """OT-1: a `ValidationError` that names the key; pydantic's own, where that is installed."""
        expected: Any = transformation.ValidationError
        if installed:
            pydantic = pytest.importorskip("pydantic_core", reason="pydantic is not installed")
            expected = pydantic.ValidationError
        else:
            monkeypatch.setitem(sys.modules, "pydantic_core", None)
        with pytest.raises(expected, match=name) as caught:
            OutputSchema.from_yaml({"f": entry})
        assert isinstance(caught.value, ValueError) and type(caught.value).__name__ == "ValidationError"


class TestValues:
    """Rendering and what the text becomes."""

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (None, None),
            (3, 3),
            ("plain", "plain"),
            ("{% if true %}x{% endif %}", "{% if true %}x{% endif %}"),
            ("{{ state.n }}", 7),
            ("{{ state.s7 }}", 7),
            ("{{ state.n }}.5", 7.5),
            ("-{{ state.n }}", -7.0),
            ("1_{{ state.n }}", 17.0),
            ("{{ state.b }}", "True"),
            ("{{ state.b | tojson }}", True),
            ("{{ state.z }}", None),
            ("{{ state.l }}", [1, 2]),
            ("{{ state.m }}", "{'k': 'v'}"),
            ("{{ state.m | tojson }}", {"k": "v"}),
            ("[{{ state.n }}", "[7"),
            (" {{ state.t }} ", " txt "),
            (" {{ state.n }} ", 7),
            ("{{ '²' }}", "²"),
            ([1, "{{ state.n }}", {"x": "{{ state.t }}!"}], [1, 7, {"x": "txt!"}]),
        ],
    )
    def test_value(self, value: Any, expected: Any) -> None:
        """OT-3, OT-4, HR-12."""
        got = output({"f": value})["f"]
        assert got == expected and type(got) is type(expected)

    def test_now(self) -> None:
        """OT-4: UTC in ISO form with a `Z`."""
        text = output({"f": "{{ now() }}"})["f"]
        assert text.endswith("Z")
        at = datetime.datetime.fromisoformat(text[:-1]).replace(tzinfo=datetime.timezone.utc)
        assert abs(datetime.datetime.now(datetime.timezone.utc) - at) < datetime.timedelta(minutes=5)

    def test_undefined(self, caplog: pytest.LogCaptureFixture) -> None:
        """OT-6: an error under a strict environment, an empty text otherwise."""
        assert output({"f": "{{ state.missing }}"}) == {"f": None}
        assert len(caplog.records) == 1 and "state.missing" in caplog.text
        assert output({"f": "{{ state.missing }}"}, LENIENT) == {"f": ""}


class TestFields:
    """Field objects."""

    @pytest.mark.parametrize(
        ("condition", "included"),
        [
            (None, True),
            ("", True),
            ("state.n > 5", True),
            ("state.n > 50", False),
            ("'yes'", True),
            ("' ON '", True),
            ("1", True),
            ("'anything else'", False),
            ("state.n >", False),
            ("state.missing", False),
        ],
    )
    def test_condition(self, condition: str | None, included: bool) -> None:
        """OT-5, HR-13: by text; an error leaves the field out."""
        assert output({"f": {"value": "v", "include_if": condition}}) == ({"f": "v"} if included else {})

    @pytest.mark.parametrize(
        ("field", "expected"),
        [
            ({"value": None, "default": 3}, {"f": 3}),
            ({"value": "", "default": 3}, {"f": 3}),
            ({"value": "{{ state.missing }}", "default": "d"}, {"f": "d"}),
            ({"value": 0, "default": 3}, {"f": 0}),
            ({"value": False, "default": 3}, {"f": False}),
            ({"value": None}, {}),
            ({"value": ""}, {"f": ""}),
        ],
    )
    def test_default(self, field: dict[str, Any], expected: dict[str, Any]) -> None:
        """OT-5, HR-13."""
        assert output({"f": field}) == expected

    def test_order(self) -> None:
        """OT-2."""
        assert list(output({"z": 1, "a": {"value": 2}, "m": None})) == ["z", "a", "m"]
