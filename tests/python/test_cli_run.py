"""The command `tea`: running, resuming, looking at agents. Rule ids are those of the specification's `cli`."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from the_edge_agent import __version__, cli

TEA = [sys.executable, "-m", "the_edge_agent.cli"]

AGENT = """\
name: demo
nodes:
  - name: a
    run: |
      print("hello from a")
      return {"n": state.get("n", 0) + 1}
  - name: b
    run: |
      return {"m": state["n"] * 2}
edges:
  - {from: __start__, to: a}
  - {from: a, to: b}
  - {from: b, to: __end__}
"""


class Ran:
    """What a command left behind."""

    def __init__(self, process: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out, self.err = process.returncode, process.stdout, process.stderr

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text(AGENT)
    return tmp_path


def tea(folder: Path, *arguments: str, stdin: str = "", **env: str) -> Ran:
    process = subprocess.run(
        [*TEA, *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **env},
    )
    return Ran(process)


def test_text_output_ends_with_the_state(folder: Path) -> None:
    """CL-35, CL-36, CL-38"""
    rule = "=" * 80
    ran = tea(folder, "run", "a.yaml", "--input", '{"n": 1}')
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        f'{rule}\nRunning agent from: a.yaml\n{rule}\n\nInitial state: {{\n  "n": 1\n}}\n\nhello from a\n✓ a\n✓ b\n'
        f'\n{rule}\n✓ Completed\n{rule}\nFinal state: {{\n  "n": 2,\n  "m": 4\n}}\n'
    )


def test_output_file_and_quiet(folder: Path) -> None:
    """CL-38: with `-q` only what the agent itself prints is on the streams."""
    ran = tea(folder, "run", "a.yaml", "-q", "-o", "out/final.json")
    assert (ran.code, ran.out, ran.err) == (0, "hello from a\n", "")
    assert (folder / "out/final.json").read_text() == '{\n  "n": 1,\n  "m": 2\n}'
    ran = tea(folder, "run", "a.yaml", "-o", "final.json")
    assert "\n\nOutput written to: final.json\n\n" in ran.out
    ran = tea(folder, "run", "a.yaml", "-o", ".")
    assert ran.code == 1 and ran.err.startswith("Error: cannot write .: ")


def test_stream_is_lines_of_json_only(folder: Path) -> None:
    """CL-52, CL-53: what a node prints goes to the standard error."""
    ran = tea(folder, "run", "a.yaml", "--stream", "-i", '{"é": 1}')
    assert (ran.code, ran.err) == (0, "hello from a\n")
    start, first, _, last = ran.events
    assert list(start) == ["type", "timestamp", "workflow"] and start["workflow"] == "a.yaml"
    assert start["timestamp"].endswith("+00:00")
    assert list(first) == ["type", "timestamp", "node", "state"]
    assert (first["type"], first["node"]) == ("node_complete", "a")
    assert (last["type"], last["state"]) == ("complete", {"é": 1, "n": 1, "m": 2})
    assert "\\u00e9" in ran.out
    (folder / "lua.yaml").write_text(
        "nodes:\n  - {name: a, language: lua, run: 'print(\"from lua\") return {}'}\n"
    )
    ran = tea(folder, "run", "lua.yaml", "--stream")
    assert ran.code == 0 and len(ran.events) == 3 and "from lua" in ran.err


def test_input_comes_from_everywhere(folder: Path) -> None:
    """CL-12, CL-27, CL-33"""
    (folder / "in.YAML").write_text("n: 5\n")
    (folder / "in.json").write_text('{"n": 6}')
    for given, n in (("@in.YAML", 6), ("@in.json", 7), ("-", 8), ('{"n": 8}', 9)):
        ran = tea(folder, "run", "a.yaml", "-s", "--input", given, stdin='{"n": 7}')
        assert ran.events[-1]["state"]["n"] == n, given
    ran = tea(folder, "run", "a.yaml", "-s", "--state", '{"n": 1}')
    assert ran.events[-1]["state"]["n"] == 2
    assert "Warning: --state is deprecated, use --input\n" in ran.err
    (folder / "i.yaml").write_text(f"initial_state: {{n: 10, keep: 1}}\n{AGENT}")
    ran = tea(folder, "run", "i.yaml", "-s", "-i", '{"keep": null}')
    assert ran.events[-1]["state"] == {"n": 11, "keep": None, "m": 22}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("@none.json", "Error: Input file not found: none.json"),
        ("@list.yaml", "Error: Input must be a mapping/object, got list"),
        ("@empty.yml", "Error: Input must be a mapping/object, got NoneType"),
        ("@bad.yaml", "Error: Invalid YAML in input file: "),
        ("@bad.json", "Error: Invalid JSON in input file: Expecting value: line 1 column 1 (char 0)"),
        ("[1]", "Error: Input must be a JSON object, got list"),
        ("", "Error: Invalid JSON in --input: Expecting value"),
    ],
)
def test_bad_input(folder: Path, monkeypatch: pytest.MonkeyPatch, given: str, text: str) -> None:
    """CL-13, CL-14"""
    (folder / "list.yaml").write_text("[1]")
    (folder / "empty.yml").write_text("")
    (folder / "bad.yaml").write_text("a: [")
    (folder / "bad.json").write_text("x")
    monkeypatch.chdir(folder)
    with pytest.raises(cli.Failure) as failed:
        cli.parse_input(given)
    assert failed.value.text.startswith(text) and failed.value.code == 1


def test_secrets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-15, CL-16, CL-17, Q-4"""
    monkeypatch.setenv("TST_KEY", "from-env")
    monkeypatch.setenv("TST_", "nothing")
    assert cli.parse_secrets('{"key": 1, "b": 2}', "TST_") == {"key": "from-env", "b": 2}
    assert cli.parse_secrets(None, None) == {}
    for given, text in (
        ("[1]", "Error: Secrets must be a JSON object, got list"),
        ("{", "Error: Invalid JSON in --secrets: "),
        ("@/no/such", "Error: Secrets file not found: /no/such"),
    ):
        with pytest.raises(cli.Failure) as failed:
            cli.parse_secrets(given, None)
        assert failed.value.text.startswith(text)
    (folder / "s.yaml").write_text(
        "nodes:\n  - {name: a, uses: json.stringify, with: {data: '{{ secrets.key }}'}, output: t}\n"
    )
    ran = tea(folder, "run", "s.yaml", "-s", "--secrets-env", "TST_")
    assert ran.events[-1]["state"]["t"]["text"] == '"from-env"'
    ran = tea(folder, "run", "s.yaml", "--secrets-backend", "vault")
    assert ran.code == 1 and "'vault' is not available yet" in ran.err


