"""Reports which rules of the specification no test cites.

    rules_cited.py SPEC.md [SPEC.md ...] [--root CHECKOUT] [--list]

Defined ids are those that a spec file introduces: at the start of a paragraph (`SG-12. Text`), or in the
first cell of a table row (`| CP-32 |`, quirks `| Q1 |`, `| CQ-3 |`). A citation is the id in a file under
tests/, or in a test of core/: alone, with the name of its spec (`checkpoint/CP-4`), in a range
(`SG-12..SG-15`, `SG-12..15`) or in a list (`SG-43/44`). Ids like `Q1` exist in several specs: they count with
the spec's name (`stategraph/Q1`, `SG Q1`), or alone if no other spec's name stands before them.
Always exits with 0 when the files could be read: the list is for people.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

DEFINED = re.compile(
    r"^(?:\*\*)?(?:\|\s*)?((?:[A-Z]+-\d+[a-z]?)|(?:[A-Z]?Q-?\d+))(?:\*\*)?(?:\.|\s*\|)", re.M
)
CITED = re.compile(
    r"(?P<spec>[a-z][a-z-]*/|\b[A-Za-z]+ )?(?<![A-Za-z0-9_-])(?P<prefix>[A-Z]+-|[A-Z]?Q)(?P<first>\d+)"
    r"(?P<rest>(?:(?:\.\.|/|, ?| and | to )(?:(?P=prefix))?\d+)*)(?![\d])"
)
STEP = re.compile(r"(\.\.|/|, ?| and | to )((?:[A-Z]+-|[A-Z]?Q)?)(\d+)")
SUFFIXES = {".py", ".rs", ".c", ".h", ".go", ".js", ".ts", ".yaml", ".sh"}
SKIPPED = {"target", "node_modules", "__pycache__", ".venv"}


def defined(path: Path) -> list[str]:
    """The ids that a spec file defines, in the order of the file."""
    return list(dict.fromkeys(DEFINED.findall(path.read_text(encoding="utf-8"))))


def citations(text: str) -> set[tuple[str, str]]:
    """All (spec name or "", id) cited in a text, ranges and lists expanded."""
    found: set[tuple[str, str]] = set()
    for match in CITED.finditer(text):
        spec = (match["spec"] or "").strip().rstrip("/").lower()
        prefix, last = match["prefix"], int(match["first"])
        found.add((spec, f"{prefix}{last}"))
        for joint, again, number in STEP.findall(match["rest"]):
            upper = int(number)
            # "SG-12, 3 items": a bare number after a comma or a word is no id
            if not again and joint not in ("..", "/"):
                continue
            is_range = joint in ("..", " to ") and last < upper <= last + 200
            numbers = range(last + 1, upper + 1) if is_range else (upper,)
            found |= {(spec, f"{prefix}{n}") for n in numbers}
            last = upper
    return found


def scan(root: Path) -> dict[tuple[str, str], set[str]]:
    """Citations below tests/ and core/, each with the files that hold it (relative to the checkout)."""
    found: dict[tuple[str, str], set[str]] = {}
    for folder in (root / "tests", root / "core"):
        for path in sorted(folder.rglob("*")):
            if path.suffix not in SUFFIXES or not path.is_file() or SKIPPED.intersection(path.parts):
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
            if folder.name == "core" and "tests" not in path.parts:
                # In a source file only its test module counts; a comment on the code proves nothing.
                _, _, text = text.partition("#[cfg(test)]")
            for citation in citations(text):
                found.setdefault(citation, set()).add(str(path.relative_to(root)))
    return found


def is_cited(rule: str, spec: str, short: str, found: dict[tuple[str, str], set[str]]) -> set[str]:
    """Files that cite the rule: by its bare id, or after the spec's name or its short prefix."""
    files: set[str] = set()
    for (name, cited), places in found.items():
        if cited == rule and (name in (spec, short) or not re.match(r"Q-?\d", rule) or not other_spec(name)):
            files |= places
    return files


SPECS = {
    "actions", "checkpoint", "cli", "entity-hierarchy", "experiments", "extended-actions", "lua", "memory",
    "parallel", "par", "observability", "prolog", "rust-twin", "stategraph", "streams", "templates",
    "visualization", "yaml",
}  # fmt: skip


def other_spec(name: str) -> bool:
    return name in SPECS


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("specs", nargs="+", type=Path)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("--list", action="store_true", help="also list each cited rule with its files")
    args = parser.parse_args(argv)
    found = scan(args.root.resolve())
    total = missing = 0
    for path in args.specs:
        rules = defined(path)
        if not rules:
            print(f"error: {path} defines no rule", file=sys.stderr)
            return 2
        numbered = [r.split("-")[0] for r in rules if "-" in r]
        short = max(set(numbered), key=numbered.count).lower() if numbered else path.stem
        places = {rule: is_cited(rule, path.stem, short, found) for rule in rules}
        absent = [rule for rule, files in places.items() if not files]
        total, missing = total + len(rules), missing + len(absent)
        print(f"{path.name}: {len(rules) - len(absent)} of {len(rules)} rules cited by a test")
        if absent:
            print(f"  not cited: {', '.join(absent)}")
        if args.list:
            for rule, files in places.items():
                if files:
                    print(f"  {rule}: {', '.join(sorted(files))}")
    print(f"{total - missing} of {total} rules are cited, {missing} are not")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
