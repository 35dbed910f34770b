"""Templates read Python's objects where they are: identity, attributes, order, errors, lifetime (templates VM-6, TV-1,
21.15)."""

from __future__ import annotations

import datetime
import enum
import gc
import threading
import weakref
from typing import Any

import pytest

from the_edge_agent import YAMLEngine
from the_edge_agent._native.host import kept


@pytest.fixture
def render() -> Any:
    engine = YAMLEngine(enable_ltm=False, enable_graph=False)
    return engine._process_template


class Person:
    def __init__(self, name: str) -> None:
        self.name = name

    def greet(self, other: str = "you") -> str:
        return f"{self.name} greets {other}"

    @property
    def broken(self) -> str:
        raise ZeroDivisionError("no value")

    def __str__(self) -> str:
        return f"<{self.name}>"


class Colour(str, enum.Enum):
    RED = "red"


class TestIdentity:
    @pytest.mark.parametrize(
        "value",
        [[1, [2]], (1, 2), {1, 2}, object(), Person("Ann"), Colour.RED, {"deep": {"x": []}}],
        ids=repr,
    )
    def test_a_path_gives_the_very_object(self, render: Any, value: Any) -> None:
        """TV-1, TV-2: containers and objects are not copied."""
        assert render("{{ state.v }}", {"v": value}) is value
        assert render("{{ state['v'] }}", {"v": value}) is value
        assert render("{{ state.get('v') }}", {"v": value}) is value
        assert render("{{ state.l[0] }}", {"l": [value]}) is value

    def test_nested_in_a_new_container(self, render: Any) -> None:
        inner = {"a": 1}
        made = render("{{ [state.v, {'k': state.v}] }}", {"v": inner})
        assert made == [inner, {"k": inner}]
        assert made[0] is inner and made[1]["k"] is inner

    def test_the_state_itself_comes_as_a_copy(self, render: Any) -> None:
        """Otherwise an output that stores it would make it hold itself."""
        state = {"a": 1}
        whole = render("{{ state }}", state)
        assert whole == state and whole is not state and whole.a == 1

    @pytest.mark.parametrize(
        "value",
        [
            None,
            True,
            -1,
            2**63 - 1,
            -(2**63),
            2**63,
            -(10**40),
            0.1,
            -0.0,
            float("inf"),
            "",
            "a\0b",
            "é\U0001f600",
            b"\x00\xff",
            datetime.date(2024, 1, 31),
            datetime.datetime(2024, 1, 31, 10, 0, 0, 5),
        ],
        ids=repr,
    )
    def test_scalars_keep_value_and_type(self, render: Any, value: Any) -> None:
        got = render("{{ state.v }}", {"v": value})
        assert type(got) is type(value) and repr(got) == repr(value)

    def test_a_lone_surrogate_passes(self, render: Any) -> None:
        assert render("{{ state.v }}", {"v": "a\ud800"}) == "a\ud800"