def test_actions_of_modules_and_files(folder: Path) -> None:
    """CL-18, CL-19: files win over modules."""
    text = (
        'def register_actions(registry, engine):\n    registry["who"] = lambda state, **kw: {{"who": "{}"}}\n'
    )
    (folder / "acts.py").write_text(text.format("module"))
    (folder / "more.py").write_text(text.format("file"))
    (folder / "bare.py").write_text("")
    (folder / "w.yaml").write_text("nodes:\n  - {name: a, uses: who}\n")
    ran = tea(folder, "run", "w.yaml", "-s", "--actions-module", "acts")
    assert ran.events[-1]["state"] == {"who": "module"}
    ran = tea(folder, "run", "w.yaml", "-s", "--actions-file", "more.py", "--actions-module", "acts")
    assert ran.events[-1]["state"] == {"who": "file"}
    for option, name, part in (
        ("--actions-module", "no_such", "Error: Cannot import module 'no_such': "),
        ("--actions-file", "no.py", "Error: Actions file not found: "),
        (
            "--actions-file",
            "bare.py",
            "Error: File 'bare.py' must define a register_actions(registry, engine) fun",
        ),
    ):
        ran = tea(folder, "run", "w.yaml", option, name)
        assert ran.code == 1 and ran.err.startswith(part)


