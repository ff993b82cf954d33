"""`kwitness run` on the real kernel: the command's own status and output, and what is added."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from receiver.investigate.report import Report, cited
from tests.live.commands import KWITNESS, ROOT, run

pytestmark = pytest.mark.live


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -9 $$"], -9),  # by the same signal; a shell calls it 137
        (["/nonexistent"], 127),
        (["/etc/passwd"], 126),
    ],
)
def test_run_gives_the_commands_own_status(live: None, command: list[str], status: int) -> None:
    assert run("run", "--quiet", "--", *command).returncode == status


def test_run_leaves_the_commands_output_alone(live: None) -> None:
    done = run("run", "--", "sh", "-c", "echo out; echo err >&2")
    assert done.stdout == "out\n"
    assert done.stderr.startswith("err\n")
    assert "sh -c echo out" in done.stderr
    assert "\x1b[" not in done.stderr


def test_run_as_json_and_as_report(live: None, tmp_path: Path) -> None:
    report, kept = tmp_path / "report.json", tmp_path / "facts.json"
    done = run(
        "run",
        "--json",
        "--name",
        "n",
        "--report",
        str(report),
        "--facts",
        str(kept),
        "--",
        "sh",
        "-c",
        "sh -c 'sleep 0.05; kill -9 $$'; exit 0",
    )
    facts = json.loads(done.stdout)
    assert facts == json.loads(kept.read_text())
    why = msgspec.json.decode(report.read_bytes(), type=Report)
    assert (why.verdict, why.hypotheses[0].cause) == ("incident", "proc.exit_masked")
    assert cited(why) <= set(why.events)
    assert (facts["execution"]["outcome"], facts["execution"]["reported_outcome"]) == (
        "failure",
        "success",
    )
    killed = next(f for f in facts["findings"] if f["kind"] == "process.killed")
    assert killed["facts"]["process.signal.name"] == "SIGKILL"
    assert killed["evidence"]
    assert {p["command"] for p in facts["processes"]} >= {
        "sh -c sh -c 'sleep 0.05; kill -9 $$'; exit 0",
        "sleep 0.05",
    }
    assert facts["completeness"]["lost"] == []


def test_a_sigterm_to_the_observer_reaches_the_command(live: None) -> None:
    code = (
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(9)); "
        "print('ready', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen(
        [*KWITNESS, "run", "--json", "--", sys.executable, "-I", "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert child.stdout
    assert child.stdout.readline() == "ready\n"
    child.terminate()
    out, _ = child.communicate(timeout=30)
    assert child.returncode == 9
    assert json.loads(out)["processes"][-1]["end"] == "exit 9"


def test_console_exporter(live: None) -> None:
    done = run(
        "run",
        "--quiet",
        "--",
        "true",
        OTEL_LOGS_EXPORTER="console",
        OTEL_TRACES_EXPORTER="none",
        OTEL_METRICS_EXPORTER="none",
    )
    names = [
        r["eventName"]
        for line in done.stdout.splitlines()
        for x in json.loads(line)["resourceLogs"]
        for y in x["scopeLogs"]
        for r in y["logRecords"]
    ]
    assert names == [
        "pipeline.run.start",
        "pipeline.task.start",
        "pipeline.task.end",
        "pipeline.run.end",
    ]
