"""What a look at watched processes shows, against what the test made them do."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from receiver.calls import call_name
from receiver.events import EarlySample, Neighbour, ProcessSample, ThreadWait, WaitObject, WaitStack
from receiver.kernel.decode import decode
from receiver.text.event_text import frames_of, wait_of
from receiver.text.redact import Redactor
from tests.live.conftest import Watched, python
from tests.waiting import eventually

pytestmark = pytest.mark.live
E = TypeVar("E", ProcessSample, ThreadWait, WaitStack, Neighbour)
CPU = Path("/sys/fs/cgroup/cpu")


def look(watched: Watched, pid: int, kind: type[E]) -> list[E]:
    found = [decode(raw, Redactor("off")) for raw in watched.witness.source.sample()]
    return [e for e in found if isinstance(e, kind) and e.process.tgid == pid]


def ready(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None and child.stdout.readline() == "up\n"


def stop(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGKILL)
    child.communicate()


def test_memory_threads_and_descriptors(watched: Watched) -> None:
    child = watched.start(
        """
import mmap, os, threading, time
data = bytearray(80 << 20)
for i in range(0, len(data), 4096): data[i] = 1
shared = mmap.mmap(-1, 20 << 20)
for i in range(0, len(shared), 4096): shared[i] = 1
for _ in range(5): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
held = [os.open("/dev/null", 0) for _ in range(70)]
print("up", flush=True); time.sleep(60)
""",
        stdout=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (500, 500)),
    )
    ready(child)
    (sample,) = look(watched, child.pid, ProcessSample)
    status = Path(f"/proc/{child.pid}/status").read_text()
    names = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
    anon, shmem = int(names["RssAnon"].split()[0]) << 10, int(names["RssShmem"].split()[0]) << 10
    assert abs(sample.anon_bytes - anon) < 2 << 20 and anon > 80 << 20
    assert (
        abs(sample.shmem_bytes - shmem) < 2 << 20 and shmem > 19 << 20
    )  # before 6.2 threads keep some pages uncounted
    assert sample.peak_rss_bytes >= sample.anon_bytes + sample.shmem_bytes
    assert sample.threads == int(names["Threads"]) == 6
    assert sample.open_descriptors == len(os.listdir(f"/proc/{child.pid}/fd"))
    assert sample.descriptor_max == 500
    stop(child)


def test_cpu_time_and_bytes(watched: Watched, tmp_path: Path) -> None:
    child = watched.start(
        """
import os, sys, threading, time
def burn():
    while time.thread_time() < 0.3: pass
t = threading.Thread(target=burn); t.start(); burn(); t.join()
f = os.open(sys.argv[1], 65)
for _ in range(100): os.write(f, b"x" * 1000)
print("up", flush=True); time.sleep(60)
""",
        str(tmp_path / "o"),
        stdout=subprocess.PIPE,
    )
    ready(child)
    (sample,) = eventually(
        lambda: [s for s in look(watched, child.pid, ProcessSample) if not s.running_threads],
        "a sleeping child",
    )
    user, system = (
        int(v)
        for v in Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    )
    assert abs(sample.cpu_runtime_ns / 1e9 - (user + system) / os.sysconf("SC_CLK_TCK")) < 0.1
    assert sample.cpu_runtime_ns > 600_000_000
    assert sample.write_call_bytes >= 100_000
    assert sample.voluntary_switches > 0 and sample.running_threads == 0
    stop(child)


def test_bytes_of_ended_threads_count_and_of_reaped_children_do_not(
    watched: Watched, tmp_path: Path
) -> None:
    child = watched.start(
        """
import os, subprocess, sys, threading, time
def write(size):
    f = os.open(sys.argv[1], 65); os.write(f, b"x" * size); os.close(f)
