#!/usr/bin/env python3
"""Compares the engine's YAML reader with PyYAML's safe loader: same value, or an error in both.

Documents: generated ones (see `yaml_generate.py`; the same seed gives the same documents), the known
differences of `yaml_differences.json` (each must still show), and all files ending in .yaml/.yml below the
directories given, with the `agent:` texts inside them as documents of their own.

Prints each unknown difference and, as its last line, "N passed, N failed"; exits 1 if any failed.
Needs PyYAML, and the example program: `cargo build -p tea-engine --example yaml_dump` in core/.
"""

from __future__ import annotations

import argparse
import base64
import datetime
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml_generate import Generator

HERE = Path(__file__).resolve().parent


class Answer(NamedTuple):
    """What one reader made of a document: `value` in a form that keeps types and order, or `error`."""

    value: Any
    error: str | None


class Recursive(Exception):
    """A value that contains itself: the engine's values cannot."""


def typed(value: Any, inside: tuple[int, ...] = ()) -> Any:
    """A Python value as nested tuples in which `1`, `1.0` and `True` differ and maps keep their order."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return ("int", value)
    if isinstance(value, float):
        return ("float", repr(value))
    if isinstance(value, str):
        return ("str", value)
    if isinstance(value, bytes):
        return ("bytes", value)
    if isinstance(value, datetime.datetime):
        return ("datetime", value.isoformat())
    if isinstance(value, datetime.date):
        return ("date", value.isoformat())
    if id(value) in inside:
        raise Recursive
    inside = (*inside, id(value))
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, tuple(typed(item, inside) for item in value))
    if isinstance(value, set):
        return ("set", frozenset(typed(item, inside) for item in value))
    if isinstance(value, dict):
        return ("map", tuple((typed(key, inside), typed(item, inside)) for key, item in value.items()))
    raise TypeError(f"no form for {type(value)}")


def typed_json(value: Any) -> Any:
    """The engine's tagged JSON (objects as lists of pairs in `Pairs`) in the form of `typed`."""
    if isinstance(value, Pairs):
        if len(value) == 1 and value[0][0] == "$tea":
            return untagged(*value[0][1])
        return ("map", tuple((("str", key), typed_json(item)) for key, item in value))
    if isinstance(value, list):
        return ("list", tuple(typed_json(item) for item in value))
    return typed(value)


class Pairs(list[tuple[str, Any]]):
    """An object of JSON with its keys in order."""


def untagged(tag: str, body: Any) -> Any:
    """What `{"$tea": [tag, body]}` stands for."""
    if tag == "f64":
        return ("float", body)
    if tag in ("date", "datetime"):
        return (tag, body)
    if tag == "bytes":
        return ("bytes", base64.b64decode(body))
    if tag == "tuple":
        return ("tuple", tuple(typed_json(item) for item in body))
    if tag == "set":
        return ("set", frozenset(typed_json(item) for item in body))
    if tag == "map":
        return ("map", tuple((typed_json(key), typed_json(item)) for key, item in body))
    if tag == "esc":
        return ("map", tuple((("str", key), typed_json(item)) for key, item in body))
    raise ValueError(f"unknown tag {tag}")


def by_pyyaml(text: bytes) -> Answer:
    """PyYAML's answer. Errors that are no `YAMLError` (a date that does not exist) count as well."""
    # Python's default belongs to what is compared; the comparison itself must go deeper.
    sys.setrecursionlimit(1000)
    try:
        value = yaml.load(text, Loader=yaml.SafeLoader)
        sys.setrecursionlimit(10_000)
        return Answer(typed(value), None)
    except Recursive:
        return Answer("contains itself", None)
    except Exception as error:
        return Answer(None, f"{type(error).__name__}: {error}")
    finally:
        sys.setrecursionlimit(10_000)


def by_engine(program: Path, texts: list[bytes]) -> list[Answer]:
    """The engine's answers, all by one process."""
    lines = "".join(text.hex() + "\n" for text in texts)
    done = subprocess.run([program], input=lines, capture_output=True, encoding="utf-8", check=False)
    if done.returncode != 0:
        raise SystemExit(f"{program} failed after {done.stdout.count(chr(10))} documents: {done.stderr}")
    answers = []
    # Not splitlines(): texts may hold U+2028.
    for line in done.stdout.split("\n")[:-1]:
        ((kind, body),) = json.loads(line, object_pairs_hook=Pairs)
        answers.append(Answer(None, body) if kind == "error" else Answer(typed_json(body), None))
    if len(answers) != len(texts):
        raise SystemExit(f"{program} answered {len(answers)} of {len(texts)} documents")
    return answers


