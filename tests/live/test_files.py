"""Files of watched processes, against what the test itself did with them."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from receiver.events import (
    CallFailed,
    CallKind,
    ClosedFlag,
    EventKind,
    FileChanged,
    FileClosed,
    FileOpened,
    FileOperation,
    FileTotals,
    FilterReason,
    OpenedFlag,
    SubjectKind,
)
from receiver.kernel.capture import KernelLimits
from receiver.kernel.source_config import SourceConfig
from tests.live.conftest import Watched, Witness

pytestmark = pytest.mark.live


def opened(watched: Watched, pid: int, path: Path | str) -> FileOpened:
    found = [e for e in watched.witness.of(pid, FileOpened) if e.path == str(path)]
    assert len(found) == 1, [e.path for e in watched.witness.of(pid, FileOpened)]
    return found[0]


def closed(watched: Watched, pid: int, path: Path | str) -> FileClosed:
    """All its closings, summed."""
    first = opened(watched, pid, path)
    found = [e for e in watched.witness.of(pid, FileClosed) if e.open_id == first.open_id]
    assert found, "never closed"
    assert all((e.device, e.inode) == (first.device, first.inode) for e in found)
    return found[-1]


def test_bytes_and_calls_are_exact(watched: Watched, tmp_path: Path) -> None:
    source, target = tmp_path / "in.bin", tmp_path / "out.bin"
    source.write_bytes(b"x" * 100_000)
    pid = watched.run(
        """
import os, sys
i = os.open(sys.argv[1], os.O_RDONLY)
o = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
assert len(os.read(i, 1000)) == 1000                       # read
assert len(os.pread(i, 500, 99_000)) == 500                # pread64
b = [bytearray(100), bytearray(200)]
assert os.readv(i, b) == 300                               # readv
assert os.preadv(i, b, 0) == 300                           # preadv
assert os.write(o, b"a" * 4096) == 4096                    # write
assert os.pwrite(o, b"b" * 100, 8192) == 100               # pwrite64
assert os.writev(o, [b"c" * 10, b"d" * 20]) == 30          # writev
assert os.pwritev(o, [b"e" * 7], 10_000) == 7              # pwritev
assert os.sendfile(o, i, 0, 5000) == 5000                  # sendfile
assert os.copy_file_range(i, o, 2000, 0) == 2000           # copy_file_range
os.fsync(o)
os.close(i); os.close(o)
""",
        str(source),
        str(target),
    )
    read, written = closed(watched, pid, source), closed(watched, pid, target)
    assert (read.read_bytes, read.read_calls) == (1000 + 500 + 300 + 300 + 5000 + 2000, 6)
    assert (written.written_bytes, written.write_calls) == (4096 + 100 + 30 + 7 + 5000 + 2000, 6)
    assert read.written_bytes == written.read_bytes == 0
    assert written.size_bytes == target.stat().st_size
    assert written.closed_flags & ClosedFlag.SYNCED
    assert not written.closed_flags & (
        ClosedFlag.BY_DEATH | ClosedFlag.SHORT_WRITE | ClosedFlag.UNSEEN
    )
    first = opened(watched, pid, target)
    assert first.inode == target.stat().st_ino and first.size_bytes == 0
    assert os.makedev(first.device >> 20, first.device & 0xFFFFF) == target.stat().st_dev
    assert first.open_flags & os.O_TRUNC == 0  # the kernel does not keep O_TRUNC; the size says it
    assert first.time_boottime_ns <= written.last_use_boottime_ns <= written.time_boottime_ns


def test_a_write_after_the_sync_takes_the_sync_back(watched: Watched, tmp_path: Path) -> None:
    pid = watched.run(
        (
            "import os, sys; o = os.open(sys.argv[1], 65); os.write(o, b'x'); os.fsync(o); "
            "os.write(o, b'y')"
        ),
        str(tmp_path / "o"),
    )
    assert not closed(watched, pid, tmp_path / "o").closed_flags & ClosedFlag.SYNCED


HOSTILE = [
    b"\x1b]0;gone\x07",
    b"line\nbreak",
    b"\xff\xfe\x80",
    b"n" * 255,
    "ÅΩ日本\u202e".encode(),
    b" ",
    b"a;rm -rf",
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_names_arrive_as_they_are(watched: Watched, tmp_path: Path, name: bytes) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    pid = watched.run(
        "import os, sys; os.close(os.open(os.fsencode(sys.argv[1]), 65))", os.fsdecode(path)
    )
    event = next(e for e in watched.witness.of(pid, FileOpened) if e.inode == os.stat(path).st_ino)
    assert event.path == path.decode("utf-8", "replace")


def test_relative_paths_are_resolved_by_the_kernel(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "target").mkdir()
    (tmp_path / "a" / "link").symlink_to(tmp_path / "target")
    pid = watched.run(
        """
