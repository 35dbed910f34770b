"""How node functions are called and what becomes of their results."""

from __future__ import annotations

import collections
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import events, final, single

from the_edge_agent import StateGraph


def seen(run: Any, state: dict[str, Any] | None = None, **arguments: Any) -> Any:
    """What a node function put under "seen"."""
    return final(single(run), {} if state is None else state, **arguments)["seen"]


def error_of(run: Any, **options: Any) -> str:
    got = list(single(run, **options).invoke({"x": 1}))
    assert [event["type"] for event in got] == ["error"], got
    assert got[0]["node"] == "n" and got[0]["state"] == {"x": 1}
    return got[0]["error"]


class Callable_:
    """An object with `__call__`."""

    def __call__(self, state: dict[str, Any], node: str) -> dict[str, Any]:
        return {"seen": (dict(state), node)}

    def method(self, node: str) -> dict[str, Any]:
        return {"seen": node}

    @classmethod
    def of_class(cls, node: str) -> dict[str, Any]:
        return {"seen": (cls.__name__, node)}

    @staticmethod
    def static(node: str) -> dict[str, Any]:
        return {"seen": node}


class TestInjection:
    """SG-34 to SG-36."""

    def test_available_values(self) -> None:
        """SG-34: the four values, by name; `graph` is the instance, `config` the run's."""

        def run(graph: Any, node: Any, config: Any, state: Any) -> dict[str, Any]:
            return {"seen": (graph, node, dict(config), dict(state))}

        made = single(run)
        got = final(made, {"x": 1}, config={"k": 2})["seen"]
        assert got == (made, "n", {"k": 2}, {"x": 1})

    def test_parallel_results_only_if_in_the_state(self) -> None:
        """SG-34, SG-51: whoever put the key there."""
        assert seen(lambda parallel_results: {"seen": parallel_results}, {"parallel_results": [1]}) == [1]
        assert seen(lambda parallel_results=7: {"seen": parallel_results}) == 7
        assert error_of(lambda parallel_results: None) == (
            "Required parameter 'parallel_results' not provided for function '<lambda>'"
        )

    def test_no_parameters(self) -> None:
        """SG-35 rule 1."""
        assert seen(lambda: {"seen": 1}) == 1

    def test_available_value_beats_default(self) -> None:
        """SG-35 rule 2, SG-36."""

        def run(state: Any, node: Any = "zz") -> dict[str, Any]:
            return {"seen": node}

        assert seen(run) == "n"

    def test_default_is_passed(self) -> None:
        """SG-35 rule 3, SG-36."""

        def run(state: Any, foo: Any = 5) -> dict[str, Any]:
            return {"seen": foo}

        assert seen(run) == 5

    def test_kwargs_gets_the_rest_in_order(self) -> None:
        """SG-35 rule 4, SG-36: key order."""

        def run(**kw: Any) -> dict[str, Any]:
            return {"seen": list(kw)}

        assert seen(run) == ["state", "config", "node", "graph"]
        assert seen(run, {"parallel_results": []}) == ["state", "config", "node", "graph", "parallel_results"]

    def test_kwargs_beside_others(self) -> None:
        """SG-35 rule 4: what is assigned already is not passed again."""

        def run(node: Any, a: Any = 1, **kw: Any) -> dict[str, Any]:
            return {"seen": (node, a, list(kw))}

        assert seen(run) == ("n", 1, ["state", "config", "graph"])

    def test_keyword_only(self) -> None:
        """SG-36."""

        def run(*, state: Any, node: Any, other: Any = 3) -> dict[str, Any]:
            return {"seen": (node, other)}

        assert seen(run) == ("n", 3)

    def test_required_parameter_missing(self) -> None:
        """SG-35 rule 5: exact text, a node error."""

        def needs(state: Any, stranger: Any) -> None: ...

        assert error_of(needs) == "Required parameter 'stranger' not provided for function 'needs'"

    def test_first_missing_is_named(self) -> None:
        """SG-35: parameters are walked in order."""

        def needs(one: Any, two: Any) -> None: ...

        assert error_of(needs) == "Required parameter 'one' not provided for function 'needs'"

    def test_var_positional(self) -> None:
        """SG-36: `*args` is a parameter without value."""

        def run(state: Any, *args: Any) -> None: ...

        def bare(*args: Any, **kwargs: Any) -> None: ...

        assert error_of(run) == "Required parameter 'args' not provided for function 'run'"
        assert error_of(bare) == "Required parameter 'args' not provided for function 'bare'"

    def test_wrapper_with_functools_wraps(self) -> None:
        """SG-36: the signature of the wrapped function, values as keywords."""

        def inner(state: Any, node: Any) -> dict[str, Any]:
            return {"seen": node}

        @functools.wraps(inner)
        def outer(*args: Any, **kwargs: Any) -> dict[str, Any]:
            assert args == () and list(kwargs) == ["state", "node"]
            return inner(*args, **kwargs)

        assert seen(outer) == "n"

    def test_wrapper_gets_defaults_explicitly(self) -> None:
        """SG-35 rule 3: a default is passed as a keyword, so a wrapper sees it."""

        def inner(node: Any, foo: Any = 5) -> None: ...

        @functools.wraps(inner)
        def outer(**kwargs: Any) -> dict[str, Any]:
            return {"seen": kwargs}

        assert seen(outer) == {"node": "n", "foo": 5}

    def test_positional_only(self) -> None:
        """SG-36: Python's own text."""

        def run(state: Any, /) -> None: ...

        assert "positional-only" in error_of(run)

    def test_partial(self) -> None:
        """SG-36: works, the bound argument is its default."""

        def run(node: Any, extra: Any) -> dict[str, Any]:
            return {"seen": (node, extra)}

        assert seen(functools.partial(run, extra=4)) == ("n", 4)

    def test_partial_that_lacks_a_value(self) -> None:
        """SG-36: no `__name__`, so the text is that of the AttributeError."""

        def run(stranger: Any) -> None: ...

        text = "'functools.partial' object has no attribute '__name__'"
        assert error_of(functools.partial(run)) == text

    def test_methods_and_callable_instances(self) -> None:
        """SG-36."""
        thing = Callable_()
        assert seen(thing, {"x": 1}) == ({"x": 1}, "n")
        assert seen(thing.method) == "n"
        assert seen(Callable_.of_class) == ("Callable_", "n")
        assert seen(Callable_.static) == "n"

    def test_class(self) -> None:
        """SG-36: the instance is the result, under "result"."""

        class Made:
            def __init__(self, node: str) -> None:
                self.node = node

        got = final(single(Made), {})["result"]
        assert type(got) is Made and got.node == "n"

    def test_class_that_is_a_dict(self) -> None:
        """SG-36, SG-37: an instance of a dict subclass is merged."""

        class Made(dict):  # type: ignore[type-arg]
            def __init__(self, node: str) -> None:
                super().__init__(at=node)

        assert final(single(Made), {}) == {"at": "n"}

    def test_object_without_signature(self) -> None:
        """SG-36: the text of inspect, whatever this Python says."""
        with pytest.raises(ValueError) as expected:
            inspect.signature(dict)
        assert error_of(dict) == str(expected.value)

    @pytest.mark.parametrize("value", [5, "text", [1]])
    def test_not_callable(self, value: Any) -> None:
        """SG-36."""
        assert error_of(value) == f"{value!r} is not a callable object"

    def test_changed_signature_attribute(self) -> None:
        """SG-35: `inspect.signature`, so `__signature__` counts."""

        def run(**kwargs: Any) -> dict[str, Any]:
            return {"seen": list(kwargs)}

        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter("node", inspect.Parameter.KEYWORD_ONLY)]
        )
        assert seen(run) == ["node"]

    def test_defaults_changed_after_adding(self) -> None:
        """SG-35: the signature is that of the moment of the call."""

        def run(extra: Any = 1) -> dict[str, Any]:
            return {"seen": extra}

        made = single(run)
        assert final(made, {})["seen"] == 1
        run.__defaults__ = (2,)
        assert final(made, {})["seen"] == 2

    def test_raised_as_runtime_error(self) -> None:
        """SG-36, section 11: an injection error is a node error under `raise_exceptions` too."""

        def needs(stranger: Any) -> None: ...

        with pytest.raises(RuntimeError) as caught:
            list(single(needs, raise_exceptions=True).invoke({}))
        text = "Required parameter 'stranger' not provided for function 'needs'"
        assert str(caught.value) == f"Error in node 'n': {text}"
        assert type(caught.value.__cause__) is ValueError and str(caught.value.__cause__) == text


