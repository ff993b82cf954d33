"""From the running kernel to a real Collector's files: what it stored, against what
the test did."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.collector import PIPELINE, Collector, free_port
from tests.waiting import SECONDS, eventually

pytestmark = [pytest.mark.live, pytest.mark.e2e]
ROOT = Path(__file__).parent.parent.parent
KWITNESS = [sys.executable, "-m", "receiver"]


def otlp(collector: Collector, protocol: str) -> dict[str, str]:
    endpoint = f"http://127.0.0.1:{collector.grpc if protocol == 'grpc' else collector.http}"
    return {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
    }


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


def serve(
    tmp_path: Path, collector: Collector, **options: str
) -> tuple[subprocess.Popen[str], int]:
    port = free_port()
    config = tmp_path / "kwitness.toml"
    config.write_text(
        f"[admin]\nport = {port}\n[core]\ntask_grace_seconds = 1\nrun_grace_seconds = 1\n"
    )
    service = subprocess.Popen(
        [*KWITNESS, "serve", "-c", str(config)],
        env=otlp(collector, "grpc") | options,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    wait_ready(service, port)
    return service, port


def wait_ready(service: subprocess.Popen[str], port: int) -> None:
    deadline = time.monotonic() + 90  # also where many other tests run
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
                assert answer.read() == b"ready\n"
                return
        except OSError:
            if service.poll() is not None or time.monotonic() > deadline:
                service.kill()
                raise AssertionError(service.communicate()[1]) from None
            time.sleep(0.05)


def stop(service: subprocess.Popen[str]) -> str:
    service.terminate()
    _, log = service.communicate(timeout=30)
    assert service.returncode == 0, log
    return log


def airflow(task: str, attempt: int = 1) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "AIRFLOW_CTX_DAG_ID": PIPELINE,
        "AIRFLOW_CTX_TASK_ID": task,
        "AIRFLOW_CTX_DAG_RUN_ID": "manual_1",
        "AIRFLOW_CTX_TRY_NUMBER": str(attempt),
        "AIRFLOW_CTX_API_TOKEN": "sesame",
        "DB_PASSWORD": "sesame",
    }


def metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
    return text


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


def connects(port: int) -> None:
    """Waits until the service connects to a Collector that is away; it gets no answer."""
    with socket.create_server(("127.0.0.1", port)) as away:
        away.settimeout(SECONDS)
        away.accept()[0].close()


def torn(out: Path, task: str) -> None:
    """Runs a task that is killed while it writes the file."""
    write = (
        "import os, signal, sys; f = open(sys.argv[1], 'w'); f.write('x' * 9000); f.flush(); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    command = [sys.executable, "-I", "-S", "-c", write, str(out)]
    assert subprocess.run(command, env=airflow(task), check=False).returncode == -9


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