def test_errors_end_with_1(folder: Path) -> None:
    """CL-9, CL-24, CL-36, CL-52"""
    (folder / "bad.yaml").write_text("nodes:\n  - {name: a, run: 'raise ValueError(\"boom\")'}\n")
    ran = tea(folder, "run", "bad.yaml")
    assert ran.code == 1 and "✗ Error at a: boom\n" in ran.out and "Completed" not in ran.out
    ran = tea(folder, "run", "bad.yaml", "-s")
    assert ran.code == 1 and [event["type"] for event in ran.events] == ["start", "error"]
    assert ran.events[-1]["error"] == "boom"
    ran = tea(folder, "run", "none.yaml", "-i", "{bad")
    assert (ran.code, ran.err) == (1, "Error: Workflow file not found: none.yaml\n")
    (folder / "ghost.yaml").write_text("nodes:\n  - {name: a, goto: ghost}\n")
    ran = tea(folder, "run", "ghost.yaml")
    assert ran.code == 1 and ran.err.startswith("Error loading workflow: ") and "ghost" in ran.err


def test_overlays(folder: Path) -> None:
    """CL-28, CL-29, CL-30, Q-5"""
    (folder / "o.yaml").write_text(
        "variables: {x: '${HOME}'}\nnodes:\n- {name: b, run: 'return {\"m\": 0}'}\n"
    )
    ran = tea(folder, "run", "a.yaml", "-f", "o.yaml", "-s")
    assert ran.events[-1]["state"] == {"n": 1, "m": 0}
    ran = tea(folder, "run", "a.yaml", "--overlay", "o.yaml", "--dump-merged")
    assert ran.code == 0 and ran.out.startswith("name: demo\nnodes:\n- name: a\n  run: ")
    assert ran.out.endswith("variables:\n  x: ${HOME}\n")
    (folder / "list.yaml").write_text("[1]")
    for base, over, text in (
        ("a.yaml", "none.yaml", f"Error: Overlay file not found: {folder}/none.yaml\n"),
        ("a.yaml", "list.yaml", "Error: Overlay YAML must be a mapping, got list in list.yaml\n"),
        ("list.yaml", "o.yaml", "Error: Base YAML must be a mapping, got list\n"),
    ):
        ran = tea(folder, "run", base, "-f", over, "--dump-merged")
        assert (ran.code, ran.out, ran.err) == (1, "", text)


@pytest.mark.parametrize("stream", [False, True])
def test_an_interrupt_is_resumed(folder: Path, stream: bool) -> None:
    """CL-34, CL-56, CL-57, Q-7, Q-9, Q-10: without terminal the run stops with 130 and goes on from its checkpoint;
    a name that is no node never stops a run."""
    more = ["--stream"] if stream else []
    ran = tea(folder, "run", "a.yaml", "--interrupt-before", "ghost, b", "-c", "chk", *more)
    (path,) = (folder / "chk").iterdir()
    name = f"chk/{path.name}"
    assert ran.code == 130
    assert f"Go on with: tea resume {name} --workflow a.yaml\n" in ran.err
    if stream:
        assert ran.events[-1]["type"] == "interrupt" and ran.events[-1]["checkpoint"] == name
    else:
        assert '⏸  Interrupt at: b\n   State: {\n  "n": 1\n}\n' in ran.out
    ran = tea(folder, "resume", name, "-w", "a.yaml", "-i", '{"n": 10}', *more)
    assert ran.code == 0 and "hello" not in ran.out + ran.err
    if stream:
        assert [event["type"] for event in ran.events] == ["resume", "node_complete", "complete"]
        assert ran.events[-1]["state"] == {"n": 10, "m": 20}
    else:
        assert ran.out.startswith(f"Resuming from checkpoint: {name}\nInterrupted node: b\n✓ b\n")


