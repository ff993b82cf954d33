"""Who held what a failed or idle process needed: a program file, a lock, a port, a pipe."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.events import CallFailed, CallKind, HeldObject, Holder, LastFailure
from tests.live.conftest import Watched
from tests.live.last_failures import WAITS, keeper, last, until

pytestmark = pytest.mark.live


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
