"""What the kernel half tells of a full memory at the moment of an OOM kill."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.events import LookFlag, MemberFlag, MemoryWait, OomKill, OomMember, OomMemory
from receiver.kernel.decode import decode
from receiver.text.redact import Redactor
from receiver.units import MIB
from tests.live.conftest import Watched, Witness, python
from tests.live.deaths import finish, ready
from tests.waiting import eventually

pytestmark = pytest.mark.live
HOLD = "b = bytearray(b'x' * ({mib} << 20)); print('ready', flush=True); input()"
GROW = "x = []\nwhile True: x.append(b'y' * (1 << 20))"


def inside(group: Path, code: str, **options: object) -> subprocess.Popen[str]:
    return python(
        code, preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())), **options
    )


@pytest.fixture
def held(memory_cgroup: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds 16 MiB in the memory cgroup, and does not grow."""
    child = inside(
        memory_cgroup, HOLD.format(mib=16), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    ready(child)
    yield child
    child.kill()
    assert child.stdin
    child.stdin.close()
    finish(child)


def test_the_members_of_the_full_memory_are_told_before_the_kill(
    witness: Witness, memory_cgroup: Path, held: subprocess.Popen[str]
) -> None:
    """Nobody is watched, and the second process does not grow."""
    victim = inside(memory_cgroup, GROW)
    victim.wait()
    kill = witness.one(victim.pid, OomKill)
    members = {e.process.tgid: e for e in witness.all(OomMember) if e.victim == kill.victim}
    assert set(members) == {victim.pid, held.pid}
    assert members[victim.pid].member_flags == MemberFlag.VICTIM | MemberFlag.TRIGGER
    assert members[held.pid].member_flags == 0
    assert 16 * MIB <= members[held.pid].anon_bytes < 24 * MIB
    assert members[victim.pid].private_bytes >= members[victim.pid].anon_bytes
    assert all(e.time_boottime_ns <= kill.time_boottime_ns for e in members.values())


def test_the_parts_of_the_full_memory_add_up(witness: Witness, memory_cgroup: Path) -> None:
    """A process that grows, and a file in a tmpfs that is nobody's memory."""
    file = Path("/dev/shm") / f"kwitness-{os.getpid()}"
    try:
        victim = inside(memory_cgroup, f"open('{file}', 'wb').write(b'z' * (8 << 20))\n" + GROW)
        victim.wait()
    finally:
        file.unlink()
    memory = witness.one(victim.pid, OomMemory)
    assert memory.look_flags == LookFlag.PARTS_KNOWN
    assert (memory.members, memory.named, memory.groups) == (1, 1, 1)
    assert memory.limit_bytes == 48 << 20
    lists = memory.anon_list_bytes + memory.file_list_bytes + memory.unevictable_bytes
    assert lists + memory.kernel_bytes == pytest.approx(memory.usage_bytes, abs=2 << 20)
    assert memory.anon_list_bytes - memory.anon_bytes == pytest.approx(8 << 20, abs=1 << 20)


def test_members_in_groups_below_the_full_one_count(
    witness: Witness, memory_cgroup: Path, held: subprocess.Popen[str]
) -> None:
    if not (memory_cgroup / "memory.limit_in_bytes").exists():
        pytest.skip("cgroup v2 has no processes in a group with children")
    inner = memory_cgroup / "inner"
    inner.mkdir()
    try:
        victim = inside(inner, GROW)
        victim.wait()
        members = {e.process.tgid for e in witness.all(OomMember) if e.victim.tgid == victim.pid}
        assert members == {victim.pid, held.pid}
        assert witness.one(victim.pid, OomMemory).groups == 2
    finally:
        inner.rmdir()


def test_a_full_group_without_its_oom_killer_is_told_with_the_samples(
    watched: Watched, memory_cgroup: Path
) -> None:
    control = memory_cgroup / "memory.oom_control"
    if not control.exists():
        pytest.skip("cgroup v2 has no switch for its OOM killer")
    control.write_text("1")
    with watched.witness.source.watching_self():
        child = inside(memory_cgroup, GROW)
    eventually(lambda: "under_oom 1" in control.read_text(), "a process that waits for memory")
    watched.witness.events += [
        decode(raw, Redactor("off")) for raw in watched.witness.source.sample()
    ]
    event = watched.witness.one(child.pid, MemoryWait)
    assert (event.killer_disabled, event.limit_bytes) == (1, 48 << 20)
    assert event.usage_bytes > 47 << 20
    child.kill()
    child.wait()
