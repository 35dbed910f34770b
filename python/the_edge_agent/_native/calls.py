"""How a function wants its arguments.

Node and condition functions get what they name: `state`, `config`, `node`, `graph`, `parallel_results`. The plan of
a function is made once and kept; the common shapes need no `inspect`.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

# Plans that the driver calls without a detour.
NO_ARGUMENTS = 0
STATE_ONLY = 1
ANY = 2

_VARIADIC = 0x04 | 0x08  # *args, **kwargs
# A default that Python supplies by itself.
_LEFT_OUT = object()

_NAMES = ("state", "config", "node", "graph", "parallel_results")


def plan_of(function: Any) -> int:
    """One of the three plans. `ANY` is worked out by `invoke` at the call, where its errors belong."""
    if type(function) is not FunctionType or "__wrapped__" in function.__dict__:
        return ANY
    if "__signature__" in function.__dict__:
        return ANY
    code = function.__code__
    if code.co_flags & _VARIADIC or code.co_posonlyargcount:
        return ANY
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if not names:
        return NO_ARGUMENTS
    # By position, which a function cannot tell from by name and is faster.
    return STATE_ONLY if names == ("state",) and not code.co_kwonlyargcount else ANY


class _Plan:
    """Parameters of a function, in order: names to take, defaults to pass, whether it takes the rest."""

    __slots__ = ("named", "rest", "simple")

    def __init__(self, function: Any) -> None:
        named: list[tuple[str, bool, Any]] = []
        self.rest = False
        if type(function) is FunctionType and not function.__dict__ and not _special(function):
            self._of_code(function, named)
        else:
            self._of_signature(function, named)
        self.named = named
        # Names that are always there, if there are no others: the call needs no look at the state.
        always = not self.rest and all(name in _NAMES[:4] for name, _, _ in named)
        self.simple = tuple(name for name, _, _ in named) if always else None

    def _of_code(self, function: FunctionType, named: list[tuple[str, bool, Any]]) -> None:
        # Defaults are left to Python, which takes those of the moment of the call.
        code = function.__code__
        positional = code.co_varnames[: code.co_argcount]
        first = len(positional) - len(function.__defaults__ or ())
        for index, name in enumerate(positional):
            if name in _NAMES or index < first:
                named.append((name, index >= first, _LEFT_OUT))
        keywords = function.__kwdefaults__ or {}
        for name in code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]:
            if name in _NAMES or name not in keywords:
                named.append((name, name in keywords, _LEFT_OUT))

    def _of_signature(self, function: Any, named: list[tuple[str, bool, Any]]) -> None:
        import inspect

        for name, parameter in inspect.signature(function).parameters.items():
            has = parameter.default is not inspect.Parameter.empty
            if name not in _NAMES and not has and parameter.kind is inspect.Parameter.VAR_KEYWORD:
                self.rest = True
                return
            named.append((name, has, parameter.default if has else None))


def _special(function: FunctionType) -> bool:
    code = function.__code__
    return bool(code.co_flags & _VARIADIC or code.co_posonlyargcount)


# A function with its plan: one of the numbers above, or a `_Plan` once it was called.
Prepared = list[Any]


def prepare(function: Any) -> Prepared:
    """A function ready to be called often. Nothing is checked yet: errors belong to the call."""
    return [plan_of(function), function]


def invoke(
    prepared: Prepared, state: Any, config: Any, node: Any, graph: Any, *, results: bool = True
) -> Any:
    """Calls a function with what it names. `results`: whether `parallel_results` may be injected (nodes only).

    Raises ValueError for a required parameter that nothing fills, and whatever the function raises.
    """
    plan, function = prepared
    if plan is STATE_ONLY:
        return function(state)
    if plan is NO_ARGUMENTS:
        return function()
    if plan is ANY:
        plan = prepared[0] = _Plan(function)
    available = {"state": state, "config": config, "node": node, "graph": graph}
    if plan.simple is not None:
        return function(**{name: available[name] for name in plan.simple})
    if results and "parallel_results" in state:
        available["parallel_results"] = state["parallel_results"]
    arguments: dict[str, Any] = {}
    for name, has_default, default in plan.named:
        if name in available:
            arguments[name] = available[name]
        elif has_default:
            if default is not _LEFT_OUT:
                arguments[name] = default
        else:
            raise ValueError(f"Required parameter '{name}' not provided for function '{function.__name__}'")
    if plan.rest:
        for name, value in available.items():
            arguments.setdefault(name, value)
    return function(**arguments)
