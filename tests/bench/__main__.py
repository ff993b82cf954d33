"""`make bench`: measures on this machine, prints, and writes docs/performance.md.
Ratios are taken within one run, in turns."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from receiver.attribution.declared import DECLARED
from receiver.export import encode
from receiver.export.encode import Envelope, log_record
from receiver.kernel.source import LiveSource
from receiver.kernel.source_config import SourceConfig
from receiver.model import CoreOptions
from receiver.observe.core import Core
from receiver.semconv import SCHEMA_URL
from receiver.service.host import this_host
from receiver.signals import EMPTY, LogRecord, ResourceAttributes, Severity
from tests.bench.insights import event_loops, insights, insights_service
from tests.bench.overhead import overhead
from tests.bench.real import real
from tests.bench.reporting import reporting

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LIVE_HOST = this_host()
AIRFLOW = {
    "AIRFLOW_CTX_DAG_ID": "bench",
    "AIRFLOW_CTX_TASK_ID": "storm",
    "AIRFLOW_CTX_DAG_RUN_ID": "r",
    "PATH": os.environ["PATH"],
}


def best(function: Callable[[], object], number: int, repeat: int = 7) -> float:
    """Microseconds per call, the fastest of `repeat` rounds."""
    rounds = []
    for _ in range(repeat):
        start = time.perf_counter()
        for _ in range(number):
            function()
        rounds.append((time.perf_counter() - start) / number)
    return min(rounds) * 1e6


def _exit_record() -> LogRecord:
    """One log record of 15 attributes, 10 of them shared."""
    task = ResourceAttributes(tuple((f"pipeline.attribute.n{i}", f"value-{i}") for i in range(5)))
    process = ResourceAttributes(tuple((f"process.attribute.n{i}", i * 1000) for i in range(5)))
    own = (
        ("process.exit.code", 137),
        ("process.exit.cause", "oom_killed"),
        ("error.type", "oom_killed"),
        ("event.name", "process.exit"),
        ("log.record.uid", "5e55104e5e55-1-2-3"),
    )
    return LogRecord(
        EMPTY,
        10**18,
        10**18 + 5,
        Severity.ERROR,
        "process.exit",
        "python3 (4711) was killed by the OOM killer.",
        b"\1" * 16,
        b"\2" * 8,
        (task, process),
        own,
    )


def _by_generated_classes(record: LogRecord) -> Callable[[], bytes]:
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as Message
    from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber

    (task, process), own = record.shared, record.attributes

    def naive() -> bytes:
        message = Message(
            time_unix_nano=record.time_ns,
            observed_time_unix_nano=record.observed_ns,
            severity_number=SeverityNumber.SEVERITY_NUMBER_ERROR,
            severity_text="ERROR",
            event_name=record.event_name,
            trace_id=record.trace_id,
            span_id=record.span_id,
            flags=1,
        )
        message.body.string_value = record.body
        for name, value in task.items + process.items + own:
            pair = message.attributes.add()
            pair.key = name
            if isinstance(value, int):
                pair.value.int_value = value
            else:
                pair.value.string_value = str(value)
        return bytes(message.SerializeToString())

    assert Message.FromString(naive()) == Message.FromString(log_record(record))
    return naive


def encoding() -> dict[str, float]:
    """One log record of 15 attributes, 10 of them shared: ours against the generated classes,
    in turns."""
    record = _exit_record()
    own, naive = record.attributes, _by_generated_classes(record)
    # a uid of its own for each, as in life: what is shared may be remembered, what is not
    # must not help
    records = [
        replace(record, attributes=(*own[:-1], (own[-1][0], f"5e55104e5e55-1-{n}-{n}")))
        for n in range(20_000)
    ]
    feed = iter(records * 2)
    rounds = [
        (best(lambda: log_record(next(feed)), 2000, 1), best(naive, 500, 1)) for _ in range(15)
    ]
    ours, theirs = min(r[0] for r in rounds), min(r[1] for r in rounds)
    return {"ours_us": ours, "protobuf_us": theirs, "ratio": theirs / ours}


def storm(*arguments: str, env: dict[str, str] | None = None) -> list[int]:
    done = subprocess.run(
        [str(storm_binary()), *arguments], check=True, capture_output=True, text=True, env=env
    )
    return [int(n) for n in done.stdout.split()]


def storm_binary() -> Path:
    target = Path(tempfile.gettempdir()) / f"kwitness-storm-{os.getpid()}"
    if not target.exists():
        subprocess.run(["cc", "-O2", "-o", str(target), str(HERE / "storm.c")], check=True)
    return target


def captured(count: int) -> list[bytes]:
    """Real records of `count` attributed process lifecycles with exec."""
    source = LiveSource(SourceConfig(lifecycle_ring_bytes=64 << 20), DECLARED.capture)
    storm("exec", str(count), env=AIRFLOW)
    records: list[bytes] = []
    more = True
    while more:
        batch, more = source.drain()
        records += batch
    source.close()
    return records


def core_cost() -> dict[str, float]:
    """Ring bytes to OTLP request bytes, per lifecycle event:
    decode, tree, attribution, findings, synthesis, encoding, envelope.

    Once with the default policy (short processes fold) and once with a span and a log record for
    every process.
    """
    records = captured(4000)
    out: dict[str, float] = {"events": len(records)}
    for label, options in (
        ("default", CoreOptions()),
        ("every_exit_logged", CoreOptions(exit_events=True)),
    ):
        rounds = []
        for _ in range(5):
            core = Core(LIVE_HOST, options)
            envelope = Envelope("receiver", "0", SCHEMA_URL)
            sent = 0
            start = time.process_time()
            for at in range(0, len(records), 256):
                core.feed(records[at : at + 256], 1)
                signals = core.take()
                logs = [(s.resource, log_record(s)) for s in signals if isinstance(s, LogRecord)]
                spans = [
                    (s.resource, encode.span(s)) for s in signals if not isinstance(s, LogRecord)
                ]
                sent += len(envelope.request(logs)) + len(envelope.request(spans))
            rounds.append((time.process_time() - start) / len(records) * 1e6)
            assert sent or label == "default"
        out[f"{label}_us"] = min(rounds)
    return out


def drain_rate() -> dict[str, float]:
    """Records out of the ring into Python bytes, nothing else."""
    source = LiveSource(SourceConfig(lifecycle_ring_bytes=64 << 20), DECLARED.capture)
    storm("exec", "6000")
    count, start = 0, time.perf_counter()
    more = True
    while more:
        batch, more = source.drain()
        count += len(batch)
    seconds = time.perf_counter() - start
    source.close()
    return {
        "records": count,
        "records_per_second": count / seconds,
        "us_per_record": seconds / count * 1e6,
    }


def sustained(every_exit: bool, per_second: int = 5000, seconds: int = 20) -> dict[str, float]:
    """The whole service in its own process under `per_second` attributed lifecycles:
    our CPU per event, the better of two runs, and the losses of both."""
    command = [
        sys.executable,
        "-m",
        "tests.bench.sustained",
        str(storm_binary()),
        str(per_second),
        str(seconds),
        str(int(every_exit)),
    ]
    runs: list[dict[str, float]] = []
    for _ in range(2):
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        runs.append({k: float(v) for k, v in json.loads(done.stdout.splitlines()[-1]).items()})
    best_run = min(runs, key=lambda r: r["our_cpu_us_per_event"])
    return best_run | {"lost": sum(r["lost"] for r in runs)}


def startup() -> dict[str, float]:
    """Start to attached, and what `kwitness run -- true` adds to `true`."""
    attach = []
    for _ in range(5):
        start = time.perf_counter()
        LiveSource(SourceConfig(), DECLARED.capture).close()
        attach.append(time.perf_counter() - start)
    plain = best(lambda: subprocess.run(["/bin/true"], check=True), 10, 3) / 1e6
    kwitness = [
        str(Path(sys.executable).with_name("kwitness")),
        "run",
        "--quiet",
        "--",
        "/bin/true",
    ]
    observed = best(lambda: subprocess.run(kwitness, check=True), 1, 7) / 1e6
    return {"attach_seconds": min(attach), "run_true_adds_seconds": observed - plain}


def memory(away: bool) -> dict[str, float]:
    """RSS of the service below 10,000 living attributed processes, and after 100,000 short ones."""
    command = [sys.executable, "-m", "tests.bench.footprint", str(storm_binary()), str(int(away))]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return {k: float(v) for k, v in json.loads(done.stdout.splitlines()[-1]).items()}


BENCHES: dict[str, Callable[[], dict[str, float]]] = {
    "encoding": encoding,
    "core_cost": core_cost,
    "drain_rate": drain_rate,
    "sustained": lambda: sustained(False),
    "sustained_every_exit": lambda: sustained(True),
    "startup": startup,
    "memory": lambda: memory(False),
    "memory_collector_away": lambda: memory(True),
    "overhead": lambda: overhead(storm_binary()),
    "real": real,
    "reporting": reporting,
    "insights": insights,
    "insights_service": insights_service,
    "event_loops": event_loops,
}


def main() -> None:
    chosen = sys.argv[1:] or list(BENCHES)
    results: dict[str, dict[str, float]] = {}
    for name in chosen:
        results[name] = BENCHES[name]()
        print(name, json.dumps({k: round(v, 4) for k, v in results[name].items()}), flush=True)
    storm_binary().unlink()
    if len(chosen) == len(BENCHES):
        from tests.bench.report import write

        write(
            ROOT / "docs" / "performance.md",
            results,
            f"{platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        )


if __name__ == "__main__":
    main()