def test_resume_stops_at_interrupts(folder: Path) -> None:
    """CL-34, Q-10: the command line's interrupts count for `resume`, too; a node that has run does not run again."""
    assert tea(folder, "run", "a.yaml", "--interrupt-after", "a", "-c", "chk", "-q").code == 130
    (path,) = (folder / "chk").iterdir()
    ran = tea(folder, "resume", str(path), "-w", "a.yaml", "-s")
    assert [event["type"] for event in ran.events] == ["resume", "node_complete", "complete"]
    assert ran.events[-1]["state"] == {"n": 1, "m": 2}
    ran = tea(folder, "resume", str(path), "-w", "a.yaml", "--interrupt-before", "b", "-c", "chk", "-s")
    assert (ran.code, [event["type"] for event in ran.events]) == (130, ["resume", "interrupt"])


def test_auto_continue_never_restarts(folder: Path) -> None:
    """CL-41, Q-7"""
    ran = tea(
        folder, "run", "a.yaml", "--interrupt-before", "a,b", "--interrupt-after", "a", "--auto-continue"
    )
    assert ran.code == 0
    assert (ran.out.count("hello from a"), ran.out.count("   (auto-continuing...)\n")) == (1, 3)


def test_only_checkpoints_are_resumed(folder: Path) -> None:
    """CL-56, CL-57"""
    ran = tea(folder, "resume", "none.pkl", "-w", "none.yaml")
    assert (ran.code, ran.err) == (1, "Error: Checkpoint file not found: none.pkl\n")
    ran = tea(folder, "resume", "a.yaml", "-w", "none.yaml")
    assert (ran.code, ran.err) == (1, "Error: Workflow file not found: none.yaml\n")
    ran = tea(folder, "resume", "a.yaml", "-w", "a.yaml")
    assert ran.code == 1 and ran.err.startswith("Error loading checkpoint: ")


def test_scoped_runs(folder: Path) -> None:
    """CL-44, CL-45, CL-46, CL-47, Q-6"""
    ran = tea(folder, "run", "a.yaml", "--entry-point", "b", "-i", '{"n": 3}')
    assert (
        ran.code == 0 and "Running scoped execution: b → (stop before __end__)\nWorkflow: a.yaml\n" in ran.out
    )
    assert ran.out.endswith(
        "✓ Scoped execution completed\n" + "=" * 80 + '\nFinal state: {\n  "n": 3,\n  "m": 6\n}\n'
    )
    ran = tea(folder, "run", "a.yaml", "--entry-point", "ghost", "-q")
    warning, error = ran.err.splitlines()
    assert warning == "Warning: --entry-point without --input means starting with empty state"
    assert ran.code == 1 and error.startswith("Error: ") and "not found in graph" in error
    ran = tea(folder, "run", "a.yaml", "--entry-point", "b", "--exit-point", "a", "-q", "-i", "{}")
    assert ran.code == 1 and "No execution path" in ran.err


