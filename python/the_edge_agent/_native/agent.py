"""Agents of the library: loading, templates, conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .library import call, engine, ffi, lib, parked, take
from .values import by_reference, decode, dumps

if TYPE_CHECKING:
    from collections.abc import Mapping

# The dialects of conditions.
EDGE = 0
GOTO = 1


def scope(roots: Mapping[str, Any], *, strict: bool = False, as_text: bool = False, env: bool = True) -> bytes:
    """The names that a template sees, as the library wants them. Containers stay here and are read lazily."""
    given: dict[str, Any] = {"roots": {name: by_reference(value) for name, value in roots.items()}}
    if strict:
        given["strict"] = True
    if as_text:
        given["text"] = True
    if not env:
        given["env"] = False
    return dumps(given)


def render(template: str, names: bytes) -> Any:
    """The value of a template that is a single expression, the text of any other. `names`: see `scope`.

    Raises ValueError for a template error, and what an operation of a longer text raises.
    """
    out = ffi.new("tea_buffer *")
    call(lib.tea_template_render, engine(), template.encode(), names, out)
    if parked:
        raise_parked()
    # The references in the result are the library's until this thread's next rendering.
    return decode(take(out))


def condition(expression: str, dialect: int, names: bytes) -> bool:
    """Whether a condition is true. Raises as `render`, in the dialect of gotos never."""
    truth = call(lib.tea_condition_eval, engine(), expression.encode(), dialect, names)
    if parked:
        raise_parked()
    return bool(truth)


def raise_parked() -> None:
    """Raises what a callback raised on this thread."""
    from _thread import get_ident

    exception = parked.pop(get_ident(), None)
    if exception is not None:
        raise exception
