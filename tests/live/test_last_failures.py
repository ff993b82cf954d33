"""The last failed calls of a process that failed, and who held what it needed."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from receiver.calls import call_name
from receiver.events import (
    CallFailed,
    CallKind,
    FailureFlag,
    HeldObject,
    Holder,
    LastFailure,
    Signal,
)
from tests.live.conftest import Watched

pytestmark = pytest.mark.live
WAITS = "print('up', flush=True); input()"


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def last(watched: Watched, pid: int) -> LastFailure:
    """The one that came last, without the search for parts of the interpreter."""
    found = watched.witness.of(pid, LastFailure)
    return max(found, key=lambda event: event.failed_boottime_ns)


@contextmanager
def keeper(*command: str, **options: object) -> Iterator[int]:
    """The pid of a process that lives until the end of the block."""
    child = subprocess.Popen(  # type: ignore[call-overload]
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    )
    assert child.stdout.readline() == "up\n"
    yield child.pid
    child.communicate("\n")


def test_the_last_failure_of_a_failed_process_has_its_path(
    watched: Watched, tmp_path: Path
) -> None:
    pid = watched.run("open('none.csv')", status=1, cwd=tmp_path, stderr=subprocess.DEVNULL)
    found = last(watched, pid)
    assert (call_name(found.call_number), found.error, found.call) == ("openat", 2, CallKind.OPEN)
    assert (found.directory, found.path) == (str(tmp_path), "none.csv")
    assert 0 < found.time_boottime_ns - found.failed_boottime_ns < 60_000_000_000
    assert found.later_written_bytes  # the traceback
    assert not found.later_files


def test_what_it_did_afterwards_is_counted(watched: Watched, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(b"x" * 100_000)
    pid = watched.run(
        """
try: open('none.csv')
except FileNotFoundError: pass
for name in ('a', 'b', 'c'): open(name, 'rb').read()
raise SystemExit(3)
""",
        status=3,
        cwd=tmp_path,
    )
    found = last(watched, pid)
    assert found.path == "none.csv"
    assert found.later_files == 3 and found.later_read_bytes >= 300_000


def test_a_process_that_succeeds_tells_none(watched: Watched, tmp_path: Path) -> None:
    pid = watched.run("try: open('none.csv')\nexcept FileNotFoundError: pass", cwd=tmp_path)
    assert not watched.witness.of(pid, LastFailure)


def test_only_the_last_ones_are_kept(watched: Watched, tmp_path: Path) -> None:
    pid = watched.run(
        """
for n in range(50):
    try: open(f'none-{n}.csv')
    except FileNotFoundError: pass
raise SystemExit(1)
""",
        status=1,
        cwd=tmp_path,
    )
    found = [
        e
        for e in watched.witness.of(pid, LastFailure)
        if e.call == CallKind.OPEN and not e.failure_flags & FailureFlag.PROBE
    ]
    assert [e.path for e in sorted(found, key=lambda e: e.failed_boottime_ns)] == [
        f"none-{n}.csv" for n in range(44, 50)
    ]


def test_an_exec_that_works_forgets_what_came_before(watched: Watched, tmp_path: Path) -> None:
    pid = watched.run(
        """
import os
try: open('none.csv')
except FileNotFoundError: pass
os.execv('/bin/false', ['false'])
""",
        status=1,
        cwd=tmp_path,
    )
    assert "none.csv" not in [e.path for e in watched.witness.of(pid, LastFailure)]


def test_a_question_does_not_push_out_a_demand(watched: Watched, tmp_path: Path) -> None:
    pid = watched.run(
        """