t = threading.Thread(target=write, args=(1 << 20,)); t.start(); t.join()
subprocess.run(["head", "-c", "3000000", "/dev/zero"], stdout=open(sys.argv[1], "wb"))
print("up", flush=True); time.sleep(60)
""",
        str(tmp_path / "o"),
        stdout=subprocess.PIPE,
    )
    ready(child)
    (sample,) = look(watched, child.pid, ProcessSample)
    assert 1 << 20 <= sample.write_call_bytes < 2 << 20
    stop(child)


def test_the_lowest_limit_above_a_process(watched: Watched, memory_cgroup: Path) -> None:
    inner = memory_cgroup / "inner"
    inner.mkdir()
    child = watched.start(
        (
            "input(); data = bytearray(10 << 20); data[::4096] = b'x' * len(data[::4096]); "
            "print('up', flush=True); input()"
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    (inner / "cgroup.procs").write_text(str(child.pid))
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()
    ready(child)
    (sample,) = look(watched, child.pid, ProcessSample)
    assert sample.memory_limit_bytes == 48 << 20
    assert 10 << 20 < sample.memory_usage_bytes < 48 << 20
    child.communicate("\n")
    for _ in range(100):
        try:
            inner.rmdir()
            return
        except OSError:
            time.sleep(0.02)


@pytest.fixture
def cpu_cgroup(live: None) -> Iterator[Path]:
    """A tenth of one CPU."""
    if not (CPU / "cpu.cfs_quota_us").exists():
        pytest.skip("no cpu controller of cgroup v1 here")
    group = CPU / f"kwitness-test-{os.getpid()}"
    group.mkdir()
    (group / "cpu.cfs_quota_us").write_text("10000")
    yield group
    for _ in range(100):
        try:
            group.rmdir()
            return
        except OSError:
            time.sleep(0.02)


def test_throttling(watched: Watched, cpu_cgroup: Path) -> None:
    child = watched.start("input()\nwhile True: pass", stdin=subprocess.PIPE)
    (cpu_cgroup / "cgroup.procs").write_text(str(child.pid))
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()
    (before,) = look(watched, child.pid, ProcessSample)
    (after,) = eventually(
        lambda: [
            s
            for s in look(watched, child.pid, ProcessSample)
            if s.throttled_periods > before.throttled_periods
        ],
        "a throttled period",
    )
    said = dict(line.split() for line in (cpu_cgroup / "cpu.stat").read_text().splitlines())
    assert 0 < after.throttled_periods <= int(said["nr_throttled"])
    assert after.cpu_periods >= after.throttled_periods
    stop(child)


def idle(watched: Watched, pid: int, kind: type[E]) -> list[E]:
    """Threads are told of after two looks that showed nothing."""
    for _ in range(8):
        found = look(watched, pid, kind)
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("never idle")


def idle_looks(watched: Watched, pid: int) -> list[ThreadWait]:
    return idle(watched, pid, ThreadWait)


def test_a_futex_and_a_timed_sleep(watched: Watched) -> None:
    child = watched.start(
        """
import threading, time
lock = threading.Lock(); lock.acquire()
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("up", flush=True); lock.acquire()
""",
        stdout=subprocess.PIPE,
    )
    ready(child)
    waits = {w.thread == child.pid: w for w in idle_looks(watched, child.pid)}
    assert (wait_of(waits[True]), waits[True].timed) == ("futex", 0)
    assert waits[False].timed == 1
    stop(child)


def test_where_in_the_kernel_a_thread_waits(watched: Watched) -> None:
    """Named by the kernel itself, the wait channel first; compared with what proc(5) says."""
    child = watched.start(
        "print('up', flush=True); input()", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    ready(child)
    (stack,) = idle(watched, child.pid, WaitStack)
    frames = frames_of(stack)
    assert stack.thread == child.pid and len(frames) >= 3
    said = Path(f"/proc/{child.pid}/stack").read_text().split()
    assert [f.partition("+")[0] for f in said if not f.startswith("[")][: len(frames)] == list(
        frames
    )
    child.communicate("\n")


def test_a_pipe_that_nobody_writes(watched: Watched) -> None:
    child = watched.start(
        "print('up', flush=True); input()", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    ready(child)
    (wait,) = idle_looks(watched, child.pid)
    assert child.stdin is not None
    assert (wait_of(wait), wait.waits_on, wait.inode) == (
        "pipe",
        WaitObject.PIPE,
        os.fstat(child.stdin.fileno()).st_ino,
    )
    child.communicate("\n")


def all_waits(watched: Watched, pid: int) -> dict[str, ThreadWait]:
    found = {wait_of(w): w for w in look(watched, pid, ThreadWait)}
    return found if set(found) == {"socket", "child", "lock"} else {}


def test_a_socket_a_child_and_a_lock(watched: Watched, tmp_path: Path) -> None:
    child = watched.start(
        """
