"""OOM kills on the real kernel: the full cgroup, the victim and the trigger."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from receiver.events import Exit, OomKill, OomScope, Signal
from tests.live.conftest import Witness, python
from tests.live.deaths import SLEEP, finish, ready
from tests.waiting import eventually

pytestmark = pytest.mark.live


def test_an_oom_kill_in_a_cgroup_tells_limit_usage_and_victim(
    witness: Witness, memory_cgroup: Path
) -> None:
    child = python(
        "import sys\nsys.stdin.readline()\nx = []\nwhile True: x.append(b'y' * (1 << 20))",
        stdin=subprocess.PIPE,
    )
    (memory_cgroup / "cgroup.procs").write_text(str(child.pid))
    assert child.stdin
    child.stdin.write("go\n")
    child.stdin.close()
    assert child.wait() == -signal.SIGKILL
    event = witness.one(child.pid, OomKill)
    assert event.scope == OomScope.CGROUP
    assert event.limit_bytes == 48 << 20
    assert event.usage_bytes == pytest.approx(48 << 20, abs=2 << 20)
    assert event.memory_cgroup == event.victim_cgroup == f"/{memory_cgroup.name}"
    assert event.anon_rss_bytes > 30 << 20
    assert event.trigger == event.victim == witness.one(child.pid, Exit).process
    # the zones' own counts: /proc/meminfo also counts memory whose initialisation is still deferred
    managed = sum(
        int(n) for n in re.findall(r"managed\s+(\d+)", Path("/proc/zoneinfo").read_text())
    )
    assert event.host_total_bytes == pytest.approx(managed * os.sysconf("SC_PAGE_SIZE"), rel=0.05)
    assert 0 < event.host_free_bytes < event.host_total_bytes
    killed = witness.of(child.pid, Signal)[-1]
    assert (killed.signal, killed.code) == (9, 128)


def test_an_oom_kill_by_a_neighbour_names_victim_and_trigger(
    witness: Witness, memory_cgroup: Path
) -> None:
    quiet = python(
        "x = bytearray(30 << 20)\nx[::4096] = b'x' * len(x[::4096])\n" + SLEEP,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: (memory_cgroup / "cgroup.procs").write_text(str(os.getpid())),
    )
    ready(quiet)
    growing = python(
        "x = []\nfor _ in range(22): x.append(b'y' * (1 << 20))\n" + SLEEP,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: (memory_cgroup / "cgroup.procs").write_text(str(os.getpid())),
    )
    finish(quiet)
    ready(growing)
    growing.kill()
    finish(growing)
    event = witness.one(quiet.pid, OomKill)
    assert event.trigger.tgid == growing.pid
    assert event.victim.tgid == quiet.pid


def removed(group: Path) -> bool:
    """The kernel empties it a moment after the last exit."""
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()


def test_an_oom_kill_below_a_full_parent_names_the_parent(
    witness: Witness, memory_cgroup: Path
) -> None:
    if not (memory_cgroup / "memory.limit_in_bytes").exists():
        (memory_cgroup / "cgroup.subtree_control").write_text("+memory")
    inner = memory_cgroup / "inner"
    inner.mkdir()
    try:
        if (memory_cgroup / "memory.use_hierarchy").exists():
            assert (memory_cgroup / "memory.use_hierarchy").read_text().strip() == "1"
        child = python(
            "x = []\nwhile True: x.append(b'y' * (1 << 20))",
            preexec_fn=lambda: (inner / "cgroup.procs").write_text(str(os.getpid())),
        )
        child.wait()
        event = witness.one(child.pid, OomKill)
        assert event.memory_cgroup == f"/{memory_cgroup.name}"
        assert event.victim_cgroup == f"/{memory_cgroup.name}/inner"
    finally:
        eventually(lambda: removed(inner), "an empty cgroup")
