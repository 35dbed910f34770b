"""A graph's twin in the library: structure, functions and conditions by number."""

from __future__ import annotations

from _thread import allocate_lock
from array import array
from typing import TYPE_CHECKING, Any

from .calls import Prepared, prepare
from .library import call, encode, engine, ffi, lib, take

if TYPE_CHECKING:
    from .structure import Structure


# Conditions of unconditional edges are lambdas by contract (`SG-15`).
ALWAYS = lambda **_kwargs: True  # noqa: E731


# The library asks for no more calls at once.
_MOST_CALLS = 1024


class Native:
    """A program or a condition of an agent, by its number; `agent` is the agent (`agent.Agent`). Can be called like
    any other function of a node or an edge."""

    __slots__ = ("agent", "name", "number")

    def __init__(self, agent: Any, number: int, name: str = "") -> None:
        self.agent = agent
        self.number = number
        self.name = name


class NativeNode(Native):
    """The work of a node, done by the library."""

    __slots__ = ()

    def __call__(
        self, state: Any, config: Any = None, node: Any = None, graph: Any = None, **_more: Any
    ) -> Any:
        """Does the work over the state; returns its update. What the work changes in place is changed."""
        return self.agent.run(self, state, config or {}, self.name if node is None else node, graph)


class NativeCondition(Native):
    """A condition, evaluated by the library."""

    __slots__ = ()

    def __call__(self, state: Any, **_more: Any) -> bool:
        """Whether the edge is taken."""
        chosen: bool = self.agent.choose(self, state)
        return chosen


# A conditional edge: its condition ready to be called, where its value leads (a map, or None), its two ends.
Condition = tuple[Prepared, Any, Any, Any]


# Functions of nodes with the nodes' names, the condition behind the last one, and to which target (number plus one) it
# must lead to do it all again; 0: never.
Run = tuple[list[tuple[Any, Any]], "Condition | None", int]


