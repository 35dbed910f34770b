"""Commands that look at an agent and do not run it: `validate`, `inspect`, `graph`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .console import Failure, colour, setup_logging, to_json, write_file
from .source import load_agent, load_yaml, mapping, merged_agent, read_overlays

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from ..stategraph import StateGraph


def read_document(file: str) -> dict[str, Any]:
    """A file that is looked at, but not run."""
    if not os.path.exists(file):
        raise Failure(f"Error: File not found: {file}")
    return mapping(load_yaml(file, "file", "Error: Invalid YAML syntax"), "Agent YAML must be a mapping")


def _look_at(file: str, overlays: list[str]) -> StateGraph:
    """Builds the graph of an agent; checkpoints of it would go nowhere on disk."""
    from ..checkpointers import MemoryCheckpointer

    merged = merged_agent(file, read_overlays(overlays)) if overlays else None
    return load_agent(file, merged, {}, {}, MemoryCheckpointer())[1]


def validate(options: argparse.Namespace) -> int:
    setup_logging(0, False)
    file: str = options.file
    if not os.path.exists(file):
        raise Failure(f"Error: File not found: {file}")
    if options.detailed:
        document = (
            merged_agent(file, read_overlays(options.overlay)) if options.overlay else read_document(file)
        )
        _details(document)
    try:
        _look_at(file, options.overlay)
    except Failure as failure:
        cause = failure.__cause__
        if not failure.text.startswith("Error loading workflow"):
            raise
        if any(base.__name__ in ("YAMLError", "ReaderError") for base in type(cause).__mro__):
            raise Failure(f"Error: Invalid YAML syntax: {cause}") from cause
        raise Failure(f"\nValidation failed: {cause}") from cause
    print(f"\n{colour(32, '✓')} {file} is valid")
    return 0


def _entries(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The mappings of a list; what is none is left out."""
    found = document.get(key)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _targets(edge: dict[str, Any]) -> Iterable[tuple[Any, Any]]:
    targets = edge.get("targets")
    return targets.items() if isinstance(targets, dict) else ()


def _action(node: dict[str, Any]) -> Any:
    return node.get("uses") or node.get("action")


def _details(document: dict[str, Any]) -> None:
    print(f"Workflow: {document.get('name') or 'unnamed'}")
    if document.get("description"):
        print(f"Description: {document['description']}")
    nodes, edges = _entries(document, "nodes"), _entries(document, "edges")
    print(f"\nNodes: {len(nodes)}")
    for node in nodes:
        uses = f" (uses: {_action(node)})" if _action(node) else ""
        print(f"  - {node.get('name') or '?'}{uses}")
    print(f"\nEdges: {len(edges)}")
    for edge in edges:
        source = edge.get("from") or "?"
        if edge.get("to"):
            print(f"  - {source} -> {edge['to']}")
        for key, target in _targets(edge):
            print(f"  - {source} --[{key}]--> {target}")


def inspect(options: argparse.Namespace) -> int:
    document = read_document(options.file)
    if options.format == "json":
        print(to_json(document, 2))
    elif options.format == "dot":
        print("\n".join(_dot(document)))
    else:
        print("\n".join(_shown(document)))
    return 0


def _language(node: dict[str, Any]) -> str | None:
    """The language of a node's code as far as the file says it; it is Python by default."""
    code = node.get("run")
    if not code:
        return None
    own = (code.get("type") or code.get("language")) if isinstance(code, dict) else None
    return str(own or node.get("language") or "python")


def _condition(edge: dict[str, Any]) -> Any:
    return edge.get("condition") or edge.get("when")


def _branches(edge: dict[str, Any]) -> list[str]:
    branches = edge.get("parallel")
    return [str(branch) for branch in branches] if isinstance(branches, list) else []


def _shown(document: dict[str, Any]) -> list[str]:
    lines = [f"Workflow: {document.get('name') or 'unnamed'}"]
    if document.get("description"):
        lines.append(f"Description: {document['description']}")
    nodes, edges = _entries(document, "nodes"), _entries(document, "edges")
    lines.append(f"\nNodes ({len(nodes)}):")
    for node in nodes:
        line = f"  {node.get('name') or '?'}"
        if _action(node):
            line += f" [{_action(node)}]"
        if _language(node):
            line += f" ({_language(node)})"
        if node.get("retry"):
            line += " (retry)"
        if node.get("fallback"):
            line += f" (fallback: {node['fallback']})"
        lines.append(line)
    lines.append(f"\nEdges ({len(edges)}):")
    for edge in edges:
        source = edge.get("from") or "?"
        if edge.get("to"):
            when = f" [when: {_condition(edge)}]" if _condition(edge) else ""
            lines.append(f"  {source} -> {edge['to']}{when}")
        lines += [f"  {source} --[{key}]--> {target}" for key, target in _targets(edge)]
        if _branches(edge):
            lines.append(f"  {source} => [{', '.join(_branches(edge))}]")
    variables = document.get("variables")
    if variables and isinstance(variables, dict):
        lines.append("\nVariables:")
        lines += [f"  {key}: {value}" for key, value in variables.items()]
    return lines


def _quoted(text: Any) -> str:
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _dot(document: dict[str, Any]) -> list[str]:
    title = str(document.get("name") or "workflow").replace("-", "_")
    plain = title.isascii() and title.isidentifier()
    lines = [
        f"digraph {title if plain else _quoted(title)} {{",
        "  rankdir=TB;",
        "  node [shape=box];",
        "",
        '  "__start__" [label="START", shape=ellipse];',
        '  "__end__" [label="END", shape=ellipse];',
        "",
    ]
    for node in _entries(document, "nodes"):
        label = name = node.get("name") or "?"
        if _language(node):
            label = f"{name}\n({_language(node)})"
        elif _action(node):
            label = f"{name}\n[{_action(node)}]"
        lines.append(f"  {_quoted(name)} [label={_quoted(label)}];")
    lines.append("")
    for edge in _entries(document, "edges"):
        source = _quoted(edge.get("from") or "__start__")
        if edge.get("to"):
            when = _condition(edge)
            label = f" [label={_quoted(f'when: {when}')}]" if when else ""
            lines.append(f"  {source} -> {_quoted(edge['to'])}{label};")
        lines += [
            f"  {source} -> {_quoted(target)} [label={_quoted(key)}];" for key, target in _targets(edge)
        ]
        lines += [f"  {source} -> {_quoted(branch)} [style=dashed];" for branch in _branches(edge)]
    return [*lines, "}"]


def graph(options: argparse.Namespace) -> int:
    setup_logging(0, False)
    if not os.path.exists(options.file):
        raise Failure(f"Error: File not found: {options.file}")
    picture = _look_at(options.file, options.overlay).to_mermaid()
    if options.output_file:
        write_file(options.output_file, f"{picture}\n")
    else:
        print(picture)
    return 0
