"""What the demo shows: a progress bar on a terminal, plain lines elsewhere, and tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence


class Progress:
    """Progress over a known number: a moving bar on a terminal, otherwise a line every `every` things."""

    def __init__(self, total: int, noun: str, every: int = 60) -> None:
        self.total, self.noun, self.every = total, noun, every
        self.bar = sys.stdout.isatty()
        self.shown = 0

    def show(self, done: int) -> None:
        """Shows `done` of `total`; repeated calls with the same number show nothing new."""
        if done == self.shown:
            return
        self.shown = done
        if self.bar:
            filled = "#" * (32 * done // max(self.total, 1))
            print(f"\r  [{filled:.<32}] {done} of {self.total} {self.noun}", end="", flush=True)
        elif done % self.every == 0 or done == self.total:
            print(f"  {done} of {self.total} {self.noun}", flush=True)

    def close(self) -> None:
        """Ends the line of the bar."""
        if self.bar and self.shown:
            print(flush=True)


def money(cents: int) -> str:
    """Cents as an amount: 123456 -> 1,234.56 EUR."""
    return f"{cents // 100:,}.{cents % 100:02d} EUR"


def table(head: Sequence[str], rows: Sequence[Sequence[object]], foot: Sequence[object] | None = None) -> str:
    """A text table; the first column is left-aligned, the others right-aligned."""
    body = [[str(cell) for cell in row] for row in (head, *rows, *([foot] if foot else []))]
    width = [max(len(row[i]) for row in body) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        first, *others = (cell.rjust(w) for cell, w in zip(row, width, strict=True))
        return "  ".join(["", first.strip().ljust(width[0]), *others]).rstrip()

    lines = [line(row) for row in body]
    rule = "  " + "  ".join("-" * w for w in width)
    lines.insert(1, rule)
    if foot:
        lines.insert(len(lines) - 1, rule)
    return "\n".join(lines)
