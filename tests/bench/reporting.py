"""How long an investigation takes after the closing event, on a timeline of 100,000 facts."""

from __future__ import annotations

import gc
import os
import signal
import time

from receiver.events import ProcessKey
from receiver.investigate.compose import investigate
from tests.builders import Story

PROCESSES, FILES = 1950, 24


def reporting() -> dict[str, float]:
    """Seconds for the report, and as a share of what taking the facts in has cost."""
    story = Story()
    began = time.perf_counter()
    root = story.command("bash", "job.sh")
    for number in range(PROCESSES):
        step = story.spawn(root, "python3", f"step{number % 40}.py")
        for file in range(FILES):
            inode = 1000 + (number * FILES + file) % 20_000
            name = f"/data/day=2024-01-{file % 28 + 1:02}/part-{inode}.csv"
            if number % 2:
                story.reads(step, name, inode=inode, size=1 << 20)
            else:
                story.writes(step, name, inode=inode, size=1 << 20)
        story.exit(step, after_ms=20)
    torn = story.spawn(root, "python3", "export.py")
    story.opens(torn, "/data/out.csv", os.O_WRONLY | os.O_CREAT, inode=7)
    story.signal(ProcessKey(666, 5), torn, signal.SIGTERM, comm="drainer")
    story.open_file(torn, "/data/out.csv", inode=7, signal=15)
    story.exit(torn, signal=signal.SIGTERM)
    story.exit(root, 143)
    taken = time.perf_counter() - began
    execution = story.core.watched(root.tgid)
    assert execution is not None
    seconds = []
    for _ in range(3):
        gc.collect()
        start = time.perf_counter()
        report = investigate(story.core.case(execution, story.now))
        seconds.append(time.perf_counter() - start)
    assert report.verdict == "incident"
    return {
        "facts": float(len(story.records)),
        "report_seconds": min(seconds),
        "of_taking_them_in": min(seconds) / taken,
    }
