"""What the first task of a service does before the hook of system calls is attached."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.live.serving import CLEAN, NAP_RUN, Service, until

pytestmark = pytest.mark.live
FILES = 3000
SHELL = Path("/bin/sh").resolve().name


def test_what_the_first_task_opened_was_seen_or_is_a_blind_time_of_its_report(
    service: Service,
) -> None:
    """The hook of system calls is attached when the task is known: what it did before has a row."""
    service.start(
        OTEL_LOGS_EXPORTER="none", OTEL_METRICS_EXPORTER="none", OTEL_TRACES_EXPORTER="console"
    )
    place = service.folder / "files"
    place.mkdir()
    script = f"i=0; while [ $i -lt {FILES} ]; do : > {place}/$i; i=$((i+1)); done; exit 3"
    env = CLEAN | {NAP_RUN: "first"}
    assert subprocess.run(["sh", "-c", script], check=False, env=env).returncode == 3
    assert len(os.listdir(place)) == FILES

    def reports() -> list[dict[str, Any]]:
        found = json.loads(service.ask("/incidents", token=True) or '{"incidents": []}')
        return [row for row in found["incidents"] if row["run_id"] == "first"]

    (row,) = until(reports, "there is no report")
    report = json.loads(service.ask(f"/incidents/{row['id']}", token=True))
    late = [b for b in report["completeness"]["blind"] if "hooks were attached later" in b]
    metrics = service.ask("/metrics", token=True)
    assert service.stop() == 0
    (shell,) = [
        s for s in service.spans() if "process.usage.files.opened" in s and s["name"] == SHELL
    ]
    seen = shell["process.usage.files.opened"]
    assert seen <= FILES + 20
    if seen < FILES:
        assert len(late) == 1, (seen, report["completeness"])
        assert (
            'pipeline_observer_blind_count_total{pipeline_observer_blind_reason="late_attach"}'
            in metrics
        )