import os, sys
os.chdir(sys.argv[1] + "/a")
os.close(os.open("b/../b/one", 65))
os.close(os.open("link/two", 65))
d = os.open("b", os.O_RDONLY | os.O_DIRECTORY)
os.close(os.open("three", 65, dir_fd=d))
os.rename("three", "four", src_dir_fd=d, dst_dir_fd=d)
""",
        str(tmp_path),
    )
    for name in ("a/b/one", "target/two", "a/b/three"):
        opened(watched, pid, tmp_path / name)
    (change,) = watched.witness.of(pid, FileChanged)
    assert (change.directory, change.path) == (str(tmp_path / "a/b"), "three")
    assert (change.new_directory, change.new_path) == (str(tmp_path / "a/b"), "four")


def test_a_path_string_that_the_kernel_half_could_not_read(
    watched: Watched, tmp_path: Path
) -> None:
    """The string lies in a page that is not there when the call begins, and is overwritten when it
    has ended."""
    (tmp_path / "name").write_bytes(os.fsencode(tmp_path / "real") + b"\0")
    pid = watched.run(
        """
import ctypes, mmap, os, sys
f = os.open(sys.argv[1], os.O_RDWR)
page = mmap.mmap(f, 0)
libc = ctypes.CDLL(None, use_errno=True)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
fd = libc.syscall(257, -100, ctypes.c_void_p(address), os.O_CREAT | os.O_WRONLY, 0o600)
assert fd >= 0
""",
        str(tmp_path / "name"),
    )
    opened(watched, pid, tmp_path / "real")


def test_what_was_done_to_names(watched: Watched, tmp_path: Path) -> None:
    pid = watched.run(
        """
import os, sys
os.chdir(sys.argv[1])
open("a", "w").close()
os.rename("a", "b"); os.link("b", "c"); os.symlink("b", "d"); os.unlink("c")
os.mkdir("e"); os.rmdir("e"); os.truncate("b", 100); os.chmod("b", 0o640); os.chown("b", 0, 0)
f = os.open("b", os.O_WRONLY); os.ftruncate(f, 7); os.fchmod(f, 0o600)
""",
        str(tmp_path),
    )
    seen = [
        (e.operation, e.path, e.new_path, e.size_bytes)
        for e in watched.witness.of(pid, FileChanged)
    ]
    own = str(tmp_path / "b")
    assert seen == [
        (FileOperation.RENAME, "a", "b", 0),
        (FileOperation.LINK, "b", "c", 0),
        (FileOperation.SYMLINK, "b", "d", 0),
        (FileOperation.UNLINK, "c", "", 0),
        (FileOperation.MKDIR, "e", "", 0),
        (FileOperation.RMDIR, "e", "", 0),
        (FileOperation.TRUNCATE, "b", "", 100),
        (FileOperation.CHMOD, "b", "", 0o640),
        (FileOperation.CHOWN, "b", "", 0),
        (FileOperation.TRUNCATE, own, "", 7),
        (FileOperation.CHMOD, own, "", 0o600),
    ]


def test_duplicated_descriptors_are_one_opening(watched: Watched, tmp_path: Path) -> None:
    """As a shell redirects: open, dup2, close, write, and leave it to the exit."""
    pid = watched.run(
        """
import os, sys
f = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.dup2(f, 9); os.close(f); os.write(9, b"abc")
g = os.dup(9); os.write(g, b"de"); os.close(9); os.write(g, b"f")
os._exit(0)
""",
        str(tmp_path / "o"),
    )
    first = opened(watched, pid, tmp_path / "o")
    ends = [e for e in watched.witness.of(pid, FileClosed) if e.open_id == first.open_id]
    assert sum(e.written_bytes for e in ends) == 6
    assert [bool(e.closed_flags & ClosedFlag.SHARED) for e in ends] == [True, False]
    assert ends[-1].closed_flags & ClosedFlag.BY_DEATH


def test_descriptors_that_vanish_without_a_close_are_ended(
    watched: Watched, tmp_path: Path
) -> None:
    pid = watched.run(
        """
import os, sys, ctypes
for n in ("cloexec", "range", "over"):
    globals()[n] = os.open(f"{sys.argv[1]}/{n}", os.O_WRONLY | os.O_CREAT)
    os.write(globals()[n], b"x" * 10)
