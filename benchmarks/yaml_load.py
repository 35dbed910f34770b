#!/usr/bin/env python3
"""Times loading an agent of 1,000 nodes: PyYAML's safe loader, its C loader, and the engine.

Needs PyYAML and `cargo build --release -p tea-engine --example yaml_time` in core/.
Prints milliseconds (medians).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

PROGRAM = Path(__file__).resolve().parent.parent / "core/target/release/examples/yaml_time"

NODE = """\
  - name: node_{n}
    description: "Step {n} of the workflow"
    uses: json.transform
    with:
      data: "{{{{ state.items[{n}] }}}}"
      expression: result.value
      limit: {n}
      strict: yes
    output: result_{n}
    goto:
      - if: "state.result_{n}.success and state.count < {n}"
        to: node_{m}
      - to: node_{m}
"""


def agent(nodes: int) -> str:
    """An agent whose nodes call an action and branch."""
    head = "name: large\nvariables:\n  limit: 10\nnodes:\n"
    return head + "".join(NODE.format(n=n, m=min(n + 1, nodes - 1)) for n in range(nodes))


def milliseconds(text: str, loader: Any, runs: int) -> float:
    """Median time of loading the text."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        yaml.load(text, Loader=loader)
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    text = agent(options.nodes)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        done = subprocess.run([PROGRAM, file.name, str(options.runs * 10)], capture_output=True, check=True)
    value, document, drop = (float(number) for number in done.stdout.split())
    pure = milliseconds(text, yaml.SafeLoader, options.runs)
    print(f"{options.nodes} nodes, {len(text)} bytes")
    print(f"PyYAML {yaml.__version__}, SafeLoader   {pure:9.2f} ms")
    if hasattr(yaml, "CSafeLoader"):
        fast = milliseconds(text, yaml.CSafeLoader, options.runs)
        print(f"PyYAML {yaml.__version__}, CSafeLoader  {fast:9.2f} ms")
    print(f"engine, value               {value:9.2f} ms  ({value / pure:.4f} of SafeLoader)")
    print(f"engine, value and positions {document:9.2f} ms  ({document / pure:.4f} of SafeLoader)")
    print(f"engine, dropping the value  {drop:9.2f} ms")


if __name__ == "__main__":
    main()
