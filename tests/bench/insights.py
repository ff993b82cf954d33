"""What one insights instance takes: requests as a gateway sends them, from bytes to conclusions,
on one core."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import grpc

from receiver import semconv as sc
from receiver.export import encode
from receiver.export.encode import Envelope
from receiver.insights.records import read
from receiver.insights.service import Insights
from receiver.signals import EMPTY, LogRecord, ResourceAttributes, Severity
from receiver.units import SECOND

RUNS, BATCH, ROUTINE = 400, 500, 4


def record(
    host: ResourceAttributes,
    number: int,
    run: int,
    name: str,
    severity: Severity,
    *own: tuple[str, str | int | float],
) -> LogRecord:
    trace = run.to_bytes(16, "big")
    base = (
        (sc.EVENT_NAME, name),
        (sc.LOG_RECORD_UID, f"u{number}"),
        (sc.PIPELINE_SYSTEM_NAME, "airflow"),
        (sc.PIPELINE_NAME, f"dag_{run % 50}"),
        (sc.PIPELINE_RUN_ID, f"r{run}"),
        (sc.PIPELINE_TASK_NAME, "load"),
        (sc.PROCESS_PID, 4711),
        (sc.PROCESS_EXECUTABLE_NAME, "python3"),
    )
    at = (1_700_000_000 + run) * SECOND + number
    return LogRecord(
        host,
        at,
        at,
        severity,
        name,
        f"{name} of run {run}.",
        trace,
        b"\1" * 8,
        (EMPTY,),
        (*base, *own),
    )


def requests() -> tuple[list[bytes], int]:
    """Of each run: two hosts, a kill on the one, a broken connection and a failed task on the
    other, and routine beside."""
    hosts = [
        ResourceAttributes(
            ((sc.HOST_NAME, f"h{n}"), (sc.HOST_IP, (f"10.0.0.{n}",)), (sc.SERVICE_NAME, "airflow"))
        )
        for n in (1, 2)
    ]
    made: list[LogRecord] = []
    for run in range(1, RUNS + 1):
        a, b = hosts
        made += [
            record(a, len(made), run, sc.EVENT_PROCESS_OOM_KILLED, Severity.FATAL),
            record(
                b,
                len(made) + 1,
                run,
                sc.EVENT_NETWORK_CONNECTION_FAILED,
                Severity.ERROR,
                (sc.NETWORK_PEER_ADDRESS, "10.0.0.1"),
            ),
            record(b, len(made) + 2, run, sc.EVENT_PIPELINE_TASK_END, Severity.ERROR),
        ]
        made += [
            record(b, len(made) + n, run, sc.EVENT_PIPELINE_TASK_HEARTBEAT, Severity.DEBUG)
            for n in range(3 * ROUTINE)
        ]
    envelope = Envelope("receiver", "0", sc.SCHEMA_URL)
    parts = [made[n : n + BATCH] for n in range(0, len(made), BATCH)]
    return [
        envelope.request([(r.resource, encode.log_record(r)) for r in part]) for part in parts
    ], len(made)


def insights() -> dict[str, float]:
    """Records per second of one core, and microseconds per conclusion."""
    bodies, records = requests()
    best_taking, best_looking, reports = float("inf"), float("inf"), 0
    for _ in range(3):
        out: list[LogRecord] = []
        instance = Insights(ResourceAttributes(()), out.append)
        start = time.perf_counter()
        for body in bodies:
            instance.take_batch(read(body), 0.0)
        middle = time.perf_counter()
        instance.evaluate_due(1000.0, 0)
        best_looking = min(best_looking, time.perf_counter() - middle)
        best_taking, reports = min(best_taking, middle - start), len(out)
    assert reports == RUNS
    return {
        "records": float(records),
        "records_per_second": records / best_taking,
        "us_per_conclusion": best_looking / RUNS * 1e6,
        "bytes_per_record": sum(map(len, bodies)) / records,
    }


async def _push(port: int, bodies: list[bytes], rounds: int) -> float:
    """Seconds for all of them, four at a time, by gRPC."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        export: Any = channel.unary_unary(
            "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
        )
        await export(bodies[0], wait_for_ready=True)
        start = time.perf_counter()
        for number in range(0, rounds * len(bodies), 4):
            await asyncio.gather(*(export(bodies[(number + n) % len(bodies)]) for n in range(4)))
        return time.perf_counter() - start


def _start(site: Path, port: int, hidden: str) -> subprocess.Popen[bytes]:
    """An instance that listens at `port`; its files are in `site`."""
    (site / "sitecustomize.py").write_text(f"import sys; sys.modules[{hidden!r}] = None\n")
    config = site / "kwitness.toml"
    config.write_text(
        "[admin]\nport = 0\n[privileges]\ndrop = false\n[insights]\n"
        f'grpc = "127.0.0.1:{port}"\nhttp = ""\n'
    )
    return subprocess.Popen(
        [sys.executable, "-m", "receiver", "serve", "--mode", "insights", "-c", str(config)],
        env={**os.environ, "OTEL_SDK_DISABLED": "true", "PYTHONPATH": str(site)},
        stderr=subprocess.DEVNULL,
    )


def insights_service(hidden: str = "") -> dict[str, float]:
    """The whole instance in a process of its own, against a sender that never waits;
    the sender has the other core.

    `hidden` names a module that the instance cannot import.
    """
    bodies, records = requests()
    rounds = 60
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as site:
        child = _start(Path(site), port, hidden)
        try:
            seconds = asyncio.run(_push(port, bodies, rounds))
            fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
            cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            rss = (
                int(Path(f"/proc/{child.pid}/statm").read_text().split()[1])
                * os.sysconf("SC_PAGE_SIZE")
                / (1 << 20)
            )
        finally:
            child.terminate()
            child.wait()
    return {
        "records_per_second": rounds * records / seconds,
        "us_of_cpu_per_record": cpu / (rounds * records) * 1e6,
        "rss_mib": rss,
    }


def event_loops() -> dict[str, float]:
    """The same instance on uvloop and on asyncio's own loop, in turns:
    the median of five pairs' ratios."""
    pairs = [(insights_service(), insights_service(hidden="uvloop")) for _ in range(5)]
    uvloop, own = (
        {name: median(pair[n][name] for pair in pairs) for name in pairs[0][n]} for n in (0, 1)
    )
    return {
        "uvloop_records_per_second": uvloop["records_per_second"],
        "asyncio_records_per_second": own["records_per_second"],
        "records_per_second_ratio": median(
            a["records_per_second"] / b["records_per_second"] for a, b in pairs
        ),
        "cpu_ratio": median(
            a["us_of_cpu_per_record"] / b["us_of_cpu_per_record"] for a, b in pairs
        ),
        "uvloop_rss_mib": uvloop["rss_mib"],
        "asyncio_rss_mib": own["rss_mib"],
    }
