"""What threads of a watched process wait for, against what the test made them do."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from receiver.calls import call_name
from receiver.events import ProcessSample, ThreadWait, WaitObject, WaitStack
from receiver.text.event_text import frames_of, wait_of
from tests.live.conftest import Watched
from tests.live.looks import E, look, ready, stop
from tests.waiting import eventually

pytestmark = pytest.mark.live


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
