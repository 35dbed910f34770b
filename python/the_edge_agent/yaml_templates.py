"""Templates of YAML agents: `DotDict` and `TemplateProcessor`.

The language itself is libtea's; it reads Python's objects where they are, without a copy.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["DotDict", "TemplateProcessor"]

# What stays a method on a `DotDict` that has no such key.
_METHODS = frozenset({"get", "pop", "update", "copy", "clear", "setdefault", "keys", "values", "items"})

_SINGLE = re.compile(r"^\{\{\s*([^}]+(?:\}(?!\})[^}]*)*)\s*\}\}$")


class DotDict(dict[Any, Any]):
    """A dict whose entries are attributes, too.

    Entries win over methods. A missing one is None, except for the usual methods of a dict and for names that begin
    with an underscore. A plain dict comes back wrapped in a new `DotDict`; `d["key"]` gives what is stored.
    """

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_"):
            return super().__getattribute__(name)
        try:
            value = dict.__getitem__(self, name)
        except KeyError:
            return super().__getattribute__(name) if name in _METHODS else None
        return DotDict(value) if isinstance(value, dict) and not isinstance(value, DotDict) else value

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __copy__(self) -> DotDict:
        return DotDict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> DotDict:
        from copy import deepcopy

        copied = DotDict()
        memo[id(self)] = copied
        for key, value in dict.items(self):
            copied[deepcopy(key, memo)] = deepcopy(value, memo)
        return copied

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return (DotDict, (), None, None, iter(list(dict.items(self))))


class TemplateProcessor:
    """Renders templates and evaluates conditions over a state.

    Args:
        jinja_env: kept as it is; templates are libtea's.
        variables, secrets: what templates see under these names, if there is no engine.
        engine: its `variables`, `secrets` and `data` are read at every call.
    """

    def __init__(self, jinja_env: Any, variables: Any, secrets: Any, engine: Any = None) -> None:
        self._jinja_env = jinja_env
        self._variables = variables
        self._secrets = secrets
        self._engine = engine
        # The texts that were compiled, by the keys that programs look for.
        self._template_cache: dict[str, str] = {}

    def _roots(self, state: Any, data: bool = True) -> dict[str, Any]:
        engine = self._engine
        variables = self._variables if engine is None else engine.variables
        secrets = self._secrets if engine is None else engine.secrets
        roots = {"state": state, "variables": _map(variables), "secrets": _map(secrets)}
        if data:
            roots["data"] = {} if engine is None else _map(engine.data)
        return roots

    @property
    def _strict(self) -> bool:
        return bool(getattr(self._engine, "_strict_templates", False))

    def process_template(
        self,
        text: Any,
        state: Any,
        checkpoint_dir: Any = None,
        last_checkpoint: Any = None,
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """The value of a text that is a single expression, the rendered text of any other; what is no text comes
        back as it is. `extra_context`: further names.

        Raises ValueError for a template error.
        """
        if not isinstance(text, str) or not ("{{" in text or "{%" in text or "${" in text):
            return text
        from ._native import agent

        roots = self._roots(state)
        roots["checkpoint"] = {"dir": checkpoint_dir or "", "last": last_checkpoint or ""}
        if extra_context:
            roots.update(extra_context)
        value = agent.render(text, agent.scope(roots, strict=self._strict))
        self._remember(text)
        # The scope itself is never handed out: the state would hold itself.
        return DotDict(value) if value is roots["state"] and isinstance(value, dict) else value

    def process_params(
        self, params: Any, state: Any, checkpoint_dir: Any = None, last_checkpoint: Any = None
    ) -> dict[Any, Any]:
        """The parameters with all texts in maps and lists rendered, as a new dict."""

        def rendered(value: Any) -> Any:
            if isinstance(value, str):
                return self.process_template(value, state, checkpoint_dir, last_checkpoint)
            if isinstance(value, dict):
                return {key: rendered(item) for key, item in value.items()}
            if isinstance(value, list):
                return [rendered(item) for item in value]
            return value

        return {key: rendered(value) for key, value in params.items()}

    def evaluate_condition(self, expression: Any, state: Any) -> bool:
        """Whether a condition of an edge or a loop is true. Raises ValueError for a template error."""
        if not isinstance(expression, str):
            return bool(expression)
        from ._native import agent

        roots = self._roots(state)
        roots["checkpoint"] = {"dir": "", "last": ""}
        return agent.condition(expression, agent.EDGE, agent.scope(roots, strict=self._strict))

    def evaluate_goto(self, expression: Any, state: Any, result: Any = None) -> bool:
        """Whether the condition of a goto rule is true; an error is logged and false."""
        if not isinstance(expression, str):
            return bool(expression)
        from ._native import agent

        roots = self._roots(state, data=False)
        roots["result"] = _map(result)
        self._template_cache[f"goto_cond:{_wrapped(expression)}"] = expression
        return agent.condition(expression, agent.GOTO, agent.scope(roots))

    def _convert_simple_expression(self, expression: str) -> str:
        """Deprecated: a short condition as a longer one."""
        expression = expression.strip()
        negated = expression.startswith("!")
        name = expression[1:].strip() if negated else expression
        if not name.isidentifier():
            return expression
        return f"{'not ' if negated else ''}state.get('{name}', False)"

    def _remember(self, text: str) -> None:
        stripped = text.strip()
        single = _SINGLE.match(stripped) if "{%" not in stripped and stripped.count("{{") == 1 else None
        key = f"expr:{single.group(1).strip()}" if single else f"tmpl:{text}"
        self._template_cache[key] = text

    def update_variables(self, variables: Any) -> None:
        """Replaces `variables` of a processor without an engine."""
        self._variables = variables

    def update_secrets(self, secrets: Any) -> None:
        """Replaces `secrets` of a processor without an engine."""
        self._secrets = secrets

    def clear_cache(self) -> None:
        """Forgets which texts were compiled."""
        self._template_cache.clear()


def _map(value: Any) -> Any:
    """Null is a map without entries (`yaml/Q-3`)."""
    return {} if value is None else value


def _wrapped(expression: str) -> str:
    marked = expression.strip().startswith(("{{", "{%"))
    return expression if marked else f"{{{{ {expression} }}}}"


class Environment:
    """Renders texts like a Jinja2 environment does: `from_string(text).render(**names)`."""

    def from_string(self, source: str) -> EnvironmentTemplate:
        """A template of the text; a text that is none fails when it is rendered."""
        return EnvironmentTemplate(source)


class EnvironmentTemplate:
    """A text to be rendered."""

    def __init__(self, source: str) -> None:
        self._source = source

    def render(self, **names: Any) -> str:
        """The text for these names. Raises ValueError for a template error, and what an operation raises."""
        from ._native import agent

        rendered: str = agent.render(self._source, agent.scope(names, plain=True))
        return rendered
