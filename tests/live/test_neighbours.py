"""Processes that nobody watches, where they share memory or CPU with a watched one."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from receiver.events import Neighbour, ProcessSample
from tests.live.conftest import Watched, python
from tests.live.looks import look, ready

pytestmark = pytest.mark.live


def test_a_neighbour_in_the_same_memory(watched: Watched, memory_cgroup: Path) -> None:
    """It is not watched, and it is told of by name and growth."""
    victim = watched.start("input()", stdin=subprocess.PIPE)
    neighbour = python(
        (
            "input(); d = bytearray(20 << 20); d[::4096] = b'x' * len(d[::4096]); "
            "print('up', flush=True); input()"
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    for process in (victim, neighbour):
        (memory_cgroup / "cgroup.procs").write_text(str(process.pid))
    look(watched, victim.pid, ProcessSample)  # from now on its cgroup is known
    look(watched, neighbour.pid, Neighbour)
    assert neighbour.stdin is not None
    neighbour.stdin.write("\n")
    neighbour.stdin.flush()
    ready(neighbour)
    (event,) = look(watched, neighbour.pid, Neighbour)
    assert event.shares_memory_cgroup and 18 << 20 < event.rss_growth_bytes < 24 << 20
    assert event.comm.startswith("python")
    victim.communicate("\n")
    neighbour.communicate("\n")


def test_a_neighbours_cpu_is_that_of_all_its_threads(watched: Watched) -> None:
    watched.run("pass")
    neighbour = python(
        """
import threading, time
def burn():
    while time.thread_time() < 1.5: pass
threading.Thread(target=burn).start(); time.sleep(9)
"""
    )
    time.sleep(0.2)
    look(watched, neighbour.pid, Neighbour)
    time.sleep(0.8)
    (event,) = look(watched, neighbour.pid, Neighbour)
    assert event.cpu_ns > event.interval_ns // 4
    neighbour.kill()
    neighbour.wait()
