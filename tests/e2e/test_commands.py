"""One command, from the running kernel to a real Collector's files: what it stored, against what
the test did."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.collector import Collector
from tests.e2e.serving import KWITNESS, ROOT, otlp

pytestmark = [pytest.mark.live, pytest.mark.e2e]


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf", "http/json"])
def test_a_run_arrives_whole(collector: Collector, protocol: str, tmp_path: Path) -> None:
    code = (
        "import os, signal; f = open('out.csv', 'w'); f.write('x' * 9000); f.flush(); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    script = f'{sys.executable} -I -S -c "{code}"; sleep 0.05; exit 0'
    done = subprocess.run(
        [*KWITNESS, "run", "--quiet", "--name", "nightly", "--", "bash", "-c", script],
        env=otlp(collector, protocol),
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    collector.stop()
    assert collector.violations() == []
    spans = {s["name"]: s for s in collector.spans()}
    run, task, bash = spans["run nightly"], spans["task nightly"], spans["bash"]
    writer = next(s for s in collector.spans() if s["name"].startswith("python"))
    assert {s["traceId"] for s in collector.spans()} == {run["traceId"]}
    assert (task["parentSpanId"], bash["parentSpanId"], writer["parentSpanId"]) == (
        run["spanId"],
        task["spanId"],
        bash["spanId"],
    )
    assert writer["values"]["process.exit.code"] == 137
    assert task["values"]["pipeline.task.run.result"] == "failure"
    assert task["values"]["pipeline.task.run.reported_result"] == "success"
    by_name = {r["eventName"]: r for r in collector.logs()}
    assert {
        "process.killed",
        "file.partial_write",
        "pipeline.task.result_mismatch",
        "pipeline.task.end",
    } <= by_name.keys()
    torn = by_name["file.partial_write"]
    assert torn["values"]["file.path"] == str(tmp_path / "out.csv")
    assert (torn["values"]["file.size"], torn["values"]["file.write.bytes"]) == (9000, 9000)
    assert (torn["traceId"], torn["spanId"]) == (writer["traceId"], writer["spanId"])
    assert by_name["process.killed"]["values"]["process.signal.sender.kind"] == "self"
    assert int(torn["timeUnixNano"]) == pytest.approx(time.time_ns(), abs=120e9)
    assert int(torn["observedTimeUnixNano"]) >= int(torn["timeUnixNano"])
    points = collector.metrics()["pipeline.file.partial_writes"]["sum"]["dataPoints"]
    assert [int(p["asInt"]) for p in points] == [1]


def test_prometheus_scrapes_the_same_numbers_from_the_collector(
    collector: Collector, tmp_path: Path
) -> None:
    subprocess.run(
        [
            *KWITNESS,
            "run",
            "--quiet",
            "--name",
            "counted",
            "--",
            "bash",
            "-c",
            "for i in 1 2 3; do sh -c 'kill -9 $$'; done; true",
        ],
        env=otlp(collector, "grpc"),
        check=False,
        capture_output=True,
        cwd=ROOT,
    )
    with urllib.request.urlopen(
        f"http://127.0.0.1:{collector.prometheus}/metrics", timeout=5
    ) as answer:
        lines = answer.read().decode().splitlines()
    value = next(
        line
        for line in lines
        if line.startswith("pipeline_task_signals_total")
        and 'process_signal_name="SIGKILL"' in line
    )
    assert value.endswith(" 3")


def test_signals_from_replay_and_from_life_are_the_same_bytes(live: None, tmp_path: Path) -> None:
    script = f"{sys.executable} -I -S -c 'import os; os.abort()'; sh -c 'kill -TERM $$'; true"
    first, second, tape = tmp_path / "live.jsonl", tmp_path / "replay.jsonl", tmp_path / "tape.kw"
    subprocess.run(
        [
            *KWITNESS,
            "record",
            "-o",
            str(tape),
            "--quiet",
            "--otlp-json",
            str(first),
            "--",
            "bash",
            "-c",
            script,
        ],
        check=True,
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    subprocess.run(
        [*KWITNESS, "replay", str(tape), "--otlp-json", str(second)],
        check=True,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    assert items(first) == items(second)
    assert len(items(first)) > 8


def items(path: Path) -> list[str]:
    """Spans and log records as JSON, in order of each signal;
    metrics count our own work and differ."""
    found: dict[str, list[str]] = {"spans": [], "logRecords": []}
    for line in path.read_text().splitlines():
        for name, scope, item in (
            ("resourceSpans", "scopeSpans", "spans"),
            ("resourceLogs", "scopeLogs", "logRecords"),
        ):
            for resource in json.loads(line).get(name, []):
                found[item] += [
                    json.dumps([resource["resource"], i]) for s in resource[scope] for i in s[item]
                ]
    return found["spans"] + sorted(found["logRecords"])


def test_ctrl_c_reaches_the_command_and_its_status_comes_back(live: None, tmp_path: Path) -> None:
    code = "import signal, sys, time; signal.signal(signal.SIGINT, lambda *_: sys.exit(42)); "
    code += "print('ready', flush=True); time.sleep(60)"
    observer = subprocess.Popen(
        [*KWITNESS, "run", "--json", "--", sys.executable, "-I", "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    assert observer.stdout
    assert observer.stdout.readline() == "ready\n"
    os.killpg(observer.pid, signal.SIGINT)  # as a terminal does
    out, _ = observer.communicate(timeout=30)
    assert observer.returncode == 42
    assert json.loads(out)["execution"]["outcome"] == "failure"
