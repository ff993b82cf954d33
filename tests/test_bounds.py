"""The core under more of everything than it keeps: memory stays within its bound,
and what is forgotten is counted."""

from __future__ import annotations

import gc
import os
import tracemalloc

from receiver.events import Connection, ConnectionStage, ProcessSample
from receiver.model import CoreOptions
from receiver.units import MIB
from tests.builders import Story


def test_100_000_files_50_000_connections_10_000_processes() -> None:
    """All alive at once, all of one task. The figure is Python's own memory;
    the bound is twice what was measured (177 MiB)."""
    story = Story(CoreOptions(process_limit=20_000))
    root = story.command("bash", "-c", "x")
    gc.collect()
    tracemalloc.start()
    workers = [story.fork(root) for _ in range(10_000)]
    for number, worker in enumerate(workers):
        for file in range(10):
            inode = number * 10 + file + 1
            story.opens(worker, f"/data/{inode}", os.O_WRONLY | os.O_CREAT, inode=inode)
        for link in range(5):
            story.fact(
                Connection,
                worker,
                connection_id=number * 5 + link + 1,
                stage=ConnectionStage.CONNECTED,
                family=2,
                peer_low=number + 1,
                peer_port=80,
                established_boottime_ns=1,
            )
        story.fact(ProcessSample, worker, anon_bytes=MIB, threads=1)
        story.records.clear()
        story.opened.clear()
    story.tick()
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    core = story.core
    assert len(core.activity.network.table.open) == 50_000
    assert core.activity.drops()["forgotten_file"] == 100_000 - len(core.facts.versions)
    assert used < 360 * MIB, f"{used / MIB:.0f} MiB"
    for worker in workers:
        story.exit(worker, after_ms=0)
    story.tick(10)
    gc.collect()
    assert len(core.activity.network.table.open) == 0
    assert len(core.tree) < 10
