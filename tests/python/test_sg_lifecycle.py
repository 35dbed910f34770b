"""Signals, forks, interpreter exit: runs inside a real process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from support import script, script_ok

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and fork")

GRAPH = """
import the_edge_agent as tea, os, sys, time, threading

def chain(*names, run=lambda state, node: {"trail": [*state.get("trail", []), node]}):
    graph = tea.StateGraph(dict)
    for name in names:
        graph.add_node(name, run=run)
    graph.set_entry_point(names[0])
    for left, right in zip(names, names[1:]):
        graph.add_edge(left, right)
    graph.set_finish_point(names[-1])
    return graph

def fan(run, names="ab"):
    graph = tea.StateGraph(dict)
    graph.add_node("s"); graph.add_node("j")
    graph.set_entry_point("s"); graph.set_finish_point("j")
    for name in names:
        graph.add_node(name, run=run)
        graph.add_parallel_edge("s", name, "j")
        graph.add_edge(name, "j")
    return graph
"""


def program(code: str) -> str:
    return GRAPH + textwrap.dedent(code)


class TestExit:
    """P1 of the design's pitfalls, SG-28: leaving the interpreter with a live run."""

    @pytest.mark.parametrize(
        "code",
        [
            "run = chain('a', 'b').stream({}); next(run)",
            "run = chain('a', 'b').stream({})",
            "runs = [chain('a', 'b').stream({}) for _ in range(20)]\nfor r in runs: next(r)",
            "graph = chain('a', 'b')\ngraph.keep = run = graph.stream({}); next(run)",
            "run = fan(lambda: {'x': 1}).stream({}); next(run)",
            "run = fan(lambda: time.sleep(0.2)).stream({}); next(run)",
            "list(fan(lambda: {'x': 1}).invoke({}))",
            "graph = chain('a', 'b').compile(['b'], checkpointer=tea.MemoryCheckpointer())\n"
            "run = graph.stream({}); next(run); next(run)",
            "graph = chain('a', 'b')\nsys.modules['kept'] = graph.stream({}); next(sys.modules['kept'])",
        ],
    )
    def test_clean_exit(self, code: str) -> None:
        """Exit code 0, nothing on stderr."""
        assert script_ok(program(code + "\nprint('end')")) == "end\n"

    def test_exit_inside_a_node(self) -> None:
        """SG-63: SystemExit in a node ends the program with its code."""
        done = script(program("list(chain('a', run=lambda: sys.exit(7)).invoke({}))"))
        assert (done.returncode, done.stderr) == (7, "")

    def test_exit_from_a_thread_that_runs_a_graph(self) -> None:
        """A daemon thread in the middle of a node when the interpreter ends."""
        code = """
        started = threading.Event()
        def work():
            list(chain('a', run=lambda: started.set() or time.sleep(30)).invoke({}))
        threading.Thread(target=work, daemon=True).start()
        started.wait(10)
        print('end')
        """
        assert script_ok(program(code), timeout=20) == "end\n"

    def test_runs_from_atexit(self) -> None:
        """A graph may still be used by exit handlers that were registered after the import."""
        code = """
        import atexit
        graph = chain('a')
        atexit.register(lambda: print([event['type'] for event in graph.invoke({})]))
        """
        assert script_ok(program(code)) == "['final']\n"


@posix
class TestSignals:
    """SG-63, P10: Ctrl-C."""

    def test_long_node(self, kind: str) -> None:
        """KeyboardInterrupt out of `next()`, at once; the graph stays usable."""
        code = f"""
        import signal
        graph = chain('a', run=lambda state: time.sleep(state.get('t', 0)))
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        run = graph.{kind}({{'t': 30}})
        begin = time.monotonic()
        try:
            next(run)
        except KeyboardInterrupt:
            print('interrupted', time.monotonic() - begin < 10, list(run))
        print([event['type'] for event in graph.invoke({{}})])
        """
        assert script_ok(program(code)) == "interrupted True []\n['final']\n"

    def test_long_chain_of_short_nodes(self, kind: str) -> None:
        """Between nodes too: an endless loop of trivial nodes can be interrupted."""
        code = f"""
        import signal
        graph = tea.StateGraph(dict)
        graph.add_node('a', run=lambda: {{}})
        graph.set_entry_point('a')
        graph.add_edge('a', 'a')
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            for event in graph.{kind}({{}}):
                pass
        except KeyboardInterrupt:
            print('interrupted')
        """
        assert script_ok(program(code)) == "interrupted\n"

    def test_endless_loop_without_functions(self) -> None:
        """A cycle of pass-through nodes runs no code of the user and can be interrupted nevertheless."""
        code = """
        import signal
        graph = tea.StateGraph(dict)
        graph.add_node('a'); graph.add_node('b')
        graph.set_entry_point('a')
        graph.add_edge('a', 'b'); graph.add_edge('b', 'a')
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            list(graph.invoke({}))
        except KeyboardInterrupt:
            print('interrupted')
        """
        assert script_ok(program(code), timeout=20) == "interrupted\n"

    def test_waiting_at_a_join(self, kind: str) -> None:
        """While the main flow waits for a branch."""
        code = f"""
        import signal
        graph = fan(lambda: time.sleep(1.5))
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            list(graph.{kind}({{}}))
        except KeyboardInterrupt:
            print('interrupted')
        """
        assert script_ok(program(code)) == "interrupted\n"