def test_looking_at_agents(folder: Path) -> None:
    """CL-77, CL-78, CL-79, CL-80, CL-81, CL-82, Q-14"""
    ran = tea(folder, "validate", "a.yaml", "--detailed")
    assert ran.code == 0
    assert ran.out == (
        "Workflow: demo\n\nNodes: 2\n  - a\n  - b\n\nEdges: 3\n  - __start__ -> a\n  - a -> b\n  - b -> __end__\n"
        "\n✓ a.yaml is valid\n"
    )
    (folder / "ghost.yaml").write_text("nodes:\n  - {name: a, goto: ghost}\n")
    (folder / "syntax.yaml").write_text("a: [")
    (folder / "list.yaml").write_text("[1]")
    for file, text in (
        ("ghost.yaml", "\nValidation failed: "),
        ("syntax.yaml", "Error: Invalid YAML syntax: "),
        ("none.yaml", "Error: File not found: none.yaml\n"),
    ):
        ran = tea(folder, "validate", file)
        assert ran.code == 1 and ran.err.startswith(text), ran.err
    (folder / "i.yaml").write_text(
        'name: "a-b c"\nvariables: {v: 1}\nnodes:\n  - {name: \'q"x\', run: "return {}", language: lua, retry: 2}\n'
        "  - {name: c, uses: llm.call, fallback: d}\nedges:\n  - {from: c, to: d, when: 'x'}\n  - {from: c, targets: "
        "{yes: e}}\n  - {from: c, parallel: [f, g]}\n"
    )
    assert tea(folder, "inspect", "i.yaml").out == (
        'Workflow: a-b c\n\nNodes (2):\n  q"x (lua) (retry)\n  c [llm.call] (fallback: d)\n\nEdges (3):\n'
        "  c -> d [when: x]\n  c --[True]--> e\n  c => [f, g]\n\nVariables:\n  v: 1\n"
    )
    dot = tea(folder, "inspect", "i.yaml", "-f", "dot").out
    assert dot.startswith('digraph "a_b c" {\n') and '  "q\\"x" [label="q\\"x\\n(lua)"];\n' in dot
    assert '  "c" -> "f" [style=dashed];\n' in dot
    assert json.loads(tea(folder, "inspect", "a.yaml", "-f", "json").out)["name"] == "demo"
    ran = tea(folder, "inspect", "list.yaml")
    assert (ran.code, ran.err) == (1, "Error: Agent YAML must be a mapping, got list\n")
    ran = tea(folder, "graph", "a.yaml", "-o", "g.mmd")
    assert ran.code == 0 and "    a-->b\n" in (folder / "g.mmd").read_text()


def test_schema_merge(folder: Path) -> None:
    """CL-84, CL-85, Q-15"""
    (folder / "one.json").write_text('{"type": "object", "properties": {"a": {"type": "string"}}}')
    (folder / "two.yaml").write_text("properties: {a: {maxLength: 3}}\n")
    (folder / "bad.yaml").write_text("type: 7\n")
    merged = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}}
    ran = tea(folder, "schema", "merge", "one.json", "two.yaml", "--validate")
    assert (ran.code, json.loads(ran.out)) == (0, merged)
    assert ran.err == "✓ Merged schema is valid JSON Schema\n"
    ran = tea(folder, "schema", "merge", "one.json", "two.yaml", "-o", "new/m.json")
    assert (ran.out, ran.err) == ("", "✓ Merged schema written to new/m.json\n")
    assert json.loads((folder / "new/m.json").read_text()) == merged
    ran = tea(folder, "schema", "merge", "one.json", "bad.yaml", "--validate", "-o", "none.json")
    assert ran.code == 1 and ran.err.startswith("Error: ") and "\n  - " in ran.err
    assert not (folder / "none.json").exists()
    assert tea(folder, "schema", "merge", "no.json").err == "Error: File not found: no.json\n"
    assert tea(folder, "schema", "merge").err == "Error: No schemas provided\n"


def test_global_options_and_usage(folder: Path) -> None:
    """CL-3, CL-6, CL-9, Q-3, Q-19"""
    assert tea(folder, "--version").out == f"tea {__version__}\n"
    assert tea(folder, "--impl").out == "python\n"
    assert tea(folder, "--impl", "--version").out == f"tea {__version__} (python)\n"
    ran = tea(folder)
    assert ran.code == 2 and "inspect" in ran.out
    for wrong in (["nonsense"], ["run"], ["run", "a.yaml", "--nonsense"], ["inspect", "a.yaml", "-f", "x"]):
        ran = tea(folder, *wrong)
        assert (ran.code, ran.out) == (2, "") and ran.err.startswith("usage: tea")
    ran = tea(folder, "a.yaml", "-q")
    assert ran.code == 0 and ran.err == "Warning: 'tea FILE' is deprecated, use 'tea run FILE'\n"
    # The command that comes with the package, and its old name.
    for name in ("tea", "tea-agent"):
        script = Path(sys.executable).with_name(name)
        assert subprocess.check_output([script, "--version"], text=True) == f"tea {__version__}\n"