import fcntl, os, socket, sys, threading, time
s = socket.create_server(("127.0.0.1", 0))
c = socket.create_connection(s.getsockname()); a, _ = s.accept()
threading.Thread(target=c.recv, args=(1,), daemon=True).start()
holder = os.fork()
if holder == 0:
    f = open(sys.argv[1], "w"); fcntl.flock(f, fcntl.LOCK_EX)
    os.write(1, b"up\\n"); time.sleep(60); os._exit(0)
time.sleep(0.5)
lock = lambda: fcntl.flock(open(sys.argv[1], "w"), fcntl.LOCK_EX)
threading.Thread(target=lock, daemon=True).start()
os.waitpid(holder, 0)
""",
        str(tmp_path / "lock"),
        stdout=subprocess.PIPE,
    )
    ready(child)
    waits = eventually(lambda: all_waits(watched, child.pid), "three waits")
    assert call_name(waits["child"].call_number) == "wait4"
    (holder,) = watched.witness.descendants(child.pid)
    assert waits["child"].child == waits["lock"].lock_holder == holder
    assert waits["socket"].port and waits["socket"].family == 2
    os.kill(holder, signal.SIGKILL)
    child.communicate()


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


def test_a_frozen_disk(watched: Watched, tmp_path: Path) -> None:
    """A stalled storage, as NFS has them: the writer is in an uninterruptible wait."""
    image, mount = tmp_path / "image", tmp_path / "disk"
    mount.mkdir()
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mount], check=True)
    try:
        child = watched.start(
            (
                "import os, sys; print('up', flush=True); input(); f = os.open(sys.argv[1], 65); "
                "os.write(f, b'x'); os.fsync(f)"
            ),
            str(mount / "o"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        ready(child)
        subprocess.run(["fsfreeze", "-f", mount], check=True)
        try:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
            eventually(
                lambda: [s.disk_threads for s in look(watched, child.pid, ProcessSample)] == [1],
                "a thread that waits for the disk",
            )
            (wait,) = idle_looks(watched, child.pid)
            assert wait_of(wait) == "disk" and wait.thread_state & 2
        finally:
            subprocess.run(["fsfreeze", "-u", mount], check=True)
        child.communicate()
    finally:
        subprocess.run(["umount", mount], check=True)


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


def young(watched: Watched, pid: int) -> list[EarlySample]:
    found = [decode(raw, Redactor("off")) for raw in watched.witness.source.early_sample()]
    return [e for e in found if isinstance(e, EarlySample) and e.process.tgid == pid]


def test_a_young_process_has_further_looks_between_its_samples(watched: Watched) -> None:
    code = "x = bytearray(b'x' * (30 << 20))\nprint('up', flush=True)\ninput()"
    child = watched.start(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    ready(child)
    (event,) = young(watched, child.pid)
    assert event.anon_bytes > 30 << 20
    assert event.cpu_runtime_ns > 0
    eventually(lambda: not young(watched, child.pid), "a process that is young no longer")
    stop(child)
