"""The command line of `tea` as it is written."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["LATER", "build_parser"]

# Commands that are not there yet.
LATER = ("report-bug", "from")


def build_parser() -> argparse.ArgumentParser:
    """The parser; the name of the command is kept as `command`."""
    parser = argparse.ArgumentParser(
        prog="tea", description="Runs, checks and draws AI-agent workflows in YAML.", allow_abbrev=False
    )
    parser.add_argument("-V", "--version", action="store_true", help="print the version and exit")
    parser.add_argument("--impl", action="store_true", help="print which implementation this is and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return subparsers.add_parser(name, help=text, description=text, allow_abbrev=False)

    _run(add("run", "Run an agent"))
    _resume(add("resume", "Go on from a checkpoint"))
    validate = add("validate", "Check an agent")
    _file(validate)
    validate.add_argument("--detailed", action="store_true", help="list nodes and edges first")
    _overlay(validate)
    inspect = add("inspect", "Show what is in an agent's file")
    _file(inspect)
    inspect.add_argument(
        "-f", "--format", choices=("text", "json", "dot"), default="text", help="how to show it"
    )
    graph = add("graph", "Draw an agent's graph as Mermaid text")
    _file(graph)
    graph.add_argument(
        "-o", "--output", dest="output_file", metavar="FILE", help="write to a file, not the standard output"
    )
    _overlay(graph)
    for name in LATER:
        later = subparsers.add_parser(name, help="Not available yet", add_help=False, prefix_chars="\0")
        later.add_argument("rest", nargs="*")
    schema = subparsers.add_parser("schema", help="Merge schemas", allow_abbrev=False)
    merge = schema.add_subparsers(dest="schema_command", metavar="COMMAND", required=True).add_parser(
        "merge", help="Merge schemas, later ones over earlier ones", allow_abbrev=False
    )
    merge.add_argument("files", nargs="*", metavar="FILE", help="a schema in JSON or YAML")
    merge.add_argument(
        "-u", "--uses", action="append", default=[], metavar="REF", help="a stored schema, after the files"
    )
    merge.add_argument(
        "-o", "--output", dest="output_file", metavar="FILE", help="write the result to a file"
    )
    merge.add_argument("--validate", action="store_true", help="the result must be a JSON Schema")
    merge.add_argument("--dry-run", action="store_true", help="write no file")
    return parser


def _file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the agent's YAML file")


def _overlay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f",
        "--overlay",
        action="append",
        default=[],
        metavar="FILE",
        help="merge a YAML file over the agent; may be given several times",
    )


def _common(parser: argparse.ArgumentParser) -> None:
    """What `run` and `resume` share."""
    add: Any = parser.add_argument
    add(
        "-i",
        "--input",
        metavar="JSON",
        help="values for the state: JSON, @FILE (JSON or YAML), or - for stdin",
    )
    add("--secrets", metavar="JSON", help="secrets for templates: JSON or @FILE")
    add("--secrets-env", metavar="PREFIX", help="take secrets from environment variables with this prefix")
    add("--secrets-backend", metavar="NAME", help="take secrets from a backend: env")
    add("--secrets-backend-opts", metavar="JSON", help="options of the backend: a JSON object")
    add("-s", "--stream", action="store_true", help="write each event as a line of JSON")
    add("-c", "--checkpoint-dir", metavar="DIR", help="folder for checkpoints at interrupts")
    add("--interrupt-before", metavar="NODES", help="stop before these nodes (separated by commas)")
    add("--interrupt-after", metavar="NODES", help="stop after these nodes (separated by commas)")
    add("--auto-continue", action="store_true", help="go on at interrupts without asking")
    add("--actions-module", action="append", default=[], metavar="MODULE", help="Python module with actions")
    add("--actions-file", action="append", default=[], metavar="FILE", help="Python file with actions")
    add("-o", "--output", dest="output_file", metavar="FILE", help="write the final state to a JSON file")
    add("-v", "--verbose", action="count", default=0, help="write log records: -v progress, -vv everything")
    add("-q", "--quiet", action="store_true", help="print nothing but errors (and the events of --stream)")


def _run(parser: argparse.ArgumentParser) -> None:
    _file(parser)
    _common(parser)
    _overlay(parser)
    add: Any = parser.add_argument
    add("--dump-merged", action="store_true", help="print the merged agent and exit")
    add("--entry-point", metavar="NODE", help="begin at this node, without interrupts")
    add("--exit-point", metavar="NODE", help="end before this node, without interrupts")
    add("--state", help=argparse.SUPPRESS)
    add("--state-file", help=argparse.SUPPRESS)
    add = parser.add_argument_group("not available yet").add_argument
    add("-I", "--interactive", action="store_true", help="answer the agent's questions on the terminal")
    add("--question-key", metavar="KEYS", help="keys in which questions are looked for")
    add("--response-key", metavar="KEY", help="key for the answer")
    add("--complete-key", metavar="KEYS", help="keys that say that all is answered")
    add("--skip-response", metavar="TEXT", help="the answer of `skip`")
    add("--display-key", metavar="KEYS", help="keys to show with a question")
    add("--display-format", metavar="FORMAT", help="pretty, json or raw")
    add("--input-timeout", type=int, metavar="SECONDS", help="seconds to wait for an answer")
    add("-g", "--show-graph", action="store_true", help="draw the graph while it runs")
    add("--gguf", metavar="FILE", help="GGUF model file")
    add("--backend", metavar="NAME", help="LLM backend selection: local, api or auto")
    add("--report-bugs", action="store_true", help="offer a bug report after a crash")
    add("--no-report-bugs", dest="report_bugs", action="store_false", help="never offer it (as it is now)")
    add("--report-extended", action="store_true", help="put the workflow's structure into bug reports")
    add("--report-minimal", action="store_true", help="keep bug reports short")


def _resume(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="the checkpoint's file")
    parser.add_argument("-w", "--workflow", required=True, metavar="FILE", help="the agent's YAML file")
    _common(parser)
