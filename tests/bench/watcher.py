"""The service of the overhead benches: `python -m tests.bench.watcher calls|idle`.
Says "up", observes until its stdin ends, and prints what it cost."""

from __future__ import annotations

import asyncio
import json
import resource
import sys

from receiver.kernel.source_config import SourceConfig
from receiver.model import CoreOptions
from receiver.service.app import Observer
from receiver.service.host import losses_of


async def main(follow: bool) -> None:
    observer = Observer(SourceConfig(), CoreOptions(), None)
    observer.start()
    if follow:
        observer.source.watch([])
    before = resource.getrusage(resource.RUSAGE_SELF)
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, observer.stop.set)
    print("up", flush=True)
    await observer.run()
    loop.remove_reader(sys.stdin)
    observer.end()
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    lost = sum(losses_of(observer.source.ledger()).values())
    await observer.close(0)
    print(json.dumps({"cpu_seconds": cpu, "lost": lost, "events": observer.core.counts.total()}))


asyncio.run(main(sys.argv[1] == "calls"))
