"""Blocks of Python code in agents: compiled once for each text, run as the agent's nodes.

A block with a `return` of its own is the body of a function, and what it returns is the node's result. Any other one
is run as it stands, and the names that it assigns are the update of the state.
"""

from __future__ import annotations

import ast
import json
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Texts differ where templates put values into them: such blocks must not fill the memory.
_MOST = 2048

# What stays behind when a block ends.
_TOOLS = (ModuleType, FunctionType, BuiltinFunctionType)


class _Block:
    """A compiled block."""

    __slots__ = ("code", "function", "imports")

    def __init__(self, source: str) -> None:
        tree = ast.parse(source, "<string>")
        self.function = _returns(tree.body)
        # Modules that a block may use without importing them.
        self.imports = tuple(name for name in ("requests", "datetime") if name in source)
        if "OpenAI" in source or "openai" in source:
            self.imports += ("OpenAI",)
        if self.function:
            body = ast.parse("def _block(): pass").body[0]
            assert isinstance(body, ast.FunctionDef)
            body.body = tree.body
            tree.body = [body]
            module = compile(tree, "<string>", "exec")
            self.code: CodeType = next(item for item in module.co_consts if isinstance(item, CodeType))
        else:
            self.code = compile(tree, "<string>", "exec")


def _returns(statements: list[ast.stmt]) -> bool:
    """Whether a `return` of the statements themselves is among them, not one of a function within."""
    waiting: list[ast.AST] = list(statements)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Return):
            return True
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.expr)):
            continue
        waiting.extend(ast.iter_child_nodes(node))
    return False


_blocks: dict[str, _Block] = {}
_expressions: dict[str, CodeType] = {}


def run(source: str, names: dict[str, Any]) -> Any:
    """Runs a block; `names` are its global names, which are the block's own. Raises what the block raises, and
    SyntaxError."""
    block = _blocks.get(source)
    if block is None:
        if len(_blocks) >= _MOST:
            _blocks.clear()
        block = _blocks[source] = _Block(source)
    names["json"] = json
    names["requests"] = names["datetime"] = None
    for name in block.imports:
        _provide(name, names)
    if block.function:
        names["__builtins__"] = __builtins__
        function: Callable[[], Any] = FunctionType(block.code, names)
        return function()
    assigned: dict[str, Any] = {}
    exec(block.code, names, assigned)
    return {
        name: value
        for name, value in assigned.items()
        if not (name.startswith("_") or isinstance(value, _TOOLS))
    }


def _provide(name: str, names: dict[str, Any]) -> None:
    """Puts a module in; without it the name stays None, and a block that imports it itself says what is missing."""
    try:
        if name == "OpenAI":
            from importlib import import_module

            names[name] = import_module("openai").OpenAI
        else:
            names[name] = __import__(name)
    except ImportError:
        pass


def evaluate(source: str, names: dict[str, Any]) -> Any:
    """The value of an expression. Raises what it raises, and SyntaxError."""
    code = _expressions.get(source)
    if code is None:
        if len(_expressions) >= _MOST:
            _expressions.clear()
        code = _expressions[source] = compile(source.strip(), "<string>", "eval")
    return eval(code, names)
