"""A failed command of a shell that ends with 0, on the real kernel: what is told of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from receiver.investigate.report import Report
from tests.live.commands import CLEAN, KWITNESS, ROOT

pytestmark = pytest.mark.live
STEP = f"{sys.executable} -I -S -c"
FAILS = f"{STEP} 'import time; time.sleep(0.2); raise SystemExit(3)'"
WRITES = f'{STEP} \'open("out.csv", "w").write("1,2\\n" * 900)\''
TEARS = f'{STEP} \'import os; f = open("out.csv", "w"); f.write("1"); f.flush(); os._exit(3)\''
WAITS = f"{STEP} 'import time; time.sleep(60)'"


def told(script: str, folder: Path) -> Report:
    """The report on a shell script that ends with 0."""
    command = [*KWITNESS, "run", "--quiet", "--report", "report.json", "--", "bash", "-c", script]
    environment = CLEAN | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert not done.stderr
    return msgspec.json.decode((folder / "report.json").read_bytes(), type=Report)


@pytest.mark.parametrize(
    "script",
    [
        f"{FAILS} || {WRITES}",
        f"{FAILS}; {WRITES}",
        f"if ! {FAILS}; then {WRITES}; fi",
        f"set -e; {FAILS} || true; {WRITES}",
        f"({FAILS}; true); {WRITES}",
    ],
)
def test_a_failure_after_which_a_shell_went_on_is_told_and_is_no_incident(
    live: None, tmp_path: Path, script: str
) -> None:
    report = told(script, tmp_path)
    assert (report.verdict, report.hypotheses[0].cause) == ("degraded", "proc.exit_masked")
    assert " went on " in report.hypotheses[0].summary


def test_the_same_work_done_later_makes_a_failure_good(live: None, tmp_path: Path) -> None:
    report = told(f"{TEARS} || {WRITES}", tmp_path)
    assert report.verdict == "healthy"
    assert any("for writing later, too" in line.text for line in report.normality)


@pytest.mark.parametrize(
    "script", [f"{FAILS} || true", f"{FAILS}; true", f"{FAILS} | cat; {WRITES}"]
)
def test_a_failure_that_is_the_last_word_or_is_hidden_by_a_pipe_is_an_incident(
    live: None, tmp_path: Path, script: str
) -> None:
    report = told(script, tmp_path)
    assert (report.verdict, report.hypotheses[0].cause) == ("incident", "proc.exit_masked")


def test_an_answer_is_no_failure(live: None, tmp_path: Path) -> None:
    report = told("echo a > f; grep -q zzz f || echo b >> f; cat f > out.csv", tmp_path)
    assert report.verdict == "healthy"


@pytest.mark.parametrize(("then", "verdict"), [("true", "incident"), (WRITES, "degraded")])
def test_a_time_limit_that_was_told_to_nobody_is_told(
    live: None, tmp_path: Path, then: str, verdict: str
) -> None:
    report = told(f"timeout 1 {WAITS} || true; {then}", tmp_path)
    assert (report.verdict, report.hypotheses[0].cause) == (verdict, "kill.timeout_orphan")
    assert report.unnoticed is not None


def test_an_end_that_somebody_outside_asked_for_is_told(live: None, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, time; signal.signal(15, lambda *_: sys.exit(0));"
        "print(os.getpid(), flush=True); time.sleep(60)"
    )
    program = [sys.executable, "-I", "-S", "-c", code]
    with subprocess.Popen(
        [*KWITNESS, "run", "--quiet", "--report", "report.json", "--", *program],
        cwd=tmp_path,
        env=CLEAN | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        os.kill(int(child.stdout.readline()), signal.SIGTERM)
        assert child.wait(timeout=60) == 0
    report = msgspec.json.decode((tmp_path / "report.json").read_bytes(), type=Report)
    (line,) = [each.text for each in report.normality if "SIGTERM" in each.text]
    assert f"({os.getpid()}, uid " in line
    assert report.verdict == "healthy"
