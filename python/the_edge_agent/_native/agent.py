"""Agents of the library: loading, running their nodes, templates, conditions."""

from __future__ import annotations

import builtins
import time
from typing import TYPE_CHECKING, Any

from . import driver
from .host import flows, keep, kept
from .library import NULL, call, encode, engine, error_of, ffi, lib, parked, take, text
from .values import by_reference, decode, dumps, entries, object_of, throughout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..stategraph import StateGraph
    from .graph import NativeCondition, NativeNode

# The dialects of conditions.
EDGE = 0
GOTO = 1

_ACTION = 0
_CODE = 1

_RESULT = int(lib.TEA_ANSWER_RESULT)
_CORE = int(lib.TEA_ANSWER_CORE)

# Calls of language models, which get settings for tracing.
LLM_ACTIONS = frozenset(
    {"llm.call", "llm.chat", "llm.stream", "llm.tools", "actions.llm_call", "actions.llm_stream"}
)


# Templates and conditions by themselves


def scope(roots: Mapping[str, Any], *, strict: bool = False, plain: bool = False) -> bytes:
    """The names that a template sees, as the library wants them. Containers stay here and are read lazily.

    `plain`: the names are ordinary values, there is no `env`, and the result is a text.
    """
    given: dict[str, Any] = {"roots": {name: by_reference(value) for name, value in roots.items()}}
    if strict:
        given["strict"] = True
    if plain:
        given.update(text=True, plain=True, env=False)
    return dumps(given)


def render(template: str, names: bytes) -> Any:
    """The value of a template that is a single expression, the text of any other. `names`: see `scope`.

    Raises ValueError for a template error, and what an operation of a longer text raises.
    """
    out = ffi.new("tea_buffer *")
    call(lib.tea_template_render, engine(), template.encode(), names, out)
    if parked:
        driver.raise_parked()
    # The references in the result are the library's until this thread's next rendering.
    return decode(take(out))


def condition(expression: str, dialect: int, names: bytes) -> bool:
    """Whether a condition is true. Raises as `render`, in the dialect of gotos never."""
    truth = call(lib.tea_condition_eval, engine(), expression.encode(), dialect, names)
    if parked:
        driver.raise_parked()
    return bool(truth)


# Errors

_classes: dict[str, type[Exception]] = {}

# Where classes that are no builtins are defined, if the module is there.
_HOMES = {
    "ScannerError": "yaml.scanner",
    "ParserError": "yaml.parser",
    "ComposerError": "yaml.composer",
    "ConstructorError": "yaml.constructor",
    "ValidationError": "the_edge_agent.transformation",
}


def exception_of(name: str, message: str) -> Exception:
    """An exception of the class that the library names."""
    if name == "KeyError":
        # The key prints in quotes, which are the exception's business.
        quoted = len(message) > 1 and message[0] == message[-1] == "'"
        return KeyError(message[1:-1] if quoted else message)
    kind = _classes.get(name)
    if kind is None:
        kind = _classes[name] = _class_of(name)
    return kind(message) if name not in _HOMES or name == "ValidationError" else _yaml_error(kind, message)


def _class_of(name: str) -> type[Exception]:
    known = getattr(builtins, name, None)
    if isinstance(known, type) and issubclass(known, Exception):
        return known
    home = _HOMES.get(name)
    base: type[Exception] = RuntimeError
    if home is not None or name == "ReaderError":
        from importlib import import_module

        base = ValueError
        try:
            if name == "ReaderError":
                # PyYAML's own takes other arguments.
                base = import_module("yaml").YAMLError
            else:
                found: type[Exception] = getattr(import_module(home or ""), name)
                return found
        except ImportError:
            pass
    return type(name, (base,), {"__module__": "the_edge_agent.yaml_engine"})


def _yaml_error(kind: type[Exception], message: str) -> Exception:
    if hasattr(kind, "__mro__") and any(base.__name__ == "MarkedYAMLError" for base in kind.__mro__):
        return kind(None, None, message)
    return kind(message)


def response(json_text: str) -> Any:
    """The response that an action of the engine gave."""
    from ..actions.http_response_actions import HTTPResponse

    parts = decode(json_text)
    return HTTPResponse(parts["status"], parts["body"], parts["headers"])


# Loading


_core_actions: dict[str, list[str]] = {}


def core_actions() -> dict[str, list[str]]:
    """The actions that the engine does itself, and the parameters that each gets as they are written."""
    if not _core_actions:
        out = ffi.new("tea_buffer *")
        call(lib.tea_engine_actions, engine(), out)
        _core_actions.update(decode(take(out)))
    return _core_actions


