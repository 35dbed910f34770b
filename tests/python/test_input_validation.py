"""`the_edge_agent.validation`: schemas of a run's input."""

from __future__ import annotations

import math
import pickle
from typing import Any, ClassVar

import pytest

from the_edge_agent.validation import (
    InputSchema,
    InputSchemaField,
    ValidationError,
    ValidationErrorDetail,
    validate_input,
)


def check(fields: dict[str, Any], data: Any) -> dict[str, Any]:
    return validate_input(data, InputSchema.from_yaml(fields))


def errors(fields: dict[str, Any], data: Any) -> list[dict[str, Any]]:
    with pytest.raises(ValidationError) as caught:
        check(fields, data)
    return [detail.to_dict() for detail in caught.value.errors]


class TestSchema:
    """Construction."""

    def test_field(self) -> None:
        """IV-1: defaults, `to_dict`, `repr`."""
        assert InputSchemaField("int").to_dict() == {"type": "int"}
        made = InputSchemaField(type="int", required=True, default=3)
        assert repr(made) == "InputSchemaField(type='int', required=True, default=3)"
        full = {
            "type": "dict",
            "default": {},
            "choices": [{}],
            "properties": {"a": {"type": "list", "items": {"type": "str", "min_length": 0}}},
        }
        assert InputSchemaField(**full).to_dict() == full

    @pytest.mark.parametrize(
        ("arguments", "kind", "text"),
        [
            ({"type": "text"}, ValueError, "Invalid type 'text'. Must be one of: "),
            ({"type": ["str"]}, ValueError, "Invalid type"),
            ({}, TypeError, "type"),
            ({"type": "str", "minimum": 1}, TypeError, "minimum"),
            (
                {"type": "dict", "properties": {"p": 3}},
                ValueError,
                "Invalid property config for 'p': must be dict",
            ),
            ({"type": "dict", "properties": ["p"]}, ValueError, "properties must be a mapping, got list"),
            (
                {"type": "list", "items": "str"},
                ValueError,
                "Invalid items config: must be dict or InputSchemaField",
            ),
        ],
    )
    def test_bad_field(self, arguments: dict[str, Any], kind: type[Exception], text: str) -> None:
        """IV-1, VI-4."""
        with pytest.raises(kind) as caught:
            InputSchemaField(**arguments)
        assert text in str(caught.value)

    def test_schema(self) -> None:
        """IV-2, VI-5."""
        field = InputSchemaField("str")
        made = InputSchema.from_yaml({"a": field, "b": {"type": "int", "min": 0}})
        assert made.fields["a"] is field and made.to_dict() == {
            "a": {"type": "str"},
            "b": {"type": "int", "min": 0},
        }
        with pytest.raises(ValueError) as caught:
            InputSchema.from_yaml({"a": "str"})
        assert str(caught.value) == "Invalid schema config for 'a': must be dict or InputSchemaField"
        with pytest.raises(ValueError, match="must be a mapping"):
            InputSchema.from_yaml(["a"])  # type: ignore[arg-type]


class TestErrors:
    """Error objects."""

    def test_detail(self) -> None:
        """IV-8, VI-6."""
        made = ValidationErrorDetail("q", "required", "m", value=0, constraint="", expected=None)
        assert made.to_dict() == {
            "field": "q",
            "error": "required",
            "message": "m",
            "value": 0,
            "constraint": "",
        }
        assert repr(made) == "ValidationErrorDetail(field='q', error='required', message='m')"

    def test_exception(self) -> None:
        """IV-8."""
        made = ValidationError([ValidationErrorDetail("q", "e", "m")])
        assert (str(made), repr(made)) == ("Validation failed: 1 error(s)", "ValidationError(1 errors)")
        assert made.to_dict() == {"success": False, "errors": [{"field": "q", "error": "e", "message": "m"}]}
        assert pickle.loads(pickle.dumps(made)).to_dict() == made.to_dict()


