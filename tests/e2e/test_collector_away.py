"""A Collector that restarts or is not there: the service goes on, and counts what was not sent."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.e2e.collector import PIPELINE, Collector, free_port
from tests.e2e.serving import KWITNESS, ROOT, airflow, serve, stop, wait_ready
from tests.waiting import SECONDS, eventually

pytestmark = [pytest.mark.live, pytest.mark.e2e]


def connects(port: int) -> None:
    """Waits until the service connects to a Collector that is away; it gets no answer."""
    with socket.create_server(("127.0.0.1", port)) as away:
        away.settimeout(SECONDS)
        away.accept()[0].close()


def test_a_collector_that_restarts_in_the_middle_misses_nothing(
    collector: Collector, tmp_path: Path
) -> None:
    service, _ = serve(
        tmp_path, collector, OTEL_BSP_SCHEDULE_DELAY="100", OTEL_BLRP_SCHEDULE_DELAY="100"
    )
    expected = []
    for phase in range(3):
        for number in range(10):
            task = f"step_{phase}_{number}"
            expected.append(task)
            subprocess.run(["bash", "-c", "sleep 0.02; exit 3"], env=airflow(task), check=False)
        if phase == 0:
            eventually(lambda: collector.wrote("task step_0_"), "the first spans")
            collector.stop()
        elif phase == 1:
            connects(collector.grpc)
            collector.start()
    log = stop(service)
    collector.stop()
    assert "items exported, 0 not" in log
    names = [
        s["name"].removeprefix("task ")
        for s in collector.spans(PIPELINE)
        if s["name"].startswith("task ")
    ]
    assert sorted(names) == sorted(expected)
    failed = [
        r["values"]["pipeline.task.name"]
        for r in collector.logs(PIPELINE)
        if r["eventName"] == "process.exit" and "bash" in r["body"]["stringValue"]
    ]
    assert sorted(failed) == sorted(expected)
    uids = [r["values"]["log.record.uid"] for r in collector.logs(PIPELINE)]
    assert len(uids) == len(set(uids))


def test_without_a_collector_the_service_still_watches_and_still_stops(
    live: None, tmp_path: Path
) -> None:
    """Ready though nobody takes its signals; SIGTERM ends it within its own flush limit,
    and says what was not sent."""
    config = tmp_path / "kwitness.toml"
    port = free_port()
    config.write_text(f"shutdown_seconds = 1.0\n[admin]\nport = {port}\n")
    env = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    service = subprocess.Popen(
        [*KWITNESS, "serve", "-c", str(config)],
        env=env,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    wait_ready(service, port)
    subprocess.run(["bash", "-c", "sleep 0.02; exit 3"], env=airflow("lonely"), check=False)
    log = stop(service)
    assert "export of" in log
    assert "0 items exported" in log
    assert "connection" in log