class Twin:
    """The graph as the library knows it. `push` brings it up to date; it costs one call for the whole graph."""

    __slots__ = (
        "_lock",
        "_numbers",
        "conditions",
        "functions",
        "ids",
        "names",
        "pointer",
        "runs",
        "seen",
        "spare",
    )

    def __init__(self, pointer: Any = None) -> None:
        if pointer is None:
            out = ffi.new("tea_graph **")
            call(lib.tea_graph_new, engine(), b"", out)
            pointer = ffi.gc(out[0], lib.tea_graph_free)
        self.pointer: Any = pointer
        # Numbers of names. The first two are the library's own.
        self.ids: dict[Any, int] = {"__start__": 0, "__end__": 1}
        self.names: list[Any] = ["__start__", "__end__"]
        # By number of the node.
        self.functions: list[Prepared | None] = [None, None]
        # By the numbers that conditional edges were given, and these numbers by edge.
        self.conditions: list[Condition] = []
        self._numbers: dict[tuple[Any, Any], int] = {}
        # Nodes that are called in a row, by the number of the item that asks for them.
        self.runs: dict[int, Run] = {}
        # Structs that no run is using.
        self.spare: list[tuple[Any, Any, Any]] = []
        self.seen = -1
        self._lock = allocate_lock()

    def id_of(self, name: Any) -> int:
        """The number of a name, a new one if need be; raises TypeError for an unhashable name."""
        known = self.ids.get(name)
        if known is not None:
            return known
        with self._lock:
            return self._id_of(name)

    def _id_of(self, name: Any) -> int:
        known = self.ids.get(name)
        if known is not None:
            return known
        label = encode(str(name))
        # Names that are no texts get a key that no text has: 1 and "1" print alike.
        key = label if type(name) is str else b"\0%d" % len(self.names)
        number = call(lib.tea_graph_intern, self.pointer, key, label)
        if number != len(self.names):
            # Two texts with the same UTF-8 form (lone surrogates): told apart like names that are no texts.
            key = b"\0%d" % len(self.names)
            number = call(lib.tea_graph_intern, self.pointer, key, label)
        self.names.append(name)
        self.functions.append(None)
        self.ids[name] = number
        return number

    def push(self, structure: Structure) -> None:
        """Describes the structure to the library, if it changed since the last time.

        Runs on other threads may be reading: numbers keep their meaning, entries are replaced one by one.
        """
        with self._lock:
            version = structure.version
            if version == self.seen:
                return
            words = array("q")
            # Numbers first: edges name nodes that come later.
            numbers = [self._id_of(name) for name in structure.nodes]
            functions = self.functions
            for number, (name, attributes) in zip(numbers, structure.nodes.items(), strict=True):
                run = attributes.get("run")
                word = number if run else -1
                if isinstance(run, NativeNode) and run.agent.pointer is self.pointer:
                    # Of an agent's own programs, number n goes by -2 - n.
                    word = -2 - run.number
                elif run:
                    prepared = functions[number]
                    # A plan that was made is kept.
                    if prepared is None or prepared[1] is not run:
                        functions[number] = prepare(run)
                edges = structure.successors.get(name) or {}
                words.extend((number, word, len(edges)))
                for target, edge in edges.items():
                    words.extend((self._id_of(target), self._rule(edge, name, target), self._join(edge)))
            address, count = words.buffer_info()
            call(lib.tea_graph_describe, self.pointer, ffi.cast("int64_t *", address), count)
            self.runs = {}
            self.seen = version

    def _rule(self, edge: dict[str, Any], source: Any, target: Any) -> int:
        """-1 for an unconditional edge, else the number of its condition, which is the edge's for good."""
        condition, mapping = edge.get("cond", ALWAYS), edge.get("cond_map")
        if condition is ALWAYS and (not mapping or (len(mapping) == 1 and mapping.get(True) == target)):
            return -1
        if isinstance(condition, NativeCondition) and condition.agent.pointer is self.pointer:
            return -2 - condition.number
        number = self._numbers.setdefault((source, target), len(self.conditions))
        entry = (prepare(condition), mapping, source, target)
        if number == len(self.conditions):
            self.conditions.append(entry)
        else:
            self.conditions[number] = entry
        return number

    def _join(self, edge: dict[str, Any]) -> int:
        """-1 for a normal edge, -2 for a parallel edge without a join, else the number of the join."""
        if not edge.get("parallel"):
            return -1
        join = edge.get("fan_in_node")
        return -2 if join is None else self._id_of(join)

    def calls(self, cursor: Any, item: int) -> Run:
        """What an item asks to call, kept for the next time."""
        numbers = ffi.new("int64_t[]", _MOST_CALLS)
        count = call(lib.tea_cursor_nodes, cursor, numbers, _MOST_CALLS)
        nodes: list[Any] = ffi.unpack(numbers, count)
        condition, again = None, 0
        if len(nodes) > 2 and nodes[-2] < 0:
            again = nodes[0] + 1 if nodes.pop() else 0
            condition = self.conditions[-1 - nodes.pop()]
        run: Run = ([(self.functions[number], self.names[number]) for number in nodes], condition, again)
        self.runs[item] = run
        return run

    def configure(self, options: str) -> None:
        """Changes settings; a JSON map."""
        call(lib.tea_graph_configure, self.pointer, options.encode())

    def mermaid(self, structure: Structure) -> str:
        """The graph as Mermaid text. Names must be texts, as with the reference (`VZ-11`)."""
        self.push(structure)
        for name in structure.nodes:
            name.replace(" ", "_")
        labels = []
        for source, targets in structure.successors.items():
            for target, edge in targets.items():
                if "cond" in edge and edge.get("cond_map"):
                    labels.append(self._label(source, target, edge))
        import json

        out = ffi.new("tea_buffer *")
        call(lib.tea_graph_mermaid, self.pointer, json.dumps(labels).encode(), out)
        return take(out)

    def _label(self, source: Any, target: Any, edge: dict[str, Any]) -> list[Any]:
        entries = []
        for key, value in edge["cond_map"].items():
            if key is True:
                label = "true"
            elif key is False:
                label = "false"
            elif isinstance(key, str):
                label = key.replace('"', "'").replace("|", "/")
            else:
                label = str(key)
            entries.append([label, bool(key == True), self.ids.get(value)])  # noqa: E712 - 1 is true here
        condition = edge["cond"]
        named = callable(condition) and getattr(condition, "__name__", "<lambda>") != "<lambda>"
        return [self.ids[source], self.ids[target], named, entries]

    def path_exists(self, source: Any, target: Any) -> bool:
        """Whether edges lead from one node to another."""
        return bool(call(lib.tea_graph_path_exists, self.pointer, self.id_of(source), self.id_of(target)))

    def nodes_between(self, source: Any, target: Any) -> list[Any]:
        """What can be reached from one node without going past another, breadth-first."""
        import json

        out = ffi.new("tea_buffer *")
        call(lib.tea_graph_nodes_between, self.pointer, self.id_of(source), self.id_of(target), out)
        return [self.names[number] for number in json.loads(take(out))]