class TestPresence:
    """Missing values and unknown keys."""

    def test_missing(self) -> None:
        """IV-3, IV-4: the default as it is, the same object; absent without one."""
        default: list[Any] = []
        fields = {
            "a": {"type": "str", "default": 3},
            "b": {"type": "list", "default": default},
            "c": {"type": "str"},
            "d": {"type": "dict", "properties": {"x": {"type": "int", "default": 1}}},
        }
        for data in (None, {}, {"a": None, "c": None, "unknown": 1}):
            got = check(fields, data)
            assert got == {"a": 3, "b": []} and got["b"] is default

    def test_required(self) -> None:
        """IV-4: in spite of a default; all errors, in field order."""
        field = {"type": "str", "required": True, "default": "d"}
        assert errors({"b": field, "a": field}, {"a": None}) == [
            {"field": name, "error": "required", "message": f"Field '{name}' is required"} for name in "ba"
        ]

    def test_no_mapping(self) -> None:
        """SG-68: a raw map is no schema; data must be a mapping."""
        with pytest.raises(AttributeError, match="'dict' object has no attribute 'fields'"):
            validate_input({}, {})  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="Input must be a mapping, got list"):
            validate_input([1], InputSchema({}))  # type: ignore[arg-type]


class TestTypes:
    """Conversion."""

    @pytest.mark.parametrize(
        ("kind", "value", "expected"),
        [
            ("int", 7, 7),
            ("int", True, True),
            ("int", 7.0, 7),
            ("int", " 7 ", 7),
            ("int", "-1_000", -1000),
            ("float", 1.5, 1.5),
            ("float", 2, 2.0),
            ("float", True, 1.0),
            ("float", "1e3", 1000.0),
            ("float", "inf", math.inf),
            ("bool", False, False),
            ("bool", "YES", True),
            ("bool", "0", False),
            ("str", "x", "x"),
            ("str", True, "True"),
            ("str", 1.0, "1.0"),
            ("list", [1], [1]),
            ("dict", {1: 2}, {1: 2}),
        ],
    )
    def test_accepted(self, kind: str, value: Any, expected: Any) -> None:
        """IV-5, VI-8."""
        got = check({"v": {"type": kind}}, {"v": value})["v"]
        assert got == expected and type(got) is type(expected)

    def test_nan(self) -> None:
        """IV-5: passes as a float, and all limits."""
        got = check({"v": {"type": "float", "min": 0, "max": 1}}, {"v": "nan"})
        assert math.isnan(got["v"])

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            ("int", 7.5),
            ("int", "7.0"),
            ("int", math.inf),
            ("int", math.nan),
            ("int", []),
            ("float", "x"),
            ("float", 10**400),
            ("bool", 1),
            ("bool", "on"),
            ("str", ["x"]),
            ("list", (1,)),
            ("list", "x"),
            ("dict", [("a", 1)]),
        ],
    )
    def test_refused(self, kind: str, value: Any) -> None:
        """IV-5, Q-20: one error; the field's other checks are skipped."""
        fields = {"v": {"type": kind, "min": 5, "min_length": 9, "choices": ["never"]}}
        assert errors(fields, {"v": value}) == [
            {
                "field": "v",
                "error": "type",
                "message": f"Field 'v' must be {kind}",
                "value": value,
                "expected": kind,
            }
        ]