@posix
class TestFork:
    """P9: os.fork before and after a run."""

    CHILD = """
        pid = os.fork()
        if pid == 0:
            try:
                {child}
                os.write(1, b'child ok\\n')
                os._exit(0)
            except BaseException as error:
                os.write(2, repr(error).encode())
                os._exit(1)
        deadline = time.monotonic() + 20
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done: break
            if time.monotonic() > deadline:
                os.kill(pid, 9)
                sys.exit('child hangs')
            time.sleep(0.01)
        print(os.waitstatus_to_exitcode(status), [event['type'] for event in graph.invoke({{}})])
        """

    def run(self, before: str, child: str) -> None:
        out = script_ok(program(before + self.CHILD.format(child=child)), timeout=40)
        assert sorted(out.splitlines()) == ["0 ['final']", "child ok"], out

    def test_before_any_run(self) -> None:
        """A graph built before the fork runs in both."""
        self.run(
            "\n        graph = chain('a', 'b')",
            "assert list(graph.invoke({}))[-1]['state'] == {'trail': ['a', 'b']}",
        )

    def test_after_a_run(self) -> None:
        """Sequential run, fork, sequential and parallel runs in the child."""
        self.run(
            """
        graph = chain('a', 'b')
        list(graph.invoke({})); list(graph.stream({}))""",
            "assert len(list(graph.stream({}))) == 3 and len(list(fan(lambda: {}).invoke({}))) == 1",
        )

    def test_after_a_parallel_run(self) -> None:
        """Threads have been used and are gone."""
        self.run(
            """
        graph = fan(lambda: {'x': 1})
        list(graph.invoke({})); list(graph.stream({}))""",
            "assert [e['type'] for e in graph.invoke({})] == ['final'] and len(list(graph.stream({}))) == 3",
        )

    def test_in_the_middle_of_a_run(self) -> None:
        """A generator that was begun before the fork goes on in both, each for itself."""
        self.run(
            """
        graph = chain('a', 'b', 'c')
        run = graph.stream({})
        next(run)""",
            "assert [e.get('node') for e in run] == ['b', 'c', None]",
        )

    def test_fork_inside_a_node(self) -> None:
        """The child of a fork inside a node ends by itself; the parent's run goes on."""
        code = """
        def split():
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            return {'status': os.waitpid(pid, 0)[1]}
        print(list(chain('a', run=split).invoke({}))[-1]['state'])
        """
        assert script_ok(program(code)) == "{'status': 0}\n"


class TestSubprocesses:
    """Other ways in which interpreters are started."""

    @posix
    @pytest.mark.parametrize("method", ["spawn", "fork"])
    def test_multiprocessing(self, method: str, tmp_path: Path) -> None:
        """Graphs run in worker processes of both start methods."""
        path = tmp_path / "main.py"
        path.write_text(
            GRAPH
            + textwrap.dedent(
                """
                import multiprocessing

                def step(state):
                    return {"n": state["n"] + 1}

                def work(number):
                    return list(chain("a", "b", run=step).invoke({"n": number}))[-1]["state"]["n"]

                if __name__ == "__main__":
                    list(chain("a").invoke({}))
                    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
                        print(pool.map(work, [0, 10, 20]))
                """
            ),
            encoding="utf-8",
        )
        done = subprocess.run(
            [sys.executable, str(path), method], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "[2, 12, 22]\n", "")

    def test_optimised_interpreter(self) -> None:
        """Under `-O` and `-W error` nothing changes: no check hangs on an assert, no warning is caused."""
        code = program("print(list(chain('a', 'b').invoke({}))[-1]['state'])")
        done = subprocess.run(
            [sys.executable, "-O", "-W", "error", "-c", code], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "{'trail': ['a', 'b']}\n", "")