def test_what_is_not_there_yet_says_so(folder: Path) -> None:
    """CL-24"""
    for arguments in (
        ["report-bug", "x", "-w", "y"],
        ["from", "dot", "--x"],
        ["run", "a.yaml", "--gguf", "x"],
    ):
        ran = tea(folder, *arguments)
        assert (ran.code, ran.out) == (1, "") and ran.err.endswith(" is not available yet in this command\n")
    ran = tea(folder, "run", "a.yaml", "-I", "-s")
    assert ran.err == "Error: --interactive and --stream are mutually exclusive\n"


@pytest.mark.parametrize("language", ["python", "lua"])
def test_ctrl_c_ends_with_130(folder: Path, language: str) -> None:
    """CL-9: also while the library works, long before the time limit of the code."""
    code = (
        "import time\n      time.sleep(50)\n      return {}" if language == "python" else "while true do end"
    )
    (folder / "s.yaml").write_text(
        f"nodes:\n  - name: a\n    language: {language}\n    run: |\n      {code}\n"
    )
    with subprocess.Popen(
        [*TEA, "run", "s.yaml", "--stream"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and "start" in process.stdout.readline()
        # The node begins right after the event; a signal before would be the same to the user.
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "\n\nExecution interrupted by user (Ctrl+C)\n"


def test_a_closed_pipe_is_quiet(folder: Path) -> None:
    """A reader that goes away is no error message."""
    with subprocess.Popen(
        [*TEA, "run", "a.yaml", "--stream", "--input", "-"],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        process.stdout.close()
        process.stdin.write("{}")
        process.stdin.close()
        err = process.stderr.read()
    assert (process.wait(), err) == (141, "")


@pytest.mark.parametrize(
    ("answers", "code", "part"),
    [
        ("c\n", 0, '"m": 2'),
        ('u\n{"n": 4}\n', 0, '"m": 8'),
        ("a\n", 1, "Execution aborted by user."),
        ("x\n", 1, "Invalid choice: x. Aborting."),
        ("u\n[1]\n", 1, "Error: State updates must be a JSON object"),
    ],
)
def test_a_terminal_is_asked_at_interrupts(folder: Path, answers: str, code: int, part: str) -> None:
    """CL-41, CL-43"""
    master, slave = pty.openpty()
    try:
        process = subprocess.Popen(
            [*TEA, "run", "a.yaml", "--interrupt-before", "b", "-c", "chk"],
            cwd=folder,
            stdin=slave,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        os.write(master, answers.encode())
        out, _ = process.communicate(timeout=60)
    finally:
        os.close(master)
        os.close(slave)
    assert process.returncode == code
    assert "Checkpoint saved: chk/b_" in out and "  [u] Update state before continuing\n" in out
    assert part in out
    assert len(list((folder / "chk").iterdir())) == 1


def test_deep_merge() -> None:
    """CL-21"""
    base: dict[str, Any] = {"a": {"x": 1, "y": 2}, "l": [1], "n": 1}
    assert cli.deep_merge(base, {"a": {"y": 3}, "l": [2], "n": None}) is base
    assert base == {"a": {"x": 1, "y": 3}, "l": [2], "n": None}


def test_programs_may_replace_the_engine(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """CL-1: the command makes its engine through the module's name."""
    from the_edge_agent import YAMLEngine

    made: list[Any] = []

    class Own(YAMLEngine):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            made.append(self)

    monkeypatch.setattr(cli, "YAMLEngine", Own)
    assert cli.main(["run", str(folder / "a.yaml"), "-q"]) == 0
    assert len(made) == 1 and capsys.readouterr().out == "hello from a\n"
