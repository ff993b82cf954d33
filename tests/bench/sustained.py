"""In a process of its own: the whole pipeline under a steady rate of lifecycles.
Prints one line of JSON."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys

from receiver.kernel.clock import boottime_ns
from receiver.kernel.source_config import SourceConfig
from receiver.model import CoreOptions, Watch
from receiver.service.app import Observer
from receiver.service.host import losses_of
from tests.bench.sink import sink_hub


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def main(storm: str, per_second: str, seconds: str, every_exit: str) -> None:
    hub, sinks = sink_hub()
    observer = Observer(SourceConfig(), CoreOptions(exit_events=every_exit == "1"), hub)
    observer.start()
    child = await asyncio.create_subprocess_exec(
        storm, "rate", per_second, seconds, stdout=asyncio.subprocess.PIPE
    )
    observer.session.watch(Watch(child.pid, os.getpid(), "storm"), boottime_ns())
    before = cpu()
    running = asyncio.create_task(observer.run())
    out, _ = await child.communicate()
    observer.stop.set()
    await running
    observer.end()
    await hub.shutdown(10)
    spent = cpu() - before
    events = observer.core.counts.total()
    lifecycles, elapsed_ns = map(int, out.split())
    print(
        json.dumps(
            {
                "lifecycles_per_second": lifecycles / elapsed_ns * 1e9,
                "events": events,
                "lost": sum(losses_of(observer.source.ledger()).values()),
                "our_cpu_us_per_event": spent / events * 1e6,
                "our_cpu_share_of_one_core": spent / elapsed_ns * 1e9,
                "otlp_bytes": sum(s.bytes for s in sinks),
                "queue_dropped": sum(p.queue.dropped.total() for p in hub.pipelines),
            }
        )
    )
    observer.source.close()


asyncio.run(main(*sys.argv[1:]))
