"""Reads the ticket and decision files of the demo and says exactly what is wrong with a bad row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

COLUMNS = (
    "id", "received", "channel", "customer", "company", "plan", "language", "subject", "body", "amount",
)  # fmt: skip
PLANS = ("Free", "Team", "Enterprise")
DECISIONS = ("approve", "deny")


class InputError(Exception):
    """A file that cannot be used; the text names the file, the line where there is one, and the remedy."""


def read_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, list[str], dict[str, int]]]:
    """Yields (line, fields, column positions) for each row after the header that is not blank.

    `line` is the line on which the row starts, from 1; a quoted field may span several lines.
    Raises `InputError` for a file that is missing, is no UTF-8 text, is no CSV, or lacks a column.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = f"0x{data[error.start]:02x}"
        raise InputError(f"{path}:{line}: not UTF-8 (byte {byte}); save the file as UTF-8") from error
    required = f"the header must name {', '.join(columns)}"
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    position: dict[str, int] = {}
    line = 1
    try:
        for fields in reader:
            if not position:
                missing = [name for name in columns if name not in fields]
                if missing:
                    raise InputError(f"{path}:{line}: missing column {', '.join(missing)}; {required}")
                position = {name: fields.index(name) for name in fields}
            elif fields:
                yield line, fields, position
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}:{line}: not valid CSV: {error}") from error
    if not position:
        raise InputError(f"{path}:1: the file is empty; {required}")


def problem(row: dict[str, str], seen: dict[str, int]) -> str | None:
    """What is wrong with one ticket, or None."""
    if not row["id"]:
        return "no id"
    if row["id"] in seen:
        return f"id {row['id']} was used before, in line {seen[row['id']]}"
    try:
        datetime.fromisoformat(row["received"])
    except ValueError:
        return f"received is {row['received']!r}, expected a time such as 2026-09-14T08:30"
    if row["plan"] not in PLANS:
        return f"plan is {row['plan']!r}, expected one of {', '.join(PLANS)}"
    if not row["subject"] and not row["body"]:
        return "subject and body are both empty"
    if row["amount"]:
        try:
            amount = Decimal(row["amount"])
        except InvalidOperation:
            return f"amount is {row['amount']!r}, expected a number such as 49.90"
        if not amount.is_finite() or amount < 0:
            return f"amount is {row['amount']}, expected 0 or more"
    return None


def read_tickets(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The usable tickets, and one sentence `file:line: what is wrong` for each row that is not.

    Amounts become whole cents (int), so that sums are exact; an absent amount is 0.
    Raises `InputError` if the file as a whole is unusable.
    """
    tickets: list[dict[str, Any]] = []
    bad: list[str] = []
    seen: dict[str, int] = {}
    for line, fields, position in read_rows(path, COLUMNS):
        if len(fields) != len(position):
            bad.append(f"{path}:{line}: {len(fields)} fields, expected {len(position)}")
            continue
        row = {name: fields[position[name]].strip() for name in COLUMNS}
        text = problem(row, seen)
        if text:
            bad.append(f"{path}:{line}: {text}")
            continue
        seen[row["id"]] = line
        tickets.append({**row, "amount": int(Decimal(row["amount"] or "0") * 100)})
    return tickets, bad


def read_decisions(path: Path, waiting: list[str]) -> dict[str, dict[str, str]]:
    """Decisions by ticket id: `{"T1001": {"decision": "approve", "by": "..."}}`.

    Raises `InputError` for any bad row: money is not paid on a guess.
    """
    decisions: dict[str, dict[str, str]] = {}
    for line, fields, position in read_rows(path, ("id", "decision", "by")):
        if len(fields) != len(position):
            raise InputError(f"{path}:{line}: {len(fields)} fields, expected {len(position)}")
        ticket, decision, by = (fields[position[name]].strip() for name in ("id", "decision", "by"))
        if decision not in DECISIONS:
            expected = ", ".join(DECISIONS)
            raise InputError(f"{path}:{line}: decision is {decision!r}, expected one of {expected}")
        if ticket not in waiting:
            known = ", ".join(waiting)
            raise InputError(f"{path}:{line}: ticket {ticket} does not wait for a decision; waiting: {known}")
        if ticket in decisions:
            raise InputError(f"{path}:{line}: a second decision for ticket {ticket}")
        decisions[ticket] = {"decision": decision, "by": by}
    return decisions