class TestLimits:
    """Checks after the type."""

    def test_all_that_apply(self) -> None:
        """IV-6: in this order."""
        fields = {
            "v": {"type": "str", "min_length": 3, "max_length": 1, "pattern": "x", "choices": ["a", 1, None]}
        }
        assert errors(fields, {"v": "no"}) == [
            {
                "field": "v",
                "error": "min_length",
                "message": "Field 'v' must have at least 3 character(s)",
                "value": "no",
                "constraint": 3,
            },
            {
                "field": "v",
                "error": "max_length",
                "message": "Field 'v' must have at most 1 character(s)",
                "value": "no",
                "constraint": 1,
            },
            {
                "field": "v",
                "error": "pattern",
                "message": "Field 'v' must match pattern: x",
                "value": "no",
                "constraint": "x",
            },
            {
                "field": "v",
                "error": "choices",
                "message": "Field 'v' must be one of: ['a', 1, None]",
                "value": "no",
                "constraint": ["a", 1, None],
            },
        ]

    def test_numbers(self) -> None:
        """IV-6: after conversion; a limit of 0 is shown."""
        fields = {"v": {"type": "int", "min": 0, "max": 0}}
        assert check(fields, {"v": "0"}) == {"v": 0}
        for value, name, text in (("-1", "min", "at least"), ("1", "max", "at most")):
            assert errors(fields, {"v": value}) == [
                {
                    "field": "v",
                    "error": name,
                    "message": f"Field 'v' must be {text} 0",
                    "value": int(value),
                    "constraint": 0,
                }
            ]

    def test_choices(self) -> None:
        """IV-6: by equality, after conversion."""
        assert check({"v": {"type": "int", "choices": [1]}}, {"v": True}) == {"v": True}
        assert check({"v": {"type": "str", "choices": ["5"]}}, {"v": 5}) == {"v": "5"}
        assert errors({"v": {"type": "str", "choices": ["a"]}}, {"v": "A"})[0]["error"] == "choices"

    def test_pattern(self) -> None:
        """IV-6: anchored at the start only; a bad expression is an error of the field."""
        assert check({"v": {"type": "str", "pattern": "ab"}}, {"v": "abc"}) == {"v": "abc"}
        assert errors({"v": {"type": "str", "pattern": "b"}}, {"v": "abc"})[0]["error"] == "pattern"
        (bad,) = errors({"v": {"type": "str", "pattern": "("}}, {"v": "x"})
        assert bad["message"].startswith("Invalid regex pattern for 'v': ")
        assert list(bad) == ["field", "error", "message", "constraint"] and bad["constraint"] == "("

    def test_limits_of_other_types(self) -> None:
        """VI-10: lengths for texts only, `min` and `max` for numbers only."""
        fields = {"l": {"type": "list", "min_length": 5, "min": 3}, "s": {"type": "str", "max": 0}}
        assert check(fields, {"l": [], "s": "x"}) == {"l": [], "s": "x"}


class TestNesting:
    """Members and elements."""

    FIELDS: ClassVar[dict[str, Any]] = {
        "a": {
            "type": "list",
            "items": {
                "type": "dict",
                "properties": {
                    "n": {"type": "int", "required": True},
                    "k": {"type": "str", "default": "d"},
                },
            },
        }
    }

    def test_rebuilt(self) -> None:
        """IV-3, IV-6: schema order, unknown members after; the input is not changed."""
        data = {"a": [{"extra": 1, "n": "2"}, {"k": "x", "n": 3.0}]}
        got = check(self.FIELDS, data)
        assert got == {"a": [{"n": 2, "k": "d", "extra": 1}, {"n": 3, "k": "x"}]}
        assert list(got["a"][0]) == ["n", "k", "extra"] and data["a"][0] == {"extra": 1, "n": "2"}

    def test_paths(self) -> None:
        """IV-7."""
        found = errors(self.FIELDS, {"a": [{}, {"n": 1}, {"n": "x"}, 5]})
        assert [(e["field"], e["error"]) for e in found] == [
            ("a[0].n", "required"),
            ("a[2].n", "type"),
            ("a[3]", "type"),
        ]

    def test_null_elements(self) -> None:
        """IV-6: required, default, or null."""
        fields = {
            name: {"type": "list", "items": {"type": "int", **more}} for name, more in self.NULLS.items()
        }
        assert check(fields, {"plain": [None, "1"], "filled": [None, "1"]}) == {
            "plain": [None, 1],
            "filled": [9, 1],
        }
        assert errors(fields, {"needed": [None]})[0]["field"] == "needed[0]"

    NULLS: ClassVar[dict[str, Any]] = {"plain": {}, "filled": {"default": 9}, "needed": {"required": True}}
