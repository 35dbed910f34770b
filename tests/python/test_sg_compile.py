"""compile(): arguments, checks, effects, and its options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import KINDS, chain, events, final, places, script_ok, trail, types

from the_edge_agent import (
    END,
    START,
    CallbackManager,
    MemoryCheckpointer,
    ParallelConfig,
    StateGraph,
)

NEEDS_STORE = (
    "A checkpointer is required when using interrupt_before or interrupt_after. "
    "Provide either checkpoint_dir='/path' for file-based storage or "
    "checkpointer=MemoryCheckpointer() for in-memory storage."
)


def test_returns_self_and_may_be_repeated() -> None:
    """SG-23: the same object, any number of times, also between runs."""
    made = chain("a", "b")
    assert made.compile() is made
    assert made.compile().compile() is made
    assert final(made, {}) == {"trail": ["a", "b"]}
    made.add_node("c", run=trail)
    assert made.compile() is made


def test_compiling_is_optional(kind: str) -> None:
    """SG-23: an uncompiled graph runs."""
    assert types(events(chain("a"), kind, {}))[-1] == "final"


def test_no_structural_validation() -> None:
    """SG-24: no entry, no finish, a cycle, an unreachable node, a dangling fan-in."""
    made = StateGraph(dict)
    assert made.compile() is made
    for name in ("a", "b", "lost"):
        made.add_node(name, run=trail)
    made.add_fanin_node("dangling")
    made.add_edge("a", "b")
    made.add_edge("b", "a")
    assert made.compile() is made


def test_positional_arguments(tmp_path: Path) -> None:
    """Section 4: the order of the parameters of the reference."""
    made = chain("a", "b")
    store, config = MemoryCheckpointer(), ParallelConfig()
    made.compile(["a"], ["b"], str(tmp_path), store, config, [], 4, "global")
    assert (made.interrupt_before, made.interrupt_after) == (["a"], ["b"])
    assert (made.checkpoint_dir, made.checkpointer) == (str(tmp_path), store)
    assert made.parallel_config is config and made._max_active_threads == 4
    assert made.circuit_registry.scope == "global"


class TestChecks:
    """SG-25, SG-26."""

    @pytest.mark.parametrize("which", ["interrupt_before", "interrupt_after"])
    def test_unknown_interrupt_node(self, which: str) -> None:
        """SG-25 (a): first check, before that of the storage."""
        made = chain("a")
        with pytest.raises(ValueError) as caught:
            made.compile(**{which: ["a", "zz"]})
        assert str(caught.value) == "Interrupt node 'zz' does not exist in the graph."

    def test_first_unknown_of_both_lists_in_order(self) -> None:
        """SG-25 (a): `interrupt_before + interrupt_after`."""
        with pytest.raises(ValueError, match="'before'"):
            chain("a").compile(["before"], ["after"])

    @pytest.mark.parametrize("which", ["interrupt_before", "interrupt_after"])
    @pytest.mark.parametrize(
        "store", [{}, {"checkpoint_dir": ""}, {"checkpoint_dir": None, "checkpointer": None}]
    )
    def test_storage_is_required(self, which: str, store: dict[str, Any]) -> None:
        """SG-25 (b): exact text."""
        with pytest.raises(ValueError) as caught:
            chain("a").compile(**{which: ["a"]}, **store)
        assert str(caught.value) == NEEDS_STORE

    def test_start_and_end_count_as_nodes(self) -> None:
        """SG-25."""
        made = chain("a").compile([START, END], [START, END], checkpointer=MemoryCheckpointer())
        assert made.interrupt_before == [START, END]

    def test_falsy_checkpointer_is_rejected(self) -> None:
        """CP-20: a custom checkpointer must be truthy; MemoryCheckpointer always is."""

        class Sized:
            def __len__(self) -> int:
                return 0

        with pytest.raises(ValueError) as caught:
            chain("a").compile(["a"], checkpointer=Sized())
        assert str(caught.value) == NEEDS_STORE
        assert chain("a").compile(["a"], checkpointer=MemoryCheckpointer())

    def test_nothing_changes_when_a_check_fails(self) -> None:
        """SG-25: all or nothing."""
        made = chain("a", "b")
        store, config = MemoryCheckpointer(), made.parallel_config
        made.compile(["a"], ["b"], checkpointer=store)
        before = (made.interrupt_before, made.interrupt_after, made.circuit_registry)
        for arguments in ({"interrupt_before": ["zz"]}, {"interrupt_after": ["a"]}):
            with pytest.raises(ValueError):
                made.compile(
                    **arguments,
                    parallel_config=ParallelConfig(),
                    parallel_callbacks=[],
                    max_active_threads=3,
                    circuit_breaker_scope="global",
                )
            assert (made.interrupt_before, made.interrupt_after, made.circuit_registry) == before
            assert made.checkpointer is store and made.checkpoint_dir is None
            assert made.parallel_config is config and made.callback_manager is None
            assert made._max_active_threads is None

    @pytest.mark.parametrize("which", ["interrupt_before", "interrupt_after"])
    @pytest.mark.parametrize("value", [None, ("a",)])
    def test_types(self, which: str, value: Any) -> None:
        """SG-26: None or a lone tuple cannot be joined with the other list."""
        with pytest.raises(TypeError):
            chain("a").compile(**{which: value}, checkpointer=MemoryCheckpointer())

    def test_two_tuples(self) -> None:
        """SG-26: tuple + tuple is fine."""
        made = chain("a", "b").compile(("b",), (), checkpointer=MemoryCheckpointer())
        assert places(list(made.invoke({}))) == [("interrupt", "b")]


class TestEffects:
    """SG-27."""

    def test_lists_are_kept_by_reference(self) -> None:
        """SG-27: and so are the stores."""
        before, after, store = ["a"], ["b"], MemoryCheckpointer()
        made = chain("a", "b").compile(before, after, checkpointer=store)
        assert made.interrupt_before is before and made.interrupt_after is after
        assert made.checkpointer is store

    def test_plain_compile_clears(self, kind: str) -> None:
        """SG-27: interrupts and storage are always overwritten."""
        made = chain("a", "b").compile(["b"], ["a"], "somewhere", MemoryCheckpointer())
        made.compile()
        assert (made.interrupt_before, made.interrupt_after) == ([], [])
        assert made.checkpoint_dir is None and made.checkpointer is None
        assert types(events(made, kind, {}))[-1] == "final"

    def test_defaults_are_fresh_lists(self) -> None:
        """Q1: appending to the lists of one graph changes no other graph and no later call."""
        one, two = chain("a").compile(), chain("a").compile()
        assert one.interrupt_before is not two.interrupt_before
        assert one.interrupt_before is not one.interrupt_after
        one.interrupt_before.append("a")
        one.interrupt_after.append("a")
        assert two.interrupt_before == [] and two.interrupt_after == []
        three = chain("a").compile()
        assert (three.interrupt_before, three.interrupt_after) == ([], [])

    def test_optional_replacements(self) -> None:
        """SG-27, Q12: each only if given; `max_active_threads` is stored and does nothing."""
        made = chain("a")
        config, registry = made.parallel_config, made.circuit_registry
        made.compile()
        assert made.parallel_config is config and made.circuit_registry is registry
        assert made.callback_manager is None and made._max_active_threads is None
        new = ParallelConfig(timeout_seconds=1)
        made.compile(
            parallel_config=new, parallel_callbacks=[], max_active_threads=1, circuit_breaker_scope="global"
        )
        assert made.parallel_config is new and made._max_active_threads == 1
        assert isinstance(made.callback_manager, CallbackManager)
        assert made.circuit_registry is not registry and made.circuit_registry.scope == "global"
        manager, registry = made.callback_manager, made.circuit_registry
        made.compile(circuit_breaker_scope="graph")
        assert made.parallel_config is new and made.callback_manager is manager
        assert made.circuit_registry is registry and made._max_active_threads == 1
        assert final(made, {}) == {"trail": ["a"]}

    def test_file_system_is_not_touched(self, tmp_path: Path) -> None:
        """SG-27: the directory need not exist and is not made."""
        place = tmp_path / "not" / "there"
        made = chain("a").compile(["a"], checkpoint_dir=str(place))
        assert made.checkpoint_dir == str(place)
        assert list(tmp_path.iterdir()) == []


class TestStepLimit:
    """Q15, SG-32: `compile(step_limit=n)`."""

    def test_off_by_default(self) -> None:
        """SG-32: a loop of 20,000 rounds, left by its condition."""
        made = loop(20_000).compile()
        assert final(made, {"n": 0})["n"] == 20_000

    @pytest.mark.parametrize("kind_", KINDS)
    def test_error_event(self, kind_: str) -> None:
        """Q15: an error of the node that would run next; the state so far is in the event."""
        got = events(loop(None).compile(step_limit=25), kind_, {"n": 0})
        assert got[-1] == {
            "type": "error",
            "node": "n",
            "error": "Step limit of 25 reached",
            "state": {"n": 25},
        }
        assert types(got).count("state") == (25 if kind_ == "stream" else 0)

    @pytest.mark.parametrize("kind_", KINDS)
    def test_raised(self, kind_: str) -> None:
        """Q15, SG-63: the error policy applies."""
        made = loop(None).compile(step_limit=5)
        made.raise_exceptions = True
        with pytest.raises(RuntimeError, match="Step limit of 5 reached"):
            events(made, kind_, {"n": 0})

    def test_exactly_enough(self, kind: str) -> None:
        """Q15: n nodes pass a limit of n; one more does not: it names the node that did not run."""
        names = [f"x{number}" for number in range(6)]
        assert types(events(chain(*names).compile(step_limit=6), kind, {}))[-1] == "final"
        got = events(chain(*names).compile(step_limit=5), kind, {})
        assert (got[-1]["type"], got[-1]["node"], got[-1]["error"]) == (
            "error",
            "x5",
            "Step limit of 5 reached",
        )
        assert got[-1]["state"] == {"trail": names[:5]}

    def test_each_run_counts_anew(self) -> None:
        """Q15: the limit is one of a run, not of the graph."""
        made = chain("a", "b", "c").compile(step_limit=3)
        for _ in range(5):
            assert final(made, {}) == {"trail": ["a", "b", "c"]}

    def test_run_config_has_no_such_key(self) -> None:
        """Q15, SG-33: the keys of the run's config are the user's."""
        assert final(chain("a", "b"), {}, config={"step_limit": 1}) == {"trail": ["a", "b"]}

    @pytest.mark.parametrize("value", [0, -1, "many", 2.5])
    def test_bad_limit(self, value: Any) -> None:
        """Q15: a limit that makes no sense is refused when it is given, with its name in the text."""
        with pytest.raises((ValueError, TypeError), match="step_limit"):
            chain("a").compile(step_limit=value)


def test_bad_checkpoint_format() -> None:
    """CQ-7: an unknown format is refused by compile, and the text says which are right."""
    with pytest.raises(ValueError, match=r"(?s)xml.*json|json.*xml"):
        chain("a").compile(checkpoint_format="xml")


def loop(rounds: int | None) -> StateGraph:
    """Node `n` counts in `n` and is visited until `rounds` (None: for ever)."""
    made = StateGraph(dict)
    made.add_node("n", run=lambda state: {"n": state["n"] + 1})
    made.set_entry_point("n")
    made.add_conditional_edges("n", lambda state: state["n"] == rounds, {True: END, False: "n"})
    return made


def test_max_active_threads_and_parallel_sync_have_no_effect() -> None:
    """Q12: accepted, without meaning."""
    out = script_ok(
        """
        import the_edge_agent as tea
        graph = tea.StateGraph(dict)
        graph.add_node("s"); graph.add_node("j")
        graph.set_entry_point("s"); graph.set_finish_point("j")
        import threading
        barrier = threading.Barrier(3, timeout=10)
        for name in "abc":
            graph.add_node(name, run=lambda: barrier.wait() and None)
            graph.add_parallel_edge("s", name, "j")
            graph.add_edge(name, "j")
        graph.parallel_sync = {"a": 1}
        graph.compile(max_active_threads=1)
        print([event["type"] for event in graph.invoke({})])
        """
    )
    assert out == "['final']\n"
