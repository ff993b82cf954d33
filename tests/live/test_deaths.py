"""Signals, OOM kills and torn files on the real kernel."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from receiver.events import (
    Crash,
    EventKind,
    Exit,
    FileFlag,
    FileReason,
    LossReason,
    OomKill,
    OomScope,
    OpenFile,
    Signal,
)
from tests.live.conftest import Witness, python
from tests.waiting import eventually

pytestmark = pytest.mark.live
# signals that the test run itself may have been told to ignore (nohup) are made fatal again
SLEEP = (
    "import signal as s, time; s.signal(s.SIGHUP, s.SIG_DFL); print('ready', flush=True); "
    "time.sleep(60)"
)
WRITE = """
import os, signal, sys, time
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
os.write(fd, b"x" * 5000)
{more}
print("ready", flush=True); time.sleep(60)
"""


def ready(child: subprocess.Popen[str]) -> None:
    assert child.stdout
    assert child.stdout.readline() == "ready\n"


def finish(child: subprocess.Popen[str]) -> None:
    child.wait()
    assert child.stdout
    child.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_kill_names_sender_and_target(witness: Witness, number: signal.Signals) -> None:
    child = python(SLEEP, stdout=subprocess.PIPE)
    ready(child)
    os.kill(child.pid, number)
    finish(child)
    event = witness.one(child.pid, Signal)
    assert (event.signal, event.code, event.sender.tgid, event.handled) == (
        number,
        0,
        os.getpid(),
        0,
    )
    assert event.target == witness.one(child.pid, Exit).process
    assert witness.one(child.pid, Exit).wait_status & 0x7F == number


def test_a_signal_from_another_process_names_that_one(witness: Witness) -> None:
    child = python(SLEEP, stdout=subprocess.PIPE)
    ready(child)
    killer = python(
        f"import os; open('/proc/self/comm', 'w').write('reaper'); os.kill({child.pid}, 9)"
    )
    killer.wait()
    finish(child)
    event = witness.one(child.pid, Signal)
    assert (event.sender.tgid, event.sender_comm) == (killer.pid, "reaper")


def test_chatter_is_not_recorded(witness: Witness) -> None:
    """SIGCHLD, ignored signals, and handled signals to oneself."""
    code = """