class TestResult:
    """SG-37 to SG-41."""

    def test_top_level_merge(self) -> None:
        """SG-37: overwrite, no deep merge, no deletion, keys of any type."""
        got = final(single(lambda: {"a": {"y": 2}, 5: "five", None: 0}), {"a": {"x": 1}, "b": 1})
        assert got == {"a": {"y": 2}, "b": 1, 5: "five", None: 0}
        assert list(got) == ["a", "b", 5, None]

    def test_dict_subclasses_are_merged(self) -> None:
        """SG-37."""
        assert final(single(lambda: collections.OrderedDict(z=1)), {}) == {"z": 1}
        assert final(single(lambda: collections.defaultdict(int, z=1)), {}) == {"z": 1}

    def test_returning_the_state_itself(self) -> None:
        """SG-37: merged with itself."""
        assert final(single(lambda state: state), {"x": 1}) == {"x": 1}

    @pytest.mark.parametrize("value", [None, 0, "text", [1], (1, 2), {1}, 2.5, b"x", True, [("a", 1)]])
    def test_other_results(self, value: Any) -> None:
        """SG-38, Q14: anything that is no dict goes under "result", None too."""
        assert final(single(lambda: value), {"result": "old", "x": 1}) == {"result": value, "x": 1}

    def test_unusual_objects_are_stored_as_they_are(self) -> None:
        """SG-39: a generator, a UserDict and a mapping are no dicts; the very objects are stored."""
        things: list[Any] = [
            (number for number in [1]),
            collections.UserDict(a=1),
            collections.ChainMap({"a": 1}),
        ]
        for thing in things:
            assert final(single(lambda thing=thing: thing), {})["result"] is thing

    def test_coroutine_object_is_stored(self) -> None:
        """SG-39: a coroutine object that a plain function returns is not awaited."""

        async def later() -> dict[str, int]:
            return {"x": 1}

        thing = later()
        try:
            assert final(single(lambda: thing), {})["result"] is thing
            assert inspect.getcoroutinestate(thing) == inspect.CORO_CREATED
        finally:
            thing.close()

    def test_generator_function(self) -> None:
        """SG-39: its generator is not iterated."""

        def run(state: Any) -> Iterator[int]:
            yield 1

        assert list(final(single(run), {})["result"]) == [1]

    def test_mutations_of_the_state_persist(self, kind: str) -> None:
        """SG-40: added, removed and nested, without being returned."""

        def run(state: dict[str, Any]) -> dict[str, Any]:
            state["new"] = 1
            del state["old"]
            state["deep"]["list"].append(2)
            return {}

        got = events(single(run), kind, {"old": 1, "deep": {"list": [1]}})
        assert got[-1]["state"] == {"deep": {"list": [1, 2]}, "new": 1}

    def test_mutations_persist_when_the_function_raises(self, kind: str) -> None:
        """SG-40, SG-65: the error event shows them."""

        def run(state: dict[str, Any]) -> None:
            state["new"] = 1
            state.pop("old")
            raise ValueError("late")

        got = events(single(run), kind, {"old": 1})
        assert got == [{"type": "error", "node": "n", "error": "late", "state": {"new": 1}}]

    def test_injected_state_is_one_live_object(self) -> None:
        """SG-34, SG-49: the same dict in every node of the run."""
        ids: list[int] = []
        keep: list[Any] = []

        def run(state: dict[str, Any]) -> dict[str, Any]:
            ids.append(id(state))
            keep.append(state)
            return {"n": state.get("n", 0) + 1}

        made = StateGraph(dict)
        for name in "abc":
            made.add_node(name, run=run)
        made.set_entry_point("a")
        made.add_edge("a", "b")
        made.add_edge("b", "c")
        made.set_finish_point("c")
        given: dict[str, Any] = {}
        list(made.invoke(given))
        assert len(set(ids)) == 1 and keep[0] is not given

    def test_config_is_shared_by_the_nodes_and_not_with_the_caller(self, kind: str) -> None:
        """SG-41: a top-level change lives to the end of the run; nested objects are the caller's."""
        found: list[Any] = []

        def first(config: dict[str, Any]) -> None:
            config["added"] = 1
            config["deep"].append(1)

        made = single(first)
        made.add_node("second", run=lambda config: found.append(dict(config)))
        made.add_edge("n", "second")
        made.edge("n", "__end__")["cond_map"] = {True: "second"}
        made.set_finish_point("second")
        config: dict[str, Any] = {"deep": []}
        events(made, kind, {}, config=config)
        assert found == [{"deep": [1], "added": 1}]
        assert config == {"deep": [1]}

    def test_result_object_identity(self) -> None:
        """SG-37, SG-48: values of the result are stored as they are."""
        thing = object()
        assert final(single(lambda: {"thing": thing}), {})["thing"] is thing


def test_functions_see_each_others_results() -> None:
    """SG-34, SG-37: plain composition."""
    steps: list[Callable[..., Any]] = [lambda: {"x": 2}, lambda state: {"x": state["x"] * 10}]
    made = StateGraph(dict)
    for number, run in enumerate(steps):
        made.add_node(str(number), run=run)
    made.set_entry_point("0")
    made.add_edge("0", "1")
    made.set_finish_point("1")
    assert final(made, {}) == {"x": 20}
