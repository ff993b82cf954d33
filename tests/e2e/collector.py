"""A real OpenTelemetry Collector, started with our otel-collector.yaml, and what it wrote."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conftest import missing
from tests.livecheck import check_json, values

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 60.0
# A name for the pipelines of this process: several suites may run on one host, and each service
# sees the work of all.
PIPELINE = f"e2e_{os.getpid()}"


def binary() -> Path | None:
    """Where `make collector` left it; None when it is not built."""
    version = next(
        line.split(": ")[1]
        for line in (ROOT / "tools/collector.yaml").read_text().splitlines()
        if "otelcol_version" in line
    )
    cache = Path(
        os.environ.get("KWITNESS_CACHE")
        or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kwitness"
    )
    found = sorted(cache.glob(f"otelcol-{version.strip()}-*/otelcol"))
    return found[-1] if found else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Collector:
    """`start`, `stop` and again; the ports and the output stay the same."""

    def __init__(self, executable: Path, output: Path) -> None:
        self._executable = executable
        self.output = output
        self.grpc, self.http, self.health, self.prometheus, self._telemetry = (
            free_port() for _ in range(5)
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        env = {
            "PATH": os.environ["PATH"],
            "OTELCOL_GRPC": f"127.0.0.1:{self.grpc}",
            "OTELCOL_HTTP": f"127.0.0.1:{self.http}",
            "OTELCOL_HEALTH": f"127.0.0.1:{self.health}",
            "OTELCOL_PROMETHEUS": f"127.0.0.1:{self.prometheus}",
            "OTELCOL_TELEMETRY_PORT": str(self._telemetry),
            "OTELCOL_OUTPUT": str(self.output),
        }
        with (self.output / "otelcol.log").open("ab") as log:
            command = [str(self._executable), "--config", str(ROOT / "otel-collector.yaml")]
            self._process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.health}", timeout=1):
                    return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.output / "otelcol.log").read_text()[-2000:]) from None
                time.sleep(0.05)

    def stop(self) -> None:
        """Gracefully: what was accepted is on disk afterwards."""
        if self._process:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def wrote(self, text: str, signal: str = "traces") -> bool:
        """Whether the text is in its file so far; the last line may still be incomplete."""
        path = self.output / f"{signal}.jsonl"
        return path.exists() and text in path.read_text()

    def requests(self, signal: str) -> list[dict[str, Any]]:
        """All Export*ServiceRequests so far. Stop the Collector first."""
        path = self.output / f"{signal}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def spans(self, pipeline: str = "") -> list[dict[str, Any]]:
        """All, or those of one pipeline: a service sees the work of the whole host."""
        found = [
            s
            for r in self.requests("traces")
            for x in r["resourceSpans"]
            for y in x["scopeSpans"]
            for s in y["spans"]
        ]
        return _of([s | {"values": values(s.get("attributes", []))} for s in found], pipeline)

    def logs(self, pipeline: str = "") -> list[dict[str, Any]]:
        found = [
            s
            for r in self.requests("logs")
            for x in r["resourceLogs"]
            for y in x["scopeLogs"]
            for s in y["logRecords"]
        ]
        return _of([s | {"values": values(s.get("attributes", []))} for s in found], pipeline)

    def metrics(self) -> dict[str, dict[str, Any]]:
        """The last value of each metric."""
        found = [
            s
            for r in self.requests("metrics")
            for x in r["resourceMetrics"]
            for y in x["scopeMetrics"]
            for s in y["metrics"]
        ]
        return {m["name"]: m for m in found}

    def points(self, metric: str, pipeline: str) -> list[dict[str, Any]]:
        """The last points of a metric that are about one pipeline."""
        found = self.metrics()[metric]["sum"]["dataPoints"]
        return _of([p | {"values": values(p.get("attributes", []))} for p in found], pipeline)

    def violations(self) -> list[str]:
        return [
            v
            for name in ("traces", "logs", "metrics")
            for r in self.requests(name)
            for v in check_json(r)
        ]


def _of(items: list[dict[str, Any]], pipeline: str) -> list[dict[str, Any]]:
    return [i for i in items if not pipeline or i["values"].get("pipeline.name") == pipeline]


@contextlib.contextmanager
def running(place: Path) -> Iterator[Collector]:
    """One that writes below `place`; skips (or fails, where it is required) when it
    is not built."""
    executable = binary()
    if executable is None:
        missing("e2e", "the Collector is not built (make collector)")
        raise AssertionError
    output = place / "collector"
    output.mkdir()
    found = Collector(executable, output)
    found.start()
    try:
        yield found
    finally:
        found.stop()