def joined(value: Any) -> Any:
    """The value with surrogate pairs joined; raises UnicodeDecodeError at half a pair."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16")
    if isinstance(value, (tuple, frozenset)):
        return type(value)(joined(item) for item in value)
    return value


def is_cyclic(text: bytes) -> bool:
    """Whether a node of the document is inside itself, through an alias or a merge key."""
    inside: set[int] = set()
    done: set[int] = set()

    def visit(node: Any) -> bool:
        if id(node) in inside:
            return True
        if id(node) in done or isinstance(node, yaml.ScalarNode):
            return False
        inside.add(id(node))
        children = (
            node.value
            if isinstance(node, yaml.SequenceNode)
            else [part for pair in node.value for part in pair]
        )
        found = any(visit(child) for child in children)
        inside.remove(id(node))
        done.add(id(node))
        return found

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    return root is not None and visit(root)


def known(text: bytes, reference: Answer, engine: Answer) -> str | None:
    """The id of the entry in `yaml_differences.json` that explains a difference."""
    if reference.error and reference.error.startswith("RecursionError"):
        return "deep" if engine.error is None else None
    if engine.error and "itself" in engine.error:
        return "recursive" if is_cyclic(text) else None
    if reference.error:
        return None
    try:
        whole = joined(reference.value)
    except UnicodeDecodeError:
        return "half-surrogate" if engine.error and "no Unicode character" in engine.error else None
    return "surrogate-pair" if whole != reference.value and whole == engine.value else None


def real_documents(directories: list[Path]) -> Iterator[bytes]:
    """YAML files, and the agents written inside them as text."""
    for directory in directories:
        for path in sorted(p for p in directory.rglob("*") if p.suffix in (".yaml", ".yml")):
            content = path.read_bytes()
            yield content
            try:
                loaded = yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            except yaml.YAMLError:
                continue
            cases = loaded if isinstance(loaded, list) else []
            for case in cases:
                if isinstance(case, dict) and isinstance(case.get("agent"), str):
                    yield case["agent"].encode()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directories", nargs="*", type=Path, help="where to look for real documents")
    parser.add_argument("--count", type=int, default=5000, help="number of generated documents (5000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first generated document (1)")
    parser.add_argument("--program", type=Path, default=HERE.parent / "core/target/debug/examples/yaml_dump")
    options = parser.parse_args()

    texts = [
        Generator(options.seed + number).document().encode("utf-8", "surrogatepass")
        for number in range(options.count)
    ]
    real = list(real_documents(options.directories))
    listed = json.loads((HERE / "yaml_differences.json").read_text(encoding="utf-8"))
    samples = [sample(entry["document"]) for entry in listed]
    sys.setrecursionlimit(10_000)

    passed = failed = loaded = 0
    forgiven: dict[str, int] = {}
    for text, engine in zip(texts + real, by_engine(options.program, texts + real), strict=True):
        reference = by_pyyaml(text)
        loaded += reference.error is None
        same = (reference.error is None) == (engine.error is None) and reference.value == engine.value
        reason = None if same else known(text, reference, engine)
        if reason:
            forgiven[reason] = forgiven.get(reason, 0) + 1
        if same or reason:
            passed += 1
        else:
            failed += 1
            print(f"DIFFERENT {text!r}\n  PyYAML: {reference}\n  engine: {engine}")
    for entry, text, engine in zip(listed, samples, by_engine(options.program, samples), strict=True):
        reference = by_pyyaml(text)
        shows = (reference.error is None) != (engine.error is None) or reference.value != engine.value
        passed += shows
        failed += not shows
        if not shows:
            print(f"NO LONGER DIFFERENT, remove it from the list: {entry['id']}")
    print(f"{len(texts)} generated and {len(real)} real documents, of which PyYAML loads {loaded}")
    print(f"known differences met: {forgiven or 'none'}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def sample(parts: list[Any]) -> bytes:
    """A sample document: texts, and pairs of a text and how often it is repeated."""
    return "".join(part if isinstance(part, str) else part[0] * part[1] for part in parts).encode()


if __name__ == "__main__":
    sys.exit(main())