import os
try: os.mkdir('.')
except OSError: pass
for n in range(50): os.path.exists(f'none-{n}')
raise SystemExit(1)
""",
        status=1,
        cwd=tmp_path,
    )
    assert ("mkdir", errno.EEXIST, ".") in [
        (call_name(e.call_number), e.error, e.path) for e in watched.witness.of(pid, LastFailure)
    ]


@pytest.mark.parametrize(
    "call",
    [
        "os.symlink('/elsewhere', 'there')",
        "os.link('here', 'there')",
        "os.symlink('/elsewhere', 'there', dir_fd=os.open('.', os.O_RDONLY))",
        "os.link('here', 'there', dst_dir_fd=os.open('.', os.O_RDONLY))",
    ],
)
def test_of_two_paths_the_one_that_exists_is_named(
    watched: Watched, tmp_path: Path, call: str
) -> None:
    for name in ("here", "there"):
        (tmp_path / name).touch()
    pid = watched.run(f"import os; {call}", status=1, cwd=tmp_path, stderr=subprocess.DEVNULL)
    found = last(watched, pid)
    assert (found.error, found.directory, found.path) == (errno.EEXIST, str(tmp_path), "there")


def test_a_path_that_is_too_long_to_keep_is_marked(watched: Watched, tmp_path: Path) -> None:
    pid = watched.run("open('x' * 700)", status=1, cwd=tmp_path, stderr=subprocess.DEVNULL)
    found = last(watched, pid)
    assert (found.error, found.path, found.failure_flags & 1) == (errno.ENAMETOOLONG, "", 1)


def test_inotify_is_a_kind_of_its_own(watched: Watched) -> None:
    pid = watched.run(
        "import ctypes\nl = ctypes.CDLL(None)\n"
        "raise SystemExit(l.inotify_add_watch(l.inotify_init1(0), b'/none/such', 8) < 0)",
        status=1,
    )
    found = last(watched, pid)
    assert (found.call, found.error, found.path) == (CallKind.WATCH, errno.ENOENT, "/none/such")


def test_an_exec_of_a_file_that_is_open_for_writing_names_who_has_it(
    watched: Watched, tmp_path: Path
) -> None:
    tool = tmp_path / "tool.sh"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    descriptor = os.open(tool, os.O_WRONLY)
    with keeper(sys.executable, "-c", WAITS, pass_fds=[descriptor]) as holder:
        os.close(descriptor)
        pid = watched.run(
            "import os; os.execv('./tool.sh', ['tool.sh'])",
            status=1,
            cwd=tmp_path,
            stderr=subprocess.DEVNULL,
        )
    found = watched.witness.one(pid, Holder)
    assert (found.held, found.holder.tgid, found.path) == (HeldObject.TEXT, holder, str(tool))
    assert found.inode == tool.stat().st_ino
    (call,) = [e for e in watched.witness.of(pid, CallFailed) if e.error == errno.ETXTBSY]
    assert call.call == CallKind.EXEC


def test_the_lock_of_a_process_that_has_ended_is_held_by_its_heir(
    watched: Watched, tmp_path: Path
) -> None:
    lock = tmp_path / "job.lock"
    taken = os.open(lock, os.O_WRONLY | os.O_CREAT)
    with keeper(sys.executable, "-c", WAITS, pass_fds=[taken]) as heir:
        taker = subprocess.run(
            ["flock", "-n", str(taken)], pass_fds=[taken], check=True
        )  # it ends, and the lock stays with the open file
        os.close(taken)
        assert taker.returncode == 0
        pid = watched.run(
            "import fcntl; fcntl.flock(open('job.lock', 'w'), 6)",
            status=1,
            cwd=tmp_path,
            stderr=subprocess.DEVNULL,
        )
    found = watched.witness.one(pid, Holder)
    assert (found.held, found.holder.tgid, found.path) == (HeldObject.LOCK, heir, str(lock))
    assert not found.holder_flags & 2  # somebody else had asked for the lock
    (call,) = watched.witness.of(pid, CallFailed)
    assert call.holder.tgid == heir


def test_a_port_in_use_names_its_owner(watched: Watched) -> None:
    code = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], "
        "flush=True); input()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    port = int(owner.stdout.readline())
    pid = watched.run(
        f"import socket; socket.socket().bind(('127.0.0.1', {port}))",
        status=1,
        stderr=subprocess.DEVNULL,
    )
    owner.communicate("\n")
    found = watched.witness.one(pid, Holder)
    assert (found.held, found.port, found.holder.tgid) == (HeldObject.PORT, port, owner.pid)
    assert (last(watched, pid).error, last(watched, pid).port) == (errno.EADDRINUSE, port)


def test_a_stale_socket_file_is_a_path(watched: Watched, tmp_path: Path) -> None:
    stale = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(stale))
    pid = watched.run(
        "import socket; socket.socket(socket.AF_UNIX).bind('s')",
        status=1,
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    found = last(watched, pid)
    assert (found.error, found.directory, found.path) == (errno.EADDRINUSE, str(tmp_path), "s")


def test_a_poll_for_a_lock_is_one_entry(watched: Watched, tmp_path: Path) -> None:
    lock = tmp_path / "job.lock"
    code = f"import fcntl; f = open({str(lock)!r}, 'w'); fcntl.flock(f, 6); {WAITS}"
    with keeper(sys.executable, "-c", code) as holder:
        pid = watched.run(
            """
