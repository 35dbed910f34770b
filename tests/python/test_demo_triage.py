"""The demo in examples/triage, run as a user runs it: as a program, with the installed package.

The expected totals do not come from the demo's own rules: categories are hand-written labels in
data/triage_labels.csv, amounts and plans are read from the ticket file by a few lines here.

Rules shown end to end: SG-44 (routing), SG-32 (loops), CP-5, CP-14, CP-18 (saved at the interrupt),
CP-21, CP-25, CP-27, CP-29, CP-30 (resumed in other processes, a chain of interrupts).
"""

from __future__ import annotations

import csv
import os
import pickle
import re
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "examples" / "triage"
LABELS = Path(__file__).with_name("data") / "triage_labels.csv"
HEADER = "id,received,channel,customer,company,plan,language,subject,body,amount"
GOOD = "A1,2026-09-14T06:12,web,Marco,Pine,Free,en,Where can I find it?,How do I print?,"


def run(*arguments: object, terminal_input: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the program with this interpreter; the working directory is not the checkout."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, str(DEMO / "triage.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**environment, "PYTHONIOENCODING": "utf-8"},
        cwd=DEMO.parent,
        input=terminal_input or "",
        timeout=120,
        check=False,
    )


def labels() -> dict[str, str]:
    with LABELS.open(encoding="utf-8", newline="") as file:
        return {row["id"]: row["category"] for row in csv.DictReader(file)}


