"""Exit on the real kernel: the status, and the resources that wait4(2) counts too."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from receiver.events import Exit, OpenFile
from tests.live.conftest import Witness, python

pytestmark = pytest.mark.live


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("raise SystemExit(0)", 0),
        ("raise SystemExit(7)", 7 << 8),
        ("import os; os._exit(255)", 255 << 8),
    ],
)
def test_exit_status(witness: Witness, code: str, status: int) -> None:
    child = python(code)
    child.wait()
    assert witness.one(child.pid, Exit).wait_status == status


def test_exit_status_of_a_group_whose_leader_left_first(witness: Witness) -> None:
    code = """
import ctypes, os, threading, time
def last():
    time.sleep(0.1); os._exit(9)
threading.Thread(target=last).start()
ctypes.CDLL(None).pthread_exit(None)
"""
    child = python(code)
    assert child.wait() == 9
    assert witness.one(child.pid, Exit).wait_status == 9 << 8


def test_core_dump_flag(witness: Witness, tmp_path: Path) -> None:
    code = (
        "import os, resource; resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * "
        "2); os.abort()"
    )
    child = python(code, cwd=tmp_path)
    child.wait()
    status = witness.one(child.pid, Exit).wait_status
    assert status & 0x7F == 6
    dumped = any(tmp_path.iterdir()) or Path(
        "/proc/sys/kernel/core_pattern"
    ).read_text().startswith("|")
    assert bool(status & 0x80) == dumped


def test_resources_agree_with_wait4(witness: Witness, tmp_path: Path) -> None:
    code = f"""
import hashlib, os
x = bytearray(80 << 20)
for i in range(0, len(x), 4096): x[i] = 1
for _ in range(40): hashlib.sha256(bytes(1 << 20)).digest()
fd = os.open({str(tmp_path / "out")!r}, os.O_CREAT | os.O_WRONLY)
os.write(fd, b"x" * 123456); os.fsync(fd)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
print(next(line.split()[1] for line in open("/proc/self/io") if line.startswith("write_bytes")))
"""
    child = python(code, stdout=subprocess.PIPE)
    assert child.stdout
    peak_kib, written = map(int, child.stdout.read().split())
    child.stdout.close()
    _, _, usage = os.wait4(child.pid, 0)
    child.returncode = 0
    event = witness.one(child.pid, Exit)
    # of this image: ru_maxrss would also count the test runner's memory, which the child held
    # between fork and exec
    assert event.peak_rss_bytes == pytest.approx(peak_kib * 1024, abs=2 << 20)
    assert event.cpu_runtime_ns / 1e9 == pytest.approx(
        usage.ru_utime + usage.ru_stime, rel=0.1, abs=0.02
    )
    assert event.write_call_bytes == pytest.approx(123456, abs=128)
    assert event.written_bytes == written
    assert event.run_delay_ns < 60 * 10**9


def test_bytes_are_of_the_process_and_not_of_its_children(witness: Witness, tmp_path: Path) -> None:
    """The kernel adds a reaped child's bytes to its parent's (wait_task_zombie, kernel/exit.c)."""
    code = f"""
import os, subprocess, sys, threading
def write(name, size):
    fd = os.open(name, os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"x" * size); os.fsync(fd); os.close(fd)
inner = "import os; f = os.open('{tmp_path}/c', 65); os.write(f, b'x' * (3 << 20)); os.fsync(f)"
subprocess.run([sys.executable, "-c", inner])
ts = [threading.Thread(target=write, args=(f"{tmp_path}/{{n}}", 1 << 20)) for n in range(2)]
[t.start() for t in ts]; [t.join() for t in ts]
write("{tmp_path}/own", 1 << 20)
"""
    child = python(code)
    child.wait()
    event = witness.one(child.pid, Exit)
    (inner,) = [
        e for pid in witness.descendants(child.pid) - {child.pid} for e in witness.of(pid, Exit)
    ]
    assert inner.write_call_bytes >= 3 << 20 and inner.written_bytes >= 3 << 20
    for counted in (event.write_call_bytes, event.written_bytes):
        assert 3 << 20 <= counted < (3 << 20) + (1 << 19)
    assert event.read_call_bytes < inner.read_call_bytes + (1 << 20)


def test_cpu_of_all_threads_is_counted(witness: Witness) -> None:
    code = """
import hashlib, threading
def burn():
    for _ in range(60): hashlib.sha256(bytes(1 << 20)).digest()
ts = [threading.Thread(target=burn) for _ in range(3)]
[t.start() for t in ts]; [t.join() for t in ts]
"""
    child = python(code)
    _, _, usage = os.wait4(child.pid, 0)
    child.returncode = 0
    event = witness.one(child.pid, Exit)
    assert event.cpu_runtime_ns / 1e9 == pytest.approx(
        usage.ru_utime + usage.ru_stime, rel=0.1, abs=0.02
    )
    assert len(witness.of(child.pid, Exit)) == 1


def test_clean_exits_report_no_files(witness: Witness, tmp_path: Path) -> None:
    child = python(
        f"import os; os.open({str(tmp_path / 'x')!r}, os.O_CREAT | os.O_WRONLY); os._exit(0)"
    )
    child.wait()
    assert not witness.of(child.pid, OpenFile)
