"""Triage of support tickets: a graph with routing, two loops, and refunds that wait for a human.

    triage.py                     the whole demo: start, then resume in further processes until all is decided
    triage.py start               classify the tickets; ends where refunds need a decision, saved to disk
    triage.py resume CHECKPOINT   go on from there with --decisions FILE, or --ask at a terminal
    triage.py picture             the graph as a Mermaid diagram

Exit status: 0 done, 2 bad input, 3 saved and waiting for decisions, 1 anything else.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rules import CATEGORIES, guess, priority
from screen import Progress, money, table
from tickets import InputError, read_decisions, read_tickets

from the_edge_agent import END, START, StateGraph

HERE = Path(__file__).resolve().parent
WAITING = 3
ATTEMPTS = 3  # classification attempts per ticket
REFUND_LIMIT = 100_00  # cents; refunds up to this sum are paid without asking
FINANCE_LIMIT = 1_000_00  # cents; refunds above this sum are for the finance team to decide
INCIDENT_GAP = timedelta(hours=6)  # outage tickets closer together than this belong to one incident
QUEUES = {
    "billing": "billing desk",
    "login": "access desk",
    "howto": "help desk",
    "bug": "product",
    "feature": "product",
}

State = dict[str, Any]

# ------------------------------------------------------------------ nodes


def take_ticket(state: State) -> State:
    """Puts the next ticket on the table, or none when the list is through."""
    tickets, position = state["tickets"], state["position"]
    if position == len(tickets):
        return {"ticket": None}
    return {"ticket": tickets[position], "position": position + 1, "attempt": 0, "category": None}


def classify(state: State) -> State:
    return {"category": guess(state["ticket"], state["attempt"]), "attempt": state["attempt"] + 1}


def give_up(state: State) -> State:
    """No attempt was sure: a person has to read this ticket."""
    return {"category": "unclear"}


def set_priority(state: State) -> State:
    return {"priority": priority(state["ticket"], state["category"])}


def settle(state: State, outcome: str, note: str = "") -> State:
    """The update that files the current ticket with its outcome."""
    ticket = state["ticket"]
    entry = {
        "id": ticket["id"],
        "category": state["category"],
        "priority": state["priority"],
        "attempts": state["attempt"],
        "amount": ticket["amount"] if state["category"] == "refund" else 0,
        "outcome": outcome,
        "note": note,
    }
    return {"filed": [*state["filed"], entry]}


def to_queue(state: State) -> State:
    return settle(state, "queued", QUEUES.get(state["category"], "front desk"))


def to_security(state: State) -> State:
    return settle(state, "escalated", "security team")


def link_incident(state: State) -> State:
    """Joins the ticket to the running incident, or opens a new one after a quiet time."""
    received = datetime.fromisoformat(state["ticket"]["received"])
    incidents = list(state["incidents"])
    if not incidents or received - incidents[-1]["last"] > INCIDENT_GAP:
        incidents.append({"number": len(incidents) + 1, "first": received, "last": received, "tickets": 0})
    incidents[-1] = {**incidents[-1], "last": received, "tickets": incidents[-1]["tickets"] + 1}
    return {"incidents": incidents, **settle(state, "linked", f"incident {incidents[-1]['number']}")}


def check_refund(state: State) -> State:
    """Small refunds are paid at once; the others wait until the tickets are through."""
    amount = state["ticket"]["amount"]
    if amount <= state["refund_limit"]:
        return settle(state, "refunded", "below the limit")
    return {"waiting": [*state["waiting"], state["ticket"]["id"]], **settle(state, "waiting")}


def apply_decisions(state: State) -> State:
    """Runs only after a human has looked at it: the graph interrupts before this node."""
    decided = state.get("decisions", {})
    filed = []
    for entry in state["filed"]:
        if answer := decided.get(entry["id"]):
            outcome = "refunded" if answer["decision"] == "approve" else "denied"
            entry = {**entry, "outcome": outcome, "note": f"by {answer['by']}"}
        filed.append(entry)
    return {
        "filed": filed,
        "waiting": [ticket for ticket in state["waiting"] if ticket not in decided],
        "decisions": {},
        "processes": [*state["processes"], os.getpid()],
    }


def count(state: State) -> State:
    """Totals for the report: tickets per category and priority, and per outcome."""
    per_category = {name: [0, 0, 0, 0] for name in CATEGORIES}
    per_outcome: dict[str, list[int]] = {}
    for entry in state["filed"]:
        per_category[entry["category"]][entry["priority"] - 1] += 1
        totals = per_outcome.setdefault(entry["outcome"], [0, 0])
        totals[0] += 1
        totals[1] += entry["amount"]
    return {"per_category": per_category, "per_outcome": per_outcome}


# ------------------------------------------------------------------ conditions


def after_take(state: State) -> str:
    if state["ticket"]:
        return "ticket"
    return "refunds wait" if state["waiting"] else "all filed"


def after_classify(state: State) -> str:
    if state["category"]:
        return "sure"
    return "unsure" if state["attempt"] < state["attempts"] else "given up"


def kind_of_ticket(state: State) -> str:
    return state["category"] if state["category"] in ("refund", "abuse", "outage") else "other"


def after_decisions(state: State) -> str:
    return "some undecided" if state["waiting"] else "all decided"


def build_graph(checkpoint_dir: Path | None) -> StateGraph:
    """The graph; with a directory it stops before `apply_decisions` and saves a checkpoint there."""
    graph = StateGraph(dict)
    for node in (
        take_ticket, classify, give_up, set_priority, to_queue, to_security, link_incident, check_refund,
        apply_decisions, count,
    ):  # fmt: skip
        graph.add_node(node.__name__, run=node)
    graph.add_edge(START, "take_ticket")
    graph.add_conditional_edges(
        "take_ticket",
        after_take,
        {"ticket": "classify", "refunds wait": "apply_decisions", "all filed": "count"},
    )
    graph.add_conditional_edges(
        "classify", after_classify, {"sure": "set_priority", "unsure": "classify", "given up": "give_up"}
    )
    graph.add_edge("give_up", "set_priority")
    graph.add_conditional_edges(
        "set_priority",
        kind_of_ticket,
        {"refund": "check_refund", "abuse": "to_security", "outage": "link_incident", "other": "to_queue"},
    )
    for node_name in ("to_queue", "to_security", "link_incident", "check_refund"):
        graph.add_edge(node_name, "take_ticket")
    graph.add_conditional_edges(
        "apply_decisions", after_decisions, {"some undecided": "apply_decisions", "all decided": "count"}
    )
    graph.add_edge("count", END)
    if checkpoint_dir is None:
        return graph.compile()
    return graph.compile(interrupt_before=["apply_decisions"], checkpoint_dir=str(checkpoint_dir))


# ------------------------------------------------------------------ commands


def show_waiting(state: State) -> str:
    """A table of the refunds that wait, largest first."""
    tickets = {ticket["id"]: ticket for ticket in state["tickets"]}
    rows = []
    for ticket in sorted((tickets[i] for i in state["waiting"]), key=lambda t: -t["amount"]):
        who = "finance" if ticket["amount"] > FINANCE_LIMIT else "team lead"
        rows.append((ticket["id"], money(ticket["amount"]), ticket["customer"], who))
    return table(("ticket", "amount", "customer", "for"), rows)


def drive(events: Any, total: int, work: Path, filed: int = 0) -> int:
    """Takes the events of a run and shows them; gives the exit status. `filed` tickets were done before."""
    progress = Progress(total, "tickets")
    for event in events:
        kind, state = event["type"], event["state"]
        if kind == "state" and len(state["filed"]) > filed:
            filed = len(state["filed"])
            progress.show(filed)
        elif kind == "interrupt_before":
            progress.close()
            checkpoint = event["checkpoint_path"]
            if not checkpoint:
                print(f"error: the checkpoint could not be written to {work}", file=sys.stderr)
                return 1
            (work / "latest").write_text(checkpoint + "\n", encoding="utf-8")
            print(f"\n{len(state['waiting'])} refunds wait for a decision:\n\n{show_waiting(state)}\n")
            print(f"Saved to {checkpoint}; go on with:")
            print(f"  python {Path(sys.argv[0])} resume {checkpoint} --ask --work {work}", flush=True)
            return WAITING
        elif kind == "error":
            progress.close()
            print(f"error: node {event['node']}: {event['error']}", file=sys.stderr)
            return 1
        elif kind == "final":
            progress.close()
            report(state, work)
    return 0


def report(state: State, work: Path) -> None:
    """Prints the summary and writes `results.csv`, one row per ticket."""
    per_category = state["per_category"]
    rows = [(name, *levels, sum(levels)) for name, levels in per_category.items() if sum(levels)]
    sums = [sum(column) for column in zip(*(row[1:] for row in rows), strict=True)]
    print(f"\nTickets by category and priority ({state['source']})\n")
    print(table(("category", "P1", "P2", "P3", "P4", "all"), rows, ("all", *sums) if rows else None))
    print("\nOutcome\n")
    outcomes = [
        (name, n, money(cents) if cents else "") for name, (n, cents) in sorted(state["per_outcome"].items())
    ]
    print(table(("outcome", "tickets", "sum"), outcomes))
    again = sum(entry["attempts"] > 1 for entry in state["filed"])
    print(f"\n{again} tickets needed more than one attempt, {state['rejected']} rows were unusable,")
    sizes = ", ".join(str(incident["tickets"]) for incident in state["incidents"])
    print(f"{len(state['incidents'])} incidents: {sizes or 'no'} tickets.")
    processes = state["processes"]
    print(f"The run went through {len(set(processes))} processes: {', '.join(map(str, processes))}.")
    results = work / "results.csv"
    with results.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["id", "category", "priority", "attempts", "amount", "outcome", "note"])
        writer.writeheader()
        writer.writerows({**e, "amount": f"{e['amount'] / 100:.2f}"} for e in state["filed"])
    print(f"One row per ticket: {results}", flush=True)


def start(args: argparse.Namespace) -> int:
    tickets, bad = read_tickets(args.tickets)
    for text in bad:
        print(f"{'error' if args.strict else 'skipped'}: {text}", file=sys.stderr, flush=True)
    if bad and args.strict:
        return 2
    checkpoints = args.work / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    summary = f"{len(tickets)} tickets, {len(bad)} unusable rows in {args.tickets}"
    print(f"Process {os.getpid()}: {summary}", flush=True)
    state = {
        "source": args.tickets.name,
        "tickets": tickets,
        "rejected": len(bad),
        "position": 0,
        "attempts": args.attempts,
        "refund_limit": args.refund_limit * 100,
        "filed": [],
        "incidents": [],
        "waiting": [],
        "processes": [os.getpid()],
    }
    return drive(build_graph(checkpoints).stream(state), len(tickets), args.work)


def ask(state: State) -> dict[str, dict[str, str]]:
    """Asks at the terminal for each waiting refund; an empty answer leaves it undecided."""
    decisions = {}
    tickets = {ticket["id"]: ticket for ticket in state["tickets"]}
    for number in state["waiting"]:
        ticket = tickets[number]
        print(f"\n{number}  {money(ticket['amount'])}  {ticket['customer']}, {ticket['company']}")
        print(f"  {ticket['subject']}\n  {ticket['body']}")
        answer = input("approve, deny, or later? [a/d/l] ").strip().lower()
        if answer[:1] in ("a", "d"):
            decision = "approve" if answer[0] == "a" else "deny"
            decisions[number] = {"decision": decision, "by": os.environ.get("USER", "terminal")}
    return decisions


def resume(args: argparse.Namespace) -> int:
    try:
        state = StateGraph.load_checkpoint(str(args.checkpoint))["state"]
    except (OSError, ValueError) as error:
        raise InputError(str(error)) from error
    if "waiting" not in state or "tickets" not in state:
        raise InputError(f"{args.checkpoint}: a checkpoint, but not one of this program")
    decisions = ask(state) if args.ask else read_decisions(args.decisions, state["waiting"])
    summary = f"{len(decisions)} decisions for {len(state['waiting'])} waiting refunds"
    print(f"\nProcess {os.getpid()}: {summary}", flush=True)
    graph = build_graph(args.work / "checkpoints")
    events = graph.stream({"decisions": decisions}, checkpoint=str(args.checkpoint))
    return drive(events, len(state["tickets"]), args.work, filed=len(state["filed"]))


def demo(args: argparse.Namespace) -> int:
    """Start here, then one new process per file of decisions, each knowing only the checkpoint's path."""
    print(build_graph(None).to_mermaid() + "\n", flush=True)
    status = start(args)
    for decisions in args.decisions:
        if status != WAITING:
            break
        checkpoint = (args.work / "latest").read_text(encoding="utf-8").strip()
        options = ["--decisions", str(decisions), "--work", str(args.work)]
        command = [sys.executable, __file__, "resume", checkpoint, *options]
        status = subprocess.run(command, check=False).returncode
    return status


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--work", type=Path, default=Path("triage-work"), help="for checkpoints and results")
    fresh = argparse.ArgumentParser(add_help=False)
    fresh.add_argument("--tickets", type=Path, default=HERE / "tickets.csv", help="CSV file of tickets")
    fresh.add_argument("--attempts", type=int, default=ATTEMPTS, help="at classifying a ticket (default 3)")
    limit = REFUND_LIMIT // 100
    fresh.add_argument(
        "--refund-limit", type=int, default=limit, help="EUR paid without asking (default 100)"
    )
    fresh.add_argument("--strict", action="store_true", help="stop at unusable rows; default: set them aside")
    commands = parser.add_subparsers(dest="command")
    whole = commands.add_parser("demo", parents=[common, fresh], help="all steps (the default)")
    whole.add_argument("--decisions", type=Path, action="append", help="one file per resume; may be repeated")
    commands.add_parser("start", parents=[common, fresh], help="classify, stop where refunds need a decision")
    again = commands.add_parser("resume", parents=[common], help="go on from a checkpoint")
    again.add_argument("checkpoint", type=Path)
    answers = again.add_mutually_exclusive_group(required=True)
    answers.add_argument("--decisions", type=Path, help="CSV with the columns id, decision, by")
    answers.add_argument("--ask", action="store_true", help="ask at the terminal")
    commands.add_parser("picture", help="print the Mermaid diagram")
    known = {"demo", "start", "resume", "picture", "-h", "--help"}
    args = parser.parse_args(argv if argv and argv[0] in known else ["demo", *argv])
    if args.command == "demo" and not args.decisions:
        args.decisions = [HERE / "decisions-lead.csv", HERE / "decisions-finance.csv"]
    return args


def main(argv: list[str]) -> int:
    args = parse(argv)
    try:
        if args.command == "picture":
            print(build_graph(None).to_mermaid())
            return 0
        return {"start": start, "resume": resume, "demo": demo}[args.command](args)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
