"""Two services in two pid namespaces, as on two hosts: each tells its own processes,
and the spans of one task join."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import airflow
from tests.e2e.collector import Collector, free_port

pytestmark = [pytest.mark.live, pytest.mark.e2e]
ROOT = Path(__file__).parent.parent.parent
SHELL = Path("/bin/sh").resolve().name
INSIDE = """
set -u
hostname "$1"
"$PYTHON" -m receiver serve -c "$2" & service=$!
for _ in $(seq 200); do
    [ "$(curl -s "http://127.0.0.1:$3/readyz")" = ready ] && break
    sleep 0.1
done
env $(cat "$4") sh -c 'sleep 0.5; sort /etc/hostname > /dev/null; exit 0' "$1-part"
sleep 0.3
kill -TERM $service; wait $service
"""


def part(
    place: Path, name: str, collector: Collector, port: int, settings: str
) -> subprocess.Popen[bytes]:
    """A namespace of pids, hosts and mounts with a service and one process of the task in it."""
    (place / f"{name}.toml").write_text(
        f"[admin]\nport = {port}\n[core]\ntask_grace_seconds = 0.0\n{settings}"
    )
    (place / f"{name}.env").write_text(" ".join(airflow("load", dag="etl", run="r1")))
    command = [
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        "--uts",
        "--kill-child",
        "bash",
        "-c",
        INSIDE,
        "bash",
        name,
    ]
    command += [str(place / f"{name}.toml"), str(port), str(place / f"{name}.env")]
    env = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.http}",
        "PYTHON": sys.executable,
    }
    return subprocess.Popen(command, cwd=ROOT, env=env)


def test_processes_of_one_task_join_across_namespaces(collector: Collector, tmp_path: Path) -> None:
    first = part(tmp_path, "one", collector, free_port(), "")
    second = part(tmp_path, "two", collector, free_port(), "orchestrator = 'elsewhere'\n")
    assert (first.wait(90), second.wait(90)) == (0, 0)
    collector.stop()
    requests = collector.requests("traces")
    spans = [
        span
        | {
            "host": next(
                a["value"]["stringValue"]
                for a in r["resource"]["attributes"]
                if a["key"] == "host.name"
            )
        }
        for request in requests
        for r in request["resourceSpans"]
        for scope in r["scopeSpans"]
        for span in scope["spans"]
    ]
    assert not collector.violations()
    # a process that took longer than 10 ms has a span of its own, so `sort` may have one
    named = {(s["host"], s["name"]) for s in spans if s["name"] != "sort"}
    assert named == {
        ("one", "run etl"),
        ("one", "task load"),
        *((host, name) for host in ("one", "two") for name in (SHELL, "sleep")),
    }
    assert len({s["traceId"] for s in spans}) == 1
    assert len({s["spanId"] for s in spans}) == len(spans)
    task = next(s for s in spans if s["name"] == "task load")
    shells = [s for s in spans if s["name"] == SHELL]
    assert {s["parentSpanId"] for s in shells} == {task["spanId"]}
