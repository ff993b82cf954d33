"""docker-compose.yml as it is, with the real Collector, Jaeger, VictoriaLogs and Prometheus:
what they hold after the demo.

The tests of Loki run where a Loki is given (`KWITNESS_LOKI`, or its image); it is never built here.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.stack.conftest import PROJECT, Stack, docker, eventually

pytestmark = pytest.mark.stack
KILLS = (
    'event.name:="process.oom_killed" AND pipeline.task.name:="transform"'  # in docs/operations.md
)
# in docs/operations.md
OOM_BY_TASK = (
    '{service_name=~".+"} | event_name="process.oom_killed" | pipeline_task_name="transform"'
)
LABELS = {"service_name", "service_namespace", "deployment_environment_name", "k8s_namespace_name"}


def tags(span: dict[str, Any]) -> dict[str, Any]:
    return {t["key"]: t["value"] for t in span["tags"]}


def broken_run(stack: Stack) -> dict[str, Any] | None:
    """A trace of a run in which a date was too large, once the run is over."""
    for trace in stack.traces("demo"):
        names = [s["operationName"] for s in trace["spans"]]
        events = [
            f["value"]
            for s in trace["spans"]
            for e in s["logs"]
            for f in e["fields"]
            if f["key"] == "event"
        ]
        if "run nightly_export" in names and "process.oom_killed" in events:
            return trace
    return None


def test_jaeger_shows_run_task_and_process(stack: Stack) -> None:
    trace = eventually(lambda: broken_run(stack), 240, "the trace of a broken run")
    spans = {s["spanID"]: s for s in trace["spans"]}
    by_name: dict[str, list[dict[str, Any]]] = {}
    for span in trace["spans"]:
        by_name.setdefault(span["operationName"], []).append(span)
    (run,) = by_name["run nightly_export"]
    tasks = [s for name in ("task extract", "task transform", "task export") for s in by_name[name]]
    for task in tasks:
        assert task["references"][0]["spanID"] == run["spanID"]
        assert (
            run["startTime"] <= task["startTime"]
            and 0 < task["duration"] <= run["duration"] + 2_000_000
        )
    killed = [
        s
        for s in trace["spans"]
        if tags(s).get("process.oom_killed") and not s["operationName"].startswith(("task", "run"))
    ]
    (victim,) = killed
    script = spans[victim["references"][0]["spanID"]]
    assert (
        script["operationName"] == "bash" and tags(script)["process.exit.code"] == 0
    )  # it hid the failure
    assert spans[script["references"][0]["spanID"]]["operationName"] == "task transform"
    assert (
        victim["operationName"].startswith("python")
        and tags(victim)["process.exit.code"] == 137
        and tags(victim)["error"] is True
    )
    named = {f["value"] for e in victim["logs"] for f in e["fields"] if f["key"] == "event"}
    assert "process.oom_killed" in named
    links = [r for s in tasks for r in s["references"][1:]]
    assert links  # transform reads what extract wrote: a link between the two
    assert tags(run)["pipeline.run.result"] == "failure"


def test_victorialogs_finds_the_kill_by_the_name_of_its_task(stack: Stack) -> None:
    (record, *_) = eventually(lambda: stack.records(KILLS), 240, "the record of the kill")
    assert record["service.name"] == "demo" and record["pipeline.name"] == "nightly_export"
    assert record["severity_text"] == "FATAL" and re.fullmatch(r"[0-9a-f]{32}", record["trace_id"])
    assert (
        record["process.oom.scope"] == "cgroup"
        and int(record["process.oom.memory.limit"]) == 64 << 20
    )
    assert "OOM killer killed python" in record["_msg"]
    assert set(re.findall(r"([\w.]+)=", record["_stream"])) == {"service.name", "host.name"}
    assert stack.get(f"http://127.0.0.1:16686/api/traces/{record['trace_id']}")[
        "data"
    ]  # the record's trace is there


def test_loki_finds_the_kill_by_the_name_of_its_task(loki: Stack) -> None:
    stack = loki
    (line, *_) = eventually(lambda: stack.logs(OOM_BY_TASK), 240, "the record of the kill")
    assert (
        line["service_name"] == "demo"
        and line["pipeline_name"] == "nightly_export"
        and line["severity_text"] == "FATAL"
    )
    assert re.fullmatch(r"[0-9a-f]{32}", line["trace_id"]) and line["process_oom_scope"] == "cgroup"
    assert int(line["process_oom_memory_limit"]) == 64 << 20
    assert "OOM killer killed python" in line["line"]
    labels = set(stack.get("http://127.0.0.1:3100/loki/api/v1/labels", since="3h")["data"])
    assert labels - {"__stream_shard__"} <= LABELS
    assert stack.get(f"http://127.0.0.1:16686/api/traces/{line['trace_id']}")[
        "data"
    ]  # the log's trace is there


def test_metrics_have_few_labels(stack: Stack) -> None:
    """Names from closed sets, of pipelines and of tasks: never a run, a pid, an attempt, a path,
    a partition, a trace."""
    series = eventually(
        lambda: stack.get(
            "http://127.0.0.1:9090/api/v1/series", **{"match[]": '{__name__=~"pipeline_.*"}'}
        )["data"],
        60,
    )
    labels = {name for s in series for name in s}
    assert labels <= {
        "__name__",
        "job",
        "instance",
        "host_name",
        "le",
        "pipeline_system_name",
        "pipeline_name",
        "pipeline_task_name",
        "pipeline_run_result",
        "pipeline_task_run_result",
        "error_type",
        "process_signal_name",
        "cpu_mode",
        "disk_io_direction",
        "network_io_direction",
        "file_write_cause",
        "file_taint_kind",
        "pipeline_incident_cause",
        "pipeline_observer_blind_reason",
        "pipeline_observer_call",
        "pipeline_observer_endpoint",
        "pipeline_observer_process",
        "pipeline_observer_event_kind",
        "pipeline_observer_loss_reason",
        "otel_component_type",
    }, labels


def test_an_incident_is_told_to_everybody(stack: Stack) -> None:
    # the step that its script ignored: the kill leads, and that it stayed unnoticed belongs to it
    query = (
        'service.name:="demo" AND event.name:="pipeline.incident.opened" '
        'AND pipeline.incident.cause:="mem.cgroup_oom"'
    )
    (record, *_) = eventually(lambda: stack.records(query), 240, "the incident")
    listed = stack.get("http://127.0.0.1:9464/incidents", stack.token())["incidents"]
    assert record["pipeline.incident.id"] in {i["id"] for i in listed}
    page = str(
        stack.get(
            f"http://127.0.0.1:9464/incidents/{record['pipeline.incident.id']}",
            stack.token(),
            form="page",
        )
    )
    assert "<svg" in page and record["pipeline.incident.cause"] in page
    said = stack.compose(
        "exec",
        "-T",
        "-u",
        "kwitness",
        "kwitness",
        "kwitness",
        "incidents",
        "-c",
        "/etc/kwitness/kwitness.toml",
    )
    assert record["pipeline.incident.id"] in said


def settled(stack: Stack) -> None:
    """The demo stands still, and everything that was said has arrived."""
    stack.compose("stop", "demo")
    eventually(lambda: stack.own("otel_sdk_processor_log_queue_size") == 0, 60, "an empty queue")


def killed_again(stack: Stack, absent: str) -> None:
    before = stack.own("pipeline_task_oom_kills_total")
    eventually(
        lambda: stack.own("pipeline_task_oom_kills_total") > before,
        120,
        f"a kill while {absent} was away",
    )


def counts(stack: Stack) -> dict[str, set[float]]:
    """For each fact: kwitness's own counter, Prometheus's counter, and the number of records in
    each log back end."""
    out = {}
    for metric, event in (
        ("pipeline_task_oom_kills_total", "process.oom_killed"),
        ("pipeline_file_partial_writes_total", "file.partial_write"),
    ):
        found = stack.records(f'service.name:="demo" AND event.name:="{event}"')
        own, held = (
            stack.own(metric, 'pipeline_system_name="demo"'),
            stack.total(f'{metric}{{pipeline_system_name="demo"}}'),
        )
        out[event] = {own, held, float(len({record["log.record.uid"] for record in found}))}
        if stack.has_loki:
            lines = stack.logs(f'{{service_name="demo"}} | event_name="{event}"')
            out[event].add(float(len({line["log_record_uid"] for line in lines})))
    return out


def test_a_restart_of_each_server_loses_nothing(stack: Stack) -> None:
    """While the demo goes on; then what kwitness counted, Prometheus's counters and the log records
    are the same numbers."""
    for server in (
        *("loki",) * stack.has_loki,
        "victorialogs",
        "jaeger",
        "prometheus",
        "otel-collector",
    ):
        stack.compose("stop", server)
        killed_again(stack, server)
        stack.compose("start", server)
    settled(stack)
    try:
        eventually(
            lambda: all(len(numbers) == 1 for numbers in counts(stack).values()),
            180,
            "the same numbers everywhere",
        )
    except AssertionError:
        raise AssertionError(counts(stack)) from None
    assert all(min(numbers) > 0 for numbers in counts(stack).values())
    runs = {
        r["trace_id"]
        for r in stack.records('service.name:="demo" AND event.name:="pipeline.run.end"')
    }
    held = {t["traceID"] for t in stack.traces("demo", 1000)}
    assert runs and not runs - held, (
        f"{len(runs - held)} of {len(runs)} runs have no trace in Jaeger"
    )
    assert stack.own("pipeline_observer_events_lost_total") == 0
    stack.compose("start", "demo")


def test_it_stays_within_what_it_was_given(stack: Stack) -> None:
    """No capability is left, nothing can be written, nobody is root."""
    container = stack.compose("ps", "-q", "kwitness").strip()
    pid = int(docker("inspect", "-f", "{{.State.Pid}}", container))
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert (
        status["CapEff"] == status["CapPrm"] == "0" * 16
        and status["Uid"].split()[0] == "60612"
        and status["NoNewPrivs"] == "1"
    )
    assert int(json.loads(docker("inspect", container))[0]["HostConfig"]["Memory"]) == 512 << 20
    assert PROJECT in docker("inspect", "-f", "{{.Name}}", container)
    for _ in range(3):
        assert stack.get("http://127.0.0.1:9464/readyz") == "ready\n"
        time.sleep(1)
