"""The service, from the running kernel to a real Collector's files: what it stored, against what
the test did."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.collector import PIPELINE, Collector
from tests.e2e.serving import KWITNESS, ROOT, airflow, metrics, serve, stop, torn
from tests.waiting import eventually

pytestmark = [pytest.mark.live, pytest.mark.e2e]


def test_the_service_watches_unprivileged_and_flushes_on_sigterm(
    collector: Collector, tmp_path: Path
) -> None:
    service, port = serve(tmp_path, collector)
    status = Path(f"/proc/{service.pid}/status").read_text()
    assert "CapEff:\t0000000000000000" in status
    assert "CapPrm:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert "Uid:\t0" not in status
    subprocess.run(["bash", "-c", "sleep 0.05; exit 4"], env=airflow("load"), check=False)
    subprocess.run(["bash", "-c", "sleep 0.05; true"], env=airflow("load", 2), check=False)
    traced = airflow("traced") | {
        "TRACEPARENT": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    }
    subprocess.run(["bash", "-c", "sleep 0.05; true"], env=traced, check=False)
    task = f'pipeline_system_name="airflow",pipeline_name="{PIPELINE}",pipeline_task_name="load"'
    active = f"pipeline_task_active{{{task}}}"
    eventually(lambda: active in metrics(port), "the task in the metrics")
    log = stop(service)
    collector.stop()
    assert "items exported, 0 not" in log
    assert collector.violations() == []
    tasks = [s for s in collector.spans(PIPELINE) if s["name"] == "task load"]
    assert [s["values"]["pipeline.task.run.result"] for s in tasks] == ["failure", "success"]
    assert tasks[1]["links"][0]["spanId"] == tasks[0]["spanId"]
    assert tasks[0]["traceId"] == tasks[1]["traceId"]
    joined = next(s for s in collector.spans(PIPELINE) if s["name"] == "task traced")
    assert (joined["traceId"], joined["parentSpanId"]) == (
        "0af7651916cd43dd8448eb211c80319c",
        "b7ad6b7169203331",
    )
    everything = "".join(
        (collector.output / f"{n}.jsonl").read_text() for n in ("traces", "logs", "metrics")
    )
    assert "sesame" not in everything


def test_a_config_error_is_one_line(tmp_path: Path) -> None:
    config = tmp_path / "kwitness.toml"
    config.write_text("[core]\nredactoin = 'off'\n")
    done = subprocess.run(
        [*KWITNESS, "serve", "-c", str(config)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 78
    assert len(done.stderr.splitlines()) == 1
    assert "line 2: unknown key redactoin" in done.stderr


def test_a_torn_file_is_followed_from_its_writer_to_its_reader(
    collector: Collector, tmp_path: Path
) -> None:
    """The service has no privileges any more when the first task starts:
    its helper attaches the hook for system calls."""
    service, _ = serve(
        tmp_path, collector, OTEL_BSP_SCHEDULE_DELAY="100", OTEL_BLRP_SCHEDULE_DELAY="100"
    )
    warm = subprocess.Popen(["cat"], stdin=subprocess.PIPE, env=airflow("warm"))
    probe, out = tmp_path / "probe.csv", tmp_path / "users.csv"

    def followed() -> bool:
        torn(probe, "probe")
        return collector.wrote(str(probe), "logs")

    eventually(followed, "that the calls of living tasks are followed")
    torn(out, "transform")
    read = "import sys; print(len(open(sys.argv[1]).read()))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", read, out],
        env=airflow("check"),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "9000\n"
    warm.communicate()
    for task in ("warm", "transform", "check"):
        eventually(partial(collector.wrote, f"task {task}"), f"the span of {task}")
    stop(service)
    collector.stop()
    assert collector.violations() == []
    tasks = {s["name"]: s for s in collector.spans(PIPELINE) if s["name"].startswith("task ")}
    link = [
        k for k in tasks["task check"]["links"] if k["spanId"] == tasks["task transform"]["spanId"]
    ]
    assert len(link) == 1 and link[0]["attributes"][0]["value"]["stringValue"] == "reads_from"
    (partial_write,) = [
        r
        for r in collector.logs(PIPELINE)
        if r["eventName"] == "file.partial_write" and r["values"]["file.path"] == str(out)
    ]
    (tainted,) = [r for r in collector.logs(PIPELINE) if r["eventName"] == "file.tainted_read"]
    assert partial_write["values"]["file.path"] == tainted["values"]["file.path"] == str(out)
    assert tainted["values"]["file.taint.writer.task.name"] == "transform"
    assert tainted["values"]["file.taint.trace_id"] == tasks["task transform"]["traceId"]
    points = collector.points("pipeline.file.tainted_reads", PIPELINE)
    assert [int(p["asInt"]) for p in points] == [1]
