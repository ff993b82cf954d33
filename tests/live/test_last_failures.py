"""The last failed calls of a process that failed: which are kept, and their paths."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
from pathlib import Path

import pytest

from receiver.calls import call_name
from receiver.events import CallKind, FailureFlag, LastFailure
from tests.live.conftest import Watched
from tests.live.last_failures import last, until

pytestmark = pytest.mark.live


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