def _locate(error: Exception, source: bytes, options: dict[str, Any]) -> None:
    """Notes where in the agent an error is: file, line, column, path. Its message stays the reference's."""
    out = ffi.new("tea_graph **")
    try:
        call(lib.tea_agent_load, engine(), source, dumps({**options, "detail": True}), out, NULL)
    except Exception as detailed:
        place = detailed.args[-1] if detailed.args else None
        add_note = getattr(error, "add_note", None)  # Python 3.11
        if add_note is not None and isinstance(place, str) and place != str(error):
            add_note(place)
    else:
        lib.tea_graph_free(out[0])


class Agent:
    """A loaded agent: its graph in the library, and the engine (`YAMLEngine`) whose actions it uses."""

    __slots__ = ("_asked", "engine", "info", "names", "pointer")

    def __init__(self, owner: Any, source: Any, options: dict[str, Any]) -> None:
        """`source`: the path of a file, or the document as a dictionary. Raises what a bad document raises."""
        out, info = ffi.new("tea_graph **"), ffi.new("tea_buffer *")
        options = {"host_actions": True, "checkpointer": "memory", **options}
        options["languages"] = ["python", "python-expression"]
        if "raw_parameters" not in options:
            registry = owner.__dict__.get("actions_registry", {})
            options["raw_parameters"] = {
                name: raw
                for name, raw in core_actions().items()
                if raw and isinstance(registry.get(name), CoreAction)
            }
        if isinstance(source, str):
            data = source.encode()
        else:
            data = dumps(throughout(source))
            options["json"] = True
        try:
            call(lib.tea_agent_load, engine(), data, dumps(options), out, info)
        except Exception as error:
            _locate(error, data, options)
            raise
        self.pointer = ffi.gc(out[0], lib.tea_graph_free)
        self.engine = owner
        # What the library tells about the agent.
        self.info: dict[str, Any] = decode(take(info))
        # The nodes whose updates something else looks at.
        nodes = self.info["config"].get("nodes") or []
        self._asked = {node["name"] for node in nodes if node.get("goto") is not None}
        # What code in Python sees besides the names of the call.
        self.names: dict[str, Any] = {}

    def replace(self, **roots: Any) -> None:
        """Replaces roots of the agent's templates. Dictionaries stay here and are read when they are used."""
        self.names.update({name: roots[name] for name in ("variables", "secrets") if name in roots})
        given = {
            name: throughout(value) if name == "llm_settings" else {"$tea": ["host", keep(value)]}
            for name, value in roots.items()
        }
        call(lib.tea_agent_context, self.pointer, dumps(given))

    def choose(self, marker: NativeCondition, state: Any) -> bool:
        """The value of a condition of this agent."""
        key = keep(state)
        try:
            return bool(call(lib.tea_agent_choose, self.pointer, marker.number, key))
        finally:
            kept.pop(key, None)
            if parked:
                driver.raise_parked()

    def run(self, marker: NativeNode, state: Any, config: Any, node: Any, graph: Any) -> Any:
        """Does the work of one node over a state, and returns its update. Raises what the work raises."""
        flow = driver.Flow(graph, NULL, state)
        updates: list[dict[Any, Any]] = []
        flow.updates = updates
        out, details, error = ffi.new("tea_cursor **"), ffi.new("tea_item *"), ffi.new("tea_error **")
        cause: BaseException | None = None
        cursor = NULL
        try:
            name = encode(str(node))
            call(lib.tea_cursor_new_program, self.pointer, marker.number, name, flow.key, out)
            cursor = out[0]
            answer = driver.ANSWER_START
            while True:
                item = lib.tea_cursor_step(cursor, answer, details, error)
                if parked:
                    driver.raise_parked()
                answer, kind = driver.ANSWER_DONE, item & 0xFF
                if item < 0:
                    raise error_of(item, error)
                if kind == driver.REQUEST:
                    try:
                        answer = self.answer(graph, cursor, details, state, config, node, alone=True)
                    except Exception as exception:
                        # A response is a failure too, here where nobody else answers.
                        cause = exception
                        driver.tell_failure(cursor, exception, 1)
                        answer = driver.ANSWER_FAILED
                elif kind == driver.ERROR:
                    failed = driver.failure_of(details)
                    if cause is not None and details.reference and str(failed) == str(cause):
                        raise cause
                    raise (failed or RuntimeError(text(details.text))) from cause
                elif kind == driver.RESPONSE:
                    raise driver.response_of(details)
                elif kind in (driver.DONE, driver.FINAL):
                    break
        finally:
            del flows[flow.key]
            lib.tea_cursor_free(cursor)
        result: dict[Any, Any] = {}
        for update in updates:
            result.update(update)
        return result

    # What the work of nodes asks for

    def answer(
        self, graph: Any, cursor: Any, details: Any, state: Any, config: Any, node: Any, alone: bool = False
    ) -> int:
        """Does what a program asks for; the answer to the step. Raises what actions and code raise.

        `alone`: the work of the node is called as a function, which changes no state.
        """
        kind = details.flag
        if kind not in (_ACTION, _CODE):
            time.sleep(details.milliseconds / 1000)
            return driver.ANSWER_DONE
        if details.result:
            # Steps and loops work on a state of their own.
            state = object_of(details.result)
        if kind == _CODE:
            language = text(details.text)
            result = self._code(language, text(details.raised), state, config, node, graph)
            whole = language == "python" and isinstance(result, dict)
            if whole and not (alone or details.result or node in self._asked):
                # Nobody else looks at the update: it need not cross.
                state.update(result)
                return driver.ANSWER_DONE
        else:
            name = text(details.text)
            function = self.engine.actions_registry.get(name)
            if function is None:
                raise ValueError(f"Unknown action: {name}")
            if isinstance(function, CoreAction) and name in function.names:
                return _CORE
            arguments = decode(text(details.json))
            result = self._act(name, function, arguments, state, config, node, graph)
        form = entries(result) if isinstance(result, dict) else by_reference(result)
        call(lib.tea_cursor_result, cursor, dumps(form))
        return _RESULT

    def _code(self, language: str, source: str, state: Any, config: Any, node: Any, graph: Any) -> Any:
        from . import code

        names = {"state": state, "config": config, "node": node, "graph": graph}
        if language == "python-expression":
            return code.evaluate(source, names)
        if "parallel_results" in state:
            names["parallel_results"] = state["parallel_results"]
        names.update(self.names)
        return code.run(source, names)

    def _act(
        self,
        name: str,
        function: Any,
        arguments: dict[str, Any],
        state: Any,
        config: Any,
        node: Any,
        graph: Any,
    ) -> Any:
        given = {"config": config, "node": node, "graph": graph}
        if "parallel_results" in state:
            given["parallel_results"] = state["parallel_results"]
        given.update(arguments)
        if name in LLM_ACTIONS and "opik_trace" not in given and self.engine._opik_llm_tracing:
            given["opik_trace"] = True
            project = self.engine._opik_project_name()
            if project:
                given.setdefault("opik_project_name", project)
        result = function(state=state, **given)
        return awaited(result) if hasattr(result, "__await__") else result


