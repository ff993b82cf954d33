"""In a process of its own: our resident memory with many processes to know.
Prints one line of JSON."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from receiver.export.hub import Hub
from receiver.export.settings import from_environment
from receiver.kernel.clock import boottime_ns
from receiver.kernel.source_config import SourceConfig
from receiver.model import CoreOptions, Watch
from receiver.service.app import Observer
from tests.bench.sink import sink_hub


def rss_mib() -> float:
    return (
        int(Path("/proc/self/statm").read_text().split()[1])
        * os.sysconf("SC_PAGE_SIZE")
        / (1 << 20)
    )


def start(observer: Observer, *command: str) -> subprocess.Popen[bytes]:
    """Not awaited: the watch must stand before the fork's event is read."""
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    observer.session.watch(Watch(child.pid, os.getpid(), command[1]), boottime_ns())
    return child


async def wait(child: subprocess.Popen[bytes]) -> None:
    """For its end, and until the dead are forgotten."""
    await asyncio.to_thread(child.wait)
    await asyncio.sleep(6)


async def main(storm: str, away: str) -> None:
    # the gRPC exporter is loaded either way; with nobody answering its queues fill to their bounds
    hub = Hub(
        from_environment(
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            }
        ),
        "bench",
    )
    if away != "1":
        hub, _ = sink_hub()
    observer = Observer(SourceConfig(), CoreOptions(), hub)
    observer.start()
    running = asyncio.create_task(observer.run())
    result = {"idle_mib": rss_mib()}
    idle = start(observer, storm, "idle", "10000")
    await asyncio.sleep(6)
    result["live_processes"] = sum(e.live for e in observer.core.executions.open.values())
    result["with_10000_live_mib"] = rss_mib()
    assert idle.stdin
    idle.stdin.close()
    await wait(idle)
    result["after_they_ended_mib"] = rss_mib()
    await wait(start(observer, storm, "fork", "100000"))
    result["after_100000_short_mib"] = rss_mib()
    result["known_processes"] = len(observer.core.tree)
    observer.stop.set()
    await running
    print(json.dumps(result))
    observer.end()
    await observer.close(0.1)


asyncio.run(main(*sys.argv[1:]))
