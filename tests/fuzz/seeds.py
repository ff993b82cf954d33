"""Good inputs of each target, to start from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from receiver import semconv as sc
from receiver.export import encode
from receiver.kernel.decode import split
from receiver.observe.core import Core
from receiver.observe.recording import MAGIC, Recording
from receiver.observe.replay import replay
from receiver.observe.session import Session
from receiver.signals import LogRecord
from tests.fuzz.targets import SCENARIOS
from tests.kernel import datagrams

SEED_BYTES = 40_000  # a longer recording makes each run too slow to search with


def _logs_of(path: Path) -> bytes:
    """The log records of a recording, as one request that our own exporter would send."""
    found = Recording(path)
    core = Core(found.header.host)
    replay(Session(core), found)
    records = [(s.resource, encode.log_record(s)) for s in core.take() if isinstance(s, LogRecord)]
    return encode.Envelope("receiver", "0", sc.SCHEMA_URL).request(records)


def seeds(name: str) -> Iterator[bytes]:
    """Good inputs to start from."""
    match name:
        case "frames" | "recording":
            for path in sorted(SCENARIOS.rglob("*.kw")):
                data = path.read_bytes()
                if len(data) <= SEED_BYTES:
                    yield data if name == "recording" else data[data.index(b"\n", len(MAGIC)) + 1 :]
        case "event":
            for frame in Recording(SCENARIOS / "lineage.kw"):
                if frame.kind == 1:
                    yield from split(frame.payload)
        case "otlp":
            for story in ("retry", "lineage", "demo"):
                yield _logs_of(SCENARIOS / f"{story}.kw")
        case "webhook":
            yield b'{"pipeline": "x", "from": "2026-01-01T00:00:00Z"}'
            yield b'{"alerts": [{"labels": {"dag_id": "x"}, "startsAt": "2026-01-01T00:00:00Z"}]}'
        case "configuration":
            yield (
                b'shutdown_seconds = 2.5\n[kernel]\nsource = "auto"\n[[rule]]\nargv = "*/x.sh"\n'
                b'system = "s"\n'
            )
        case "procfs":
            yield b"name\0/a/b\0HOME=/\0AIRFLOW_CTX_DAG_ID=x"
            yield b"a\x0cPPid:\t0\0/x\x0cy"
        case "connector":
            yield datagrams.forked(5, 9) + datagrams.executed(9)
            yield datagrams.renamed(9, b"name") + datagrams.exited(9, 9)
        case "accounting":
            yield datagrams.taskstats(16, 480, datagrams.USED)
            yield datagrams.taskstats(15, 560, datagrams.USED_15)
        case "diagnosis":
            yield datagrams.connection(datagrams.INODE, "10.0.0.1", 80)
            yield datagrams.connection(datagrams.INODE, "fe80::1", 80)
        case "environment":
            yield (
                b"OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318\0"
                b"OTEL_EXPORTER_OTLP_HEADERS=a=b,c=%20"
            )
        case "answer":
            yield b"\xf7\x01120\0" + b"\x0a\x04\x08\x01\x12\x00"