def results(work: Path) -> dict[str, dict[str, str]]:
    with (work / "results.csv").open(encoding="utf-8", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def refunds() -> dict[str, Decimal]:
    """Amount in EUR of each ticket labelled `refund`, from the ticket file; the first row of an id counts."""
    amounts: dict[str, Decimal] = {}
    known = labels()
    with (DEMO / "tickets.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file):
            if len(row) == 10 and known.get(row[0]) == "refund" and row[0] not in amounts:
                amounts[row[0]] = Decimal(row[9])
    return amounts


def decisions() -> dict[str, str]:
    found = {}
    for name in ("decisions-lead.csv", "decisions-finance.csv"):
        with (DEMO / name).open(encoding="utf-8", newline="") as file:
            found |= {row["id"]: row["decision"] for row in csv.DictReader(file)}
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """One run of the whole demo: its work folder, standard output and standard error."""
    work = tmp_path_factory.mktemp("demo")
    done = run("--work", work)
    assert done.returncode == 0, done.stderr
    return work, done.stdout, done.stderr


def test_every_good_ticket_is_filed_under_its_label(finished: tuple[Path, str, str]) -> None:
    work, _, _ = finished
    assert len(labels()) >= 200
    assert {number: row["category"] for number, row in results(work).items()} == labels()


def test_table_shows_independent_totals(finished: tuple[Path, str, str]) -> None:
    _, out, _ = finished
    shown = {m[1]: int(m[2]) for m in re.finditer(r"^  (\w+)(?: +\d+){4} +(\d+)$", out, re.M)}
    assert shown.pop("all") == len(labels())
    assert shown == Counter(labels().values())


def test_refunds_follow_limit_and_decisions(finished: tuple[Path, str, str]) -> None:
    work, out, _ = finished
    amounts, decided = refunds(), decisions()
    expected = {
        number: "refunded" if amount <= 100 or decided[number] == "approve" else "denied"
        for number, amount in amounts.items()
    }
    assert {n: r["outcome"] for n, r in results(work).items() if r["category"] == "refund"} == expected
    assert set(decided) == {number for number, amount in amounts.items() if amount > 100}
    for outcome in ("refunded", "denied"):
        total = sum(amounts[n] for n, o in expected.items() if o == outcome)
        assert re.search(
            rf"^  {outcome} +{list(expected.values()).count(outcome)} +{total:,.2f} EUR$", out, re.M
        )


def test_each_resume_is_a_new_process(finished: tuple[Path, str, str]) -> None:
    """CP-30: a file checkpoint is resumed by other processes; CP-29: two interrupts take two resumes."""
    work, out, _ = finished
    announced = re.findall(r"^Process (\d+):", out, re.M)
    assert len(set(announced)) == 3
    assert f"3 processes: {', '.join(announced)}." in out
    assert len(list((work / "checkpoints").glob("apply_decisions_*.pkl"))) == 2


def test_unusable_rows_are_named_by_file_and_line(finished: tuple[Path, str, str]) -> None:
    _, out, err = finished
    named = {int(line) for line in re.findall(r"tickets\.csv:(\d+): ", err)}
    lines = (DEMO / "tickets.csv").read_text(encoding="utf-8").split("\n")
    planted = {
        i for i, line in enumerate(lines, 1) if re.match(r"T90\d\d,|,2026|T\d+,[^,]+,web,Same Number,", line)
    }
    assert named == planted
    assert len(planted) >= 9
    assert f"{len(planted)} rows were unusable" in out


def test_plain_progress_when_output_is_no_terminal(finished: tuple[Path, str, str]) -> None:
    _, out, _ = finished
    assert "\r" not in out
    assert f"\n  {len(labels())} of {len(labels())} tickets\n" in out


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are a POSIX thing")
def test_progress_bar_on_a_terminal(tmp_path: Path) -> None:
    import pty

    try:
        main, child = pty.openpty()
    except OSError as error:  # a container without /dev/pts
        pytest.skip(f"no pseudo-terminals here: {error}")
    program = subprocess.Popen(
        [sys.executable, str(DEMO / "triage.py"), "start", "--work", str(tmp_path)],
        stdout=child,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    os.close(child)
    seen = b""
    while True:
        try:
            chunk = os.read(main, 65536)
        except OSError:  # the other end is closed: the program has ended
            break
        if not chunk:
            break
        seen += chunk
    os.close(main)
    assert program.wait(timeout=60) == 3
    total = len(labels())
    assert re.search(rb"\r  \[#+\.+\] \d+ of %d tickets\r" % total, seen)
    assert b"\r  [" + b"#" * 32 + b"] %d of %d tickets" % (total, total) in seen


def test_picture_has_all_edges(finished: tuple[Path, str, str]) -> None:
    """VZ-2, VZ-3, VZ-7, VZ-8: the Mermaid text of the graph comes first."""
    _, out, _ = finished
    picture = out[: out.index("\nProcess")]
    assert picture.startswith(
        "graph TD\n    __start__((Start))\n    __end__((End))\n    take_ticket[take_ticket]\n"
    )
    for edge in (
        "__start__-->take_ticket",
        "take_ticket-->|refunds wait|apply_decisions",
        "classify-->|unsure|classify",
        "set_priority-->|refund|check_refund",
        "apply_decisions-->|some undecided|apply_decisions",
        "count-->__end__",
    ):
        assert f"    {edge}\n" in picture
    assert run("picture").stdout.strip() == picture.strip()


def test_runs_are_equal(finished: tuple[Path, str, str], tmp_path: Path) -> None:
    work, _, _ = finished
    assert run("--work", tmp_path).returncode == 0
    assert (tmp_path / "results.csv").read_bytes() == (work / "results.csv").read_bytes()


def test_attempts_are_limited(tmp_path: Path) -> None:
    """The loop around `classify` ends at the limit: with one attempt only telling subjects are recognised."""
    assert run("start", "--work", tmp_path, "--attempts", 1, "--refund-limit", 100000).returncode == 0
    rows = results(tmp_path).values()
    assert {row["attempts"] for row in rows} == {"1"}
    assert len(rows) == len(labels())
    assert Counter(row["category"] for row in rows)["unclear"] > Counter(labels().values())["unclear"]
    assert {row["outcome"] for row in rows if row["category"] == "refund"} == {"refunded"}


def test_undecided_refunds_wait_again(tmp_path: Path) -> None:
    """A resume with some decisions saves a new checkpoint; an older one can be resumed again (CP-30)."""
    assert run("start", "--work", tmp_path).returncode == 3
    first = (tmp_path / "latest").read_text(encoding="utf-8").strip()
    some = tmp_path / "some.csv"
    number = next(n for n, amount in refunds().items() if amount > 100)
    some.write_text(f"id,decision,by\n{number},deny,me\n", encoding="utf-8")
    waiting = sum(amount > 100 for amount in refunds().values())
    for _ in range(2):
        again = run("resume", first, "--decisions", some, "--work", tmp_path)
        assert again.returncode == 3, again.stderr
        assert f"{waiting - 1} refunds wait for a decision" in again.stdout
    assert (tmp_path / "latest").read_text(encoding="utf-8").strip() != first


def test_answers_at_the_terminal(tmp_path: Path) -> None:
    assert run("start", "--work", tmp_path).returncode == 3
    waiting = sum(amount > 100 for amount in refunds().values())
    checkpoint = (tmp_path / "latest").read_text(encoding="utf-8").strip()
    done = run("resume", checkpoint, "--ask", "--work", tmp_path, terminal_input="d\n" * waiting)
    assert done.returncode == 0, done.stderr
    assert Counter(row["outcome"] for row in results(tmp_path).values())["denied"] == waiting


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", ":1: the file is empty; the header must name id, received"),
        (
            "id,received\nA1,x\n",
            ":1: missing column channel, customer, company, plan, language, subject, body, amount",
        ),
        (f'{HEADER}\n{GOOD}\nA2,"2026\n', ":3: not valid CSV"),
    ],
)
def test_unusable_file(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content, encoding="utf-8")
    done = run("start", "--tickets", path, "--work", tmp_path / "work")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {path}{expected}")
    assert "Traceback" not in done.stderr


def test_missing_file_and_wrong_encoding(tmp_path: Path) -> None:
    done = run("start", "--tickets", tmp_path / "none.csv", "--work", tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {tmp_path}/none.csv: cannot be read: No such file or directory\n",
    )
    latin = tmp_path / "latin.csv"
    latin.write_bytes(
        f"{HEADER}\n{GOOD}\nA2,2026-09-14T06:12,web,M\xfcller,,Free,en,Hi,Hi,\n".encode("latin-1")
    )
    done = run("start", "--tickets", latin, "--work", tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {latin}:3: not UTF-8 (byte 0xfc); save the file as UTF-8\n",
    )


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("A2,2026-09-14T06:12,web", "3 fields, expected 10"),
        (GOOD, "id A1 was used before, in line 2"),
        ("A2,soon,web,M,P,Free,en,Hi,Hi,", "received is 'soon', expected a time such as 2026-09-14T08:30"),
        (
            "A2,2026-09-14T06:12,web,M,P,Gold,en,Hi,Hi,",
            "plan is 'Gold', expected one of Free, Team, Enterprise",
        ),
        ("A2,2026-09-14T06:12,web,M,P,Free,en,,,", "subject and body are both empty"),
        ("A2,2026-09-14T06:12,web,M,P,Free,en,Hi,Hi,ten", "amount is 'ten', expected a number such as 49.90"),
        ("A2,2026-09-14T06:12,web,M,P,Free,en,Hi,Hi,NaN", "amount is NaN, expected 0 or more"),
    ],
)
def test_bad_row_strict_or_set_aside(tmp_path: Path, row: str, expected: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"{HEADER}\n{GOOD}\n{row}\n", encoding="utf-8")
    strict = run("start", "--tickets", path, "--strict", "--work", tmp_path / "work")
    assert (strict.returncode, strict.stderr) == (2, f"error: {path}:3: {expected}\n")
    relaxed = run("start", "--tickets", path, "--work", tmp_path / "work")
    assert (relaxed.returncode, relaxed.stderr) == (0, f"skipped: {path}:3: {expected}\n")
    assert list(results(tmp_path / "work")) == ["A1"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("id,decision,by\nT1050,maybe,me\n", ":2: decision is 'maybe', expected one of approve, deny"),
        ("id,decision,by\nT9999,deny,me\n", ":2: ticket T9999 does not wait for a decision; waiting: "),
        ("id,decision,by\nT1050,deny,me\nT1050,approve,me\n", ":3: a second decision for ticket T1050"),
        ("id,decision,by\nT1050,deny\n", ":2: 2 fields, expected 3"),
        ("id,verdict\n", ":1: missing column decision, by"),
    ],
)
def test_bad_decisions_pay_nothing(tmp_path: Path, content: str, expected: str) -> None:
    assert run("start", "--work", tmp_path).returncode == 3
    checkpoint = (tmp_path / "latest").read_text(encoding="utf-8").strip()
    path = tmp_path / "decisions.csv"
    path.write_text(content, encoding="utf-8")
    done = run("resume", checkpoint, "--decisions", path, "--work", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {path}{expected}")
    assert not (tmp_path / "results.csv").exists()


def test_bad_checkpoints(tmp_path: Path) -> None:
    """CP-12: missing and foreign files are told apart, without a traceback."""
    lead = DEMO / "decisions-lead.csv"
    missing = run("resume", tmp_path / "none.pkl", "--decisions", lead)
    assert (missing.returncode, missing.stderr) == (
        2,
        f"error: Checkpoint file not found: '{tmp_path}/none.pkl'\n",
    )
    garbage = tmp_path / "garbage.pkl"
    garbage.write_text("no checkpoint", encoding="utf-8")
    done = run("resume", garbage, "--decisions", lead)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: Corrupt or incompatible checkpoint file '{garbage}': ")
    other = tmp_path / "other.pkl"
    other.write_bytes(
        pickle.dumps({"state": {}, "node": "n", "config": {}, "timestamp": 0.0, "version": "1.0"})
    )
    done = run("resume", other, "--decisions", lead)
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {other}: a checkpoint, but not one of this program\n",
    )
