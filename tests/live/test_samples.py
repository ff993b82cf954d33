"""What the samples of a watched process hold, against what the test made it do."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.events import EarlySample, ProcessSample
from receiver.kernel.decode import decode
from receiver.text.redact import Redactor
from tests.live.conftest import Watched
from tests.live.looks import look, ready, stop
from tests.waiting import eventually

pytestmark = pytest.mark.live
CPU = Path("/sys/fs/cgroup/cpu")


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
