"""the_edge_agent.serialization: the JSON encoder and its two functions."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import math
from collections import OrderedDict, UserDict
from typing import Any

import pytest
from support import events, fan

from the_edge_agent import ParallelFlowResult
from the_edge_agent.serialization import TeaJSONEncoder, dumps, loads


@dataclasses.dataclass
class Point:
    x: int
    y: Any = None


class Own:
    """Has `to_dict`."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def to_dict(self) -> Any:
        return self.value


@dataclasses.dataclass
class Both:
    """A dataclass with `to_dict`."""

    x: int

    def to_dict(self) -> dict[str, Any]:
        return {"own": self.x}


class TestEncoder:
    """SG-98, SG-99."""

    def test_is_a_json_encoder(self) -> None:
        """SG-98: usable with the standard module."""
        assert issubclass(TeaJSONEncoder, json.JSONEncoder)
        assert json.dumps({"a": Own([1])}, cls=TeaJSONEncoder) == '{"a": [1]}'
        assert TeaJSONEncoder().default(Own(3)) == 3

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (Own({"a": 1}), '{"a": 1}'),
            (Own("text"), '"text"'),
            (Point(1, 2), '{"x": 1, "y": 2}'),
            (Both(1), '{"own": 1}'),
            ([Own(1), Point(2)], '[1, {"x": 2, "y": null}]'),
            ({"k": {"l": Own(None)}}, '{"k": {"l": null}}'),
            (Own({"a": Own([Point(1, Own(2))])}), '{"a": [{"x": 1, "y": 2}]}'),
            (Own((1, (2, Own(3)))), "[1, [2, 3]]"),
            (Point(1, (Own(1),)), '{"x": 1, "y": [1]}'),
            (Own({1: Own(2), None: 3}), '{"1": 2, "null": 3}'),
        ],
    )
    def test_kinds(self, value: Any, text: str) -> None:
        """SG-98 kinds 1 and 2, SG-99 recursion; `to_dict` before dataclass."""
        assert dumps(value) == text

    def test_dataclasses_inside_a_dataclass(self) -> None:
        """SG-99: `asdict` runs before the recursion."""
        assert dumps(Point(1, Both(2))) == '{"x": 1, "y": {"x": 2}}'
        assert dumps(Point(1, [Both(2)])) == '{"x": 1, "y": [{"x": 2}]}'

    @pytest.mark.parametrize(
        "value",
        [
            datetime.datetime(2020, 1, 1),
            {1, 2},
            enum.Enum("Color", "red").red,  # type: ignore[attr-defined]
            object(),
            b"bytes",
            Point,
            UserDict(),
            1j,
            Own({"inner": datetime.date(2020, 1, 1)}),
            Own([object()]),
        ],
    )
    def test_not_handled(self, value: Any) -> None:
        """SG-98 kind 3, SG-99: the standard TypeError, also for values inside."""
        with pytest.raises(TypeError, match=r"^Object of type .* is not JSON serializable$"):
            dumps(value)

    def test_type_is_named(self) -> None:
        """SG-98."""
        with pytest.raises(TypeError) as caught:
            dumps({"a": [datetime.datetime(2020, 1, 1)]})
        assert str(caught.value).startswith("Object of type datetime is not JSON serializable")

    def test_classes(self) -> None:
        """SG-98: kind 1 holds for classes too; an ordinary method raises that call's TypeError."""

        class Static:
            @staticmethod
            def to_dict() -> dict[str, Any]:
                return {"s": 1}

        class OfClass:
            @classmethod
            def to_dict(cls) -> dict[str, Any]:
                return {"c": cls.__name__}

        assert dumps([Static, OfClass]) == '[{"s": 1}, {"c": "OfClass"}]'
        with pytest.raises(TypeError, match="to_dict"):
            dumps(Own)

    def test_dict_and_list_subclasses(self) -> None:
        """SG-98: never get to the encoder, so their `to_dict` is not called."""

        class Mapping(dict):  # type: ignore[type-arg]
            def to_dict(self) -> Any:
                raise AssertionError

        class Sequence(list):  # type: ignore[type-arg]
            to_dict = Mapping.to_dict

        assert dumps([Mapping(a=1), Sequence([2])]) == '[{"a": 1}, [2]]'
        assert dumps(Own([Mapping(a=Own(1)), OrderedDict(b=2)])) == '[{"a": 1}, {"b": 2}]'

    def test_to_dict_that_cannot_be_called(self) -> None:
        """SG-98: an attribute that is not callable does not count."""
        thing = Point(1)
        thing.to_dict = 5  # type: ignore[attr-defined]
        assert dumps(thing) == '{"x": 1, "y": null}'

    def test_error_of_to_dict_comes_out(self) -> None:
        """SG-98."""

        class Broken:
            def to_dict(self) -> Any:
                raise LookupError("broken")

        with pytest.raises(LookupError, match="broken"):
            dumps(Broken())


