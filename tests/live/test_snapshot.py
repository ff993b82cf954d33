"""Processes from before and processes from now are one tree: nobody twice, nobody missing."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.attribution.declared import DECLARED
from receiver.kernel.clock import boottime_ns
from receiver.kernel.source import LiveSource
from receiver.kernel.source_config import SourceConfig
from receiver.observe.core import Core
from tests.builders import HOST

pytestmark = pytest.mark.live
STORM = """
import os, sys, time
for _ in range(600):
    pid = os.fork()
    if not pid:
        time.sleep(120); os._exit(0)
    if not os.fork(): os._exit(0)
    print(pid, flush=True)
    try: os.waitpid(-1, os.WNOHANG)
    except ChildProcessError: pass
time.sleep(120)
"""


def test_attaching_in_a_fork_storm_misses_and_doubles_nobody(live: None) -> None:
    storm = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", STORM],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert storm.stdout
    try:
        started = {int(storm.stdout.readline()) for _ in range(150)}
        source = LiveSource(SourceConfig(), DECLARED.capture)
        try:
            core = Core(HOST)
            core.feed(source.existing(), boottime_ns())
            started |= {int(storm.stdout.readline()) for _ in range(450)}
            while children_of(storm.pid) != started:  # the last short one is still there
                os.sched_yield()
            more = True
            while more:
                batch, more = source.drain()
                core.feed(batch, boottime_ns())
        finally:
            source.close()
        known = [
            p
            for p in core.tree.processes()
            if p.exit is None and p.parent is not None and p.parent.key.tgid == storm.pid
        ]
        pids = [p.key.tgid for p in known]
        assert len(pids) == len(set(pids))
        assert set(pids) == started
        tick = 10**9 // os.sysconf("SC_CLK_TCK")
        for process in known:
            fields = Path(f"/proc/{process.key.tgid}/stat").read_text().rpartition(")")[2].split()
            assert process.key.start_boottime_ns // tick == int(fields[19])
    finally:
        os.killpg(storm.pid, 9)
        storm.wait()
        storm.stdout.close()


def children_of(pid: int) -> set[int]:
    """Living children by /proc; zombies have ended."""
    found = set()
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            stat = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            if stat[0] != "Z":
                found.add(int(child))
    return found
