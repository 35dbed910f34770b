"""Speed and memory of libtea as ratios to a bare Python loop, and to installed peers, measured in one run.

    bench.py [--section NAME ...] [--rounds 5] [--quick]

Sections: chain, loop, state, stream, checkpoint, import, memory. In each round every contestant is measured
once, in random order; a ratio is taken within its round; the medians are printed as a Markdown table.
"""

from __future__ import annotations

import argparse
import gc
import os
import pickle
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contestants import CONTESTANTS, IMPORTS, present

clock = time.perf_counter
Samples = dict[str, list[float]]

# Peers are slow: they get smaller sizes where the cost per step does not depend on the size.
SLOW = {"langgraph"}


def big_value(size: int) -> dict[str, Any]:
    """Nested lists and maps of about `size` bytes as JSON."""
    record = {
        "name": "a record of the benchmark",
        "tags": ["x", "y"],
        "numbers": [1, 2.5, None, True],
        "text": "t" * 80,
    }
    return {"records": [{"id": i, **record, "numbers": [i, 2.5, None, True]} for i in range(size // 190)]}


def seconds(run: Callable[[], Any], at_least: float) -> float:
    """Seconds per call, over as many calls as fill `at_least` seconds; garbage is collected before."""
    gc.collect()
    started = clock()
    run()
    once = clock() - started
    calls = max(1, int(at_least / max(once, 1e-9)))
    started = clock()
    for _ in range(calls):
        run()
    return (clock() - started) / calls


def rounds(runs: dict[str, Callable[[], float]], count: int) -> Samples:
    """One sample of each contestant per round, in random order."""
    order = random.Random(1)
    samples: Samples = {name: [] for name in runs}
    for _ in range(count):
        names = list(runs)
        order.shuffle(names)
        for name in names:
            samples[name].append(runs[name]())
    return samples


class Table:
    """Collects rows and prints them as Markdown."""

    def __init__(self, names: list[str]) -> None:
        self.names = [name for name in names if name not in ("bare", "tea")]
        self.rows: list[str] = []

    def add(self, section: str, case: str, unit: str, factor: float, samples: Samples) -> None:
        """A row; times are multiplied by `factor` to be in `unit`. The base is `bare`."""

        def ratio(name: str, base: str) -> str:
            if name not in samples or base not in samples:
                return "-"
            pairs = [a / b for a, b in zip(samples[name], samples[base], strict=True)]
            middle = statistics.median(pairs)
            spread = (max(pairs) - min(pairs)) / 2
            return f"{middle:.3g} ± {spread:.1g}"

        cells = [
            section,
            case,
            unit,
            *(
                f"{statistics.median(samples[n]) * factor:.3g}" if n in samples else "-"
                for n in ("bare", "tea")
            ),
            ratio("tea", "bare"),
            *(ratio("tea", name) for name in self.names),
        ]
        self.rows.append("| " + " | ".join(cells) + " |")
        print(f"  {section} {case}: tea/bare {cells[5]}", file=sys.stderr, flush=True)

    def show(self) -> None:
        head = [
            "section",
            "case",
            "unit",
            "bare",
            "tea",
            "tea / bare",
            *(f"tea / {name}" for name in self.names),
        ]
        print("| " + " | ".join(head) + " |")
        print("|" + "---|" * len(head))
        print("\n".join(self.rows))


def graph_case(
    table: Table, args: argparse.Namespace, section: str, case: str, shape: str, size: int, *extra: Any
) -> None:
    """Cost per node, iteration or event of one shape for all contestants that have it."""
    runs: dict[str, Callable[[], float]] = {}
    for name in present():
        build = getattr(CONTESTANTS[name], shape, None)
        if build is None:
            continue
        n = min(size, 100) if name in SLOW else size
        run = build(n, *extra)
        if (got := run()) != n:
            raise SystemExit(f"{name}: {shape} of {n} ended with {got}")
        runs[name] = lambda run=run, n=n: seconds(run, args.time) / n  # type: ignore[misc]
    table.add(section, case, "us", 1e6, rounds(runs, args.rounds))


def chain(table: Table, args: argparse.Namespace) -> None:
    for n in (10, 100) if args.quick else (10, 100, 1000):
        graph_case(table, args, "chain", f"{n} nodes, per node", "chain", n, {})


def loop(table: Table, args: argparse.Namespace) -> None:
    n = 1000 if args.quick else 10_000
    graph_case(table, args, "loop", f"{n} iterations, per iteration", "loop", n)


def state(table: Table, args: argparse.Namespace) -> None:
    graph_case(table, args, "state", "small, 10 nodes, per node", "chain", 10, {})
    graph_case(table, args, "state", "1 MB in one key, per node", "chain", 10, {"data": big_value(1_000_000)})
    keys = {f"key{i}": i for i in range(10_000)}
    graph_case(table, args, "state", "10,000 keys, per node", "chain", 10, keys)


def stream(table: Table, args: argparse.Namespace) -> None:
    graph_case(table, args, "stream", "100 nodes, per event", "stream", 100, {})
    graph_case(
        table, args, "stream", "1,000 keys, per event", "stream", 100, {f"key{i}": i for i in range(1000)}
    )


def checkpoint(table: Table, args: argparse.Namespace) -> None:
    """Saving 1 MB to a file, against `pickle.dump` alone and against pickle with the same safety."""
    from the_edge_agent import StateGraph

    value = {"k": 1, "data": big_value(1_000_000)}
    graph = StateGraph(dict)
    graph.add_node("n", run=lambda state: {})
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "checkpoint.pkl")

        def plain() -> None:
            with open(path, "wb") as file:
                pickle.dump(value, file)

        def safe() -> None:
            with open(path + ".new", "wb") as file:
                pickle.dump(value, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(path + ".new", path)

        def save() -> None:
            graph.save_checkpoint(path, value, "n", {})

        def load() -> None:
            StateGraph.load_checkpoint(path)

        def unpickle() -> None:
            with open(path, "rb") as file:
                pickle.load(file)

        for case, base, run in (
            ("save 1 MB, bare: pickle.dump", plain, save),
            ("save 1 MB, bare: pickle.dump, fsync, rename", safe, save),
            ("load 1 MB, bare: pickle.load", unpickle, load),
        ):
            save()
            pair = {"bare": base, "tea": run}
            runs = {name: lambda f=f: seconds(f, args.time) for name, f in pair.items()}  # type: ignore[misc]
            table.add("checkpoint", case, "ms", 1e3, rounds(runs, args.rounds))


PROBE = """
import time
begun = time.perf_counter()
{code}
spent = time.perf_counter() - begun
# The kernel's own mark, not getrusage: that one starts with the memory of the parent before exec.
status = open("/proc/self/status").read()
print(spent, status.split("VmHWM:")[1].split()[0])
"""


def probe(code: str) -> tuple[float, float, float]:
    """A fresh interpreter: (wall seconds of the process, seconds of the code, peak memory in kB)."""
    begun = clock()
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(code=code)], capture_output=True, text=True, check=False
    )
    wall = clock() - begun
    if done.returncode:
        raise SystemExit(f"{code!r} failed: {done.stderr}")
    spent, peak = map(float, done.stdout.split()[-2:])
    return wall, spent, peak


def imports(table: Table, args: argparse.Namespace) -> None:
    """A process that imports and ends, against one that does nothing; and its peak memory."""
    codes = {"bare": "pass", **{name: IMPORTS[name] for name in present() if name in IMPORTS}}
    for code in codes.values():
        probe(code)  # writes .pyc files, fills the page cache
    taken = {name: [probe(code) for _ in range(args.rounds * 2)] for name, code in codes.items()}
    for case, unit, factor, index in (
        ("process with import", "ms", 1e3, 0),
        ("peak memory", "MB", 1 / 1024, 2),
    ):
        table.add(
            "import", case, unit, factor, {name: [t[index] for t in all_] for name, all_ in taken.items()}
        )
    del taken["bare"]
    samples = {name: [t[1] for t in all_] for name, all_ in taken.items()}
    table.add("import", "import alone", "ms", 1e3, samples)


GROWTH = """
import gc, os
from the_edge_agent import StateGraph, END
def rss():
    gc.collect()
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
g = StateGraph(dict)
g.add_node("step", run=lambda state: {{"k": state["k"] + 1}})
g.set_entry_point("step")
g.add_conditional_edges("step", lambda state: state["k"] < state["end"], {{True: "step", False: END}})
g.compile()
def go(end):
    assert list(g.invoke({{"k": 0, "end": end}}))[-1]["state"]["k"] == end
{body}
"""


def memory(table: Table, args: argparse.Namespace) -> None:
    """How much a process grows over many runs of one graph, and over one long run."""
    many, long = (10_000, 100_000) if args.quick else (100_000, 1_000_000)
    for case, warm, work in (
        (
            f"{many:,} runs of one graph, growth",
            f"for _ in range({many // 10}): go(3)",
            f"for _ in range({many}): go(3)",
        ),
        (f"one run of {long:,} steps, growth", f"go({long // 10})", f"go({long})"),
    ):
        code = GROWTH.format(body=f"{warm}\nbefore = rss()\n{work}\nprint(rss() - before)")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        table.rows.append(
            f"| memory | {case} | kB | - | {done.stdout.strip()} | - |" + " - |" * len(table.names)
        )


SECTIONS: dict[str, Callable[[Table, argparse.Namespace], None]] = {
    "chain": chain,
    "loop": loop,
    "state": state,
    "stream": stream,
    "checkpoint": checkpoint,
    "import": imports,
    "memory": memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--section", action="append", choices=SECTIONS, help="only these; may be repeated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--time", type=float, default=0.1, help="seconds per sample (default 0.1)")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    args = parser.parse_args()
    names = present()
    if "tea" not in names:
        sys.exit("the_edge_agent is not installed in this interpreter; run `make bench`")
    table = Table(names)
    for name in args.section or SECTIONS:
        SECTIONS[name](table, args)
    here = Path(sys.executable)
    print(f"Python {platform.python_version()} ({here}), {platform.machine()}, {os.cpu_count()} CPUs\n")
    table.show()


if __name__ == "__main__":
    main()