class TestAccess:
    def test_attributes_and_methods_of_objects(self, render: Any) -> None:
        """LK-1: attribute first, then item."""
        state = {"p": Person("Ann")}
        assert render("{{ state.p.name }}", state) == "Ann"
        assert render("{{ state.p.greet('Bob') }}", state) == "Ann greets Bob"
        assert render("hello {{ state.p }}", state) == "hello <Ann>"

    def test_a_missing_attribute_is_undefined(self, render: Any) -> None:
        with pytest.raises(ValueError, match="nothing"):
            render("x {{ state.p.nothing.more }}", {"p": Person("Ann")})
        assert render("{{ state.p.nothing is defined }}", {"p": Person("Ann")}) is False

    def test_a_missing_method_is_a_template_error(self, render: Any) -> None:
        with pytest.raises(ValueError, match="no attribute 'vanish'"):
            render("x {{ state.p.vanish() }}", {"p": Person("Ann")})

    def test_underscores_are_refused(self, render: Any) -> None:
        """yaml/Q-17, TS-1."""
        with pytest.raises(ValueError, match="__class__"):
            render("x {{ state.p.__class__ }}", {"p": Person("Ann")})

    def test_what_a_property_raises_comes_out(self, render: Any) -> None:
        """ER-6: an ordinary failure is raised in a text, and gives the text of a single expression."""
        state = {"p": Person("Ann")}
        with pytest.raises(ZeroDivisionError, match="no value"):
            render("x {{ state.p.broken }}", state)
        assert render("{{ state.p.broken }}", state) == "{{ state.p.broken }}"

    def test_comparison_of_objects_without_an_order(self, render: Any) -> None:
        with pytest.raises(TypeError, match="not supported between"):
            render("x {{ state.p < state.q }}", {"p": Person("a"), "q": Person("b")})

    def test_membership_length_truth(self, render: Any) -> None:
        state = {"s": {1, 2}, "t": (), "d": {"k": 1}}
        assert render("{{ 1 in state.s }}", state) is True
        assert render("{{ state.s | length }}", state) == 2
        assert render("{{ 'yes' if state.t else 'no' }}", state) == "no"
        assert render("{{ 'k' in state.d and 'x' not in state.d }}", state) is True

    def test_mutators_act_on_the_live_object(self, render: Any) -> None:
        """TG-4."""
        state = {"l": [1]}
        render("{{ state.l.append(2) }}", state)
        assert state["l"] == [1, 2]

    def test_a_text_of_nested_live_values(self, render: Any) -> None:
        state = {"d": {"l": [1, {"k": None}], "t": (1,)}, "l": [1]}
        assert render("{{ state.d }}.", state) == "{'l': [1, {'k': None}], 't': (1,)}."
        assert render("{{ {'x': state.l, 'y': [state.d.l]} | tojson }}", state) == (
            '{"x": [1], "y": [[1, {"k": null}]]}'
        )

    def test_loops_over_live_values(self, render: Any) -> None:
        state = {"rows": [{"n": 1, "tags": ["a"]}, {"n": 2, "tags": []}], "m": {"a": 1, "b": 2}}
        text = "{% for r in state.rows %}{{ r.n }}:{{ r.tags | join(',') }};{% endfor %}"
        assert render(text, state) == "1:a;2:;"
        assert render("{% for k, v in state.m.items() %}{{ k }}={{ v }} {% endfor %}", state) == "a=1 b=2 "

    def test_an_object_that_json_lacks_is_not_serialisable(self, render: Any) -> None:
        """ER-5."""
        with pytest.raises(TypeError, match="not JSON serializable"):
            render("x {{ state.o | tojson }}", {"o": object()})

    def test_what_refers_to_itself_ends(self, render: Any) -> None:
        loop: list[Any] = []
        loop.append(loop)
        with pytest.raises(Exception, match=r"(?i)circular|recursion"):
            render("x {{ state.l | tojson }}", {"l": loop})


class TestLifetime:
    def test_nothing_stays_behind(self, render: Any) -> None:
        """References that the library held are given back."""
        person = Person("Ann")
        watch = weakref.ref(person)
        render("{{ state.p.name }} {{ state.l }} {{ state.l[0] }}", {"p": person, "l": [person]})
        render("{{ 1 }}", {})
        del person
        gc.collect()
        assert watch() is None

    def test_many_renderings_keep_nothing(self, render: Any) -> None:
        state = {"l": [[1], {"a": [2]}]}
        render("{{ state.l }}", state)
        before = len(kept)
        for _ in range(500):
            render("{{ state.l[1].a }}", state)
            render("{% for x in state.l %}{{ x }}{% endfor %}", state)
        assert len(kept) <= before + 8

    def test_threads_do_not_mix(self, render: Any) -> None:
        """TC-3."""
        failures: list[Any] = []

        def work(number: int) -> None:
            for count in range(200):
                state = {"v": [number, count], "d": {"n": number}}
                if render("{{ state.v }}", state) is not state["v"]:
                    failures.append((number, count))
                if render("n={{ state.d.n }}", state) != f"n={number}":
                    failures.append((number, count))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