import fcntl
f = open('job.lock', 'w')
for _ in range(40):
    try: fcntl.flock(f, 6)
    except BlockingIOError: pass
raise SystemExit(1)
""",
            status=1,
            cwd=tmp_path,
        )
    found = [e for e in watched.witness.of(pid, LastFailure) if e.call == CallKind.LOCK]
    assert [(e.error, e.failures) for e in found] == [(errno.EAGAIN, 40)]
    assert [e.holder.tgid for e in watched.witness.of(pid, Holder)] == [holder]


def test_an_interrupted_open_names_its_fifo(watched: Watched, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "feed")
    child = watched.start(
        "print('up', flush=True); open('feed')", cwd=tmp_path, stdout=subprocess.PIPE
    )
    assert child.stdout is not None and child.stdout.readline() == "up\n"
    wait_channel = Path(f"/proc/{child.pid}/syscall")
    until(lambda: wait_channel.read_text().startswith("257 "))  # openat
    child.terminate()
    child.communicate()
    found = last(watched, child.pid)
    assert (found.error, found.directory, found.path) == (errno.EINTR, str(tmp_path), "feed")


READER = """
import subprocess
subprocess.run(["bash", "-c", "sleep 60 & echo $!; exit 0"], stdout=subprocess.PIPE)
"""
POLLER = """
import asyncio
async def main():
    child = await asyncio.create_subprocess_exec("bash", "-c", "sleep 60 & exit 0", stdout=-1)
    await child.communicate()
asyncio.run(main())
"""


@pytest.mark.parametrize("code", [READER, POLLER], ids=["read", "poll"])
def test_an_idle_reader_is_told_who_can_still_write(watched: Watched, code: str) -> None:
    child = watched.start(code)

    def found() -> list[Holder]:
        watched.witness.source.sample()
        return [e for e in watched.witness.of(child.pid, Holder) if e.comm == "sleep"]

    until(found)
    (held,) = {(e.held, e.holder, e.comm) for e in found()}
    assert held[0] == HeldObject.PIPE_WRITE and held[2] == "sleep"
    assert held[1].tgid in watched.witness.descendants(child.pid)
    os.kill(held[1].tgid, signal.SIGTERM)
    assert child.wait(timeout=60) == 0


def test_job_control_of_a_watched_process_is_told(watched: Watched) -> None:
    child = watched.start(WAITS, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == "up\n"
    child.send_signal(signal.SIGSTOP)
    child.send_signal(signal.SIGCONT)
    child.communicate("\n")
    found = [e for e in watched.witness.of(child.pid, Signal) if e.target.tgid == child.pid]
    assert [e.signal for e in found] == [signal.SIGSTOP]
    stranger = subprocess.Popen(["sleep", "60"])
    stranger.send_signal(signal.SIGSTOP)
    stranger.kill()
    stranger.wait()
    found = watched.witness.of(stranger.pid, Signal)
    assert signal.SIGSTOP not in [e.signal for e in found]