os.dup2(cloexec, over, inheritable=False)
ctypes.CDLL(None).syscall(436, range, range, 0)
os.execv("/bin/true", ["true"])
""",
        str(tmp_path),
    )
    for name in ("range", "over", "cloexec"):
        end = closed(watched, pid, tmp_path / name)
        assert end.closed_flags & ClosedFlag.UNSEEN, name


def test_children_are_watched_and_strangers_are_not(watched: Watched, tmp_path: Path) -> None:
    stranger = subprocess.Popen(["/bin/sh", "-c", f"echo x > {tmp_path}/theirs"])
    pid = watched.run(
        "import subprocess, sys; subprocess.run(['/bin/sh', '-c', 'echo hello > ' + sys.argv[1]])",
        str(tmp_path / "ours"),
    )
    stranger.wait()
    children = watched.witness.descendants(pid)
    found = [e for e in watched.witness.all(FileOpened) if e.path.startswith(str(tmp_path))]
    assert [(e.path, e.process.tgid in children) for e in found] == [(str(tmp_path / "ours"), True)]
    (end,) = [
        e
        for e in watched.witness.all(FileClosed)
        if e.process == found[0].process and e.open_id == found[0].open_id
    ]
    assert end.written_bytes == 6


def test_a_file_that_came_with_the_fork_shows_at_its_first_use(
    watched: Watched, tmp_path: Path
) -> None:
    with open(tmp_path / "log", "w") as log:
        pid = watched.run("print('hello')", stdout=log)
    assert opened(watched, pid, tmp_path / "log").opened_flags & OpenedFlag.INHERITED
    assert closed(watched, pid, tmp_path / "log").written_bytes == 6


def test_a_killed_writer_leaves_its_file_open(watched: Watched, tmp_path: Path) -> None:
    child = watched.start(
        (
            "import os, sys, time; f = os.open(sys.argv[1], 65); os.write(f, b'x' * 5000); "
            "print('up', flush=True); time.sleep(60)"
        ),
        str(tmp_path / "o"),
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None and child.stdout.readline() == "up\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    end = closed(watched, child.pid, tmp_path / "o")
    assert end.closed_flags & ClosedFlag.BY_DEATH
    assert (end.written_bytes, end.size_bytes) == (5000, 5000)


def test_mapped_files_are_marked(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"x" * 4096)
    pid = watched.run(
        (
            "import mmap, os, sys; f = os.open(sys.argv[1], os.O_RDWR); m = mmap.mmap(f, 0); "
            "m[0:3] = b'abc'; m.close()"
        ),
        str(tmp_path / "m"),
    )
    flags = closed(watched, pid, tmp_path / "m").closed_flags
    assert flags & ClosedFlag.MAPPED and flags & ClosedFlag.MAPPED_WRITABLE


def test_imports_cost_a_handful_of_records(watched: Watched) -> None:
    pid = watched.run(
        "import asyncio, email, http.client, json, xml.dom.minidom; "
        "open('/proc/self/status').read()"
    )
    assert len(watched.witness.of(pid, FileOpened)) <= 3
    totals = watched.witness.one(pid, FileTotals)
    assert totals.noise_files > 50 and totals.noise_read_bytes > 100_000
    assert totals.opened_files == totals.noise_files + totals.reported_files + totals.unnamed_files


MANY = (
    100_000 if not os.environ.get("KWITNESS_SHARED_SOURCE") else 5_000
)  # an emulated machine has no patience for more


def test_100_000_files_are_counted_exactly_in_few_records(live: None) -> None:
    witness = Witness(
        SourceConfig(limits=KernelLimits(files_per_process=20, changes_per_process=10))
    )
    place = tempfile.TemporaryDirectory(dir="/dev/shm")
    tmp_path = Path(place.name)
    try:
        before = witness.source.ledger()
        pid = Watched(witness).run(
            """
import os, sys
for n in range(int(sys.argv[2])):
    f = os.open(f"{sys.argv[1]}/{n}", os.O_WRONLY | os.O_CREAT)
    os.write(f, b"x" * 10)
    os.close(f)
for n in range(int(sys.argv[2])):
    os.unlink(f"{sys.argv[1]}/{n}")
""",
            str(tmp_path),
            str(MANY),
        )
        ours = [e for e in witness.of(pid, FileOpened) if e.path.startswith(str(tmp_path))]
        totals = witness.one(pid, FileTotals)
        assert len(ours) == 20 and len(witness.of(pid, FileChanged)) == 10
        assert (totals.unnamed_files, totals.unnamed_written_bytes, totals.unnamed_changes) == (
            MANY - 20,
            10 * (MANY - 20),
            MANY - 10,
        )
        assert (
            totals.opened_files == totals.noise_files + totals.reported_files + totals.unnamed_files
        )
        after = witness.source.ledger()
        for kind in (
            EventKind.FILE_OPENED,
            EventKind.FILE_CLOSED,
            EventKind.FILE_CHANGED,
            EventKind.FILE_TOTALS,
        ):
            seen = after.seen[kind] - before.seen[kind]
            kept = after.submitted[kind] - before.submitted[kind]
            skipped = sum(after.filtered[kind]) - sum(before.filtered[kind])
            lost = sum(after.lost[kind]) - sum(before.lost[kind])
            assert seen == kept + skipped + lost, kind
        limit = (
            after.filtered[EventKind.FILE_OPENED][FilterReason.LIMIT]
            - before.filtered[EventKind.FILE_OPENED][FilterReason.LIMIT]
        )
        assert limit == MANY - 20
        assert len(witness.events) < 1000
    finally:
        witness.source.close()
        place.cleanup()


@pytest.fixture
def small_disk(live: None, tmp_path: Path) -> Iterator[Path]:
    target = tmp_path / "small"
    target.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", target], check=True)
    yield target
    subprocess.run(["umount", target], check=True)


def failures(watched: Watched, pid: int) -> list[CallFailed]:
    return [
        e
        for e in watched.witness.of(pid, CallFailed)
        if e.failures == 1 and e.call != CallKind.EXEC
    ]


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