class TestFunctions:
    """SG-100."""

    def test_defaults_are_pythons(self) -> None:
        """SG-100: ASCII, NaN literals, separators."""
        assert dumps({"é": [1, math.nan, math.inf]}) == '{"\\u00e9": [1, NaN, Infinity]}'
        assert dumps("\0\ud800") == '"\\u0000\\ud800"' and dumps(10**30) == "1" + "0" * 30

    def test_keywords_pass_through(self) -> None:
        """SG-100."""
        assert dumps({"b": Own(1), "a": 2}, indent=2, sort_keys=True) == '{\n  "a": 2,\n  "b": 1\n}'
        assert dumps("é", ensure_ascii=False) == '"é"'
        assert dumps({"a": 1}, separators=(",", ":")) == '{"a":1}'
        with pytest.raises(ValueError):
            dumps(math.nan, allow_nan=False)

    def test_given_class_wins(self) -> None:
        """SG-100."""

        class Other(json.JSONEncoder):
            def default(self, o: Any) -> Any:
                return "other"

        assert dumps(Own(1), cls=Other) == '"other"'

    def test_loads(self) -> None:
        """SG-100: json.loads with its keywords; nothing is rebuilt."""
        assert loads('{"a": [1, 2.0, null]}') == {"a": [1, 2.0, None]}
        assert loads("1.5", parse_float=str) == "1.5"
        assert loads(b"[1]") == [1]
        with pytest.raises(json.JSONDecodeError):
            loads("{")


class TestResults:
    """SG-101, SG-102."""

    TEXT = (
        '{"branch": "t", "success": true, "state": null, "error": null, "error_type": null, '
        '"traceback": null, '
        '"timeout": false, "timing_ms": 0.0, "retry_count": 0, "circuit_state": null, "attempt_errors": [], '
        '"exit_code": null}'
    )

    def test_exact_text(self) -> None:
        """SG-101."""
        assert dumps(ParallelFlowResult(branch="t", success=True)) == self.TEXT

    def test_nested_results(self) -> None:
        """SG-101: results inside a result's state."""
        inner = ParallelFlowResult(branch="t", success=True)
        outer = ParallelFlowResult(branch="o", success=True, state={"list": [inner], "tuple": (inner,)})
        got = loads(dumps(outer))
        assert got["state"]["list"] == [loads(self.TEXT)] and got["state"]["tuple"] == [loads(self.TEXT)]

    def test_final_event_of_a_parallel_run(self) -> None:
        """SG-102: the whole event."""
        got = events(fan({"a": lambda: {"v": 1}, "b": lambda: {"v": 2}}), "invoke", {})
        back = loads(dumps(got[-1]))
        assert [result["state"]["v"] for result in back["state"]["parallel_results"]] == [1, 2]
        assert list(back["state"]["parallel_results"][0]) == list(loads(self.TEXT))
