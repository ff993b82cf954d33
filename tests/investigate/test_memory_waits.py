"""Waits for memory of a full cgroup: they look like waits for storage, and are none."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from receiver.events import MemoryWait, ProcessKey, ProcessSample, ThreadWait, WaitStack
from receiver.investigate.report import Hypothesis
from receiver.units import MIB, SECOND
from tests.builders import Story
from tests.investigate.telling import report_of

LIMIT = {"memory_cgroup_id": 2, "limit_bytes": 200 * MIB, "usage_bytes": 200 * MIB}


def stuck(story: Story, key: ProcessKey, frames: str, *, killer_off: bool = True) -> None:
    """Eight seconds in uninterruptible sleep, as the samples of each second show it."""
    for second in range(8):
        story.fact(
            ProcessSample,
            key,
            anon_bytes=199 * MIB,
            threads=1,
            disk_threads=1,
            memory_cgroup_id=2,
            memory_limit_bytes=200 * MIB,
            memory_usage_bytes=200 * MIB,
        )
        if killer_off:
            story.fact(MemoryWait, key, killer_disabled=1, **LIMIT)
        if second == 3:
            wait: dict[str, Any] = {
                "thread": key.tgid,
                "thread_state": 258,
                "call_number": 0xFFFFFFFF,
            }
            story.fact(ThreadWait, key, idle_ns=3 * SECOND, **wait)
            story.fact(WaitStack, key, thread=key.tgid, frames=frames)
        story.tick()


def lead_of(frames: str, **how: Any) -> Hypothesis:
    story = Story()
    root = story.command("bash", "run.sh")
    limit = story.spawn(root, "timeout", "8", "python3", "enrich.py")
    step = story.spawn(limit, "python3", "enrich.py")
    stuck(story, step, frames, **how)
    story.signal(limit, step, signal.SIGKILL, comm="timeout")
    story.exit(step, signal=signal.SIGKILL)
    story.exit(limit, 137)
    story.exit(root, 137)
    return report_of(story).hypotheses[0]


def test_a_full_cgroup_without_its_oom_killer_is_no_slow_storage() -> None:
    lead = lead_of("mem_cgroup_oom_synchronize+0x155/0x1a0 pagefault_out_of_memory+0xf/0x70")
    assert (lead.cause, lead.culprit.cgroup) == ("mem.oom_disabled", "/jobs/one")
    assert "reached its limit of 200.0 MiB, and its OOM killer is off" in lead.summary


@pytest.mark.parametrize("frames", ["io_schedule+0x1/0x2 folio_wait_bit_common+0x1/0x2"])
def test_the_same_wait_at_a_disk_is_slow_storage(frames: str) -> None:
    lead = lead_of(frames, killer_off=False)
    assert lead.cause == "fs.slow_io"


def test_a_wait_above_memory_high_is_told_by_its_stack() -> None:
    lead = lead_of("__mem_cgroup_handle_over_high+0x1/0x2 task_work_run+0x1/0x2", killer_off=False)
    assert lead.cause == "mem.high"
