"""Evidence that the kernel half takes at a decisive moment:
signals, faults, forks, and memory that was refused."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.calls import call_name
from receiver.events import (
    Fault,
    MappingFlag,
    MappingKind,
    MemoryRefused,
    RefusalFlag,
    Signal,
    SignalFlag,
    SignalState,
    ThreadedFork,
    WaitObject,
)
from receiver.units import MIB
from tests.live.conftest import Watched
from tests.live.deaths import finish, ready

pytestmark = pytest.mark.live
NO_LIMIT = (1 << 63) - 1


def blocked(pid: int) -> None:
    """Waits until the process waits in a system call."""
    path = Path(f"/proc/{pid}/stat")
    while path.read_text().rpartition(") ")[2][0] != "S":
        os.sched_yield()


@pytest.fixture
def one_cpu() -> Iterator[None]:
    """On one CPU a process that a signal wakes does not run before the sender is done."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield
    os.sched_setaffinity(0, allowed)


def test_a_kill_tells_what_its_target_waited_for(watched: Watched, one_cpu: None) -> None:
    code = "import os\nr, w = os.pipe()\nprint('ready', flush=True)\nos.read(r, 1)"
    child = watched.start(code, stdout=subprocess.PIPE)
    ready(child)
    blocked(child.pid)
    inode = os.stat(f"/proc/{child.pid}/fd/3").st_ino
    child.kill()
    finish(child)
    (event,) = watched.witness.of(child.pid, SignalState)
    assert (event.signal, event.sender.tgid) == (signal.SIGKILL, os.getpid())
    assert (call_name(event.call_number), event.waits_on, event.inode) == (
        "read",
        WaitObject.PIPE,
        inode,
    )
    assert event.sender_parent.tgid == os.getppid()
    assert event.anon_bytes > MIB


def test_a_request_to_end_that_is_ignored_is_kept(watched: Watched) -> None:
    """It is no received signal: nothing was delivered."""
    code = "import signal\nsignal.signal(15, signal.SIG_IGN)\nprint('ready', flush=True)\ninput()"
    child = watched.start(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    ready(child)
    child.terminate()
    child.kill()
    assert child.stdin
    child.stdin.close()
    finish(child)
    found = watched.witness.of(child.pid, SignalState)
    assert [(e.signal, bool(e.state_flags & SignalFlag.IGNORED)) for e in found] == [
        (signal.SIGTERM, True),
        (signal.SIGKILL, False),
    ]
    assert [e.signal for e in watched.witness.of(child.pid, Signal)] == [signal.SIGKILL]


PARENT_DIES = """
import ctypes, os, time
r, w = os.pipe()
if not os.fork():
    ctypes.CDLL(None).prctl(1, 15)
    os.write(w, b"x")
    time.sleep(30)
os.read(r, 1)
os._exit(0)
"""


def test_the_death_of_the_parent_is_told_from_a_kill(watched: Watched) -> None:
    parent = watched.run(PARENT_DIES)
    (event,) = [e for e in watched.witness.all(SignalState) if e.sender.tgid == parent]
    wanted = SignalFlag.PARENT_DEATH | SignalFlag.SENDER_EXITS | SignalFlag.WITHOUT_CALL
    assert event.state_flags & wanted == wanted
    assert (event.signal, event.code) == (signal.SIGTERM, 0)


def test_the_end_of_a_pid_namespace_names_its_first_process(watched: Watched) -> None:
    code = (
        "import subprocess, sys\n"
        "sys.exit(subprocess.run(['unshare', '-pf', 'sh', '-c', 'sleep 30 & exit 3']).returncode)"
    )
    pid = watched.run(code, status=3)
    inside = watched.witness.descendants(pid)
    (event,) = [e for e in watched.witness.all(SignalState) if e.target.tgid in inside]
    assert event.state_flags & SignalFlag.NAMESPACE_ENDS
    assert (event.signal, event.code, event.sender_comm) == (signal.SIGKILL, 128, "sh")


BUS = """
import mmap, sys
f = open(sys.argv[1], "w+b"); f.write(b"x" * 100_000); f.flush()
m = mmap.mmap(f.fileno(), 0); f.truncate(10); m[50_000]
"""


def is_in_memory(folder: Path) -> bool:
    """Whether the file system is a tmpfs: by stat(1), because Python has no statfs(2)."""
    command = ["stat", "--file-system", "--format=%T", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout == "tmpfs\n"


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_bus_error_names_what_is_mapped_there(
    watched: Watched, tmp_path: Path, in_memory: bool
) -> None:
    folder = Path("/dev/shm") if in_memory else tmp_path
    if not in_memory and is_in_memory(folder):
        pytest.skip("temporary files are in memory here")
    path = folder / f"kwitness-{os.getpid()}"
    try:
        pid = watched.run(BUS, str(path), status=-signal.SIGBUS)
        inode = path.stat().st_ino
    finally:
        path.unlink()
    event = watched.witness.one(pid, Fault)
    assert (event.path, event.inode, event.size_bytes) == (str(path), inode, 10)
    assert event.offset_bytes == 50_000
    assert event.mapping_kind == (MappingKind.MEMORY if in_memory else MappingKind.FILE)
    assert event.mapping_flags == MappingFlag.SHARED | MappingFlag.WRITABLE


def test_a_fork_tells_the_threads_of_that_moment(watched: Watched) -> None:
    """The first child comes from one thread, though others follow."""
    code = """
import os, threading, time
def fork():
    if not os.fork(): os._exit(0)
    os.wait()
fork()
threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
fork()
os._exit(0)
"""
    pid = watched.run(code)
    (event,) = [e for e in watched.witness.all(ThreadedFork) if e.parent.tgid == pid]
    assert event.threads == 2
    assert event.process.tgid == max(watched.witness.descendants(pid))


LIMITS = [
    ("resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))", "mmap.mmap(-1, 600 << 20)"),
    (
        "resource.setrlimit(resource.RLIMIT_DATA, (100 << 20, 100 << 20))",
        "mmap.mmap(-1, 200 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)",
    ),
]


@pytest.mark.parametrize(("limit", "call"), LIMITS)
def test_refused_memory_comes_with_the_limits_of_that_moment(
    watched: Watched, limit: str, call: str
) -> None:
    code = (
        f"import mmap, resource\n{limit}\ntry: {call}\n"
        "except OSError as e: raise SystemExit(e.errno)"
    )
    pid = watched.run(code, status=errno.ENOMEM)
    event = watched.witness.of(pid, MemoryRefused)[-1]
    assert (call_name(event.call_number), event.error) == ("mmap", errno.ENOMEM)
    if "RLIMIT_AS" in limit:
        assert (event.address_space_limit_bytes, event.data_limit_bytes) == (400 * MIB, NO_LIMIT)
        assert event.mapped_bytes + event.asked_bytes > event.address_space_limit_bytes
    else:
        assert (event.address_space_limit_bytes, event.data_limit_bytes) == (NO_LIMIT, 100 * MIB)
        assert event.private_bytes + event.asked_bytes > event.data_limit_bytes
        assert event.refusal_flags & RefusalFlag.PRIVATE_WRITABLE
    assert event.mappings_max == int(Path("/proc/sys/vm/max_map_count").read_text())