import os, signal, subprocess
signal.signal(signal.SIGUSR2, lambda *_: None); signal.signal(signal.SIGUSR1, signal.SIG_IGN)
for _ in range(10): os.kill(os.getpid(), signal.SIGUSR2); os.kill(os.getpid(), signal.SIGUSR1)
signal.raise_signal(signal.SIGWINCH)
subprocess.run(["/bin/true"])
"""
    child = python(code)
    child.wait()
    assert witness.of(child.pid, Signal) == []


def test_a_handled_signal_from_outside_is_recorded(witness: Witness) -> None:
    child = python(
        "import signal, sys; signal.signal(signal.SIGUSR2, lambda *_: sys.exit(5))\n" + SLEEP,
        stdout=subprocess.PIPE,
    )
    ready(child)
    os.kill(child.pid, signal.SIGUSR2)
    finish(child)
    assert witness.one(child.pid, Signal).handled == 1
    assert witness.one(child.pid, Exit).wait_status == 5 << 8


def test_a_crash_is_a_signal_of_the_kernel(witness: Witness) -> None:
    child = python("import ctypes; ctypes.string_at(0)")
    child.wait()
    event = witness.of(child.pid, Signal)[-1]
    assert (event.signal, event.code > 0) == (signal.SIGSEGV, True)


def test_open_files_at_a_kill(witness: Witness, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    more = """
os.open(sys.argv[1] + ".log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
os.open("/dev/null", os.O_WRONLY); os.open(sys.argv[1], os.O_RDONLY)
gone = os.open(sys.argv[1] + ".gone", os.O_CREAT | os.O_WRONLY); os.unlink(sys.argv[1] + ".gone")
"""
    child = python(WRITE.format(more=more), str(out), stdout=subprocess.PIPE)
    ready(child)
    child.kill()
    finish(child)
    found = {
        Path(e.path).name.split(" ")[0]: e
        for e in witness.of(child.pid, OpenFile)
        if e.path.startswith(str(tmp_path))
    }
    assert set(found) == {"out.csv", "out.csv.log", "out.csv.gone"}
    event = found["out.csv"]
    stat = out.stat()
    assert (event.inode, event.position_bytes, event.size_bytes) == (stat.st_ino, 5000, 5000)
    assert (event.device >> 20, event.device & 0xFFFFF) == (
        os.major(stat.st_dev),
        os.minor(stat.st_dev),
    )
    assert (event.reason, event.signal, event.file_flags) == (FileReason.DEATH, signal.SIGKILL, 0)
    assert found["out.csv.log"].open_flags & os.O_APPEND
    assert found["out.csv.gone"].file_flags == FileFlag.DELETED
    assert (
        event.sequence < witness.one(child.pid, Exit).sequence
        or event.cpu != witness.one(child.pid, Exit).cpu
    )
    assert event.time_boottime_ns < witness.one(child.pid, Exit).time_boottime_ns


def test_open_files_at_the_delivery_of_a_handled_sigterm(witness: Witness, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    more = "def stop(*_):\n os.close(fd); os._exit(1)\nsignal.signal(signal.SIGTERM, stop)"
    child = python(WRITE.format(more=more), str(out), stdout=subprocess.PIPE)
    ready(child)
    child.terminate()
    finish(child)
    mine = [e for e in witness.of(child.pid, OpenFile) if e.path == str(out)]
    assert [(e.reason, e.signal, e.position_bytes) for e in mine] == [
        (FileReason.SIGNAL, signal.SIGTERM, 5000)
    ]


def test_the_parents_stdout_is_marked(witness: Witness, tmp_path: Path) -> None:
    log = tmp_path / "script.log"
    with log.open("w") as target:
        subprocess.run(
            ["/bin/sh", "-c", "sleep 60 & kill -9 $!; wait"],
            stdout=target,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    flagged = [e for e in witness.all(OpenFile) if e.path == str(log)]
    assert flagged
    assert all(e.file_flags & FileFlag.INHERITED_STDIO for e in flagged)


def test_deep_paths_are_whole(witness: Witness, tmp_path: Path) -> None:
    deep = tmp_path
    for number in range(30):
        deep = deep / f"directory-{number:02}-{'n' * 40}"
    deep.mkdir(parents=True)
    child = python(WRITE.format(more=""), str(deep / "out"), stdout=subprocess.PIPE)
    ready(child)
    child.kill()
    finish(child)
    assert str(deep / "out") in {e.path for e in witness.of(child.pid, OpenFile)}


def test_many_open_files_are_capped_and_counted(witness: Witness, tmp_path: Path) -> None:
    more = "for i in range(99): os.open(f'{sys.argv[1]}.{i}', os.O_CREAT | os.O_WRONLY)"
    child = python(WRITE.format(more=more), str(tmp_path / "out"), stdout=subprocess.PIPE)
    ready(child)
    child.kill()
    finish(child)
    ours = witness.of(child.pid, OpenFile)
    assert len(ours) == 64
    assert witness.source.ledger().lost[7][1] >= 100 - 64


@pytest.mark.parametrize(
    ("more", "counted"),
    [
        ("os.dup2(fd, 5000)", 1),
        ("os.dup2(fd, 5000); os.close(5000)", 0),  # the table stays large, and nothing is missed
    ],
)
def test_descriptors_past_those_that_are_looked_at_are_counted_as_missed(
    witness: Witness, tmp_path: Path, more: str, counted: int
) -> None:
    before = witness.source.ledger().lost[EventKind.OPEN_FILE][LossReason.DESCRIPTOR_LIMIT]
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192)); "
    child = python(WRITE.format(more=limit + more), str(tmp_path / "out"), stdout=subprocess.PIPE)
    ready(child)
    child.kill()
    finish(child)
    after = witness.source.ledger().lost[EventKind.OPEN_FILE][LossReason.DESCRIPTOR_LIMIT]
    assert after - before == counted


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


CRASH = (
    "import ctypes, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); ctypes.string_at(0)"
)


OWN_CODE = """
import mmap; m = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=7)
m[0:2] = bytes((0x0F, 0x0B))
ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()
"""  # ud2


@pytest.mark.parametrize("observers", [1, 3])
def test_a_crash_says_in_which_file_it_stood(witness: Witness, observers: int) -> None:
    """To each observer: they all ask at the same moment, on the same CPU."""
    others = [Witness() for _ in range(observers - 1)]
    child = python(CRASH)
    assert child.wait(timeout=30) == -signal.SIGSEGV
    found = [each.one(child.pid, Crash) for each in (witness, *others)]
    for other in others:
        other.source.close()
    assert len({(event.module, event.module_offset) for event in found}) == 1
    event = found[0]
    assert (event.signal, event.thread) == (signal.SIGSEGV, child.pid)
    assert "libc" in event.module or "libffi" in event.module
    assert (
        0 < event.module_offset < Path(event.module).stat().st_size
        and event.module_offset < event.address
    )


@pytest.mark.parametrize(
    ("code", "module"),
    [
        # a tree of mappings that is several nodes deep
        (
            "import mmap; held = [mmap.mmap(-1, 4096, prot=1 + i % 2 * 2) for i in range(5000)]",
            "lib",
        ),
        # no file is mapped where it jumps to: one of no mapping, and one of memory of its own
        ("ctypes.CFUNCTYPE(None)(16)()", ""),
        (OWN_CODE, ""),
    ],
)
def test_a_crash_is_where_the_kernel_has_a_file_or_nowhere(
    witness: Witness, code: str, module: str
) -> None:
    child = python(CRASH.replace("ctypes.string_at(0)", f"{code}\nctypes.string_at(0)"))
    child.wait(timeout=60)
    event = witness.one(child.pid, Crash)
    assert (module in event.module) if module else (event.module, event.module_offset) == ("", 0)
    assert witness.source.ledger().lost[EventKind.CRASH][LossReason.BUSY] == 0


def test_a_fault_that_is_handled_is_no_crash(witness: Witness) -> None:
    child = python(
        "import os, signal; signal.signal(signal.SIGABRT, lambda *a: os._exit(3)); "
        "signal.raise_signal(signal.SIGABRT)"
    )
    child.wait(timeout=30)
    assert not witness.of(child.pid, Crash)