def awaited(result: Any) -> Any:
    """The result of an awaitable: on a loop of its own, on another thread if this one's loop is running."""
    import asyncio

    async def wait() -> Any:
        return await result

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(wait())
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, wait()).result()


class CoreAction:
    """An action of the engine in the registry of a `YAMLEngine`. Nodes run it without a detour through Python; it can
    also be called like any other action."""

    __slots__ = ("engine", "name", "names")

    def __init__(self, name: str, owner: Any) -> None:
        self.name = name
        # The engine knows it by these names.
        self.names = {name}
        self.engine = owner

    def __call__(self, state: Any = None, **arguments: Any) -> Any:
        for name in ("config", "node", "graph", "parallel_results"):
            arguments.pop(name, None)
        work = {"name": self.name, "uses": self.name, "with": arguments, "output": "result"}
        options = {"raw_parameters": {self.name: list(arguments)}}
        from .graph import NativeNode

        agent = Agent(self.engine, {"nodes": [work]}, options)
        return agent.run(NativeNode(agent, 0), {} if state is None else state, {}, self.name, None)["result"]

    def __repr__(self) -> str:
        return f"<action {self.name} of libtea>"


def build(graph: StateGraph, agent: Agent) -> None:
    """Gives a graph the nodes and edges of an agent."""
    from .graph import NativeCondition, NativeNode, Twin

    graph.__dict__["_agent"] = agent
    graph._twin_ = Twin(agent.pointer)
    for node in agent.info["nodes"]:
        number = node["program"]
        run = None if number is None else NativeNode(agent, number, node["name"])
        (graph.add_fanin_node if node["fan_in"] else graph.add_node)(node["name"], run)
    for edge in agent.info["edges"]:
        source, target, number = edge["from"], edge["to"], edge["condition"]
        if edge["fan_in"] is not None:
            graph.add_parallel_edge(source, target, edge["fan_in"])
        elif number is None:
            graph.add_edge(source, target)
        else:
            graph.add_conditional_edges(source, NativeCondition(agent, number), {True: target})
    graph._configure()
