"""Openings and closings of watched processes: bytes, calls and flags, against what was done."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from receiver.events import ClosedFlag, FileClosed, FileOpened, OpenedFlag
from tests.live.conftest import Watched
from tests.live.files import closed, opened

pytestmark = pytest.mark.live


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
