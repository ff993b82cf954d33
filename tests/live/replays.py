"""A recording is replayed elsewhere: in another directory, with another environment,
and its OTLP is compared with that of the live run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
TASK = f"replay-{os.getpid()}"
CONFIG = f"""
[core]
exit_events = true
[[rule]]
argv = "--job={TASK}-*"
system = "loader"
pipeline = "landing"
task = "{{0}}"
"""
SCRIPT = f"""
sh -c 'echo x > out.csv; exit 3' loader --job={TASK}-orders
{sys.executable} -I -S -c 'import os; os.abort()' --job={TASK}-users || exit 1
"""
# of the run itself: its exporters' queues, its own cost, and what the kernel half did not send
OF_THE_RUN = ("otel.sdk.", "pipeline.observer.sample", "pipeline.observer.skipped")
# a recording of a command leaves out events of other processes, which these metrics count
OF_OTHERS = {"pipeline.observer.events", "pipeline.observer.lag", "pipeline.observer.drops"}
LISTS = {
    "resourceSpans": ("scopeSpans", "spans"),
    "resourceLogs": ("scopeLogs", "logRecords"),
    "resourceMetrics": ("scopeMetrics", "metrics"),
}


def items(path: Path) -> dict[str, Counter[str]]:
    """Every span, record and metric with its resource and scope, however they were batched."""
    found: dict[str, Counter[str]] = {kind: Counter() for kind in LISTS}
    for line in path.read_text().splitlines():
        for kind, resources in json.loads(line).items():
            scopes, records = LISTS[kind]
            for resource in resources:
                for scope in resource[scopes]:
                    found[kind].update(
                        json.dumps([resource["resource"], scope["scope"], record])
                        for record in scope[records]
                    )
    return found


def named(metrics: Counter[str]) -> dict[str, Any]:
    return {line: json.loads(line)[2]["name"] for line in metrics}


def replay_elsewhere(folder: Path, recording: Path, *options: str) -> str:
    """In another directory, with another environment and another seed of the hashes."""
    folder.mkdir()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "receiver",
            "replay",
            str(recording),
            "--otlp-json",
            "otlp",
            "--report",
            "report",
            *options,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PYTHONHASHSEED": "77",
            "OTEL_SERVICE_NAME": "other",
            "OTEL_RESOURCE_ATTRIBUTES": "other=1",
            "HOME": str(folder),
        },
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def same_metrics(
    told: dict[str, Counter[str]], again: dict[str, Counter[str]], besides: set[str]
) -> None:
    kept = {
        line: count
        for line, count in told["resourceMetrics"].items()
        if not json.loads(line)[2]["name"].startswith(OF_THE_RUN)
    }
    found = again["resourceMetrics"]
    assert kept and set(named(Counter(kept)).values()) == set(named(found).values())
    differ = {json.loads(line)[2]["name"] for line in Counter(kept) - found}
    assert differ <= besides
