"""A service that exports to a Collector, and tasks for it to watch."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.e2e.collector import PIPELINE, Collector, free_port

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


def torn(out: Path, task: str) -> None:
    """Runs a task that is killed while it writes the file."""
    write = (
        "import os, signal, sys; f = open(sys.argv[1], 'w'); f.write('x' * 9000); f.flush(); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    command = [sys.executable, "-I", "-S", "-c", write, str(out)]
    assert subprocess.run(command, env=airflow(task), check=False).returncode == -9
