"""The three incidents of examples/, end to end: real frameworks, a real Collector,
and what it then holds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.collector import Collector
from tests.frameworks.harness import environment

ROOT = Path(__file__).parent.parent.parent
Records = list[dict[str, Any]]


def incident(
    name: str, collector: Collector, place: Path
) -> tuple[dict[str, Any], Records, Records]:
    """Runs it; gives the report, and the spans and logs that the Collector wrote."""
    report = place / "report.json"
    env = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.http}"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/run.py"), name, "--report", str(report)],
        env=env,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert report.exists(), done.stdout[-2000:] + done.stderr[-2000:]
    collector.stop()
    assert not collector.violations(), collector.violations()[:5]
    why = json.loads(report.read_text())
    assert why["verdict"] == "incident" and set(why["hypotheses"][0]["evidence"]) <= set(
        why["events"]
    )
    return why, collector.spans(), collector.logs()


def records(logs: Records, name: str) -> list[dict[str, Any]]:
    return [
        r["values"] | {"body": r["body"]["stringValue"], "span": r["spanId"], "trace": r["traceId"]}
        for r in logs
        if r["values"]["event.name"] == name
    ]


def above(spans: Records, span_id: str) -> list[str]:
    """Names from a span up to its root."""
    by_id = {s["spanId"]: s for s in spans}
    out = []
    while span_id in by_id:
        out.append(by_id[span_id]["name"])
        span_id = by_id[span_id].get("parentSpanId", "")
    return out


def test_an_executor_is_killed_for_a_partition_too_large(collector: Collector, place: Path) -> None:
    for name in ("airflow3", "spark"):
        environment(name)
    why, spans, logs = incident("silent-oom", collector, place)
    lead = why["hypotheses"][0]
    said = " ".join(w["text"] for w in lead["weighed"])
    assert (
        lead["cause"] == "mem.cgroup_oom"
        and "partition_date=2024-01-15" in lead["summary"]
        and "(1200.0 MiB)" in lead["summary"]
    )
    assert (
        "times the median of" in said
        and "of all growth in that memory cgroup" in said
        and "in the same memory cgroup, held" in said
    )
    assert any(len(c["points"]) >= 3 for c in why["memory"] if c["role"] == "victim")
    assert (
        records(logs, "pipeline.incident.opened")[0]["pipeline.incident.cause"] == "mem.cgroup_oom"
    )
    killed = records(logs, "process.oom_killed")[0]
    assert (
        killed["pipeline.system.name"] == "spark" and killed["pipeline.name"] == "transform_users"
    )
    assert killed["pipeline.task.name"] == "executor 0"
    assert killed["pipeline.dataset.partition"] == "partition_date=2024-01-15"
    assert (
        int(killed["process.oom.memory.limit"]) == 1200 << 20
        and killed["process.oom.scope"] == "cgroup"
    )
    path = above(spans, killed["span"])
    assert path[-4:] == [
        "executor 0",
        "job transform_users",
        "task transform_user_data",
        "run user_pipeline",
    ], path
    task = next(s for s in spans if s["name"] == "task transform_user_data")
    assert (
        task["values"]["process.oom_killed"] is True
        and task["values"]["pipeline.mapping.grade"] == "certain"
    )
    assert task["values"]["pipeline.task.run.result"] == "failure"
    neighbours = [
        r
        for r in records(logs, "pipeline.task.contention")
        if r["pipeline.contention.resource"] == "memory"
    ]
    assert neighbours and "took" in neighbours[0]["body"]


def test_reads_wait_for_the_slots_that_a_credential_refresh_holds(
    collector: Collector, place: Path
) -> None:
    environment("boto")
    report, spans, logs = incident("slots", collector, place)
    lead = report["hypotheses"][0]
    said = " ".join(w["text"] for w in lead["weighed"])
    assert lead["cause"] == "net.credential" and "took" in lead["summary"]
    assert (
        re.search(r"Its [23] connections to", said) and "were idle" in said
    )  # a third may not be closed yet and "web-identity-token" in said
    assert "after the answer had come" in said
    assert {"net.pool", "net.silent_peer"} <= {r["cause"] for r in lead["ruled_out"]}
    opened = records(logs, "pipeline.incident.opened")[0]
    assert opened["pipeline.task.name"] == "read_events" and opened["trace"] in {
        s["traceId"] for s in spans
    }
    assert (
        report["execution"]["outcome"] == "success"
    )  # nothing failed: it only took several times as long


def test_a_file_is_torn_its_task_succeeds_and_the_check_fails_later(
    collector: Collector, place: Path
) -> None:
    for name in ("airflow3", "dbt", "gx"):
        environment(name)
    why, spans, logs = incident("torn-file", collector, place)
    lead = why["hypotheses"][0]
    said = " ".join(w["text"] for w in lead["weighed"])
    assert lead["cause"] == "fs.truncated" and lead["culprit"]["path"].endswith("users_export.csv")
    assert (
        lead["culprit"]["sender"]["signal"] == "SIGTERM"
        and "of the same file (the same inode)" in said
        and "reported success" in said
    )
    killed = next(r for r in records(logs, "process.killed") if r["pipeline.system.name"] == "dbt")
    assert (
        killed["process.signal.name"] == "SIGTERM"
        and killed["process.signal.sender.executable.name"]
    )
    (torn,) = [
        r
        for r in records(logs, "file.partial_write")
        if r["file.path"].endswith("users_export.csv")
    ]
    path = above(spans, torn["span"])
    assert path[-3:] == ["job dbt run", "task dbt_run", "run user_export"], path
    models = {
        s["name"]: s["values"]["pipeline.task.run.result"]
        for s in spans
        if s["name"].startswith("model ")
    }
    assert models["model users_export"] == "failure" and models["model stg_users"] in (
        "success",
        "unknown",
    )
    read = next(
        r for r in records(logs, "file.tainted_read") if r["file.path"].endswith("users_export.csv")
    )
    assert (
        read["pipeline.system.name"] == "great_expectations"
        or read["pipeline.task.name"] == "validate_data"
    )
    assert read["file.taint.trace_id"] == torn["trace"]
    assert any(s["name"].startswith("check ") for s in spans)
    tasks = {
        s["name"]: s["values"]["pipeline.task.run.result"]
        for s in spans
        if s["name"].startswith("task ")
    }
    assert tasks["task dbt_run"] == "failure" and tasks["task validate_data"] == "failure"
