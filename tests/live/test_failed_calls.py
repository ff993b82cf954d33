"""Failed calls of watched processes: the call, the errno, its object, and who holds a lock."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from receiver.events import CallFailed, CallKind, ClosedFlag, SubjectKind
from tests.live.conftest import Watched
from tests.live.files import closed, failures

pytestmark = pytest.mark.live


@pytest.fixture
def small_disk(live: None, tmp_path: Path) -> Iterator[Path]:
    target = tmp_path / "small"
    target.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", target], check=True)
    yield target
    subprocess.run(["umount", target], check=True)


def test_a_full_disk(watched: Watched, small_disk: Path) -> None:
    pid = watched.run(
        """
import os, sys
f = os.open(sys.argv[1], 65)
try:
    while True: os.write(f, b"x" * 10_000)
except OSError as e: assert e.errno == 28
""",
        str(small_disk / "o"),
    )
    (failure,) = failures(watched, pid)
    assert (failure.call, failure.error, failure.subject) == (CallKind.WRITE, 28, SubjectKind.FILE)
    assert failure.path == str(small_disk / "o")
    end = closed(watched, pid, small_disk / "o")
    assert end.write_error == 28 and end.closed_flags & ClosedFlag.SHORT_WRITE
    assert end.written_bytes == end.size_bytes == (small_disk / "o").stat().st_size


def test_failures_by_call_and_errno(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "theirs").touch(0o600)
    pid = watched.run(
        """
import os, sys, resource, socket
os.chdir(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
held = []
try:
    while True: held.append(os.open("/dev/null", os.O_RDONLY))
except OSError as e: assert e.errno == 24
for f in held: os.close(f)
try: os.open("missing", os.O_RDONLY)
except FileNotFoundError: pass
os.setresuid(65534, 65534, 65534)
for _ in range(300):
    try: os.open("theirs", os.O_RDONLY)
    except PermissionError: pass
try: os.execv("/no/such/program", ["x"])
except FileNotFoundError: pass
s = socket.socket()
try: s.connect(("127.0.0.1", 1))
except ConnectionRefusedError: pass
""",
        str(tmp_path),
    )
    found = watched.witness.of(pid, CallFailed)
    said = [(e.call, e.error, e.failures) for e in found]
    assert said == [
        (CallKind.OPEN, 24, 1),
        (CallKind.OPEN, 13, 1),
        (CallKind.OPEN, 13, 16),
        (CallKind.OPEN, 13, 256),
        (CallKind.EXEC, 2, 1),
        (CallKind.CONNECT, 111, 1),
        (CallKind.OPEN, 13, 300),
    ]
    refused = found[5]
    assert (refused.subject, refused.family, refused.port) == (SubjectKind.ENDPOINT, 2, 1)
    assert refused.address_low.to_bytes(8, "little")[:4] == bytes([127, 0, 0, 1])
    assert (found[1].directory, found[1].path) == (str(tmp_path), "theirs")
    assert (found[4].subject, found[4].path) == (SubjectKind.PATH_ASKED, "/no/such/program")


@contextmanager
def lock_holder(database: Path, how: str) -> Iterator[int]:
    """The pid of a process that holds the lock of this file."""
    code = f"import fcntl, sys; f = open(sys.argv[1], 'w'); {how}; print('up', flush=True); input()"
    holder = subprocess.Popen(
        ["python3", "-c", code, database],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None and holder.stdout.readline() == "up\n"
    yield holder.pid
    holder.communicate("\n")


@pytest.mark.parametrize(
    "how",
    [
        "fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)",
    ],
)
def test_a_refused_lock_names_its_holder(watched: Watched, tmp_path: Path, how: str) -> None:
    database = tmp_path / "db"
    with lock_holder(database, how) as holder:
        pid = watched.run(
            f"import fcntl, sys\nf = open(sys.argv[1], 'w')\n"
            f"try: {how}\nexcept BlockingIOError: pass\nelse: raise SystemExit(1)",
            str(database),
        )
    (failure,) = failures(watched, pid)
    assert (failure.call, failure.subject, failure.path) == (
        CallKind.LOCK,
        SubjectKind.LOCK,
        str(database),
    )
    assert failure.holder.tgid == holder


def test_a_descriptor_that_could_not_be_duplicated_is_no_lock(
    watched: Watched, tmp_path: Path
) -> None:
    """One call, fcntl(2), locks and duplicates: only its refused locks have a holder."""
    database = tmp_path / "db"
    with lock_holder(database, "fcntl.lockf(f, fcntl.LOCK_EX)") as holder:
        pid = watched.run(
            """
import fcntl, resource, sys
f = open(sys.argv[1], "w")
for _ in range(16):
    try: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError: pass
resource.setrlimit(resource.RLIMIT_NOFILE, (f.fileno() + 1, f.fileno() + 1))
try: fcntl.fcntl(f, fcntl.F_DUPFD, 0)
except OSError as error: assert error.errno == 24
else: raise SystemExit(1)
""",
            str(database),
        )
    found = watched.witness.of(pid, CallFailed)
    assert [(e.error, e.failures, e.subject, e.holder.tgid) for e in found] == [
        (11, 1, SubjectKind.LOCK, holder),
        (11, 16, SubjectKind.LOCK, holder),
        (24, 1, SubjectKind.FILE, 0),
    ]


def test_a_process_limit(watched: Watched) -> None:
    group = Path(f"/sys/fs/cgroup/pids/kwitness-test-{os.getpid()}")
    if not (group.parent / "cgroup.procs").exists():
        pytest.skip("no pids controller of cgroup v1 here")
    group.mkdir()
    try:
        (group / "pids.max").write_text("2")
        child = watched.start(
            """
import os
input()
held = []
try:
    while True:
        held.append(os.fork())
        if not held[-1]: input()
except BlockingIOError: pass
for pid in held: os.kill(pid, 9); os.wait()
""",
            stdin=subprocess.PIPE,
        )
        (group / "cgroup.procs").write_text(str(child.pid))
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.wait() == 0
        child.stdin.close()
        (failure,) = failures(watched, child.pid)
        assert (failure.call, failure.error) == (CallKind.CLONE, 11)
    finally:
        group.rmdir()
